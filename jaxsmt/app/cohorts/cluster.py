"""Series side by side, on workers of dask.distributed: on this machine, or wherever a scheduler has them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...batch import processors
from ...errors import InputError, ResourceError
from ..screen import Screen
from . import tasks
from .tasks import Task, TaskResult

# Processors of a worker: one decompresses a series while the other computes.
_EACH = 2
_CONNECT_S = 30
_LOGGED = logging.WARNING  # what Dask says from here on is shown
_one_at_a_time = threading.Lock()


def run(todo: Sequence[Task], where: str, n_cpus: int | None, screen: Screen) -> Iterator[TaskResult]:
    """Fit the series, each as one task of a cluster.

    The series of a worker that dies is given to another one, as often as the scheduler allows (three times by default).

    Args:
        todo: the series.
        where: "local", or the address of a scheduler, whose workers see the same files.
        n_cpus: processors of all local workers together, or of each worker elsewhere; None: all.
        screen: says where the dashboard is.
    Yields:
        what became of each series, as they end.
    Raises:
        InputError: dask.distributed is not installed.
        ResourceError: there is no scheduler at the address.
    """
    if find_spec("distributed") is None:
        raise InputError("--cluster needs dask.distributed", fix="pip install 'jaxsmt[cluster]'")
    from distributed import Client, as_completed

    gpus = [] if all(task.request.device == "cpu" for task in todo) else _gpus()
    n = processors.available() if n_cpus is None else n_cpus
    workers = max(1, min(len(todo), len(gpus) or -(-n // _EACH)))
    each = n_cpus if where != "local" else max(1, n // workers)
    with _client(Client, where, workers, gpus) as client:
        _say_dashboard(client, screen)
        ready = [tasks.with_share(task, each, workers if where == "local" else 1) for task in todo]
        futures = {client.submit(run_alone, task, pure=False): task for task in ready}
        try:
            for future in as_completed(list(futures)):
                yield _record(future, futures[future])
        finally:
            client.cancel(list(futures))


def run_alone(task: Task) -> TaskResult:
    """Fit a series while no other is fitted in this process, as a fit has threads of its own.

    Args:
        task: the series.
    Returns:
        what became of it.
    """
    with _one_at_a_time:
        return tasks.run_task(task)


def _record(future: Any, task: Task) -> TaskResult:
    """What became of a series, or why there is nothing to say."""
    error = future.exception() if future.status != "finished" else None
    if error is None:
        return future.result()
    if type(error).__name__ == "KilledWorker":
        reason = "every worker that had it died; is there enough memory?"
    else:
        reason = f"{type(error).__name__}: {error}"
    return TaskResult(task.title, tasks.FAILED, reason=reason)


@contextmanager
def _client(connect: Any, where: str, workers: int, gpus: Sequence[str]) -> Iterator[Any]:
    """A client of the scheduler; of a local one with its workers, which end with it."""
    if where == "local":
        from distributed import SpecCluster

        cluster = SpecCluster(workers=_workers(workers, gpus), scheduler=_scheduler(), silence_logs=_LOGGED)
        with cluster, connect(cluster) as client:
            yield client
        return
    try:
        client = connect(where, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:  # a time-out is an OSError
        raise ResourceError(
            f"no scheduler at {where}: {error}", fix="--cluster takes its address, as tcp://host:8786, or local"
        ) from None
    with client:
        yield client


def _workers(n: int, gpus: Sequence[str]) -> dict[int, dict[str, Any]]:
    """Local workers: processes with one thread, a GPU for each if there are several. What Dask holds is small."""
    from distributed import Nanny

    def options(i: int) -> dict[str, Any]:
        env = {"CUDA_VISIBLE_DEVICES": gpus[i]} if len(gpus) > 1 else {}
        quiet = {"memory_limit": 0, "dashboard_address": None, "silence_logs": _LOGGED}
        return {"nthreads": 1, "host": "127.0.0.1", "env": env, **quiet}

    return {i: {"cls": Nanny, "options": options(i)} for i in range(n)}


def _scheduler() -> dict[str, Any]:
    """A scheduler that nobody outside of this machine can reach."""
    from distributed import Scheduler

    return {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}}


def _gpus() -> list[str]:
    """Numbers of the GPUs that this process may use, found without loading JAX."""
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is not None:
        return [number for number in map(str.strip, stated.split(",")) if number and number not in ("-1", "NoDevFiles")]
    return sorted((path.name.removeprefix("nvidia") for path in Path("/dev").glob("nvidia[0-9]*")), key=int)


def _say_dashboard(client: Any, screen: Screen) -> None:
    """Say where the dashboard is; without Bokeh there is none."""
    if find_spec("bokeh") is None:
        screen.say("no dashboard: it needs bokeh, pip install bokeh")
    else:
        screen.say(f"dashboard: {client.dashboard_link}")
