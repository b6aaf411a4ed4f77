"""`estimate`: one voxel in, parameters out, differentiable by everything that they depend on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from . import lobe_starts
from .acquisition import Acquisition, Pulse
from .errors import InputError
from .fods import FodModel
from .lobes import KAPPA_MAX, Lobes
from .lobes import Data as LobesData
from .models import SphericalMeanModel
from .shell_means import Data, ShellMeans, scaled
from .signal import order_needed
from .solvers import Minimum, Solver, Status, levenberg_marquardt
from .voxelwise import minimum, outcome

# Order of convolved signals where b-values or a kernel's limits are not known beforehand, see `signal.convolved`.
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
    is 0, and the others' are those with it held. Where the search did not converge, where the data do not determine
    the parameters, and where there is no usable signal (all is 0 there), derivatives are 0: ask for the status.
    Changes of the optimum from one local minimum to another have no derivative.

    Args:
        model: of spherical means; or `FodModel(spherical mean model, family, fibres)`, whose kernel is estimated first,
            with everything that depends on it; or a FOD model of a fit of one voxel.
        signal: (volumes,) of any scale. sigma: noise of one volume, in units of the signal; of influence with a
            prior only. prior: {parameter: (mean, standard deviation)}, each of `model.names`.
        s0, weights, solver: as of `fit`. adjoint: "implicit", or "unrolled": through the solver's steps, from a
            fixed start; slower, and to be compared with. with_status: return also the `Status` code.
    Returns:
        parameters and derived maps of the model by name, and "s0", in units of the signal; for FODs also
        "weight", "odi", "kappa" (N,), "direction" (N, 3), and for Bingham "beta" (N,), "across" (N, 3).
    Raises:
        InputError: what can be told beforehand, as of `fit`. Values of a signal never raise.

    Source: Blondel et al. 2022, Efficient and modular implicit differentiation, doi:10.48550/arXiv.2105.15183.
    """
    if adjoint not in ("implicit", "unrolled"):
        raise InputError(f"unknown adjoint {adjoint!r}", fix="'implicit' or 'unrolled'")
    if s0 not in ("fit", "mean"):
        raise InputError(f"unknown s0 {s0!r}", fix="'fit' or 'mean'")
    signal = jnp.asarray(signal)
    signal = signal if jnp.issubdtype(signal.dtype, jnp.floating) else signal.astype(jnp.result_type(float))
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
    return (found, status) if with_status else found


def _kernel(model, acquisition, signal, sigma, prior, fit_s0: bool, weights, how) -> tuple[dict[str, Array], Array]:
    """Parameters, S0 and status from the spherical means."""
    model.kernel.require(acquisition.pulses)
    acquisition.require(shells=max(1, len(model.free) - len(prior)), model=model.name)
    unknown = [name for name in prior if name not in model.names]
    if unknown:
        raise InputError(f"a prior of {unknown[0]!r}", fix=f"of one of {model.names}")
    if prior and sigma is None:
        raise InputError("a prior without sigma", fix="sigma=, the noise that the prior is weighed against")
    static, numbers, maps = model.without_values()
    if maps:
        raise InputError("the model has maps, and there is one voxel", fix="fix it at numbers, which may be traced")
    dtype, shells = signal.dtype, acquisition.shells

    def number(value: Any) -> Array:
        return jnp.asarray(value, dtype)

    # As a product: reverse mode turns indexing into scattering, which is slow.
    means = tuple(jnp.matmul(number(acquisition.weights), signal, precision="highest"))
    if weights is not None and np.shape(weights) != (len(shells),):
        raise InputError(f"weights {weights} for {len(shells)} shells", fix="one each, 0 or more, b = 0 first")
    inverse = [1 / shell.variance for shell in shells] if weights is None else list(jnp.asarray(weights, dtype))
    first, *others = acquisition.pulses
    pulses = (first if fit_s0 else first._replace(b=0.0), *others)
    scale = jnp.max(jnp.stack([number(w) for w in inverse]))
    roots = tuple(jnp.sqrt(number(w) / scale) for w in inverse)
    traced: dict[str, Any] = {"roots": roots}
    if acquisition.traceable:
        traced["pulses"], pulses = jax.tree.map(number, pulses), ()
    problem = ShellMeans(static, pulses, fit_s0=fit_s0, prior=tuple(prior))
    mean = tuple(number(m) for m, _ in prior.values())
    tight = tuple(number(sigma) / (number(sd) * jnp.sqrt(scale)) for _, sd in prior.values())
    return _estimate_means(means, tuple(map(number, numbers)), (mean, tight), traced, problem=problem, **how)


@partial(jax.jit, static_argnames=("problem", "solver", "adjoint"))
def _estimate_means(means, numbers, prior, traced, *, problem: ShellMeans, solver: Solver, adjoint: str):
    y, scale, finite, usable = scaled(means, numbers, problem.fit_s0)
    mean, tight = prior
    rows = tuple(tuple(t / scale if i == j else 0 * t for j in range(len(tight))) for i, t in enumerate(tight))
    data = Data(y, numbers, mean, rows, **traced)
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
    if acquisition.traceable or any(isinstance(v, jax.core.Tracer) for _, v in spherical.held):
        orders = (_ORDER,) * len(shells)
    else:
        orders = _orders(spherical, tuple(shell.pulse for shell in shells))
    directions = tuple(acquisition.bvecs[shell.volumes] for shell in shells)
    table = lobe_starts.table(jax.lax.stop_gradient(directions) if acquisition.traceable else directions)
    directions, table = jax.tree.map(lambda a: jnp.asarray(a, signal.dtype), (directions, table))
    moments = tuple(
        spherical.kernel.legendre(shell.pulse, order, kernel) for shell, order in zip(shells, orders, strict=True)
    )
    usable = kernel["s0"] > 0
    s0 = jnp.where(usable, kernel["s0"], 1)
    y = _ordered(signal, np.concatenate([shell.volumes for shell in shells]))
    finite = jnp.all(jnp.isfinite(y))
    y = jnp.where(usable & finite, y / s0, 0)
    lobes = Lobes(model.axial, int(model.n_fibres), orders)
    found, own = _estimate_lobes(LobesData(directions, moments, y), table, lobes=lobes, **how)
    status = jnp.where(usable, jnp.where(finite, own, jnp.uint8(Status.NON_FINITE)), status)
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
