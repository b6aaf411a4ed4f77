"""One series of a data set: whether its maps are there already, the fit, and its log. No JAX before the fit."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...batch import processors
from ...errors import JaxsmtError, OutputError
from ...files import nifti, outputs, sidecars
from .. import describe, memory, result_table, run_json, targets, words
from ..inputs import Inputs, open_inputs
from ..request import Request
from ..workflow import Outcome, Progress, run_fit

FITTED, COMPLETE, FAILED = "fitted", "complete", "failed"


@dataclass(frozen=True)
class Task:
    """A series to fit.

    Attributes:
        title: what it is called in messages.
        request: what is asked for.
        log: where its log goes.
        command: the command line.
        processors: how many to use; None: all.
    """

    title: str
    request: Request
    log: Path
    command: tuple[str, ...] = ()
    processors: int | None = None


@dataclass(frozen=True)
class TaskResult:
    """What became of a series.

    Attributes:
        title: what it is called in messages.
        state: FITTED, COMPLETE (its maps were there) or FAILED.
        voxels: that were fitted.
        seconds: that it took.
        reason: why it failed.
        warnings: of its fit.
    """

    title: str
    state: str
    voxels: int = 0
    seconds: float = 0.0
    reason: str = ""
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.state == FAILED:
            return f"{self.title}: failed: {self.reason.splitlines()[0]}"
        if self.state == COMPLETE:
            return f"{self.title}: complete already"
        return f"{self.title}: {self.voxels:,} voxels, {self.seconds:.1f} s"


def run_task(task: Task, progress: Progress = lambda *_: None) -> TaskResult:
    """Fit a series, unless its maps are there; its log says what happened.

    Whatever goes wrong is told by what is returned, and nothing of it raises: one series must not stop the others.

    Args:
        task: the series.
        progress: as of `run_fit`.
    Returns:
        what became of it.
    """
    began, log = time.perf_counter(), _Log(task)
    try:
        if task.processors is not None:
            processors.limit(task.processors)
        # The group level sees by its folder that a series has no maps.
        outputs.make_folder(task.request.out.parent)
        if is_complete(task.request):
            return TaskResult(task.title, COMPLETE)
        outcome = run_fit(task.request, progress, task.command)
        log.write(_outcome_lines(outcome))
    except JaxsmtError as error:
        reason = words.message(error)
        log.write_if_possible([f"failed: {reason}"])
    except Exception as error:  # a fault of the program, or of a user's model, in this series
        reason = f"{type(error).__name__}: {error}"
        log.write_if_possible([f"failed: {reason}", "".join(traceback.format_exception(error)).rstrip()])
    else:
        run = outcome.run
        voxels = sum(count for name, count in run["voxels"].items() if name != "outside")
        return TaskResult(task.title, FITTED, voxels, time.perf_counter() - began, "", tuple(run["warnings"]))
    return TaskResult(task.title, FAILED, seconds=time.perf_counter() - began, reason=reason)


def is_complete(request: Request) -> bool:
    """Whether the maps that a request would give are there.

    That is so if run.json, which is written last, names this version of jaxsmt, the same options and inputs of the same
    content, and all files that it names are there.

    Raises:
        InputError: the inputs are bad.
    """
    run = _read_run(targets.path_of_run(request))
    if run.get("software") != sidecars.SOFTWARE or not _has_files(request, run):
        return False
    inputs = open_inputs(request)
    asked = json.loads(sidecars.to_json(describe.asked(request, inputs)))
    return asked == run.get("asked") and _hashes(inputs) == _recorded_hashes(run)


def _read_run(path: Path) -> Mapping[str, Any]:
    """What a run.json says; nothing if there is none that can be read."""
    run = run_json.read(path)
    return run if run is not None and sidecars.is_whole(run) else {}


def _has_files(request: Request, run: Mapping[str, Any]) -> bool:
    """Whether the maps that run.json names, their sidecars, and the report as it is asked for, are there."""
    maps = run.get("maps")
    if not isinstance(maps, list) or not maps or not all(isinstance(name, str) for name in maps):
        return False
    paths = [request.out / name for name in maps]
    paths += [outputs.sidecar_path(path) for path in paths]
    paths += [] if request.no_report else [targets.path_of_page(request)]
    if request.viewer and not run.get("viewer"):
        return False
    return all(path.is_file() for path in paths)


def _hashes(inputs: Inputs) -> dict[str, str]:
    """SHA-256 of each input, by the option that names it."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(inputs.files, pool.map(sidecars.sha256, inputs.files.values()), strict=True))


def _recorded_hashes(run: Mapping[str, Any]) -> dict[str, Any]:
    """The hashes that run.json holds."""
    inputs = run.get("inputs")
    if not isinstance(inputs, dict):
        return {}
    return {name: entry.get("sha256") for name, entry in inputs.items() if isinstance(entry, dict)}


def _outcome_lines(outcome: Outcome) -> list[str]:
    """What the log says of a fit."""
    inputs = [f"input {name}: {entry['path']}" for name, entry in outcome.run["inputs"].items()]
    return [*inputs, *(f"warning: {text}" for text in outcome.run["warnings"]), result_table.text_of(outcome)]


class _Log:
    """The log of a series, written when its fit has ended, in one step."""

    def __init__(self, task: Task) -> None:
        self._path = task.log
        version = sidecars.SOFTWARE["version"]
        self._head = [f"{_now()} jaxsmt {version}: {task.title}", f"command: {' '.join(task.command)}"]

    def write(self, lines: Sequence[str]) -> None:
        """Write the log.

        Raises:
            OutputError: it cannot be written.
        """
        text = "\n".join([*self._head, *lines, f"{_now()} end"]) + "\n"
        nifti.write_bytes(self._path, text.encode("utf-8", "backslashreplace"))

    def write_if_possible(self, lines: Sequence[str]) -> None:
        """Write the log of a failure, which may be that the disk is full."""
        with suppress(OutputError):
            self.write(lines)


def _now() -> str:
    """Date and time, as logs have it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def with_share(task: Task, n: int | None, workers: int) -> Task:
    """The task as a worker does it: with at most n processors, and with its share of the memory that all may take."""
    limit = task.request.memory_limit if workers == 1 else str(memory.limit(task.request.memory_limit) // workers)
    return replace(task, processors=n, request=replace(task.request, memory_limit=limit))
