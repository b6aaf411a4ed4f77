"""`estimate`: one voxel in, parameters out, differentiable by everything that they depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.acquisition import Acquisition
from ..acquisition.shells import Pulse
from ..batch.fits import minimum, outcome
from ..errors import InputError
from ..models.model import SphericalMeanModel
from ..physics.signal import order_needed
from ..problems import lobe_starts
from ..problems.lobes import KAPPA_MAX, Lobes
from ..problems.lobes import Data as LobesData
from ..problems.shell_means import Data, ShellMeans, are_weights, scaled
from ..solvers import Minimum, Solver, levenberg_marquardt
from ..status import Status
from .fods import FodModel

# Order of convolved signals where b-values are traced, see `signal.convolved`.
_ORDER = 28


def estimate(
    model: SphericalMeanModel | FodModel,
    acquisition: Acquisition,
    signal: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    prior: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    s0: str = "fit",
    weights: ArrayLike | None = None,
    solver: Solver | None = None,
    adjoint: str = "implicit",
    with_status: bool = False,
) -> Any:
    """Fit one voxel; `jax.vmap` for many, which are then fitted side by side as in `fit`.

    The minimum of Σ_k (y_k - S0 ε(b_k; θ))²/(σ² Σa²_k) + Σ_j (θ_j - m_j)²/s_j² of the shells' means y, and for FODs
    then that of Σ_i (S_i/S0 - E_i)². Differentiable, in both modes and any order, by the signal, the acquisition's
    b-values and directions (`Acquisition` is a pytree, and see `Acquisition.with_values`), parameters fixed in the
    model, the prior and σ.

    Implicit derivatives follow from the conditions of optimality. A parameter at a bound stays there: its derivative
    is 0, and the others' are those with it held. Those of everything are 0 where the search did not converge and
    where there is no usable signal (all is 0 there): ask for the status. Where the data leave one direction of the
    parameters open, the search does not move along any: at exactly isotropic data, f = 1 inside the bounds of λ∥, the
    derivatives of all parameters and of what follows from them are 0, that of md too although it is determined.
    Unrolled derivatives grow beyond all bounds there. Changes of the optimum from one local minimum to another have no
    derivative, nor have a `weights` of 0.

    Status NON_FINITE, with values and derivatives 0, tells of what is not finite in signal, b-values, directions,
    weights, prior or σ, and of traced values that cannot be: a standard deviation or σ that is not above 0, a weight
    below 0, a parameter fixed beyond its limits. Of FODs and their kernel the worse status is told: NOT_CONVERGED
    before AT_BOUND before CONVERGED.

    Args:
        model: of spherical means; or `FodModel(spherical mean model, family, fibres)`, whose kernel is estimated first,
            with everything that depends on it; or a FOD model of a fit of one voxel. Its bounds cannot be traced. With
            traced b-values signals of FODs are cut at order 28, enough for b ≤ 8 ms/µm².
        signal: (volumes,) of any scale, real; half precision counts as single. sigma: noise of one volume, in units of
            the signal; of influence with a prior only. prior: {parameter: (mean, standard deviation)}, each of
            `model.names`; the deviation may be inf.
        s0, weights, solver: as of `fit`. adjoint: "implicit", or "unrolled": through the solver's steps, from a
            fixed start; slower, and to be compared with. with_status: return also the `Status` code.
    Returns:
        parameters and derived maps of the model by name, and "s0", in units of the signal; for FODs also
        "weight", "odi", "kappa" (N,), "direction" (N, 3), and for Bingham "beta" (N,), "across" (N, 3).
    Raises:
        InputError: shapes, names, too few shells, and values that cannot be where they are known. A scheme that cannot
            determine the model is not looked for, see `crlb`. Values of a signal never raise.

    Source: Blondel et al. 2022, Efficient and modular implicit differentiation, doi:10.48550/arXiv.2105.15183.
    """
    if adjoint not in ("implicit", "unrolled"):
        raise InputError(f"unknown adjoint {adjoint!r}", fix="'implicit' or 'unrolled'")
    if s0 not in ("fit", "mean"):
        raise InputError(f"unknown s0 {s0!r}", fix="'fit' or 'mean'")
    signal = jnp.asarray(signal)
    if jnp.issubdtype(signal.dtype, jnp.complexfloating):
        raise InputError(f"a signal of type {signal.dtype}", fix="give its magnitude, or its real part")
    if not jnp.issubdtype(signal.dtype, jnp.floating):
        signal = signal.astype(jnp.result_type(float))
    elif signal.dtype.itemsize < 4:
        signal = signal.astype(jnp.float32)
    if signal.ndim != 1:
        raise InputError(f"a signal of shape {signal.shape}", fix="one voxel's (volumes,); jax.vmap for many")
    acquisition.require_volumes(len(signal))
    how = {"solver": solver if solver is not None else levenberg_marquardt(), "adjoint": adjoint}
    kernels = model.kernels if isinstance(model, FodModel) else model
    if isinstance(kernels, SphericalMeanModel):
        found, status = _kernel(kernels, acquisition, signal, sigma, prior or {}, s0 == "fit", weights, how)
    elif sigma is not None or prior or weights is not None or s0 != "fit":
        raise InputError("options of a kernel's fit for a kernel that is fitted", fix="leave them out")
    else:
        found, status = _fitted(kernels, signal.dtype)
    if isinstance(model, FodModel):
        found, status = _fod(model, acquisition, signal, found, status, how)
    if adjoint == "implicit":  # of what does not depend on the search alone, like S0, too
        lost = status == Status.NOT_CONVERGED
        found = jax.tree.map(lambda v: jnp.where(lost, jax.lax.stop_gradient(v), v), found)
    return (found, status) if with_status else found


def _kernel(model, acquisition, signal, sigma, prior, fit_s0: bool, weights, how) -> tuple[dict[str, Array], Array]:
    """Parameters, S0 and status from the spherical means."""
    model.kernel.require(acquisition.pulses)
    _check_prior(model, sigma, prior)
    told = [name for name, (_, sd) in prior.items() if name in model.parameter_names and (_traced(sd) or sd < np.inf)]
    acquisition.require(shells=max(1, len(model.free) - len(told)), model=model.name)
    static, numbers, maps = model.without_values()
    if maps:
        raise InputError("the model has maps, and there is one voxel", fix="fix it at numbers, which may be traced")
    dtype, shells = signal.dtype, acquisition.shells
    if weights is None:
        weights = [1 / shell.variance for shell in shells]
    elif np.shape(weights) != (len(shells),) or not (_traced(weights) or are_weights(weights)):
        raise InputError(f"weights {weights} for {len(shells)} shells", fix="one each, 0 or more, b = 0 first")

    def number(value: Any) -> Array:
        return jnp.asarray(value, dtype)

    # As products, one by one: reverse mode turns indexing into scattering and unpacking into padding, which are slow.
    rows = number(acquisition.weights)
    if acquisition.traceable:
        rows = jnp.where(jnp.isfinite(rows), rows, 0)  # as for `_clean`
    means = tuple(jnp.matmul(row, signal, precision="highest") for row in rows)
    first, *others = acquisition.pulses
    pulses = (first if fit_s0 else first._replace(b=0.0), *others)
    traced = jax.tree.map(number, pulses) if acquisition.traceable else None
    problem = ShellMeans(static, () if acquisition.traceable else pulses, fit_s0=fit_s0, prior=tuple(prior))
    given = _Given(
        tuple(map(number, numbers)),
        tuple(map(number, weights)),
        traced,
        tuple(number(mean) for mean, _ in prior.values()),
        tuple(number(sd) for _, sd in prior.values()),
        number(sigma if prior else 1.0),
    )
    return _estimate_means(means, given, problem=problem, **how)


class _Given(NamedTuple):
    """What an estimate depends on besides the spherical means: scalars, each of which may be traced.

    numbers: the model's. weights, pulses: of the means; the pulses None where they are known beforehand. mean, sd: of
    the prior. sigma: of one volume.
    """

    numbers: tuple[Array, ...]
    weights: tuple[Array, ...]
    pulses: tuple[Pulse, ...] | None
    mean: tuple[Array, ...]
    sd: tuple[Array, ...]
    sigma: Array


def _check_prior(model: SphericalMeanModel, sigma: Any, prior: Mapping[str, tuple[Any, Any]]) -> None:
    unknown = [name for name in prior if name not in model.names]
    if unknown:
        raise InputError(f"a prior of {unknown[0]!r}", fix=f"of one of {model.names}")
    if prior and sigma is None:
        raise InputError("a prior without sigma", fix="sigma=, the noise that the prior is weighed against")
    if any(np.ndim(v) for v in (0.0 if sigma is None else sigma, *(v for pair in prior.values() for v in pair))):
        raise InputError("sigma or a prior is an array, and there is one voxel", fix="numbers, which may be traced")
    for what, value in {
        "sigma": sigma,
        **{f"the standard deviation of {n}": sd for n, (_, sd) in prior.items()},
    }.items():
        if value is not None and not _traced(value) and value <= 0:  # the status tells of NaN
            raise InputError(f"{what} is {value}", fix="above 0")


def _traced(values: Any) -> bool:
    return any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(values))


def _clean(model: SphericalMeanModel, given: _Given) -> tuple[_Given, Array]:
    """What is given with harmless numbers in place of those that cannot be, and whether there were none.

    In place, as reverse mode multiplies even derivatives that do not count, and NaN times 0 is NaN.
    """
    held = [model.parameters[name] for name, _ in model.held]
    limits = [(p.smallest, p.largest, p.lower) for p in held]
    limits += [(-np.inf, np.inf, 1.0)] * (len(given.numbers) - len(held))  # where searches start
    good = jax.tree.map(jnp.isfinite, given)._replace(
        numbers=tuple(
            jnp.isfinite(n) & (n >= low) & (n <= high) for n, (low, high, _) in zip(given.numbers, limits, strict=True)
        ),
        weights=tuple(jnp.isfinite(w) & (w >= 0) for w in given.weights),
        sd=tuple(sd > 0 for sd in given.sd),
        sigma=jnp.isfinite(given.sigma) & (given.sigma > 0),
    )
    other = jax.tree.map(jnp.ones_like, given)._replace(numbers=tuple(own for *_, own in limits))
    every = jnp.all(jnp.stack(jax.tree.leaves(good))) & (reduce(jnp.maximum, given.weights) > 0)
    return jax.tree.map(jnp.where, good, given, other), every


@partial(jax.jit, static_argnames=("problem", "solver", "adjoint"))
def _estimate_means(means, given: _Given, *, problem: ShellMeans, solver: Solver, adjoint: str):
    given, good = _clean(problem.model, given)
    y, scale, finite, usable = scaled(means, (jnp.where(good, 0, jnp.nan),), problem.fit_s0)
    largest = reduce(jnp.maximum, given.weights)
    roots = tuple(jnp.where(w > 0, jnp.sqrt(jnp.where(w > 0, w, 1) / largest), 0) for w in given.weights)
    noise = given.sigma / (scale * jnp.sqrt(largest))
    # Tighter priors than this hold a parameter fast already, and tell rounding from data.
    tightest = noise * float(jnp.finfo(scale.dtype).eps) ** 0.5
    tight = [noise / jnp.maximum(sd, tightest) for sd in given.sd]
    rows = tuple(tuple(t if i == j else 0 * t for j in range(len(tight))) for i, t in enumerate(tight))
    data = Data(y, given.numbers, given.mean, rows, given.pulses, roots)
    end = minimum(problem, solver, adjoint, data) if problem.size else Minimum((), jnp.ones_like(scale))
    found = problem.results(data, end.x)
    usable = usable & (found.s0 > 0)
    every = {**found.values, **found.derived, "s0": found.s0 * scale}
    every = jax.tree.map(lambda v: jnp.where(usable, v, 0), every)
    return every, outcome(usable, finite, end.converged > 0, found.at_bound)


def _fitted(fit, dtype) -> tuple[dict[str, Array], Array]:
    """The same of a fit of one voxel."""
    if fit.status.size != 1:
        raise InputError(f"kernels of {fit.status.size} voxels for one", fix="FodModel(model, ...) to estimate its own")
    every = {**fit.parameters, **fit.derived, "s0": fit.s0}
    return {name: jnp.asarray(v, dtype).reshape(()) for name, v in every.items()}, jnp.asarray(fit.status).reshape(())


def _fod(model: FodModel, acquisition: Acquisition, signal: Array, kernel, status, how):
    """What `_kernel` found, and the FOD's parameters."""
    if model.n_fibres == "auto":
        raise InputError("the number of lobes depends on the data", fix="n_fibres=1, 2 or 3")
    shells = [shell for shell in acquisition.shells if shell is not acquisition.b0]
    spherical = model.spherical
    pulses = tuple(shell.pulse for shell in shells)
    if any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(pulses)):
        orders = (_ORDER,) * len(shells)
    else:  # of any value of a parameter that is fixed at a traced one
        known = tuple((name, v) for name, v in spherical.held if not isinstance(v, jax.core.Tracer))
        orders = _orders(replace(spherical, held=known), jax.tree.map(float, pulses))
    directions = tuple(acquisition.bvecs[shell.volumes] for shell in shells)
    moments = tuple(spherical.kernel.legendre(p, order, kernel) for p, order in zip(pulses, orders, strict=True))
    usable = kernel["s0"] > 0
    s0 = jnp.where(usable, kernel["s0"], 1)
    y = _ordered(signal, np.concatenate([shell.volumes for shell in shells]))
    seen = (*directions, *moments, y) if acquisition.traceable else (y,)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in seen]))
    if acquisition.traceable:  # as for `_clean`
        directions, moments = jax.tree.map(lambda v: jnp.where(finite, v, 0), (directions, moments))
    table = lobe_starts.table(jax.lax.stop_gradient(directions) if acquisition.traceable else directions)
    directions, table = jax.tree.map(lambda a: jnp.asarray(a, signal.dtype), (directions, table))
    y = jnp.where(usable & finite, y / s0, 0)
    lobes = Lobes(model.axial, int(model.n_fibres), orders)
    found, own = _estimate_lobes(LobesData(directions, moments, y), table, lobes=lobes, **how)
    worse = jnp.maximum(own, status)  # the codes rise from CONVERGED by AT_BOUND to NOT_CONVERGED
    status = jnp.where(usable, jnp.where(finite, worse, jnp.uint8(Status.NON_FINITE)), status)
    found = {name: jnp.where(usable & finite, v, 0) for name, v in found.items()}
    unused = ("beta", "across") if model.axial else ()
    return {**kernel, **{name: v for name, v in found.items() if name not in unused}}, status


def _ordered(signal: Array, volumes: np.ndarray) -> Array:
    """The signal of these volumes; where they lie side by side as a slice, which is faster in reverse mode."""
    first, n = int(volumes[0]), len(volumes)
    if np.array_equal(volumes, np.arange(first, first + n)):
        return signal[first : first + n]
    return jnp.take(signal, volumes, unique_indices=True)


@partial(jax.jit, static_argnames=("lobes", "solver", "adjoint"))
def _estimate_lobes(data: LobesData, table, *, lobes: Lobes, solver: Solver, adjoint: str):
    end = minimum(lobes, solver, adjoint, (data, jax.lax.stop_gradient(table)))
    return lobes.named(end.x), outcome(True, True, end.converged > 0, lobes.at_bound(end.x))


@cache
def _orders(model: SphericalMeanModel, pulses: tuple[Pulse, ...]) -> tuple[int, ...]:
    """Orders at which signals may be cut, as in a fit."""
    with jax.ensure_compile_time_eval():
        return tuple(order_needed(model.extreme_moments(pulse), kappa=KAPPA_MAX) for pulse in pulses)
