"""From files to files: what `jaxsmt fit` and `jaxsmt check` do, without a command line."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__, masks
from .acquisition import Acquisition
from .errors import InputError, JaxsmtError, JaxsmtWarning, OutputError
from .io import gradients, nifti, sidecar
from .means import MeansAccumulator

if TYPE_CHECKING:
    from .fitting import Fit

#: Maps that a fit of the SMT model writes, in the order in which reports show them.
SMT_MAPS = ("lambda_par", "lambda_perp", "fraction", "md", "fa", "fapow3", "s0", "mse", "r2", "status")
#: Shells above b = 0 that the SMT model needs, known here without loading JAX.
SMT_SHELLS = 2

#: `progress(stage, done, total)`: told how far a stage is, in its own units.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Request:
    """What to fit and how; the names are those of the command line's options."""

    dwi: Path
    out: Path
    bval: Path | None = None
    bvec: Path | None = None
    grad: Path | None = None
    mask: Path | None = None
    model: str = "smt"
    spherical_mean: str = "sh"
    s0: str = "fit"
    prefix: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    b_unit: str = "s/mm2"
    b0_threshold: float = 50.0
    overwrite: bool = False
    report: bool = True


@dataclass(frozen=True)
class Inputs:
    """Inputs that have been opened and found fit to use; the series itself is not yet read."""

    image: nifti.Image
    acquisition: Acquisition
    mask: np.ndarray
    files: dict[str, Path]
    warnings: list[str]


@dataclass
class Outcome:
    """What a fit wrote, and the facts of the run."""

    fit: Fit
    files: list[Path]
    run: dict[str, Any] = field(default_factory=dict)


@contextmanager
def collected_warnings():
    """A list that receives the text of each JaxsmtWarning raised inside."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JaxsmtWarning)
        try:
            yield texts
        finally:
            others = [w for w in caught if not issubclass(w.category, JaxsmtWarning)]
            texts.extend(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, JaxsmtWarning)))
    for other in others:
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


def open_inputs(request: Request) -> Inputs:
    """Open and check everything but the series' data. Reads the mask; does not load JAX.

    Raises:
        InputError: with the file, the fact and the fix.
    """
    with collected_warnings() as texts:
        image = nifti.open_image(request.dwi)
        if len(image.shape) != 4 or image.shape[3] < 2:
            raise InputError(
                f"has dimensions {image.shape}", file=image.path, fix="a diffusion series has four: x, y, z, volumes"
            )
        files, bvals, bvecs = _read_gradients(request, image)
        if not len(bvals) == len(bvecs) == image.shape[3]:
            raise InputError(
                f"{image.shape[3]} volumes, {len(bvals)} b-values, {len(bvecs)} directions",
                file=image.path,
                fix="all three counts must agree",
            )
        acquisition = Acquisition(
            bvals,
            bvecs,
            b0_threshold=request.b0_threshold,
            spherical_mean=request.spherical_mean,
            b_unit=request.b_unit,
        )
        acquisition.require(SMT_SHELLS, request.model)
        mask = _read_mask(request.mask, image)
        if request.mask is not None:
            files["mask"] = request.mask
    return Inputs(image, acquisition, mask, {"dwi": image.path, **files}, texts)


def _read_gradients(request: Request, image: nifti.Image):
    if request.grad is not None:
        if request.bval is not None or request.bvec is not None:
            raise InputError("both --grad and --bval/--bvec are given", fix="give one of them")
        return {"grad": request.grad}, *gradients.read_mrtrix(request.grad)
    stem = image.path.with_name(image.path.name.removesuffix(".gz").removesuffix(".nii"))
    bval = request.bval or stem.with_name(stem.name + ".bval")
    bvec = request.bvec or stem.with_name(stem.name + ".bvec")
    bvals, bvecs = gradients.read_bval(bval), gradients.read_bvec(bvec)
    return {"bval": bval, "bvec": bvec}, bvals, gradients.fsl_to_scanner(bvecs, image.affine)


def _read_mask(path: Path | None, image: nifti.Image) -> np.ndarray:
    """Voxels to fit; all without a mask."""
    space = image.shape[:3]
    if path is None:
        warnings.warn("no mask: every voxel is fitted, those outside the head too", JaxsmtWarning, stacklevel=2)
        return np.ones(space, bool)
    mask_image = nifti.open_image(path)
    shape = mask_image.shape
    if shape[:3] != space or any(d != 1 for d in shape[3:]):
        raise InputError(f"the mask has dimensions {shape}, the series {space}", file=path, fix="use one of its grid")
    corners = np.array([[i, j, k, 1] for i in (0, space[0]) for j in (0, space[1]) for k in (0, space[2])]).T
    apart = np.abs((mask_image.affine - image.affine) @ corners)[:3].max()
    if apart > 0.1 * np.linalg.norm(image.affine[:3, :3], axis=0).min():
        raise InputError(
            f"the mask's affine puts its voxels up to {apart:.3g} mm away from the series'",
            file=path,
            fix="use a mask in the space of the series",
        )
    return masks.inside(nifti.read_array(mask_image).reshape(space), os.fspath(path))


def check_outputs(request: Request) -> list[Path]:
    """The maps that the fit will write; the folder is made if it is missing.

    Raises:
        InputError: they exist and may not be overwritten, or the prefix is no plain name.
        OutputError: the folder cannot be written.
    """
    prefix = request.prefix if request.prefix is not None else sidecar.default_prefix(request.dwi)
    if Path(prefix + "x").name != prefix + "x":
        raise InputError(f"the prefix {prefix!r} is not a plain name", fix="leave out folders; they belong in -o")
    names = [f"{sidecar.map_name(prefix, request.model, p)}.nii.gz" for p in SMT_MAPS]
    summaries = [f"{prefix}run.json", *(["report.html"] if request.report else [])]
    taken = [n for n in (*names, *summaries) if (request.out / n).exists()]
    if taken and not request.overwrite:
        raise InputError(
            f"{taken[0]} exists" + (f", and {len(taken) - 1} more outputs" if len(taken) > 1 else ""),
            file=request.out,
            fix="--overwrite replaces them; or choose another folder or --prefix",
        )
    make_folder(request.out)
    return [request.out / n for n in (*names, *summaries)]


def make_folder(path: Path) -> None:
    """Make a folder for outputs, or raise OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(error.strerror or str(error), file=path, fix="choose a folder that can be made") from None
    if not os.access(path, os.W_OK):
        raise OutputError("cannot be written", file=path, fix="choose a folder that can be written")


def memory_estimate(inputs: Inputs) -> int:
    """Bytes for the volumes in flight, the shells' means and the maps of a fit."""
    voxels, inside, shells = inputs.mask.size, int(inputs.mask.sum()), len(inputs.acquisition.shells)
    in_flight = 3 * voxels * inputs.image.dtype.itemsize
    means = 8 * shells * (voxels + inside)
    return in_flight + means + 4 * len(SMT_MAPS) * (voxels + inside)


def run_fit(request: Request, progress: Progress = lambda *_: None, command: Sequence[str] = ()) -> Outcome:
    """Read, fit, write maps, sidecars, run.json and the report.

    The series is read once, volume by volume, into the shells' means, while the fit is compiled.
    Nothing is fitted before the stream has proved sound to its end, nothing is written before the
    fit is complete.
    """
    clock = _Clock()
    inputs = open_inputs(request)
    new_folder = not request.out.exists()
    paths = check_outputs(request)
    clock.lap("check")
    try:
        return _run_fit(request, inputs, paths, clock, progress, command)
    except JaxsmtError:
        if new_folder:
            with suppress(OSError):  # it is empty if nothing was written
                request.out.rmdir()
        raise


def _run_fit(request, inputs: Inputs, paths: list[Path], clock: _Clock, progress: Progress, command) -> Outcome:
    with collected_warnings() as texts, ThreadPoolExecutor(2) as pool:
        compiling = pool.submit(_load_and_compile, request, inputs.acquisition)
        hashing = pool.submit(lambda: {key: sidecar.sha256(path) for key, path in inputs.files.items()})
        means = _stream_means(inputs, progress)
        clock.lap("read")
        if request.report:  # its libraries load while the compiler works
            from .report import html, maps  # noqa: F401
        fitter = compiling.result()
        clock.lap("wait for compilation")
        fit = _fit(fitter, means, inputs.mask, progress)
        clock.lap("fit")
        hashes = hashing.result()
    notes = inputs.warnings + texts + _status_warnings(fit)
    run = _describe(request, inputs, fit, fitter.device, hashes, notes, command)
    if request.overwrite:  # no summary of an earlier fit may stand beside the new maps
        for path in (paths[len(SMT_MAPS)], request.out / "report.html"):
            path.unlink(missing_ok=True)
    _write_maps(paths, inputs.image, fit, run, progress)
    clock.lap("write")
    if request.report:
        _write_report(request, inputs, fit, run, clock.seconds)
        clock.lap("report")
    run["timings_s"] = clock.seconds
    nifti.write_bytes(paths[len(SMT_MAPS)], sidecar.to_json(run))
    return Outcome(fit, paths, run)


def _load_and_compile(request: Request, acquisition: Acquisition):
    from . import engine, models

    fitter = engine.MeansFitter(
        models.smt(),
        acquisition,
        fit_s0=request.s0 == "fit",
        dtype=request.dtype,
        device=engine.find_device(request.device),
    )
    fitter.compile()
    return fitter


def _stream_means(inputs: Inputs, progress: Progress) -> np.ndarray:
    """(shells, voxels in the mask) spherical means, voxels in file (Fortran) order."""
    image, n = inputs.image, inputs.image.shape[3]
    means = MeansAccumulator(inputs.acquisition.weights, int(np.prod(image.shape[:3])))
    for i, volume in enumerate(nifti.read_volumes(image)):
        means.add(i, volume)
        progress("read", i + 1, n)
    # The weights of a shell sum to 1, so scaling its mean scales its volumes.
    with np.errstate(invalid="ignore", over="ignore"):
        return means.sums[:, inputs.mask.ravel(order="F")] * image.slope + image.inter


def _fit(fitter, means: np.ndarray, mask: np.ndarray, progress: Progress) -> Fit:
    from .fitting import assemble

    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress("fit", done, means.shape[1])

    return assemble(fitter.model, fitter(means, tell), mask, order="F")


def _maps(fit: Fit) -> dict[str, np.ndarray]:
    every = {**fit.parameters, **fit.derived, "s0": fit.s0, "mse": fit.mse, "r2": fit.r2, "status": fit.status}
    return {name: every[name] for name in SMT_MAPS}


def _status_warnings(fit: Fit) -> list[str]:
    from .solvers import Status

    said = {
        Status.NOT_CONVERGED: "did not converge",
        Status.NO_SIGNAL: "have no usable signal (b = 0 mean or S0 not positive)",
        Status.NON_FINITE: "have non-finite values",
    }
    counts = ((fit.count(status), text) for status, text in said.items())
    return [f"{count} voxels {text}; see the status map" for count, text in counts if count]


def _describe(request, inputs: Inputs, fit: Fit, device, hashes, notes, command) -> dict[str, Any]:
    from .solvers import Status

    versions = {name: __import__(name).__version__ for name in ("jax", "jaxlib", "numpy", "nibabel")}
    return {
        "command": list(command),
        "software": {"name": "jaxsmt", "version": __version__},
        "versions": {**versions, "python": platform.python_version()},
        "device": f"{device.platform}: {device.device_kind}",
        "inputs": {key: {"path": str(path), "sha256": hashes[key]} for key, path in inputs.files.items()},
        "model": request.model,
        "options": {"spherical_mean": request.spherical_mean, "s0": request.s0, "dtype": request.dtype},
        "shells": [
            {
                "b_s_per_mm2": round(1000 * shell.b, 3),
                "volumes": len(shell.volumes),
                "order": shell.order,
                "noise_amplification": round(shell.amplification, 6),
            }
            for shell in inputs.acquisition.shells
        ],
        "voxels": {status.name.lower(): fit.count(status) for status in Status},
        "warnings": list(notes),
    }


def _write_maps(paths: list[Path], image: nifti.Image, fit: Fit, run: dict, progress: Progress) -> None:
    common = {key: run[key] for key in ("software", "inputs", "model", "options", "warnings")}
    units = {**{p.name: p.unit for p in fit.model.parameters}, **fit.model.units}
    for i, (path, (name, values)) in enumerate(zip(paths, _maps(fit).items(), strict=False), start=1):
        values = values if name == "status" else values.astype(np.float32)
        facts = {"Description": sidecar.DESCRIPTIONS[name], **common}
        if units.get(name):
            facts["Units"] = units[name]
        nifti.write_image(path, values, like=image)
        nifti.write_bytes(path.with_name(path.name.removesuffix(".nii.gz") + ".json"), sidecar.to_json(facts))
        progress("write", i, len(SMT_MAPS))


def _write_report(request: Request, inputs: Inputs, fit: Fit, run: dict, seconds: dict[str, float]) -> None:
    from .report import html, maps

    every = _maps(fit)
    panels = (("lambda_par", "lambda_perp", "fraction", "md"), ("fa", "s0", "r2", "status"))
    tables = [
        ("Acquisition", [(f"shell {i}", str(shell)) for i, shell in enumerate(inputs.acquisition.shells)]),
        ("Voxels", [(name.replace("_", " "), count) for name, count in run["voxels"].items()]),
        ("Inputs", [(key, f"{entry['path']} (SHA-256 {entry['sha256']})") for key, entry in run["inputs"].items()]),
        (
            "Run",
            [
                ("command", " ".join(run["command"])),
                ("version", __version__),
                ("device", run["device"]),
                *((f"{stage}, s", f"{spent:.2f}") for stage, spent in seconds.items()),
            ],
        ),
    ]
    figure = maps.draw_maps([("", {name: every[name] for name in row}) for row in panels], inputs.mask)
    page = html.render(f"{request.dwi.name}: {request.model} maps", figure, tables, run["warnings"])
    nifti.write_bytes(request.out / "report.html", page.encode("utf-8", "backslashreplace"))


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now
