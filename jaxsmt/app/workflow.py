"""From files to files: what `jaxsmt fit` does, without a command line."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..acquisition.means import MeansAccumulator
from ..errors import JaxsmtError, ResourceError
from ..files import nifti, outputs
from ..files import sidecars as sidecar
from .requests import (
    FOD_MAPS,
    Inputs,
    Request,
    check_outputs,
    collected_warnings,
    needs_volumes,
    open_inputs,
    prefix_of,
)

if TYPE_CHECKING:
    from ..fitting.fit import Fit
    from ..fitting.fods import FodFit

#: `progress(stage, done, total)`: told how far a stage is, in its own units.
Progress = Callable[[str, int, int], None]


@dataclass
class Outcome:
    """What a fit wrote, and the facts of the run."""

    fit: Fit
    fods: FodFit | None
    files: list[Path]
    run: dict[str, Any] = field(default_factory=dict)


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
        from ..fitting.fit import assemble, second_pass

        if request.report:  # its libraries load while the compiler works
            from ..report import html, maps  # noqa: F401
        under = compiling.result()
        clock.lap("wait for compilation")
        found = _fit(under, means, signal, inputs, progress, request.fod != "none")
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
        _remove_others(request, paths)
    _write_maps(request, inputs.image, fit, fods, run, progress)
    clock.lap("write")
    if request.report:
        _write_report(request, inputs, fit, fods, run, clock.seconds)
        clock.lap("report")
    run["timings_s"] = clock.seconds
    nifti.write_bytes(run_json, sidecar.to_json(run))
    return Outcome(fit, fods, paths, run)


def _load_and_compile(request: Request, inputs: Inputs):
    from ..batch import engine
    from ..fitting import kernels as conditions

    for given in (inputs.conditions(request).sigmas, inputs.conditions(request).deviations):
        given(inputs.mask)  # before anything is compiled
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
    from ..batch import engine
    from ..fitting import fods

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


def _stream(request: Request, inputs: Inputs, progress: Progress) -> tuple[np.ndarray, np.ndarray | None]:
    """(shells, voxels in the mask) spherical means and, if needed, (volumes, voxels in the mask) data as stored.

    Voxels in file (Fortran) order.
    """
    image, n = inputs.image, inputs.image.shape[3]
    inside = inputs.mask.ravel(order="F")
    means = MeansAccumulator(inputs.acquisition.weights, inside.size)
    signal = None
    if needs_volumes(request, inputs):
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


def _fit(
    under, means: np.ndarray, signal: np.ndarray | None, inputs: Inputs, progress: Progress, before_fods: bool
) -> Any:
    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress("fit", done, means.shape[1])

    return under(means, _rows(signal, inputs.image), inputs.mask, "F", progress=tell, before_fods=before_fods)


def _fit_fods(request: Request, fitter, fit: Fit, signal, inputs: Inputs, progress: Progress) -> FodFit:
    model, rows = fit.fod_model(request.fod, request.n_fibres), _rows(signal, inputs.image)
    return fitter(model, rows, inputs.mask, order="F", progress=lambda done, total: progress("fit FODs", done, total))


def _status():
    from ..status import Status

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


def _remove_others(request: Request, paths: list[Path]) -> None:
    """Maps of an earlier fit under the same prefix that this one does not replace would seem to belong to it."""
    prefix, model = prefix_of(request), request.entry
    names = outputs.names(prefix, model.name, outputs.with_sd(model.maps), "sd")
    for family in ("watson", "bingham"):
        names += outputs.names(prefix, model.name + family, FOD_MAPS)
        names += outputs.names(prefix, model.name + family, outputs.with_sd(FOD_MAPS), "sd")
    for name in names:
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
        outputs.write_maps(request.out, prefix_of(request), model, maps, descriptions, units, image, facts, tell, sd)


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
    from ..report import glyphs, html, maps

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
