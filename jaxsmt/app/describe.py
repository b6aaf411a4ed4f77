"""What run.json and sidecars say of a run. No JAX of its own."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import sidecars
from ..fitting.settings import Settings
from ..status import FITTED, Status
from . import targets, words
from .inputs import Inputs
from .request import Request

if TYPE_CHECKING:
    from ..acquisition.shells import Shell
    from ..acquisition.volumes import VolumeResiduals
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit

# What is said of voxels without a proper fit.
_WARNINGS = {
    Status.NOT_CONVERGED: "did not converge",
    Status.NO_SIGNAL: "have no usable signal (b = 0 mean or S0 not positive)",
    Status.NON_FINITE: "have non-finite values",
}


def status_warnings(fit: Fit, fods: FodFit | None) -> list[str]:
    """Warnings of voxels without a proper fit; of FODs only of those that did not converge."""
    counts = [("", code, fit.count(code)) for code in _WARNINGS]
    if fods is not None:
        counts.append(("FODs: ", Status.NOT_CONVERGED, fods.count(Status.NOT_CONVERGED)))
    return [f"{what}{count} voxels {_WARNINGS[code]}; see the status map" for what, code, count in counts if count]


def misfit_warnings(fit: Fit) -> list[str]:
    """A warning of a diffusivity that is often at its bound: how often, what is left of the means, and what to try."""
    misfit = fit.misfit
    if misfit is None:
        return []
    shells = [f"b = {1000 * shell.b:.0f} {100 * left:+.1f}" for shell, left in _each_shell(fit, misfit.residuals)]
    facts = (
        f"{misfit.parameter} is at its bound in {100 * misfit.share:.0f} % of the fitted voxels; mean residuals, in "
        f"% of S0: {', '.join(shells)}"
    )
    others = [] if fit.settings.distribution.magnitudes else ["noise='rician' if the data are magnitudes"]
    if misfit.spare < 1:
        meaning = (
            f"The {fit.model.name} model with S0 has as many parameters as there are means, so these hardly determine "
            "it: noise, or tissue that the model does not describe, takes it to the bound"
        )
    elif misfit.systematic:
        meaning = f"The {fit.model.name} model does not fit these shells"
        others.append("fewer shells, without the highest b")
    else:
        meaning = "Noise alone can do this: the data do not determine it well"
    if fit.model.name == "smt":
        others.append("model='mcsmt'")
    if fit.settings.prior is None and fit.model.population is not None:
        others.append("prior=")
    tries = f", and try {'; or '.join(others)}" if others else ""
    return [words.in_flags(f"{facts}. {meaning}. Leave voxels with status 2 out of averages{tries}")]


def _each_shell(fit: Fit, values: Sequence[float]) -> Iterator[tuple[Shell, float]]:
    """b = 0 and the shells, each with its value."""
    return zip(fit.acquisition.shells, values, strict=True)


def run_facts(
    request: Request,
    inputs: Inputs,
    fit: Fit,
    fods: FodFit | None,
    hashes: Mapping[str, str],
    command: Sequence[str],
) -> dict[str, Any]:
    """The facts of a run that are known when its fit is done, but for memory, warnings and times.

    Args:
        request, inputs: what was asked for.
        fit, fods: the result.
        hashes: SHA-256 of each input, by the option that names it.
        command: the command line.
    """
    sigma = str(request.settings.get("sigma", ""))  # a number, or the path of a map
    run: dict[str, Any] = {
        "command": list(command),
        "software": sidecars.SOFTWARE,
        "versions": _versions(),
        "device": device_text(fit.settings),
        "inputs": {name: {"path": str(path), "sha256": hashes[name]} for name, path in inputs.files.items()},
        "model": fit.model.name,
        "asked": asked(request, inputs),
        "options": {**request.facts(), **fit.facts(sigma)},
        "shells": [
            {
                "b_s_per_mm2": round(1000 * shell.b, 3),
                "volumes": len(shell.volumes),
                "order": shell.order,
                "noise_amplification": round(shell.amplification, 6),
                **{name: round(value, 6) for name, value in _setting(shell).items() if value is not None},
            }
            for shell in inputs.acquisition.shells
        ],
        "voxels": _counts(fit, inputs.mask),
    }
    if request.viewer:
        run["viewer"] = True
    if request.report is not None:
        run["page"] = targets.page_from_maps(request)  # also where none is written
    if inputs.model.file is not None:
        run["inputs"]["model"]["function"] = inputs.model.function
    if fods is not None:
        run["fod_voxels"] = _counts(fods, inputs.mask)
        counts = np.bincount(fods.n_fibres[np.isin(fods.status, FITTED)], minlength=1)
        run["fibres"] = {str(n): int(count) for n, count in enumerate(counts) if count}
    return run


def residual_facts(run: Mapping[str, Any], fit: Fit, volumes: VolumeResiduals | None) -> dict[str, Any]:
    """What the model leaves of the shells' means, over S0, and each volume less what the others tell.

    Args:
        run: its facts so far. fit: the result. volumes: residuals of the volumes, if they are known.
    Returns:
        entries of run.json that replace or follow the others.
    """
    facts: dict[str, Any] = {} if volumes is None else {"volumes": volumes.facts()}
    if fit.residuals is not None:
        left, voxels = fit.residuals, fit.residuals.measured.shape[1]
        facts["shells"] = [
            {**shell, "residuals": {"mean": mean, "sd": scatter, "voxels": voxels}}
            for shell, mean, scatter in zip(run["shells"], left.mean, left.scatter, strict=True)
        ]
    return facts


def _setting(shell: Shell) -> dict[str, Any]:
    """What a shell has been measured with beside b."""
    return {"delta_ms": shell.delta, "Delta_ms": shell.Delta, "echo_time_ms": shell.te, "b_shape": shell.b_delta}


def asked(request: Request, inputs: Inputs) -> dict[str, Any]:
    """The options that decide the maps as they were asked for, without paths: a run with the same ones, the same inputs
    and the same version of jaxsmt gives the same maps."""
    stated = {name: "file" if name in inputs.files else value for name, value in request.deciding().items()}
    if inputs.model.file is not None:
        stated["model"] = f"file:{inputs.model.function}"
    return stated


def _counts(result: Fit | FodFit, mask: np.ndarray) -> dict[str, int]:
    """Numbers of voxels by status."""
    counts = {code.name.lower(): result.count(code) for code in Status}
    return counts | {Status.OUTSIDE.name.lower(): int(mask.size - np.count_nonzero(mask))}


def asked_facts(request: Request, inputs: Inputs, hashes: Mapping[str, str]) -> dict[str, Any]:
    """What decides which numbers a run computes: inputs, options and the program itself."""
    from ..batch.fingerprint import Unknown, of_package

    try:
        source = of_package()
    except Unknown:  # it has changed since this process began: equal to nothing
        source = secrets.token_hex()
    version = f"{sidecars.SOFTWARE['version']} {source}"
    return {"inputs": dict(hashes), "options": asked(request, inputs), "version": version}


def machine_facts(settings: Settings) -> dict[str, Any]:
    """What can change the last digits of numbers: devices, processors, and the versions of what computes."""
    return {"device": device_text(settings), "processor": platform.processor() or platform.machine(), **_versions()}


def device_text(settings: Settings) -> str:
    """Where a fit computes."""
    from ..batch.runner import devices_of

    devices = devices_of(settings.device)
    return f"{devices[0].platform}: {devices[0].device_kind}" + f", {len(devices)} of them" * (len(devices) > 1)


def _versions() -> dict[str, str]:
    versions = {name: import_module(name).__version__ for name in ("jax", "jaxlib", "numpy", "nibabel")}
    return {**versions, "python": platform.python_version()}


def sidecar_facts(run: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's facts that every map's sidecar repeats."""
    sources = [entry["path"] for entry in run["inputs"].values()]
    return {name: run[name] for name in ("software", "inputs", "options", "warnings")} | {"Sources": sources}
