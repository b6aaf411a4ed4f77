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

from . import __version__, catalogue, masks, outputs
from .acquisition import Acquisition
from .errors import InputError, JaxsmtError, JaxsmtWarning, ResourceError
from .io import gradients, nifti, sidecar
from .means import MeansAccumulator

if TYPE_CHECKING:
    from .fitting import Fit
    from .fods import FodFit

FOD_MAPS = tuple(outputs.FOD_DESCRIPTIONS)

# Results of a kernel fit, of whichever model, that are in memory.
_MAPS_IN_MEMORY = 12
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
    fod: str = "none"
    fibres: int | str | None = None  # None: 1
    spherical_mean: str = "sh"
    s0: str = "fit"
    prefix: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    b_unit: str = "s/mm2"
    b0_threshold: float = 50.0
    overwrite: bool = False
    report: bool = True

    @property
    def entry(self) -> catalogue.Entry:
        """The model."""
        return catalogue.find(self.model)

    @property
    def n_fibres(self) -> int | str:
        return 1 if self.fibres is None else self.fibres


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
    fods: FodFit | None
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
    if request.fod == "none" and request.fibres is not None:
        raise InputError("--fibres without --fod", fix="add --fod watson or --fod bingham")
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
        entry = request.entry
        acquisition.require(entry.shells, entry.name)
        if entry.file is not None:
            files["model"] = entry.file
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
    """The files that the fit will write; the folder is made if it is missing.

    Raises:
        InputError: they exist and may not be overwritten, or the prefix is no plain name.
        OutputError: the folder cannot be written.
    """
    prefix = _prefix(request)
    if Path(prefix + "x").name != prefix + "x":
        raise InputError(f"the prefix {prefix!r} is not a plain name", fix="leave out folders; they belong in -o")
    model = request.entry
    names = outputs.names(prefix, model.name, model.maps)
    if request.fod != "none":
        names += outputs.names(prefix, model.name + request.fod, FOD_MAPS)
    names = [*names, f"{prefix}run.json", *(["report.html"] if request.report else [])]
    taken = [n for n in names if (request.out / n).exists()]
    if taken and not request.overwrite:
        raise InputError(
            f"{taken[0]} exists" + (f", and {len(taken) - 1} more outputs" if len(taken) > 1 else ""),
            file=request.out,
            fix="--overwrite replaces them; or choose another folder or --prefix",
        )
    outputs.make_folder(request.out)
    return [request.out / n for n in names]


def _prefix(request: Request) -> str:
    return request.prefix if request.prefix is not None else sidecar.default_prefix(request.dwi)


def memory_estimate(request: Request, inputs: Inputs) -> int:
    """Bytes for the volumes in flight, the shells' means and the maps of a fit; for FODs all voxels inside."""
    voxels, inside, shells = inputs.mask.size, int(inputs.mask.sum()), len(inputs.acquisition.shells)
    item = inputs.image.dtype.itemsize
    total = 3 * voxels * item + 8 * shells * (voxels + inside) + 4 * _MAPS_IN_MEMORY * (voxels + inside)
    if request.fod != "none":
        lobes = 3 if request.fibres == "auto" else int(request.n_fibres)
        total += inside * inputs.image.shape[3] * item + 4 * (voxels + inside) * (60 + 10 * lobes) + 2**29
    return total


def expected_errors(request: Request, inputs: Inputs) -> list[tuple[str, float, str]]:
    """Name, expected standard deviation and unit of each parameter of the model; warns of those hardly determined."""
    from . import uncertainty

    model = request.entry.build()
    with collected_warnings() as texts:
        uncertainty.require_determined(model, inputs.acquisition)
    found = uncertainty.expected_sd(model, inputs.acquisition, s0=request.s0)
    inputs.warnings.extend(texts)
    return [(name, sd, " µm²/ms" if model.units.get(name) == "um2/ms" else "") for name, sd in found.items()]


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
    with collected_warnings() as texts, ThreadPoolExecutor(3) as pool:
        compiling = pool.submit(_load_and_compile, request, inputs.acquisition)
        compiling_fods = pool.submit(_load_and_compile_fods, request, inputs.acquisition)
        hashing = pool.submit(lambda: {key: sidecar.sha256(path) for key, path in inputs.files.items()})
        means, signal = _stream(request, inputs, progress)
        clock.lap("read")
        if request.report:  # its libraries load while the compiler works
            from .report import html, maps  # noqa: F401
        fitter = compiling.result()
        clock.lap("wait for compilation")
        fit = _fit(fitter, means, inputs.mask, progress)
        clock.lap("fit")
        fods = None
        if signal is not None:
            fod_fitter = compiling_fods.result()
            clock.lap("wait for compilation of the FODs")
            fods = _fit_fods(request, fod_fitter, fit, signal, inputs, progress)
            clock.lap("fit FODs")
        hashes = hashing.result()
    notes = inputs.warnings + texts + _status_warnings(fit, "")
    if fods is not None:
        notes += _status_warnings(fods, "FODs: ", (_status().NOT_CONVERGED,))
    run = _describe(request, inputs, fit, fods, fitter.device, hashes, notes, command)
    run_json, report = next(p for p in paths if p.name.endswith("run.json")), request.out / "report.html"
    if request.overwrite:  # no summary of an earlier fit may stand beside the new maps
        for path in (run_json, report):
            path.unlink(missing_ok=True)
        _remove_other_fods(request, paths)
    _write_maps(request, inputs.image, fit, fods, run, progress)
    clock.lap("write")
    if request.report:
        _write_report(request, inputs, fit, fods, run, clock.seconds)
        clock.lap("report")
    run["timings_s"] = clock.seconds
    nifti.write_bytes(run_json, sidecar.to_json(run))
    return Outcome(fit, fods, paths, run)


def _load_and_compile(request: Request, acquisition: Acquisition):
    from . import engine

    fitter = engine.MeansFitter(
        request.entry.build(),
        acquisition,
        fit_s0=request.s0 == "fit",
        dtype=request.dtype,
        device=engine.find_device(request.device),
    )
    fitter.compile()
    return fitter


def _load_and_compile_fods(request: Request, acquisition: Acquisition):
    if request.fod == "none":
        return None
    from . import engine, fods

    device, counts = engine.find_device(request.device), fods.lobe_counts(request.n_fibres)
    fitter = fods.FodFitter(request.entry.build(), acquisition, request.fod, counts, dtype=request.dtype, device=device)
    fitter.compile()
    return fitter


def _stream(request: Request, inputs: Inputs, progress: Progress) -> tuple[np.ndarray, np.ndarray | None]:
    """(shells, voxels in the mask) spherical means and, for FODs, (volumes, voxels in the mask) data as stored.

    Voxels in file (Fortran) order.
    """
    image, n = inputs.image, inputs.image.shape[3]
    inside = inputs.mask.ravel(order="F")
    means = MeansAccumulator(inputs.acquisition.weights, inside.size)
    signal = None
    if request.fod != "none":
        try:
            signal = np.empty((n, int(inside.sum())), image.dtype)
        except MemoryError:
            raise ResourceError(
                "the voxels inside the mask do not fit into memory", fix="a tighter mask, or --fod none"
            ) from None
    for i, volume in enumerate(nifti.read_volumes(image)):
        means.add(i, volume)
        if signal is not None:
            np.compress(inside, volume, out=signal[i])
        progress("read", i + 1, n)
    # The weights of a shell sum to 1, so scaling its mean scales its volumes.
    with np.errstate(invalid="ignore", over="ignore"):
        return means.sums[:, inside] * image.slope + image.inter, signal


def _fit(fitter, means: np.ndarray, mask: np.ndarray, progress: Progress) -> Fit:
    from .fitting import assemble

    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress("fit", done, means.shape[1])

    for values in fitter.maps:
        if values.shape != mask.shape:
            raise InputError(
                f"a map of shape {values.shape} in the model for {mask.shape}", fix="give that of the series"
            )
    fitter.model.space.check(mask)
    given = [values.ravel(order="F")[mask.ravel(order="F")] for values in fitter.maps]
    return assemble(fitter, fitter(means, tell, given=given), mask, order="F")


def _fit_fods(request: Request, fitter, fit: Fit, signal: np.ndarray, inputs: Inputs, progress: Progress) -> FodFit:
    slope, inter = inputs.image.slope, inputs.image.inter

    def rows(index) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            return signal[:, index].T * slope + inter

    model = fit.fod_model(request.fod, request.n_fibres)
    return fitter(model, rows, inputs.mask, order="F", progress=lambda done, total: progress("fit FODs", done, total))


def _status():
    from .solvers import Status

    return Status


def _status_warnings(fit: Fit | FodFit, what: str, which=None) -> list[str]:
    status = _status()
    said = {
        status.NOT_CONVERGED: "did not converge",
        status.NO_SIGNAL: "have no usable signal (b = 0 mean or S0 not positive)",
        status.NON_FINITE: "have non-finite values",
    }
    counts = ((fit.count(code), text) for code, text in said.items() if which is None or code in which)
    return [f"{what}{count} voxels {text}; see the status map" for count, text in counts if count]


def _describe(request, inputs: Inputs, fit: Fit, fods: FodFit | None, device, hashes, notes, command) -> dict:
    status = _status()

    versions = {name: __import__(name).__version__ for name in ("jax", "jaxlib", "numpy", "nibabel")}
    run = {
        "command": list(command),
        "software": {"name": "jaxsmt", "version": __version__},
        "versions": {**versions, "python": platform.python_version()},
        "device": f"{device.platform}: {device.device_kind}",
        "inputs": {key: {"path": str(path), "sha256": hashes[key]} for key, path in inputs.files.items()},
        "model": request.entry.name,
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
        "voxels": {code.name.lower(): fit.count(code) for code in status},
        "warnings": list(notes),
    }
    if request.entry.function is not None:
        run["inputs"]["model"]["function"] = request.entry.function
    if fods is not None:
        run["options"] |= {"fod": request.fod, "fibres": request.n_fibres}
        run["fod_voxels"] = {code.name.lower(): fods.count(code) for code in status}
        fitted = np.isin(fods.status, (status.CONVERGED, status.AT_BOUND, status.NOT_CONVERGED))
        counts = np.bincount(fods.n_fibres[fitted], minlength=1)
        run["fibres"] = {str(n): int(count) for n, count in enumerate(counts) if count}
    return run


def _remove_other_fods(request: Request, paths: list[Path]) -> None:
    """Maps of an earlier fit's FODs under the same prefix would seem to belong to the new kernels."""
    for family in ("watson", "bingham"):
        for name in outputs.names(_prefix(request), request.entry.name + family, FOD_MAPS):
            if request.out / name not in paths:
                for path in (request.out / name, outputs.sidecar_path(request.out / name)):
                    path.unlink(missing_ok=True)


def _write_maps(request, image: nifti.Image, fit: Fit, fods: FodFit | None, run: dict, progress: Progress) -> None:
    name = request.entry.name
    sets: list = [(name, fit.maps(), outputs.KERNEL_DESCRIPTIONS, fit.units)]
    if fods is not None:
        sets.append((name + request.fod, fods.maps(), outputs.FOD_DESCRIPTIONS, {}))
    total, done = sum(len(maps) for _, maps, _, _ in sets), 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress("write", done, total)

    for model, maps, descriptions, units in sets:
        facts = {key: run[key] for key in ("software", "inputs", "options", "warnings")} | {"model": model}
        outputs.write_maps(request.out, _prefix(request), model, maps, descriptions, units, image, facts, tell)


def _write_report(request, inputs: Inputs, fit: Fit, fods: FodFit | None, run: dict, seconds: dict) -> None:
    from .report import glyphs, html, maps

    every, model = fit.maps(), request.entry
    shown = [name for name in model.maps if name not in ("fapow3", "mse")]
    panels = shown[:4], shown[4:]
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
    figures = [("parameter maps", maps.draw_maps([("", {n: every[n] for n in row}) for row in panels], inputs.mask))]
    if fods is not None:
        count = [(f"{n} fibres", voxels) for n, voxels in run["fibres"].items()]
        tables.insert(2, ("FODs", [(k.replace("_", " "), v) for k, v in run["fod_voxels"].items()] + count))
        affine = inputs.image.affine
        figures.append(("fibre orientations", glyphs.draw_directions(fods, inputs.mask, affine)))
        figures.append(("FOD glyphs", glyphs.draw_glyphs(fods, every[model.background], inputs.mask, affine)))
    page = html.render(f"{request.dwi.name}: {model.name} maps", figures, tables, run["warnings"])
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
