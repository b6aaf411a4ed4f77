"""How well spherical means determine a model's parameters: Fisher information and what follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..acquisition.acquisition import Acquisition
from ..acquisition.shells import Pulse
from ..errors import InputError, JaxsmtWarning
from ..physics import noise
from ..physics.compartments import Parameter
from .model import SphericalMeanModel

#: Noise of one volume over S0 at which expected errors are told, where it is not known.
TYPICAL_SIGMA = 1 / 30
# Parameters are not determined if they can move along their ranges and change the means by less than this part.
_SINGULAR = 1e-7
# An eigenvalue of a scaled information matrix below this many times the machine's precision may be rounding alone.
_ROUNDING = 100
# The part of its range that a parameter's expected standard deviation must not exceed without a warning.
_VAGUE = 0.5


class _Scheme(NamedTuple):
    """What `fisher_information` asks of an acquisition; anything that has these will do."""

    pulses: tuple[Pulse, ...]
    variances: tuple[float, ...]


def fisher_information(
    model: SphericalMeanModel,
    acquisition: Acquisition | _Scheme,
    parameters: Mapping[str, Any],
    sigma: Any,
    s0: str = "fit",
    given: Sequence[Any] | None = None,
) -> Array:
    """Fisher information of a model's free parameters in the spherical means.

    F = JᵀΣ⁻¹J with J = ∂ε/∂θ and Σ = σ² diag(Σ a²) of the shells' means; an unknown S0 is projected out.

    Args:
        parameters: the free ones by name, (...). sigma: standard deviation of one volume's noise over S0,
            a number or (...). s0: "fit" or "mean" (known). given: as of `SphericalMeanModel.signal`.
    Returns:
        (..., n, n) in the order of `model.parameter_names`; its inverse is the Cramér-Rao bound.
    """
    values = {name: jnp.asarray(parameters[name]) for name in model.parameter_names}
    values = {n: v if jnp.issubdtype(v.dtype, jnp.floating) else v.astype(float) for n, v in values.items()}

    def signal(change: tuple[Array, ...]) -> Array:
        return model.signal(acquisition, dict(zip(values, change, strict=True)), given)

    here = tuple(values.values())
    zeros = tuple(map(jnp.zeros_like, here))
    columns = []
    for i, value in enumerate(here):
        tangent = (*zeros[:i], jnp.ones_like(value), *zeros[i + 1 :])
        columns.append(jax.jvp(signal, (here,), (tangent,))[1])
    columns.append(signal(here))  # by S0
    dtype, shape = columns[-1].dtype, columns[-1].shape
    variances = jnp.stack([jnp.asarray(v, dtype) for v in acquisition.variances])
    sd = jnp.broadcast_to(jnp.asarray(sigma, dtype)[..., None], shape) * _spread(jnp.sqrt(variances), shape)
    j = jnp.stack([column / sd for column in columns], axis=-1)
    full = jnp.einsum("...ki,...kj->...ij", j, j, precision="highest")
    known, cross = full[..., :-1, :-1], full[..., :-1, -1:]
    return known - cross * jnp.swapaxes(cross, -1, -2) / full[..., -1:, -1:] if s0 == "fit" else known


def _spread(values: Array, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(values.reshape((1,) * (len(shape) - 1) + values.shape), shape)


def crlb(
    model: SphericalMeanModel,
    acquisition: Acquisition,
    parameters: Mapping[str, Any],
    sigma: Any,
    s0: str = "fit",
) -> Array:
    """Cramér-Rao lower bound: the least covariance that unbiased estimates of the free parameters can have.

    The inverse of `fisher_information`, whose arguments these are; differentiable by all of them, the
    acquisition's b-values and directions too. Where parameters are not determined, as at f = 1 of SMT, all of it is
    inf and its derivatives are 0.

    Returns:
        (..., n, n) in the order of `model.parameter_names`; its diagonal are variances.
    """
    information = fisher_information(model, acquisition, parameters, sigma, s0)
    # Scaled to a unit diagonal, so that units do not cost digits.
    diagonal = jnp.diagonal(information, axis1=-2, axis2=-1)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scale = scale[..., :, None] * scale[..., None, :]
    scaled = information / scale
    size = jnp.linalg.eigvalsh(jax.lax.stop_gradient(scaled)).min(axis=-1, initial=jnp.inf)
    known = (size > _ROUNDING * float(jnp.finfo(size.dtype).eps))[..., None, None]
    scaled = jnp.where(known, scaled, jnp.eye(diagonal.shape[-1], dtype=scaled.dtype))
    return jnp.where(known, jnp.linalg.inv(scaled) / scale, jnp.inf)


#: Typical values of free parameters by tissue, of models with these names; others have one set of typical values.
TISSUES = {
    "smt": {"white matter": (2.1, 0.2), "grey matter": (1.3, 0.55)},
    "mcsmt": {"white matter": (1.9, 0.6), "grey matter": (1.5, 0.3)},
}


def expected_sd(
    model: SphericalMeanModel,
    acquisition: Acquisition,
    sigma: float = TYPICAL_SIGMA,
    s0: str = "fit",
    rician: bool = False,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Value, and least standard deviation (Cramér-Rao), of each free parameter in typical tissues.

    inf where nothing is known of a parameter. Maps count by their medians.

    Args:
        sigma: noise of one volume over S0.
        rician: magnitudes, which tell less where the signal is weak (taken to be the same in all directions).
    """
    typical = tuple(_typical(p) for p in model.free)
    tissues = TISSUES.get(model.name, {"typical tissue": typical})
    if any(len(values) != len(typical) for values in tissues.values()):  # some are fixed
        tissues = {"typical tissue": typical}
    found = {}
    for tissue, values in tissues.items():
        at = model.start(**dict(zip(model.parameter_names, values, strict=True)))
        scheme = _with_floor(at, acquisition, sigma) if rician else acquisition
        sd = sigma * _sd(_information(at, scheme, s0)) * _ranges(model)
        found[tissue] = dict(zip(model.parameter_names, zip(values, sd.tolist(), strict=True), strict=True))
    return found


def _with_floor(model: SphericalMeanModel, acquisition: Acquisition, sigma: float) -> _Scheme:
    """The scheme with the variances that means of Rician magnitudes have, corrected for their floor."""
    values = {p.name: jnp.asarray(_typical(p)) for p in model.free}
    signal = model.signal(acquisition, values) / sigma
    variances = np.asarray(acquisition.variances) / np.asarray(noise.information(signal))
    return _Scheme(acquisition.pulses, tuple(variances.tolist()))


def require_determined(model: SphericalMeanModel, acquisition: Acquisition, s0: str = "fit") -> None:
    """Refuse a model that the acquisition cannot determine, warn where it hardly can.

    Raises:
        InputError: parameters can change together, anywhere we look, without changing the spherical means.
    """
    if not model.free:
        raise InputError(f"the {model.name} model has nothing to fit", fix="leave a parameter free")
    model.kernel.require(acquisition.pulses)
    acquisition.require(shells=len(model.free), model=model.name)
    information = _information(model, acquisition, s0)
    size, direction = np.linalg.eigh(information)
    if np.all(size[:, 0] <= _SINGULAR**2 * size[:, -1]):
        names = [p.name for p, part in zip(model.free, direction[0, :, 0], strict=True) if abs(part) > 0.1]
        raise InputError(
            f"the acquisition cannot determine {' and '.join(names)} of the {model.name} model: "
            "the spherical means stay as they are when that changes",
            fix="fix or link parameters, or use a scheme with other shells",
        )
    unbounded = _ranges(replace(model, changed=()))  # however narrow the bounds are
    told = [
        f"{p.name} {sd:.2g}"
        for p, sd, most in zip(model.free, TYPICAL_SIGMA * _sd(information) * _ranges(model), unbounded, strict=True)
        if sd > _VAGUE * most
    ]
    if told:
        warnings.warn(
            f"this acquisition hardly determines some parameters of the {model.name} model: at SNR 30 and typical "
            f"values their standard deviations are {', '.join(told)}",
            JaxsmtWarning,
            stacklevel=3,
        )


def _ranges(model: SphericalMeanModel) -> np.ndarray:
    return np.array([np.nanmax(p.upper) - np.nanmin(p.lower) for p in model.free])


def _information(model: SphericalMeanModel, acquisition: Acquisition | _Scheme, s0: str) -> np.ndarray:
    """Information of the parameters, each in units of its range, at a noise of 1, at each of a few points."""
    started = {p.name: replace(p, start=_typical(p)) for p in model.free}
    # By quadrature: closed forms take the compiler longer.
    plain = tuple((name, replace(c, mean=None, legendre=None)) for name, c in model.compartments)
    changed = tuple({**dict(model.changed), **started}.items())
    static, numbers, maps = replace(model, compartments=plain, changed=changed).without_values()
    given = (*numbers, *(float(np.nanmedian(np.where(m == 0, np.nan, m) if np.any(m) else m)) for m in maps))
    scheme = _Scheme(acquisition.pulses, tuple(float(v) for v in acquisition.variances))
    with jax.enable_x64(True):
        information = _at_points(tuple(np.asarray(v, float) for v in given), model=static, scheme=scheme, s0=s0)
    return np.asarray(information) * _ranges(model) * _ranges(model)[:, None]


def _typical(p: Parameter) -> float:
    if isinstance(p.start, float):
        return p.start
    low, high = np.nanmin(p.lower), np.nanmax(p.upper)
    return float(np.clip((low + high) / 2 if p.typical is None else p.typical, low, high))


@partial(jax.jit, static_argnames=("model", "scheme", "s0"))
def _at_points(given: tuple[Array, ...], *, model: SphericalMeanModel, scheme: _Scheme, s0: str) -> Array:
    """Fisher information at typical values, and at a few other points of no special symmetry, (points, n, n)."""
    zero = jnp.zeros(1)
    n = len(model.free)
    parts = [jnp.asarray([(0.23 + 0.31 * k + 0.37 * i) % 0.8 + 0.1 for k in range(3)]) for i in range(n)]
    elsewhere = replace(model, changed=tuple((name, replace(p, start=None)) for name, p in model.changed))
    first = model.values(model.space.begin([zero] * n, given), given)
    others = elsewhere.values(elsewhere.space.begin(parts, given), given)
    at = {name: jnp.concatenate([first[name], others[name]]) for name in model.parameter_names}
    return fisher_information(model, scheme, at, 1.0, s0, given)


def _sd(information: np.ndarray) -> np.ndarray:
    """Standard deviations at the first of the points where everything is known, else at the first."""
    size, vectors = np.linalg.eigh(information)
    known = size[:, 0] > _SINGULAR**2 * size[:, -1]
    i = int(np.argmax(known))
    if known[i]:
        return np.sqrt(np.sum(vectors[i] ** 2 / size[i], axis=1))
    lost = size[0] <= _SINGULAR**2 * size[0, -1]
    variance = np.sum(np.where(lost, 0, vectors[0] ** 2 / np.where(lost, 1, size[0])), axis=1)
    return np.where(np.any(lost & (vectors[0] ** 2 > 1e-9), axis=1), np.inf, np.sqrt(variance))
