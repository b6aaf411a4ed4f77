"""How well spherical means determine a model's parameters: Fisher information and what follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .acquisition import Acquisition, Pulse
from .errors import InputError, JaxsmtWarning
from .models import SphericalMeanModel

#: Noise of one volume over S0 at which expected errors are told, where it is not known.
TYPICAL_SIGMA = 1 / 30
# Parameters are not determined if they can move along their ranges and change the means by less than this part.
_SINGULAR = 1e-7
# The part of its range that a parameter's expected standard deviation must not exceed without a warning.
_VAGUE = 0.5


class _Scheme(NamedTuple):
    """What `fisher_information` asks of an acquisition."""

    pulses: tuple[Pulse, ...]
    variances: np.ndarray


def fisher_information(
    model: SphericalMeanModel,
    acquisition: Acquisition | _Scheme,
    parameters: Mapping[str, Any],
    sigma: Any,
    s0: str = "fit",
) -> Array:
    """Fisher information of a model's free parameters in the spherical means.

    F = JᵀΣ⁻¹J with J = ∂ε/∂θ and Σ = σ² diag(Σ a²) of the shells' means; an unknown S0 is projected out.

    Args:
        parameters: the free ones by name, (...). sigma: standard deviation of one volume's noise over S0,
            a number or (...). s0: "fit" or "mean" (known).
    Returns:
        (..., n, n) in the order of `model.parameter_names`; its inverse is the Cramér-Rao bound.
    """
    values = {name: jnp.asarray(parameters[name]) for name in model.parameter_names}

    def signal(change: tuple[Array, ...]) -> Array:
        return model.signal(acquisition, dict(zip(values, change, strict=True)))

    here = tuple(values.values())
    zeros = tuple(map(jnp.zeros_like, here))
    columns = []
    for i, value in enumerate(here):
        tangent = (*zeros[:i], jnp.ones_like(value), *zeros[i + 1 :])
        columns.append(jax.jvp(signal, (here,), (tangent,))[1])
    columns.append(signal(here))  # by S0
    dtype, shape = columns[-1].dtype, columns[-1].shape
    sd = jnp.broadcast_to(
        jnp.asarray(sigma, dtype)[..., None] * jnp.sqrt(jnp.asarray(acquisition.variances, dtype)), shape
    )
    j = jnp.stack([column / sd for column in columns], axis=-1)
    full = jnp.einsum("...ki,...kj->...ij", j, j, precision="highest")
    known, cross = full[..., :-1, :-1], full[..., :-1, -1:]
    return known - cross * jnp.swapaxes(cross, -1, -2) / full[..., -1:, -1:] if s0 == "fit" else known


def expected_sd(
    model: SphericalMeanModel, acquisition: Acquisition, sigma: float = TYPICAL_SIGMA, s0: str = "fit"
) -> dict[str, float]:
    """Least standard deviation (Cramér-Rao) of each free parameter at typical values of the living brain."""
    found = _least_sd(*_static(model, acquisition), sigma, s0)
    return dict(zip(model.parameter_names, found, strict=True))


def require_determined(model: SphericalMeanModel, acquisition: Acquisition) -> None:
    """Refuse a model that the acquisition cannot determine, warn where it hardly can.

    Raises:
        InputError: parameters can change together, anywhere we look, without changing the spherical means.
    """
    model.kernel.require(acquisition.pulses)
    acquisition.require(shells=len(model.free), model=model.name)
    static = _static(model, acquisition)
    undetermined = _undetermined(*static)
    if undetermined:
        raise InputError(
            f"the acquisition cannot determine {' and '.join(undetermined)} of the {model.name} model: they can change "
            "without changing the spherical means",
            fix="fix or link them, or use a scheme with other shells",
        )
    unbounded = replace(model, changed=())  # however narrow the bounds are
    vague = {
        p.name: sd
        for p, sd in zip(unbounded.free, _least_sd(*static, TYPICAL_SIGMA), strict=True)
        if sd > _VAGUE * (p.upper - p.lower)
    }
    if vague:
        told = ", ".join(f"{name} {sd:.2g}" for name, sd in vague.items())
        warnings.warn(
            f"this acquisition hardly determines some parameters of the {model.name} model: at SNR 30 and typical "
            f"values their standard deviations are {told}",
            JaxsmtWarning,
            stacklevel=3,
        )


def _static(model: SphericalMeanModel, acquisition: Acquisition) -> tuple[SphericalMeanModel, tuple, tuple]:
    """What the answer depends on, as values that can be compared: maps count by their means."""
    held = tuple((name, float(np.mean(value))) for name, value in model.held)
    changed = tuple(
        (name, float(np.min(p.lower)), float(np.max(p.upper))) for name, p in model.changed
    )  # where searches start does not matter
    # By quadrature: closed forms take the compiler ten times as long.
    plain = {name: replace(c, mean=None, legendre=None) for name, c in model.compartments}
    bare = SphericalMeanModel(plain, model.links, model.name, held=held)
    for name, lower, upper in changed:
        bare = bare.bound(**{name: (lower, upper)}) if name not in dict(held) else bare
    return bare, acquisition.pulses, tuple(acquisition.variances.tolist())


def _points(model: SphericalMeanModel) -> dict[str, np.ndarray]:
    """Where we look: typical values, and a few other points, of no special symmetry."""
    n = len(model.free)
    typical = [
        (lo + hi) / 2 if p.typical is None else p.typical
        for p, (lo, hi) in ((p, (p.lower, p.upper)) for p in model.free)
    ]
    started = model.start(**{p.name: t for p, t in zip(model.free, typical, strict=True)})
    parts = [np.array([(0.23 + 0.31 * k + 0.37 * i) % 0.8 + 0.1 for k in range(3)]) for i in range(n)]
    with jax.enable_x64(True):
        first = started.values(started.begin([jnp.zeros(1)] * n))
        others = model.values(model.begin([jnp.asarray(part) for part in parts]))
        return {name: np.concatenate([first[name], others[name]]) for name in model.parameter_names}


@lru_cache(maxsize=64)
def _information(model, pulses, variances, s0: str = "fit") -> np.ndarray:
    """Information of the parameters, each in units of its range, at a noise of 1, at each of the points."""
    scheme = _Scheme(pulses, np.array(variances))
    with jax.enable_x64(True):
        information = jax.jit(lambda at: fisher_information(model, scheme, at, 1.0, s0))(_points(model))
    ranges = np.array([p.upper - p.lower for p in model.free])
    return np.asarray(information) * ranges * ranges[:, None]


def _undetermined(model, pulses, variances) -> list[str]:
    """Parameters of the direction that leaves the means as they are at each of the points, if there is one."""
    worst: np.ndarray | None = None
    for information in _information(model, pulses, variances):
        size, direction = np.linalg.eigh(information)
        if size[0] > _SINGULAR**2 * max(size[-1], 1e-300):
            return []
        worst = direction[:, 0]
    assert worst is not None
    return [p.name for p, part in zip(model.free, worst, strict=True) if abs(part) > 0.1]


def _least_sd(model, pulses, variances, sigma: float, s0: str = "fit") -> list[float]:
    information = _information(model, pulses, variances, s0)[0]
    ranges = np.array([p.upper - p.lower for p in model.free])
    size, vectors = np.linalg.eigh(information)
    with np.errstate(divide="ignore"):
        variance = vectors**2 @ (1 / np.maximum(size, 0))
    return (sigma * np.sqrt(variance) * ranges).tolist()
