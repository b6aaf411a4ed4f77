"""The participant level of `jaxsmt bids`: fits every series of a data set that is asked for."""

from __future__ import annotations

import argparse
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path

from ...errors import InputError
from ...files import outputs
from ...fitting.settings import BACKGROUND, SMOOTH
from ..inputs import collected_warnings, source_of
from ..request import Request, make_request
from ..screen import Screen, warn
from . import dataset, layouts, selection, tasks
from .layouts import Series
from .tasks import Task, TaskResult

_NUMBERS = re.compile(r"[\d\s.,+eE-]+")


def run_participants(options: argparse.Namespace, screen: Screen, command: Sequence[str]) -> int:
    """Fit the series that are asked for.

    Args:
        options: of the command line.
        screen: says how it goes.
        command: the command line.
    Returns:
        the exit code: 0, or 1 if a series failed.
    Raises:
        JaxsmtError: nothing is found, labels or options are not valid, or the output folder cannot be written.
    """
    for name in ("n_cpus", "mem_mb"):
        value = getattr(options, name)
        if value is not None and value < 1:
            flag = "--" + name.replace("_", "-")
            raise InputError(f"{flag} {value} is not valid", fix=f"{flag} takes a whole number from 1")
    options = _absolute(options)
    with collected_warnings() as texts:
        kind = options.input_type or layouts.recognise(options.input)
        series = _chosen(options, kind)
    source_of(_request(series[0], options))
    dataset.describe(options.out, options.input, kind)
    if options.work_dir is not None:
        outputs.make_folder(options.work_dir)
    warn(texts)
    screen.say(f"{options.input}: {layouts.name_of(kind)}, {len(series)} series to fit")
    logs, words = options.out / dataset.LOGS, tuple(command)
    todo = [Task(one.title, _request(one, options), logs / f"{one.stem}.log", words, options.n_cpus) for one in series]
    return _follow(_records(todo, options, screen), len(todo), options.stop_on_first_crash, screen)


def _absolute(options: argparse.Namespace) -> argparse.Namespace:
    """The options with whole paths, as workers may run in other folders."""
    places = {name: value.absolute() for name, value in vars(options).items() if isinstance(value, Path)}
    if options.model.endswith(".py") or ".py:" in options.model:
        places["model"] = os.path.abspath(options.model)
    for name in ("prior", "sigma", "b_shape", "echo_time"):
        if _is_file(getattr(options, name)):
            places[name] = os.path.abspath(getattr(options, name))
    return argparse.Namespace(**{**vars(options), **places})


def _is_file(text: str | None) -> bool:
    """Whether the text of an option is the path of a file, and nothing else that the option takes."""
    if text is None or text in ("population", "auto", SMOOTH, BACKGROUND) or _NUMBERS.fullmatch(text):
        return False
    return os.path.exists(text)


def _chosen(options: argparse.Namespace, kind: str) -> list[Series]:
    """The series that the labels and filters of the command line let pass."""
    subjects = selection.labels(options.participant_label, "sub")
    sessions = selection.labels(options.session_id, "ses")
    filters = selection.read_filters(options.bids_filter_file)
    return selection.choose(layouts.find_series(options.input, kind, subjects), subjects, sessions, filters)


def _request(series: Series, options: argparse.Namespace) -> Request:
    """What is asked for of one series: its files, and the options that all series have in common."""
    common = vars(options)
    grad_dev = None if series.grad_dev is None or options.grad_dev == "none" else str(series.grad_dev)
    files = {name: getattr(series, name) for name in ("dwi", "bval", "bvec", "grad", "mask")}
    places = {
        "out": options.out / series.folder,
        "prefix": f"{series.stem}_",
        "report": options.out / f"{series.stem}.html",
        "overwrite": True,
    }
    resources = {
        "memory_limit": None if options.mem_mb is None else f"{options.mem_mb}M",
        "scratch": options.work_dir,
    }
    return make_request({**common, **files, "grad_dev": grad_dev, **places, **resources})


def _records(todo: Sequence[Task], options: argparse.Namespace, screen: Screen) -> Iterator[TaskResult]:
    """What becomes of each series, as they end."""
    if options.cluster is None:
        yield from _one_after_another(todo)
        return
    from . import cluster

    yield from cluster.run(todo, options.cluster, options.n_cpus, screen)


def _one_after_another(todo: Sequence[Task]) -> Iterator[TaskResult]:
    """Fit in this process, which starts and compiles once for all; the next series is fetched from the disk meanwhile.

    Yields:
        what became of each series.
    """
    with Screen(quiet=True) as interruptible:
        for task, following in zip(todo, [*todo[1:], None], strict=True):
            if following is not None:
                threading.Thread(target=_fetch, args=(following.request.dwi,), daemon=True).start()
            yield tasks.run_task(task, interruptible.progress)


def _fetch(path: Path) -> None:
    """Ask the system to read a file into memory it has free; whether it does so makes no difference to any number."""
    if not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):  # the fit will say what is wrong with the file
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)


def _follow(records: Iterator[TaskResult], total: int, stop: bool, screen: Screen) -> int:
    """Say what becomes of each series, and at the end of all; returns the exit code."""
    ended: list[TaskResult] = []
    with closing(records):  # type: ignore[type-var]
        for record in records:
            ended.append(record)
            warn(f"{record.title}: {text}" for text in record.warnings)
            screen.say(f"[{len(ended)}/{total}] {record}")
            if stop and record.state == tasks.FAILED:
                break
    counts = {state: sum(record.state == state for record in ended) for state in _STATES}
    said = ", ".join(f"{counts[state]} {text}" for state, text in _STATES.items() if counts[state])
    rest = total - len(ended)
    screen.say(f"{total} series: {said}" + (f", {rest} not begun or not ended" if rest else ""))
    failed = [record for record in ended if record.state == tasks.FAILED]
    _say_failures(failed)
    return 1 if failed else 0


_STATES: Mapping[str, str] = {tasks.FITTED: "fitted", tasks.COMPLETE: "complete already", tasks.FAILED: "failed"}


def _say_failures(failed: Iterable[TaskResult]) -> None:
    """Print which series failed, and why, to standard error."""
    for record in sorted(failed, key=lambda record: record.title):
        print(f"failed: {record.title}: {record.reason}", file=sys.stderr)
