"""From files to files: what `jaxsmt fit` does, without a command line."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition.means import MeansAccumulator
from ..errors import ResourceError
from ..files import nifti, outputs, sidecars
from . import catalogue, describe, targets
from .inputs import Inputs, collected_warnings, open_inputs
from .request import Request

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.pipeline import Pipeline, Result
    from ..fitting.results import Fit

#: `progress(stage, done, total)`: how far a stage is, in units of its own.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """A fit that is ready to run: its inputs have been checked, its model is loaded."""

    request: Request
    inputs: Inputs
    loaded: catalogue.LoadedModel
    pipeline: Pipeline


@dataclass(frozen=True)
class Outcome:
    """What a fit wrote, and the facts of the run."""

    fit: Fit
    fods: FodFit | None
    files: list[Path]
    run: dict[str, Any]


def run_fit(request: Request, progress: Progress = lambda *_: None, command: Sequence[str] = ()) -> Outcome:
    """Read, fit, write maps, sidecars, run.json and the report.

    The series is read once, volume by volume, into the shells' means, while the programs of the fit are compiled.
    Nothing is fitted before the stream has proved sound to its end. Nothing is written before the fit is complete.

    Raises:
        JaxsmtError: bad input, a folder that cannot be written, or too little memory. A new folder is removed again.
    """
    clock = _Clock()
    inputs = open_inputs(request)
    with _removed_if_it_fails(request.out):
        with collected_warnings() as texts:
            job = prepare(request, inputs)
            targets.check_targets(request, job.loaded.model, inputs.settings.uncertainty, inputs.files)
            clock.lap("check")
            result, hashes = _fit(job, progress, clock)
        fit, fods = result.fit, result.fods
        run = describe.run_facts(request, inputs, fit, fods, hashes, command)
        run["warnings"] = [*inputs.warnings, *texts, *describe.status_warnings(fit, fods)]
        files = _write_maps(job, result, run, progress)
        run["maps"] = [path.name for path in files]
        clock.lap("write")
        run["timings_s"] = clock.seconds
        if not request.no_report:
            _write_report(job, result, run)
            clock.lap("report")
        nifti.write_bytes(targets.run_json(request), sidecars.to_json(run))
    return Outcome(fit, fods, files, run)


def summary(outcome: Outcome) -> str:
    """What a fit did, and where the maps are."""
    return f"{facts(outcome)}\nmaps and report in {outcome.files[0].parent}"


def facts(outcome: Outcome) -> str:
    """What a fit did: voxels by status, fibres, times."""
    run = outcome.run
    voxels = ", ".join(
        f"{count} {name.replace('_', ' ')}" for name, count in run["voxels"].items() if count and name != "outside"
    )
    seconds = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in run["timings_s"].items())
    fods = ""
    if "fibres" in run:
        fods = "fibres: " + ", ".join(f"{n} in {count} voxels" for n, count in run["fibres"].items()) + "\n"
    return f"voxels: {voxels}\n{fods}times: {seconds}"


def prepare(request: Request, inputs: Inputs) -> Job:
    """Load the model, and check all that can be known without the data. Loads JAX.

    Raises:
        InputError: the model cannot be loaded, or the acquisition does not determine it.
        ResourceError: there is no such device.
    """
    loaded = catalogue.load(inputs.model)
    from ..batch import cache
    from ..batch.runner import find_devices
    from ..fitting.pipeline import Pipeline
    from ..fitting.results import FodModel

    if request.no_cache:
        cache.turn_off()
    settings = replace(inputs.settings, device=find_devices(request.device))
    model = loaded.model if request.fod == "none" else FodModel(loaded.model, request.fod, request.n_fibres)
    return Job(request, inputs, loaded, Pipeline(model, inputs.acquisition, settings, inputs.mask, order="F"))


def _fit(job: Job, progress: Progress, clock: _Clock) -> tuple[Result, dict[str, str]]:
    """The result, and the hashes of all inputs; reading, hashing and compiling go on at the same time."""
    inputs, pipeline = job.inputs, job.pipeline
    pool = ThreadPoolExecutor(4)
    try:
        kernels, fods = pool.submit(pipeline.prepare_kernels), pool.submit(pipeline.prepare_fods)

        def prepare_uncertainty() -> None:
            kernels.result()
            fods.result()
            pipeline.prepare_uncertainty()

        later = pool.submit(prepare_uncertainty)
        hashes = {name: pool.submit(sidecars.sha256, path) for name, path in inputs.files.items()}
        if not job.request.no_report:
            pool.submit(_load_report)
        means, signal = _read_series(inputs, pipeline.needs_volumes, progress)
        clock.lap("read")
        kernels.result()
        clock.lap("wait for compilation")

        def watched(stage: str, done: int, total: int) -> None:
            progress(stage, done, total)
            if done == total:
                clock.lap(stage)
                if stage == "fit" and not fods.done():
                    fods.result()
                    clock.lap("wait for compilation of the FODs")

        result = pipeline.run(means, _rows(signal, inputs.image), watched)
        later.result()  # so that they are kept for the next process, even those that no voxel needed
        clock.lap("fit" if result.fods is None else "fit FODs")
        return result, {name: future.result() for name, future in hashes.items()}
    finally:  # a compiler at work is not waited for
        pool.shutdown(wait=False, cancel_futures=True)


def _load_report() -> None:
    """Load the report's libraries, while the compiler works."""
    from ..report import page  # noqa: F401


def _read_series(inputs: Inputs, keep: bool, progress: Progress) -> tuple[np.ndarray, np.ndarray | None]:
    """(shells, voxels in the mask) spherical means and, with `keep`, (volumes, voxels in the mask) data as stored.

    Voxels are in the order of the file (Fortran's).
    """
    image = inputs.image
    n = image.shape[3]
    inside = inputs.mask.ravel(order="F")
    means = MeansAccumulator(inputs.acquisition.weights, inside.size)
    signal = None
    if keep:
        try:
            signal = np.empty((n, int(inside.sum())), image.dtype)
        except MemoryError:
            raise ResourceError(
                "the voxels inside the mask do not fit into memory", fix="a tighter mask=, or fod='none'"
            ) from None
    for i, volume in enumerate(nifti.read_volumes(image)):
        means.add(i, volume)
        if signal is not None:
            np.compress(inside, volume, out=signal[i])
        progress("read", i + 1, n)
    # The weights of a shell sum to 1, so scaling its mean scales its volumes.
    with np.errstate(invalid="ignore", over="ignore"):
        return means.sums[:, inside] * image.slope + image.inter, signal


def _rows(signal: np.ndarray | None, image: nifti.Image) -> Callable[[Any], np.ndarray] | None:
    """`(slice or numbers) -> (voxels, volumes)` data, scaled; None where they were not kept."""
    if signal is None:
        return None

    def rows(index: Any) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            return signal[:, index].T * image.slope + image.inter

    return rows


def _write_maps(job: Job, result: Result, run: dict[str, Any], progress: Progress) -> list[Path]:
    """Write the maps of kernels and FODs with their sidecars; returns the paths of the maps."""
    request, prefix, sets = job.request, job.request.file_prefix, _map_sets(job, result)
    if request.overwrite:
        names = [name for maps in sets for name in maps.file_names(prefix)]
        targets.remove_earlier(request, result.fit.model, [*names, *(path.name for path in job.inputs.files.values())])
    total, facts, numbers = sum(map(len, sets)), describe.sidecar_facts(run), itertools.count(1)

    def count() -> None:
        progress("write", next(numbers), total)

    written = []
    for maps in sets:
        written += outputs.write_maps(request.out, prefix, maps, job.inputs.image, facts, count)
    return written


def _map_sets(job: Job, result: Result) -> list[outputs.MapSet]:
    """The maps of kernels and FODs, and what is said of their models."""
    request, fit, fods = job.request, result.fit, result.fods
    about = sidecars.about_model(fit.model.name, job.loaded.description, job.loaded.url)
    sets = [outputs.MapSet(fit.model.name, fit.maps(), fit.units, fit.sd, about)]
    if fods is not None:
        lobes = f"{request.fod.capitalize()} lobes, convolved with the kernels of a fit: {about['Description']}"
        details = {"Density": request.fod, "Fibres": request.n_fibres}
        about = sidecars.about_model(fods.model.name, lobes, job.loaded.url, **details)
        sets.append(outputs.MapSet(fods.model.name, fods.maps(), {}, fods.sd, about))
    return sets


def _write_report(job: Job, result: Result, run: dict[str, Any]) -> None:
    """Write report.html."""
    from ..report import page

    name = (job.request.prefix or "").rstrip("_") or job.request.dwi.name
    title = f"{name}: {result.fit.model.name} maps"
    text = page.make_page(title, result.fit, result.fods, job.inputs.mask, job.inputs.image.affine, run)
    nifti.write_bytes(targets.report(job.request), text.encode("utf-8", "backslashreplace"))


@contextmanager
def _removed_if_it_fails(folder: Path) -> Iterator[None]:
    """Remove a folder that is not there yet, if what is done inside fails before it has written anything."""
    is_new = not folder.exists()
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # it is not empty, or was never made
                folder.rmdir()
        raise


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap for a stage."""
        now = time.perf_counter()
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + now - self._last, 3)
        self._last = now
