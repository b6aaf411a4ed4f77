"""From files to files: what `jaxsmt fit` does, without a command line."""

from __future__ import annotations

import itertools
import json
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition import plausibility
from ..acquisition.background import Background, background_of
from ..acquisition.volumes import VolumeResiduals, residuals_of_volumes
from ..errors import JaxsmtWarning
from ..files import nifti, outputs, sidecars
from ..files.voxels import InFile, InMemory, VoxelData
from . import catalogue, describe, directions, finished, memory, reading, targets
from .inputs import Inputs, collected_warnings, naming, open_inputs
from .reading import Progress
from .request import Request
from .screen import COMPILE
from .unfinished import Unfinished
from .users_models import blamed

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.inputs import Voxels
    from ..fitting.pipeline import Pipeline, Result
    from ..fitting.results import Fit


@dataclass(frozen=True)
class Job:
    """A fit that is ready to run: its inputs have been checked, its model is loaded.

    voxels: those inside the mask, in the order of the file. pipeline: of these voxels alone. memory: how much it takes.
    """

    request: Request
    inputs: Inputs
    loaded: catalogue.LoadedModel
    voxels: Voxels
    pipeline: Pipeline
    memory: memory.Plan


@dataclass(frozen=True)
class Outcome:
    """What a fit wrote, and the facts of the run.

    fit, fods: of the voxels inside the mask. files: the maps. report: the page, if there is one.
    """

    fit: Fit
    fods: FodFit | None
    voxels: Voxels
    files: list[Path]
    run: dict[str, Any]
    report: Path | None = None


def run_fit(request: Request, progress: Progress = lambda *_: None, command: Sequence[str] = ()) -> Outcome:
    """Read, fit, write maps, sidecars, run.json and the report.

    The series is read once, volume by volume, into the shells' means, while JAX is loaded and the programs of the fit
    are compiled. Nothing is fitted before the stream has proved sound to its end. Nothing is written before the fit is
    complete, but what the same command needs to go on if the run is stopped. Maps and run.json appear together, then
    the page.

    Raises:
        JaxsmtError: bad input, a folder that cannot be written, or too little memory. A new folder is removed again.
    """
    clock = _Clock()
    inputs = open_inputs(request)
    unfinished = Unfinished(request.out, request.file_prefix)
    with outputs.removed_if_empty(request.out), blamed(inputs.model.file), reading.Reader(inputs) as reader:
        with collected_warnings() as texts:
            job = prepare(request, inputs)
            outputs.check_prefix(request.file_prefix)
            outputs.make_folder(request.out)
            if job.memory.predicted > job.memory.limit:
                warnings.warn(f"it takes {job.memory}", JaxsmtWarning, stacklevel=2)
            clock.lap("check")
        with unfinished.locked(), unfinished.running():
            model, uncertainty = job.loaded.model, inputs.settings.uncertainty
            targets.check_targets(request, model, uncertainty, inputs.files, unfinished.published)
            with collected_warnings() as more:
                targets.tell_of_others(request, model)
                result, hashes, sample = _fit(job, reader, unfinished, progress, clock)
            run = describe.run_facts(request, inputs, result.fit, result.fods, hashes, command)
            run["memory"] = job.memory.facts()
            of_result = [*describe.status_warnings(result.fit, result.fods), *describe.misfit_warnings(result.fit)]
            of_result += directions.direction_warnings(inputs, result.fods)
            run["warnings"] = [*inputs.warnings, *texts, *more, *of_result]
            files = _write(job, result, sample, run, unfinished, progress, clock)
    page = targets.path_of_page(request) if "report" in run else None
    return Outcome(result.fit, result.fods, job.voxels, files, run, page)


def _write(
    job: Job,
    result: Result,
    sample: plausibility.Sample,
    run: dict[str, Any],
    unfinished: Unfinished,
    progress: Progress,
    clock: _Clock,
) -> list[Path]:
    """Write maps and run.json, put them where they belong when all are there, then the page; returns the maps' paths.

    The page is drawn while the maps are written.
    """
    request, pool = job.request, ThreadPoolExecutor(1)
    run["timings_s"] = clock.seconds
    try:
        so_far = {**run, "timings_s": dict(clock.seconds)}
        residuals = None if request.no_report else pool.submit(_residuals, job, result, sample, so_far)
        drawing = None if residuals is None else pool.submit(_draw, job, result, so_far, residuals)
        with unfinished.publishing() as folder:
            files = _write_maps(job, result, run, folder, progress)
            run["maps"] = [path.name for path in files]
            if residuals is not None and residuals.exception() is None:
                run |= residuals.result()[1]
            clock.lap("write")
            finished.write_facts(folder / targets.path_of_run(request).name, run)
            if request.overwrite:
                targets.remove_earlier(request, result.fit.model, [path.name for path in job.inputs.files.values()])
        if drawing is not None:
            _write_page(request, drawing, run)
            clock.lap("write")
            finished.write_facts(targets.path_of_run(request), run)
    finally:  # a stopped run does not wait for pictures
        pool.shutdown(wait=False, cancel_futures=True)
    return [request.out / path.name for path in files]


def prepare(request: Request, inputs: Inputs) -> Job:
    """Load the model, and check all that can be known without the data. Loads JAX.

    Raises:
        InputError: the model cannot be loaded, or the acquisition does not determine it.
        ResourceError: there is no such device.
    """
    loaded = catalogue.load(inputs.model)
    from ..batch import cache
    from ..batch.runner import find_devices
    from ..fitting.inputs import Voxels, of_voxels
    from ..fitting.pipeline import Pipeline
    from ..fitting.results import FodModel

    if request.no_cache:
        cache.turn_off()
    settings = replace(inputs.settings, device=find_devices(request.device))
    voxels = Voxels(inputs.mask, "F")
    with naming(inputs.files):
        spherical = of_voxels(loaded.model, voxels)
        model = spherical if request.fod == "none" else FodModel(spherical, request.fod, request.n_fibres)
        pipeline = Pipeline(model, inputs.acquisition, settings, np.ones(voxels.count, bool), space=voxels)
    return Job(request, inputs, loaded, voxels, pipeline, _memory_plan(request, inputs, pipeline, voxels.count))


def _fit(
    job: Job, reader: reading.Reader, unfinished: Unfinished, progress: Progress, clock: _Clock
) -> tuple[Result, dict[str, str], plausibility.Sample]:
    """The result, the hashes of all inputs, and the data of some voxels.

    Reading, hashing and compiling go on at the same time.

    Raises:
        ResourceError: this machine's compiler computes wrong numbers.
    """
    from ..batch import processors, selftest
    from ..fitting.pipeline import Result

    inputs, pipeline = job.inputs, job.pipeline
    pool = ThreadPoolExecutor(3)
    # One more than there are processors, as Python traces one program at a time.
    compiler = ThreadPoolExecutor(processors.count() + 1)
    try:
        hashing = {name: pool.submit(sidecars.sha256, path) for name, path in inputs.files.items()}
        if unfinished.exists:  # is it this run?
            _begin(job, unfinished, hashing)
        sound = pool.submit(selftest.require_sound, pipeline.settings.device)
        kernels, fods, uncertainty = ([compiler.submit(each) for each in programs] for programs in pipeline.programs)
        if not job.request.no_report:
            pool.submit(_load_report)
        means, data, sample = reader.into(_store(job), progress)
        for text in plausibility.doubts_of(sample, inputs.acquisition, inputs.settings.given_sigma):
            warnings.warn(text, JaxsmtWarning, stacklevel=2)
        clock.lap("read")
        hashes, slab = _begin(job, unfinished, hashing)
        progress(COMPILE, 0, 1)
        sound.result()
        _wait(kernels)
        if job.memory.data == memory.Place.FILE:
            _wait([*fods, *uncertainty])
            memory.release()
        progress(COMPILE, 1, 1)
        clock.lap("wait for compilation")

        with _kept(job, unfinished), closing(data):
            rows = reading.rows_of(data, inputs.image)
            fitted = pipeline.fit_kernels(means, rows, progress, _background(job, sample))
            clock.lap("fit")
            if not all(compiling.done() for compiling in fods):
                progress(COMPILE, 0, 1)
                _wait(fods)
                memory.release()
                progress(COMPILE, 1, 1)
                clock.lap("wait for compilation of the FODs")
            slabs = pipeline.slabs(fitted, rows, slab, progress)
            result = Result.joined(memory.released(slabs), job.voxels.count)
        _wait([*fods, *uncertainty])  # so that they are kept for the next process, even those that no voxel needed
        clock.lap("fit" if result.fods is None else "fit FODs")
        return result, hashes, sample
    finally:  # a compiler at work is not waited for
        for each in (pool, compiler):
            each.shutdown(wait=False, cancel_futures=True)


def _wait(futures: Iterable[Future[Any]]) -> None:
    """Wait for each; raises what one of them raised."""
    for future in futures:
        future.result()


def _background(job: Job, sample: plausibility.Sample) -> Background | None:
    """What is outside the mask, if σ is estimated."""
    if not job.pipeline.estimates_sigma or not sample.outside.size:
        return None
    return background_of(sample.outside, job.inputs.acquisition, job.pipeline.settings.channels)


def _begin(job: Job, unfinished: Unfinished, hashing: Mapping[str, Future[str]]) -> tuple[dict[str, str], int]:
    """Begin the run, or go on with one that was stopped; returns the hashes of the inputs, and a slab's voxels."""
    hashes = {name: future.result() for name, future in hashing.items()}
    asked = describe.asked_facts(job.request, job.inputs, hashes)
    machine = describe.machine_facts(job.pipeline.settings)
    return hashes, unfinished.begin(asked, machine, job.memory.slab, job.request.overwrite)


def _kept(job: Job, unfinished: Unfinished) -> AbstractContextManager[None]:
    """While what programs compute is kept for a run that goes on; spherical means alone are fitted again as fast."""
    from ..batch.journal import Journal

    return Journal(unfinished.folder).recording() if job.pipeline.needs_volumes else nullcontext()


def _load_report() -> None:
    """Load the report's libraries, while the compiler works."""
    from ..report import page  # noqa: F401


def _store(job: Job) -> VoxelData:
    """Where the data of the voxels go: into memory, or into a file if it is too small; nowhere if nobody needs them."""
    image, voxels = job.inputs.image, job.voxels.count
    if job.memory.data == memory.Place.NOWHERE:
        return InMemory(0, voxels, image.dtype)
    if job.memory.data == memory.Place.MEMORY:
        return InMemory(image.shape[3], voxels, image.dtype)
    return InFile(image.shape[3], voxels, image.dtype, job.request.scratch or job.request.out)


def _memory_plan(request: Request, inputs: Inputs, pipeline: Pipeline, voxels: int) -> memory.Plan:
    """How much memory the fit takes, and where the voxels' data go."""
    shape, footprint = inputs.image.shape, pipeline.footprint
    itemsize, each = inputs.image.dtype.itemsize, np.dtype(inputs.settings.dtype).itemsize
    means = 8 * len(inputs.acquisition.shells)
    kernels, fods, uncertainty = map(len, pipeline.programs)
    needs = memory.Needs(
        reading=memory.AHEAD * itemsize * inputs.mask.size + means * voxels,
        kernels=each * footprint.kernels + means,
        results=each * footprint.results + means,
        slab=each * footprint.slab,
        data=voxels * shape[3] * itemsize if pipeline.needs_volumes else 0,
        programs=memory.ProgramCounts(kernels, fods, uncertainty, pipeline.lobes, pipeline.integrals),
    )
    return memory.plan(needs, voxels, memory.limit(request.memory_limit))


def _write_maps(job: Job, result: Result, run: dict[str, Any], folder: Path, progress: Progress) -> list[Path]:
    """Write the maps of kernels and FODs with their sidecars; returns the paths of the maps."""
    prefix, sets = job.request.file_prefix, _map_sets(job, result)
    total, facts, written_so_far = sum(map(len, sets)), describe.sidecar_facts(run), itertools.count(1)

    def count() -> None:
        progress("write", next(written_so_far), total)

    written = []
    for maps in sets:
        written += outputs.write_maps(folder, prefix, maps, job.inputs.image, facts, count)
    return written


def _map_sets(job: Job, result: Result) -> list[outputs.MapSet]:
    """The maps of kernels and FODs, and what is said of their models."""
    request, fit, fods = job.request, result.fit, result.fods
    about = sidecars.about_model(fit.model.name, job.loaded.description, job.loaded.url)
    inside = job.inputs.mask
    sets = [outputs.MapSet(fit.model.name, fit.maps(), fit.units, fit.sd, about, inside)]
    if fods is not None:
        lobes = f"{request.fod.capitalize()} lobes, convolved with the kernels of a fit: {about['Description']}"
        details = {"Density": request.fod, "Fibres": request.n_fibres}
        about = sidecars.about_model(fods.model.name, lobes, job.loaded.url, **details)
        sets.append(outputs.MapSet(fods.model.name, fods.maps(), {}, fods.sd, about, inside))
    return sets


def _residuals(
    job: Job, result: Result, sample: plausibility.Sample, run: dict[str, Any]
) -> tuple[VolumeResiduals | None, dict[str, Any]]:
    """What each volume is less what the others tell, and what run.json says of residuals."""
    volumes = residuals_of_volumes(sample, job.inputs.acquisition)
    return volumes, describe.residual_facts(run, result.fit, volumes)


def _draw(job: Job, result: Result, run: dict[str, Any], residuals: Future[tuple[Any, dict[str, Any]]]) -> bytes:
    """The page."""
    volumes, more = residuals.result()
    facts = json.loads(sidecars.to_json(run | more))  # as the page is drawn again from the file
    return finished.draw(job.request, job.inputs, result.fit, result.fods, volumes, facts)


def _write_page(request: Request, drawing: Future[bytes], run: dict[str, Any]) -> None:
    """Write the page when it is drawn, and name it in the facts of the run; they have a warning if it cannot be."""
    try:
        content = drawing.result()
    except Exception as error:  # of a library that draws, whatever it is: pictures must never cost maps
        run["warnings"] = [*run["warnings"], f"no report: {type(error).__name__}: {error}"]
        return
    nifti.write_bytes(targets.path_of_page(request), content)
    run["report"] = targets.page_from_maps(request)


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
