"""How well spherical means determine a model's parameters: Fisher information, and what follows from it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import has_several
from ..errors import InputError, JaxsmtWarning, shown
from ..physics.compartments import Parameter
from ..physics.noises.base import Noise
from .arguments import numbers_of, require_pulses, require_spherical
from .model import SphericalMeanModel
from .runtime import RUNS_ONCE
from .schemes import KnownScheme, Scheme, decayed, echo_numbers, expected_decay

#: Noise of one volume over S0 at which expected errors are told, where it is not known.
TYPICAL_SIGMA = 1 / 30
# Parameters are not determined if they can move along their ranges and change the means by less than this part.
_SINGULAR = 1e-7
# An eigenvalue of a scaled information matrix below this many times the machine's precision may be rounding alone.
_ROUNDING = 100
# The part of its range that a parameter's expected standard deviation must not exceed without a warning.
_VAGUE = 0.5


def fisher_information(
    model: SphericalMeanModel,
    acquisition: Scheme,
    parameters: Mapping[str, ArrayLike],
    sigma: ArrayLike,
    s0: str = "fit",
    runtime: Sequence[Any] | None = None,
) -> Array:
    """Fisher information of a model's free parameters in the spherical means.

    F = JᵀΣ⁻¹J with J = ∂ε/∂θ and Σ = σ² diag(Σ a²), where a are the weights of a shell's mean; an S0 that is not known
    is projected out, that of each echo time where compartments do not relax. Differentiable by all arguments.

    Args:
        model: the model.
        acquisition: an `Acquisition`, or whatever has its `pulses` and `variances`.
        parameters: (...) each, the free parameters by name, in their units.
        sigma: (...) or a number, standard deviation of one volume's noise over S0; over that of each echo time where
            there are several.
        s0: "fit", or "mean": S0 is known.
        runtime: values for the placeholders of a static model, see `SphericalMeanModel.without_values`.

    Returns:
        (..., n, n) in the order of `model.parameter_names`, in the inverse products of their units; its inverse is the
        Cramér-Rao bound.

    Raises:
        InputError: names that are missing, or another s0.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
        >>> js.fisher_information(js.smt(), acquisition, {"lambda_par": 2.0, "fraction": 0.25}, 0.02).shape
        (2, 2)
    """
    j = _columns(model, acquisition, parameters, sigma, s0, runtime)[1]
    return jnp.einsum("...ki,...kj->...ij", j, j, precision="highest")


def _columns(
    model: SphericalMeanModel,
    acquisition: Scheme,
    parameters: Mapping[str, ArrayLike],
    sigma: ArrayLike,
    s0: str,
    runtime: Sequence[Any] | None = None,
) -> tuple[Array, Array]:
    """Derivatives of the means over their noise by the free parameters, (..., shells, n), of a known S0 and of `s0`."""
    if s0 not in ("fit", "mean"):
        raise InputError(f"s0={shown(s0)} is unknown", fix="s0='fit' or s0='mean'")
    require_spherical(model)
    require_pulses(acquisition)
    sigma = numbers_of(sigma, "sigma")
    if not isinstance(parameters, Mapping):
        raise InputError(f"parameters= is of type {type(parameters).__name__}", fix="give a dict of values by name")
    *by_parameters, signal = _derivatives(model, acquisition, parameters, runtime)
    dtype, shape = signal.dtype, signal.shape
    variances = jnp.stack([jnp.asarray(v, dtype) for v in acquisition.variances])
    spread = jnp.broadcast_to(jnp.sqrt(variances).reshape((1,) * (len(shape) - 1) + variances.shape), shape)
    sd = jnp.broadcast_to(jnp.asarray(sigma, dtype)[..., None], shape) * spread
    j, by_s0 = jnp.stack([column / sd for column in by_parameters], axis=-1), (signal / sd)[..., None]
    left = j
    if s0 == "fit":
        echoes = np.array(echo_numbers(model, acquisition) or (0,) * shape[-1])
        for echo in np.unique(echoes):  # their columns are orthogonal
            column = jnp.where((echoes == echo)[:, None], by_s0, 0)
            along = jnp.sum(column * j, axis=-2, keepdims=True) / jnp.sum(column**2, axis=-2, keepdims=True)
            left = left - column * along
    return j, left


def _derivatives(
    model: SphericalMeanModel, acquisition: Scheme, parameters: Mapping[str, ArrayLike], runtime: Sequence[Any] | None
) -> list[Array]:
    """Derivatives of the spherical means by the free parameters and by S0, which is the signal: (..., shells) each."""
    missing = [name for name in model.parameter_names if name not in parameters]
    if missing:
        raise InputError(f"no value of {missing}", fix=f"give {model.parameter_names}")
    values = {name: numbers_of(parameters[name], name) for name in model.parameter_names}
    values = {n: v if jnp.issubdtype(v.dtype, jnp.floating) else v.astype(float) for n, v in values.items()}

    def signal(here: tuple[Array, ...]) -> Array:
        return model.signal(acquisition, dict(zip(values, here, strict=True)), runtime)

    here = tuple(values.values())
    zeros = tuple(map(jnp.zeros_like, here))
    columns = []
    for i, value in enumerate(here):
        tangent = (*zeros[:i], jnp.ones_like(value), *zeros[i + 1 :])
        columns.append(jax.jvp(signal, (here,), (tangent,))[1])
    return [*columns, signal(here)]


def crlb(
    model: SphericalMeanModel,
    acquisition: Scheme,
    parameters: Mapping[str, ArrayLike],
    sigma: ArrayLike,
    s0: str = "fit",
) -> Array:
    """Cramér-Rao lower bound: the least covariance that unbiased estimates of the free parameters can have.

    F⁻¹, the inverse of `fisher_information`. Differentiable by all arguments, the acquisition's b-values and directions
    too. Where parameters are not determined, as at f = 1 of SMT, all of it is inf and its derivatives are 0.

    Args:
        model: the model.
        acquisition: an `Acquisition`, or whatever has its `pulses` and `variances`.
        parameters: (...) each, the free parameters by name, in their units.
        sigma: (...) or a number, standard deviation of one volume's noise over S0.
        s0: "fit", or "mean": S0 is known.

    Returns:
        (..., n, n) in the order of `model.parameter_names`, in the products of their units; variances on the diagonal.

    Raises:
        InputError: names that are missing, or another s0.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
        >>> covariance = js.crlb(js.smt(), acquisition, {"lambda_par": 2.0, "fraction": 0.25}, 0.02)
        >>> covariance.shape, bool(covariance[0, 0] > 0)
        ((2, 2), True)
    """
    before, j = _columns(model, acquisition, parameters, sigma, s0)
    information = jnp.einsum("...ki,...kj->...ij", j, j, precision="highest")
    # Scaled to a unit diagonal, so that units do not cost digits.
    diagonal = jnp.diagonal(information, axis1=-2, axis2=-1)
    rounding = _ROUNDING * float(jnp.finfo(diagonal.dtype).eps)
    beside_s0 = jnp.all(diagonal > rounding**2 * jnp.sum(before**2, axis=-2), axis=-1)
    scale = jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scale = scale[..., :, None] * scale[..., None, :]
    scaled = information / scale
    size = jnp.linalg.eigvalsh(jax.lax.stop_gradient(scaled)).min(axis=-1, initial=jnp.inf)
    known = ((size > rounding) & beside_s0)[..., None, None]
    scaled = jnp.where(known, scaled, jnp.eye(diagonal.shape[-1], dtype=scaled.dtype))
    return jnp.where(known, jnp.linalg.inv(scaled) / scale, jnp.inf)


def expected_sd(
    model: SphericalMeanModel,
    acquisition: Acquisition,
    sigma: float = TYPICAL_SIGMA,
    s0: str = "fit",
    noise: Noise | None = None,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Value, and least standard deviation (Cramér-Rao), of each free parameter in typical tissues.

    Magnitudes tell less where the signal is weak; their signal is taken to be the same in all directions. Maps in the
    model count by their medians. Between echo times S0 decays with a T2 of 80 ms, unless the model has T2.

    Args:
        model: the model; its `tissues`, or typical values where it has none or where some of these are fixed.
        acquisition: the acquisition.
        sigma: noise of one volume over S0 (of the shortest echo time).
        s0: "fit", or "mean": S0 is known.
        noise: its distribution; None: Gaussian.

    Returns:
        By tissue and by name of the parameter (value, standard deviation), in its unit; inf where nothing is known.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
        >>> tissues = expected_sd(js.smt(), acquisition)
        >>> sorted(tissues), sorted(tissues["white matter"])
        (['grey matter', 'white matter'], ['fraction', 'lambda_par'])
    """
    names = model.parameter_names
    tissues = {tissue: dict(values) for tissue, values in model.tissues}
    if not tissues or any(set(values) != set(names) for values in tissues.values()):  # some are fixed
        tissues = {"typical tissue": {p.name: _typical(p) for p in model.free}}
    expected = {}
    for tissue, values in tissues.items():
        there = model.start(**values)
        scheme = decayed(model, acquisition)
        if noise is not None and noise.magnitudes:
            scheme = _with_floor(there, scheme, sigma, noise)
        sd = dict(zip(names, (sigma * _sd(_information(there, scheme, s0)) * _ranges(model)).tolist(), strict=True))
        expected[tissue] = {name: (values[name], sd[name]) for name in names}
    return expected


def _with_floor(model: SphericalMeanModel, scheme: KnownScheme, sigma: float, noise: Noise) -> KnownScheme:
    """The scheme with the variances that means of magnitudes have, corrected for their floor, where searches start."""
    static, numbers, maps = model.without_values()
    values = {p.name: jnp.asarray(_typical(p)) for p in model.free}
    signal = static.signal(scheme, values, (*numbers, *map(_median, maps))) / sigma
    signal = signal * np.asarray(expected_decay(scheme.pulses, scheme.echoes), signal.dtype)
    variances = np.asarray(scheme.variances) / np.asarray(noise.information(signal))
    return scheme._replace(variances=tuple(variances.tolist()))


def require_determined(model: SphericalMeanModel, acquisition: Acquisition, s0: str = "fit") -> None:
    """Refuse a model that the acquisition cannot determine, and warn of one that it hardly determines.

    Args:
        model: the model.
        acquisition: the acquisition.
        s0: "fit", or "mean": S0 is known.

    Raises:
        InputError: nothing to fit, too few shells, no pulse timings where they are needed, or parameters that can
            change together, wherever we look, without changing the spherical means.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
        >>> require_determined(js.SphericalMeanModel({"a": js.dot(), "b": js.dot()}), acquisition)
        Traceback (most recent call last):
        jaxsmt.errors.InputError: the acquisition cannot determine weight.a of the custom model: the spherical means...
    """
    if not model.free:
        raise InputError(f"the {model.name} model has nothing to fit", fix="leave a parameter free")
    require_scheme(model, acquisition, s0, len(model.free))
    information = _information(model, decayed(model, acquisition), s0)
    size, direction = np.linalg.eigh(information)
    if np.all(size[:, 0] <= _SINGULAR**2 * size[:, -1]):
        names = [p.name for p, part in zip(model.free, direction[0, :, 0], strict=True) if abs(part) > 0.1]
        raise InputError(
            f"the acquisition cannot determine {' and '.join(names)} of the {model.name} model: "
            "the spherical means stay as they are when that changes",
            fix=f"fix or link parameters, or use a scheme with other {_other(model, acquisition)}",
        )
    vague = _vague(model, information)
    if vague:
        warnings.warn(
            f"this acquisition hardly determines some parameters of the {model.name} model: at SNR 30 and typical "
            f"values their standard deviations are {', '.join(vague)}",
            JaxsmtWarning,
            stacklevel=3,
        )


def require_scheme(model: SphericalMeanModel, acquisition: Acquisition, s0: str, parameters: int) -> None:
    """Refuse a scheme with too few shells, or that does not tell what the compartments depend on.

    Args:
        model: the model.
        acquisition: the acquisition, whose numbers may be traced.
        s0: "fit", or "mean": S0 is known.
        parameters: how many of them the spherical means alone must determine.

    Raises:
        InputError: too few shells, unknown times or shapes of pulses, or S0 of b = 0 volumes which have decayed.

    Example:
        >>> import jaxsmt as js
        >>> require_scheme(js.smt(), js.simulate.hcp_scheme(n_b0=2, n_directions=15), "fit", 2)
    """
    model.kernel.require(acquisition.pulses)
    if s0 == "mean" and model.kernel.relaxing:
        raise InputError(
            "s0='mean' with relaxing compartments: b = 0 volumes have decayed with T2", fix="s0='fit', the default"
        )
    # b = 0 of further echo times tells of T2; that one echo time does not is said later.
    of_echoes = 0
    if model.kernel.relaxing:
        t2 = sum(p.unit == "ms" for p in model.free)
        of_echoes = sum(group.zero for group in acquisition.groups) - 1 if has_several(acquisition) else t2
    acquisition.require(shells=max(parameters - of_echoes, 1), model=model.name)


def _other(model: SphericalMeanModel, acquisition: Acquisition) -> str:
    """What a scheme could have besides to determine a model."""
    return "echo times" if model.kernel.relaxing and not has_several(acquisition) else "shells"


def _vague(model: SphericalMeanModel, information: np.ndarray) -> list[str]:
    """Parameters whose expected standard deviation is a large part of their range, with it, as text."""
    unbounded = _ranges(replace(model, changed=()))  # however narrow the bounds are
    expected = TYPICAL_SIGMA * _sd(information) * _ranges(model)
    pairs = zip(model.free, expected, unbounded, strict=True)
    return [f"{p.name} {sd:.2g}" for p, sd, most in pairs if sd > _VAGUE * most]


def _ranges(model: SphericalMeanModel) -> np.ndarray:
    """Widths of the intervals of the free parameters; of maps the widest."""
    return np.array([np.nanmax(p.upper) - np.nanmin(p.lower) for p in model.free])


def _information(model: SphericalMeanModel, scheme: KnownScheme, s0: str) -> np.ndarray:
    """Information at a noise of 1, of the parameters in units of their ranges, at a few points: (points, n, n)."""
    typical = {p.name: replace(p, start=_typical(p)) for p in model.free}
    # By quadrature: closed forms take the compiler longer.
    plain = tuple((name, replace(c, mean=None, legendre=None)) for name, c in model.compartments)
    changed = tuple({**dict(model.changed), **typical}.items())
    static, numbers, maps = replace(model, compartments=plain, changed=changed).without_values()
    runtime = tuple(np.asarray(v, float) for v in (*numbers, *map(_median, maps)))
    with jax.enable_x64(True):
        information = _at_points(runtime, model=static, scheme=scheme, s0=s0)
    return np.asarray(information) * _ranges(model) * _ranges(model)[:, None]


def _median(values: np.ndarray) -> float:
    """The median of a map, without the zeros outside its mask."""
    return float(np.nanmedian(np.where(values == 0, np.nan, values) if np.any(values) else values))


def _typical(p: Parameter) -> float:
    """The start of a parameter if it is a number, else its typical value, within its bounds."""
    if isinstance(p.start, float):
        return p.start
    low, high = np.nanmin(p.lower), np.nanmax(p.upper)
    return float(np.clip((low + high) / 2 if p.typical is None else p.typical, low, high))


@partial(jax.jit, static_argnames=("model", "scheme", "s0"), compiler_options=RUNS_ONCE)
def _at_points(runtime: tuple[Array, ...], *, model: SphericalMeanModel, scheme: KnownScheme, s0: str) -> Array:
    """Fisher information where searches start, and at a few other points of no special symmetry: (points, n, n)."""
    zero = jnp.zeros(1)
    n = len(model.free)
    parts = [jnp.asarray([(0.23 + 0.31 * k + 0.37 * i) % 0.8 + 0.1 for k in range(3)]) for i in range(n)]
    elsewhere = model.space.without_starts()
    first = model.values(model.space.begin([zero] * n, runtime), runtime)
    others = model.resolve(elsewhere.values(elsewhere.begin(parts, runtime), runtime))
    points = {name: jnp.concatenate([first[name], others[name]]) for name in model.parameter_names}
    return fisher_information(model, scheme, points, 1.0, s0, runtime)


def _sd(information: np.ndarray) -> np.ndarray:
    """Standard deviations (n,) at the first of the points where all is known, else at the first point."""
    size, vectors = np.linalg.eigh(information)
    known = size[:, 0] > _SINGULAR**2 * size[:, -1]
    i = int(np.argmax(known))
    if known[i]:
        variance: np.ndarray = np.sum(vectors[i] ** 2 / size[i], axis=1)
        return np.sqrt(variance)
    lost = size[0] <= _SINGULAR**2 * size[0, -1]
    variance = np.sum(np.where(lost, 0, vectors[0] ** 2 / np.where(lost, 1, size[0])), axis=1)
    return np.where(np.any(lost & (vectors[0] ** 2 > 1e-9), axis=1), np.inf, np.sqrt(variance))
