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
from .priors import NormalPrior

if TYPE_CHECKING:
    from .conditions import Conditions
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
    noise: str = "gaussian"
    sigma: str = "auto"  # or a number, or the path of a map
    uncertainty: bool = False
    prior: str | None = None  # "population", or a path
    grad_dev: Path | None = None
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
    sigma: Any = "auto"  # or a number, or a map
    grad_dev: np.ndarray | None = None  # (x, y, z, 3, 3), scanner axes
    prior: NormalPrior | None = None

    def conditions(self, request: Request) -> Conditions:
        from .conditions import Conditions

        return Conditions(request.noise == "rician", self.sigma, self.grad_dev, request.uncertainty)


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
        sigma, grad_dev, prior = _read_sigma(request, image, files), None, None
        if request.grad_dev is not None:
            files["grad_dev"] = request.grad_dev
            grad_dev = _read_grad_dev(request.grad_dev, image)
        if request.prior is not None:
            prior = NormalPrior.make(request.prior, entry.name) if request.prior == "population" else None
            if prior is None:
                files["prior"] = Path(request.prior)
                prior = NormalPrior.read(request.prior)
    return Inputs(image, acquisition, mask, {"dwi": image.path, **files}, texts, sigma, grad_dev, prior)


def _read_sigma(request: Request, image: nifti.Image, files: dict[str, Path]) -> Any:
    """ "auto", a number, or a map."""
    text = str(request.sigma)
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        files["sigma"] = Path(text)
        return _read_like(files["sigma"], image, "sigma map", ()).astype(float)
    if not 0 < value < np.inf:
        raise InputError(f"sigma is {text}", fix="the noise of one volume in units of the series, above 0")
    return value


def _read_grad_dev(path: Path, image: nifti.Image) -> np.ndarray:
    """L of gradients (I + L)g, (x, y, z, 3, 3), turned from FSL's axes, in which files have it, to the scanner's."""
    values = _read_like(path, image, "gradient deviation", (9,)).astype(np.float32)
    turn = gradients.fsl_to_scanner(np.eye(3), image.affine).T
    deviation = np.swapaxes(values.reshape(*values.shape[:3], 3, 3), -1, -2)  # stored column by column
    return turn @ deviation @ turn.T


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
    return masks.inside(_read_like(path, image, "mask", ()), os.fspath(path))


def _read_like(path: Path, image: nifti.Image, what: str, more: tuple[int, ...]) -> np.ndarray:
    """A map on the grid of the series, with `more` axes behind it."""
    space = image.shape[:3]
    other = nifti.open_image(path)
    shape = other.shape
    if shape[:3] != space or tuple(d for d in shape[3:] if d != 1) != more:
        also = f" and should have {more[0]} volumes" if more else ""
        raise InputError(
            f"the {what} has dimensions {shape}, the series {space}{also}", file=path, fix="use one of its grid"
        )
    corners = np.array([[i, j, k, 1] for i in (0, space[0]) for j in (0, space[1]) for k in (0, space[2])]).T
    apart = np.abs((other.affine - image.affine) @ corners)[:3].max()
    if apart > 0.1 * np.linalg.norm(image.affine[:3, :3], axis=0).min():
        raise InputError(
            f"the affine of the {what} puts its voxels up to {apart:.3g} mm away from the series'",
            file=path,
            fix="use one in the space of the series",
        )
    return nifti.read_array(other).reshape(*space, *more)


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
    sets = [(model.name, model.maps)] + ([(model.name + request.fod, FOD_MAPS)] if request.fod != "none" else [])
    names = [name for own, maps in sets for name in outputs.names(prefix, own, maps)]
    if request.uncertainty:
        names += [n for own, maps in sets for n in outputs.names(prefix, own, outputs.with_sd(maps), "sd")]
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
    if _needs_volumes(request, inputs):
        total += inside * inputs.image.shape[3] * item
    if request.fod != "none":
        lobes = 3 if request.fibres == "auto" else int(request.n_fibres)
        total += 4 * (voxels + inside) * (60 + 10 * lobes) + 2**29
    return total


def expected_errors(request: Request, inputs: Inputs) -> tuple[str, dict[str, list[tuple[str, float, float, str]]]]:
    """What noise is meant; and by tissue each parameter's name, typical value, expected standard deviation and unit.

    Warns of parameters that are hardly determined. Reads volumes as far as the first at b = 0 if σ is known.
    """
    from . import uncertainty

    model = request.entry.build()
    with collected_warnings() as texts:
        uncertainty.require_determined(model, inputs.acquisition)
    relative, snr = uncertainty.TYPICAL_SIGMA, "SNR 30"
    if not isinstance(inputs.sigma, str):
        relative = _relative_sigma(inputs)
        snr = f"SNR {1 / relative:.3g}"
    if request.noise == "rician":
        snr += " (Rician)"
    inputs.warnings.extend(texts)
    found = uncertainty.expected_sd(model, inputs.acquisition, relative, request.s0, request.noise == "rician")
    units = {name: " µm²/ms" if unit == "um2/ms" else "" for name, unit in model.units.items()}
    return snr, {
        tissue: [(name, value, sd, units.get(name, "")) for name, (value, sd) in each.items()]
        for tissue, each in found.items()
    }


def _relative_sigma(inputs: Inputs) -> float:
    """Median σ/S0 inside the mask, S0 as in the first volume at b = 0."""
    image, b0 = inputs.image, inputs.acquisition.b0
    assert b0 is not None
    wanted = int(b0.volumes.min())
    volume = next(volume for i, volume in enumerate(nifti.read_volumes(image)) if i == wanted)
    s0 = volume.reshape(inputs.mask.shape, order="F") * image.slope + image.inter
    ratio = (inputs.sigma / np.where(s0 > 0, s0, np.nan))[inputs.mask]
    if not np.isfinite(ratio).any():
        raise InputError("no signal at b = 0 inside the mask", file=image.path, fix="check series and mask")
    return float(np.nanmedian(ratio))


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
        compiling = pool.submit(_load_and_compile, request, inputs)
        compiling_fods = pool.submit(_load_and_compile_fods, request, inputs)
        hashing = pool.submit(lambda: {key: sidecar.sha256(path) for key, path in inputs.files.items()})
        means, signal = _stream(request, inputs, progress)
        clock.lap("read")
        from .fitting import assemble, second_pass

        if request.report:  # its libraries load while the compiler works
            from .report import html, maps  # noqa: F401
        under = compiling.result()
        clock.lap("wait for compilation")
        found = _fit(under, means, signal, inputs, progress)
        fit = assemble(under, found, inputs.mask, order="F")
        clock.lap("fit")
        fods = None
        if request.fod != "none":
            fod_fitter = compiling_fods.result()
            clock.lap("wait for compilation of the FODs")
            fods = _fit_fods(request, fod_fitter, fit, signal, inputs, progress)
            if request.noise == "rician":
                fit = second_pass(under, found, fods, _rows(signal, inputs.image), inputs.mask, "F")
                fods = _fit_fods(request, fod_fitter, fit, signal, inputs, progress)
            clock.lap("fit FODs")
        hashes = hashing.result()
    notes = inputs.warnings + texts + _status_warnings(fit, "")
    if fods is not None:
        notes += _status_warnings(fods, "FODs: ", (_status().NOT_CONVERGED,))
    run = _describe(request, inputs, fit, fods, under.fitter.device, hashes, notes, command)
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


def _load_and_compile(request: Request, inputs: Inputs):
    from . import conditions, engine

    how = {"dtype": request.dtype, "device": engine.find_device(request.device)}
    fitter = engine.MeansFitter(
        request.entry.build(), inputs.acquisition, fit_s0=request.s0 == "fit", prior=inputs.prior, **how
    )
    under = conditions.ConditionsFitter(fitter, inputs.conditions(request), **how)
    under.compile()
    return under


def _load_and_compile_fods(request: Request, inputs: Inputs):
    if request.fod == "none":
        return None
    from . import engine, fods

    device, counts = engine.find_device(request.device), fods.lobe_counts(request.n_fibres)
    fitter = fods.FodFitter(
        request.entry.build(),
        inputs.acquisition,
        request.fod,
        counts,
        inputs.conditions(request),
        dtype=request.dtype,
        device=device,
    )
    fitter.compile(0 if inputs.prior is None else len(inputs.prior.names))
    return fitter


def _needs_volumes(request: Request, inputs: Inputs) -> bool:
    """Whether volumes have to be kept, and not only their spherical means."""
    expected = request.noise == "rician" or inputs.grad_dev is not None
    estimated = isinstance(inputs.sigma, str) and (request.uncertainty or inputs.prior is not None)
    return request.fod != "none" or expected or estimated


def _stream(request: Request, inputs: Inputs, progress: Progress) -> tuple[np.ndarray, np.ndarray | None]:
    """(shells, voxels in the mask) spherical means and, if needed, (volumes, voxels in the mask) data as stored.

    Voxels in file (Fortran) order.
    """
    image, n = inputs.image, inputs.image.shape[3]
    inside = inputs.mask.ravel(order="F")
    means = MeansAccumulator(inputs.acquisition.weights, inside.size)
    signal = None
    if _needs_volumes(request, inputs):
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


def _rows(signal: np.ndarray | None, image: nifti.Image) -> Callable[[Any], np.ndarray]:
    """`(slice or numbers) -> (voxels, volumes)` data, scaled."""

    def rows(index) -> np.ndarray:
        assert signal is not None
        with np.errstate(invalid="ignore", over="ignore"):
            return signal[:, index].T * image.slope + image.inter

    return rows


def _fit(under, means: np.ndarray, signal: np.ndarray | None, inputs: Inputs, progress: Progress):
    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress("fit", done, means.shape[1])

    return under(means, _rows(signal, inputs.image), inputs.mask, "F", progress=tell)


def _fit_fods(request: Request, fitter, fit: Fit, signal, inputs: Inputs, progress: Progress) -> FodFit:
    model, rows = fit.fod_model(request.fod, request.n_fibres), _rows(signal, inputs.image)
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
    run["options"] |= _noise_facts(request, inputs, fit)
    if request.entry.function is not None:
        run["inputs"]["model"]["function"] = request.entry.function
    if fods is not None:
        run["options"] |= {"fod": request.fod, "fibres": request.n_fibres}
        run["fod_voxels"] = {code.name.lower(): fods.count(code) for code in status}
        fitted = np.isin(fods.status, (status.CONVERGED, status.AT_BOUND, status.NOT_CONVERGED))
        counts = np.bincount(fods.n_fibres[fitted], minlength=1)
        run["fibres"] = {str(n): int(count) for n, count in enumerate(counts) if count}
    return run


def _noise_facts(request: Request, inputs: Inputs, fit: Fit) -> dict[str, Any]:
    """What was taken for granted of the noise, and what was estimated."""
    facts: dict[str, Any] = {"noise": request.noise, "uncertainty": request.uncertainty}
    inside = fit.status > 0
    if fit.sigma is not None:
        facts["sigma"] = {
            "from": "residuals" if fit.sigma_error is not None else request.sigma,
            "median": float(f"{np.median(fit.sigma[inside]):.6g}"),
        }
        if fit.sigma_error is not None:
            facts["sigma"]["relative_error"] = float(f"{fit.sigma_error:.3g}")
    if inputs.grad_dev is not None:
        lengths = np.linalg.norm(np.eye(3) + inputs.grad_dev[inside], axis=-2)
        facts["grad_dev"] = {"largest_b_change": float(f"{np.abs(lengths**2 - 1).max():.3g}")}
    if inputs.prior is not None:
        facts["prior"] = inputs.prior.facts()
        if fit.shrinkage is not None:  # 0: as without the prior, 1: the prior alone
            known = fit.status == _status().CONVERGED
            facts["prior"]["median_shrinkage"] = {
                name: float(f"{np.median(values[known]):.3g}") for name, values in fit.shrinkage.items() if known.any()
            }
    return facts


def _remove_other_fods(request: Request, paths: list[Path]) -> None:
    """Maps of an earlier fit's FODs under the same prefix would seem to belong to the new kernels."""
    for family in ("watson", "bingham"):
        for name in outputs.names(_prefix(request), request.entry.name + family, FOD_MAPS):
            if request.out / name not in paths:
                for path in (request.out / name, outputs.sidecar_path(request.out / name)):
                    path.unlink(missing_ok=True)


def _write_maps(request, image: nifti.Image, fit: Fit, fods: FodFit | None, run: dict, progress: Progress) -> None:
    name = request.entry.name
    sets: list = [(name, fit.maps(), outputs.KERNEL_DESCRIPTIONS, fit.units, fit.sd)]
    if fods is not None:
        sets.append((name + request.fod, fods.maps(), outputs.FOD_DESCRIPTIONS, {}, fods.sd))
    total = sum(len(maps) + len(outputs.with_sd(maps) if sd is not None else ()) for _, maps, _, _, sd in sets)
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress("write", done, total)

    for model, maps, descriptions, units, sd in sets:
        facts = {key: run[key] for key in ("software", "inputs", "options", "warnings")} | {"model": model}
        outputs.write_maps(request.out, _prefix(request), model, maps, descriptions, units, image, facts, tell, sd)


def _told(options: dict[str, Any]) -> list[tuple[str, str]]:
    """What a report says of noise, uncertainty and prior."""
    lines = [("noise", options["noise"])]
    if "sigma" in options:
        sigma = options["sigma"]
        error = f", relative error {sigma['relative_error']:g}" if "relative_error" in sigma else ""
        lines.append(("sigma of a volume", f"{sigma['median']:g} in median, from {sigma['from']}{error}"))
    if "grad_dev" in options:
        lines.append(("gradient deviation", f"b off by up to {options['grad_dev']['largest_b_change']:.1%}"))
    for name, part in options.get("prior", {}).get("median_shrinkage", {}).items():
        lines.append((f"prior's part in {name}", f"{part:.1%} in median"))
    return lines


def _write_report(request, inputs: Inputs, fit: Fit, fods: FodFit | None, run: dict, seconds: dict) -> None:
    from .report import glyphs, html, maps

    every, model = fit.maps(), request.entry
    shown = [name for name in model.maps if name not in ("fapow3", "mse")]
    panels = shown[:4], shown[4:]
    tables = [
        ("Acquisition", [(f"shell {i}", str(shell)) for i, shell in enumerate(inputs.acquisition.shells)]),
        ("Noise", _told(run["options"])),
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
    if fit.sd is not None:
        certain = {"sd of " + maps.title(name): fit.sd[name] for name in outputs.with_sd(shown)}
        figures.append(("standard deviations (none at bounds)", maps.draw_maps([("", certain)], inputs.mask)))
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
