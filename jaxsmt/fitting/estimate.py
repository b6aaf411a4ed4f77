"""`estimate`: one voxel in, parameters out, differentiable by everything that they depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.acquisition import Acquisition
from ..acquisition.arguments import require_acquisition
from ..acquisition.arrays import real_array
from ..acquisition.echoes import decay_of, echoes_of
from ..acquisition.shells import Pulse, pulses_of_fit
from ..batch.fitters import checked_weights, of_scheme
from ..batch.search import minimum, status_of
from ..errors import InputError, shown
from ..models.information import require_scheme
from ..models.model import SphericalMeanModel
from ..models.priors import NormalPrior
from ..physics import noises
from ..physics.compartments import LEAST_ANISOTROPY, anisotropy
from ..physics.densities.base import Density
from ..problems import shell_means
from ..problems.lobe_starts import harmonic_fits_of
from ..problems.lobes import Data as LobesData
from ..problems.lobes import Lobes
from ..problems.shell_means import ShellMeans
from ..solvers import Minimum, Solver
from ..status import Status
from .arguments import one_signal, require_model
from .fods import orders_of
from .results import Fit, FodModel
from .settings import Settings

# Order of convolved signals where b-values are traced, see `signal.convolved`.
_ORDER = 28


def estimate(
    model: SphericalMeanModel | FodModel,
    acquisition: Acquisition,
    signal: ArrayLike,
    *,
    sigma: ArrayLike | None = None,
    prior: Any = None,
    s0: str = "fit",
    weights: ArrayLike | None = None,
    solver: Solver | None = None,
    adjoint: str = "implicit",
    with_status: bool = False,
) -> Any:
    """Fit one voxel. With `jax.vmap` many voxels are fitted side by side, as in `fit`.

    The minimum of Σ_k (y_k - S0 ε(b_k; θ))²/(σ² Σa²_k) + |R(θ - m)|² of the shells' means y; for FODs then that of
    Σ_i (S_i/S0 - E_i)². It is differentiable, in both modes and any order, by the signal, by the acquisition's b-values
    and directions (`Acquisition` is a pytree, and see `Acquisition.with_values`), by parameters that are fixed in the
    model, by the prior and by σ.

    Implicit derivatives follow from the conditions of optimality. A parameter at a bound stays there: its derivative is
    0, and the others' are those with it held. All derivatives are 0 where the search did not converge, and where there
    is no usable signal (there all values are 0 too): ask for the status. Where the data leave one direction of the
    parameters open, the derivatives of all parameters are 0. For example, at exactly isotropic data f = 1 inside the
    bounds of λ∥; there that of md is 0 too, although md is determined, and unrolled derivatives have no bounds. A
    change from one local minimum to another has no derivative, nor has a weight of 0.

    Status NON_FINITE, with values and derivatives 0, means that signal, b-values, directions, weights, prior or σ are
    not finite, or that a traced value cannot be: a standard deviation or σ not above 0, a weight below 0, a parameter
    fixed beyond its limits. With FODs the status is the worse of the FOD's and its kernel's: NOT_CONVERGED before
    AT_BOUND before CONVERGED. Lobes are 0, with AT_BOUND, where the kernel is isotropic within 5 %.

    Args:
        model: of spherical means; or `FodModel(spherical mean model, density, n_fibres)`, whose kernel is estimated
            first, with everything that depends on it; or a FOD model of a fit of one voxel. Bounds cannot be traced.
            With traced b-values signals of FODs are cut at order 28, enough for b ≤ 8 ms/µm².
        acquisition: b-values and directions of the volumes; its numbers may be traced.
        signal: (volumes,) of any scale, real; half precision counts as single.
        sigma: noise of one volume, in units of the signal; it matters with a prior only.
        prior: {parameter: (mean, standard deviation)} of `model.names`, inf too; or a `NormalPrior`, or "population".
        s0: "fit", or "mean": S0 is the mean of the b = 0 volumes.
        weights: (shells,) of the squared residuals; None: inverse variances.
        solver: None: `levenberg_marquardt()`.
        adjoint: "implicit", or "unrolled": through the solver's steps, from a fixed start; slower, for comparison.
        with_status: return also the `Status` code.
    Returns:
        parameters and derived maps of the model by name, and "s0", in units of the signal; for FODs also "weight",
        "odi", "kappa" (N,), "direction" (N, 3), and for densities with a second axis "beta" (N,), "across" (N, 3).
    Raises:
        InputError: shapes, names, too few shells, and invalid known values. Whether the scheme can determine the
            model is not checked, see `crlb`. Values of a signal never raise.

    Example:
        >>> import jax
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=12)
        >>> lobe = [[[0.0, 0.0, 1.0]]]
        >>> signal = js.simulate.zeppelin_signal(acquisition, [2.0], [0.3], lobe, [[8.0]], [[1.0]])[0]
        >>> parallel = lambda signal: js.estimate(js.smt(), acquisition, signal)["lambda_par"]
        >>> print(round(float(parallel(signal)), 1), jax.grad(parallel)(signal).shape)
        2.0 (38,)

    Source: Blondel et al. 2022, Efficient and modular implicit differentiation, doi:10.48550/arXiv.2105.15183.
    """
    if adjoint not in ("implicit", "unrolled"):
        raise InputError(f"adjoint={shown(adjoint)} is unknown", fix="adjoint='implicit' or adjoint='unrolled'")
    require_model(model)
    require_acquisition(acquisition)
    if isinstance(model, FodModel) and model.n_fibres == "auto":
        raise InputError("n_fibres='auto': the number of lobes depends on the data", fix="n_fibres=1, 2 or 3")
    settings = Settings(s0=s0, solver=solver, sigma=sigma)
    signal = one_signal(signal, acquisition)
    how = {"solver": settings.minimiser, "adjoint": adjoint}
    kernels = model.kernels if isinstance(model, FodModel) else model
    if isinstance(kernels, SphericalMeanModel):
        values, status = _kernel(kernels, acquisition, signal, _Options(sigma, prior, settings.s0, weights), how)
    elif sigma is not None or prior or weights is not None or s0 != "fit":
        raise InputError("options of a kernel's fit for a kernel that is fitted", fix="leave them out")
    else:
        values, status = _of_fit(kernels, signal.dtype)
    if isinstance(model, FodModel):
        values, status = _fod(model, acquisition, signal, values, status, how)
    if adjoint == "implicit":  # of what does not depend on the search alone, like S0, too
        lost = status == Status.NOT_CONVERGED
        values = jax.tree.map(lambda v: jnp.where(lost, jax.lax.stop_gradient(v), v), values)
    return (values, status) if with_status else values


class _Options(NamedTuple):
    """Options of the kernel's estimate."""

    sigma: Any
    prior: Any
    s0: str
    weights: Any


class _Inputs(NamedTuple):
    """What an estimate depends on besides the spherical means: scalars, each of which may be traced.

    numbers: the model's. weights, pulses: of the means. mean, sd: of independent priors. root: of a joint prior instead
    of sd, rows of R. sigma: of one volume.
    """

    numbers: tuple[Array, ...]
    weights: tuple[Array, ...]
    pulses: tuple[Pulse, ...]
    mean: tuple[Array, ...]
    sd: tuple[Array, ...]
    root: tuple[tuple[Array, ...], ...]
    sigma: Array


class _Prior(NamedTuple):
    names: tuple[str, ...] = ()
    mean: tuple[Any, ...] = ()
    sd: tuple[Any, ...] = ()
    root: tuple[tuple[Any, ...], ...] = ()


def _kernel(
    model: SphericalMeanModel, acquisition: Acquisition, signal: Array, options: _Options, how: Mapping[str, Any]
) -> tuple[dict[str, Array], Array]:
    """Parameters, S0 and status from the spherical means."""
    prior = _prior_of(model, options)
    known = zip(prior.names, prior.sd or (1.0,) * len(prior.names), strict=True)
    informed = [name for name, sd in known if _may_hold(name, sd, model)]
    require_scheme(model, acquisition, options.s0, len(model.free) - len(informed))
    static, numbers, maps = model.without_values()
    if maps:
        raise InputError("the model has maps, and there is one voxel", fix="fix it at numbers, which may be traced")
    dtype = signal.dtype

    def number(value: Any) -> Array:
        return jnp.asarray(value, dtype)

    # As products, one by one: reverse mode turns indexing into scattering and unpacking into padding, which are slow.
    rows = number(acquisition.weights)
    if acquisition.traceable:
        rows = jnp.where(jnp.isfinite(rows), rows, 0)  # as for `_clean`
    means = tuple(jnp.matmul(row, signal, precision="highest") for row in rows)
    fit_s0 = options.s0 == "fit"
    pulses = pulses_of_fit(acquisition.shells, fit_s0)
    zero = not _traced(pulses[0].b) and bool(pulses[0].b == 0)
    problem = ShellMeans(static, fit_s0, prior.names, *of_scheme(model, acquisition, zero))
    mean, sd, root = jax.tree.map(number, (prior.mean, prior.sd, prior.root))
    inputs = _Inputs(
        tuple(map(number, numbers)),
        tuple(map(number, _weights_of(options.weights, acquisition))),
        jax.tree.map(number, pulses),
        mean,
        sd,
        root,
        number(options.sigma if prior.names else 1.0),
    )
    values: dict[str, Array]
    values, status = _estimate_means(means, inputs, problem=problem, **how)
    return values, status


def _may_hold(name: str, sd: Any, model: SphericalMeanModel) -> bool:
    """Whether a prior can determine a free parameter."""
    return name in model.parameter_names and (_traced(sd) or sd < np.inf)


def _weights_of(weights: Any, acquisition: Acquisition) -> Any:
    """(shells,) weights, which may be traced."""
    if weights is None:
        return [1 / shell.variance for shell in acquisition.shells]
    if not _traced(weights):
        return checked_weights(weights, acquisition, None)
    if np.shape(weights) != (len(acquisition.shells),):
        raise InputError(f"weights= has the shape {np.shape(weights)}", fix="one for each shell, b = 0 first")
    return weights


def _prior_of(model: SphericalMeanModel, options: _Options) -> _Prior:
    """A prior in the form of `_Inputs`.

    Raises:
        InputError: of unknown parameters, without sigma, or with invalid known values.
    """
    prior, sigma = options.prior, options.sigma
    if sigma is not None and not _traced(sigma):
        if isinstance(sigma, str):
            raise InputError(f"sigma={shown(sigma)}, and there is one voxel", fix="a number, which may be traced")
        if np.ndim(sigma):
            raise InputError("sigma= is an array, and there is one voxel", fix="a number, which may be traced")
        if sigma <= 0:  # the status tells of NaN
            raise InputError(f"sigma={shown(sigma)} is not valid", fix="above 0")
    if prior is None or (isinstance(prior, Mapping) and not prior):
        return _Prior()
    if isinstance(prior, Mapping):
        form = _independent(prior)
    else:
        joint = NormalPrior.make(prior, model)
        assert joint is not None
        mean, root = joint.rooted(np.dtype(float))
        form = _Prior(joint.names, tuple(mean), (), tuple(map(tuple, root)))
    unknown = [name for name in form.names if name not in model.names]
    if unknown:
        raise InputError(f"a prior of {unknown[0]!r}", fix=f"of one of {model.names}")
    if sigma is None:
        raise InputError("a prior without sigma=", fix="give sigma=, the noise that the prior is weighed against")
    return form


def _independent(prior: Mapping[str, tuple[Any, Any]]) -> _Prior:
    for name, pair in prior.items():
        if not isinstance(pair, Sequence) or len(pair) != 2 or any(isinstance(v, str) for v in pair):
            fix = "(mean, standard deviation), which may be traced"
            raise InputError(f"the prior of {name} is {shown(pair)}", fix=fix)
        for value in pair:
            if not _traced(value):
                real_array(value, "prior")
        mean, sd = pair
        if np.ndim(mean) or np.ndim(sd):
            raise InputError(
                f"the prior of {name} is an array, and there is one voxel", fix="numbers, which may be traced"
            )
        if not _traced(sd) and not sd > 0:
            raise InputError(f"the standard deviation of {name} is {sd}", fix="above 0")
    return _Prior(tuple(prior), tuple(mean for mean, _ in prior.values()), tuple(sd for _, sd in prior.values()))


def _traced(values: Any) -> bool:
    return any(isinstance(v, jax.core.Tracer) for v in jax.tree.leaves(values))


def _clean(model: SphericalMeanModel, inputs: _Inputs) -> tuple[_Inputs, Array]:
    """Inputs with harmless numbers in place of invalid ones, and whether there were none.

    In place, as reverse mode multiplies even derivatives that do not count, and NaN times 0 is NaN.
    """
    held = [model.parameters[name] for name, _ in model.held]
    limits = [(p.smallest, p.largest, p.lower) for p in held]
    limits += [(-np.inf, np.inf, 1.0)] * (len(inputs.numbers) - len(held))  # where searches start
    good = jax.tree.map(jnp.isfinite, inputs)._replace(
        numbers=tuple(
            jnp.isfinite(n) & (n >= low) & (n <= high) for n, (low, high, _) in zip(inputs.numbers, limits, strict=True)
        ),
        weights=tuple(jnp.isfinite(w) & (w >= 0) for w in inputs.weights),
        sd=tuple(sd > 0 for sd in inputs.sd),
        sigma=jnp.isfinite(inputs.sigma) & (inputs.sigma > 0),
    )
    harmless = jax.tree.map(jnp.ones_like, inputs)._replace(numbers=tuple(number for *_, number in limits))
    all_good = jnp.all(jnp.stack(jax.tree.leaves(good))) & (reduce(jnp.maximum, inputs.weights) > 0)
    return jax.tree.map(jnp.where, good, inputs, harmless), all_good


@partial(jax.jit, static_argnames=("problem", "solver", "adjoint"))
def _estimate_means(
    means: tuple[Array, ...], inputs: _Inputs, *, problem: ShellMeans, solver: Solver, adjoint: str
) -> tuple[dict[str, Array], Array]:
    inputs, good = _clean(problem.model, inputs)
    y, scale, finite, usable = shell_means.scaled(means, (jnp.where(good, 0, jnp.nan),), problem.fit_s0, problem.echoes)
    largest = reduce(jnp.maximum, inputs.weights)
    roots = tuple(jnp.where(w > 0, jnp.sqrt(jnp.where(w > 0, w, 1) / largest), 0) for w in inputs.weights)
    rows = _prior_rows(inputs, inputs.sigma / (scale * jnp.sqrt(largest)))
    data = shell_means.Data(y, inputs.pulses, roots, inputs.numbers, inputs.mean, rows)
    end = minimum(problem, solver, adjoint, data) if problem.size else Minimum((), jnp.ones_like(scale))
    found = problem.estimate(data, end.x)
    usable = usable & (found.s0 > 0)
    values = {**found.values, **found.derived, "s0": found.s0 * scale}
    values = jax.tree.map(lambda v: jnp.where(usable, v, 0), values)
    return values, status_of(usable, finite, end.converged > 0, found.at_bound)


def _prior_rows(inputs: _Inputs, noise: Array) -> tuple[tuple[Array, ...], ...]:
    """T of the cost |T (p - m)|². noise: of a weighted mean, in the scale of the means."""
    if inputs.root:
        return tuple(tuple(noise * r for r in row) for row in inputs.root)
    # Tighter priors than this hold a parameter fast already, and cannot be told from rounding.
    tightest = noise * float(jnp.finfo(noise.dtype).eps) ** 0.5
    tight = [noise / jnp.maximum(sd, tightest) for sd in inputs.sd]
    return tuple(tuple(t if i == j else 0 * t for j in range(len(tight))) for i, t in enumerate(tight))


def _of_fit(fit: Fit, dtype: Any) -> tuple[dict[str, Array], Array]:
    """Parameters, S0 and status of a fit of one voxel."""
    if fit.status.size != 1:
        raise InputError(f"kernels of {fit.status.size} voxels for one", fix="FodModel(model, ...) to estimate its own")
    values = {**fit.parameters, **fit.derived, "s0": fit.s0}
    return {name: jnp.asarray(v, dtype).reshape(()) for name, v in values.items()}, jnp.asarray(fit.status).reshape(())


def _fod(
    model: FodModel,
    acquisition: Acquisition,
    signal: Array,
    kernel: dict[str, Array],
    status: Array,
    how: Mapping[str, Any],
) -> tuple[dict[str, Array], Array]:
    """The kernel's values and the FOD's, and the status of both."""
    shells = [shell for shell in acquisition.shells if not shell.zero]
    pulses, k = tuple(shell.pulse for shell in shells), model.spherical.kernel
    orders = _known_orders(model, pulses)
    directions = tuple(acquisition.bvecs[shell.volumes] for shell in shells)
    moments = tuple(k.legendre(p, order, kernel) for p, order in zip(pulses, orders, strict=True))
    directed = anisotropy([k.unrelaxed(p, m, kernel) for p, m in zip(pulses, moments, strict=True)]) >= LEAST_ANISOTROPY
    if echoes := echoes_of(acquisition, k.relaxing):
        decay = decay_of(jnp.matmul(jnp.asarray(acquisition.weights, signal.dtype), signal), echoes)
        moments = tuple(factor * m for factor, m in zip(decay[len(echoes) - len(shells) :], moments, strict=True))
    usable = kernel["s0"] > 0
    s0 = jnp.where(usable, kernel["s0"], 1)
    y = _ordered(signal, np.concatenate([shell.volumes for shell in shells]))
    seen = (*directions, *moments, y) if acquisition.traceable else (y,)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(v)) for v in seen]))
    if acquisition.traceable:  # as for `_clean`
        directions, moments = jax.tree.map(lambda v: jnp.where(finite, v, 0), (directions, moments))
    harmonics = harmonic_fits_of(jax.lax.stop_gradient(directions) if acquisition.traceable else directions)
    determined = harmonics.order
    directions, harmonics = jax.tree.map(lambda a: jnp.asarray(a, signal.dtype), (directions, harmonics))
    y = jnp.where(usable & finite, y / s0, 0)
    lobes = Lobes(model.family, int(model.n_fibres), orders, noises.find("gaussian"), determined)
    data = LobesData(directions, jax.lax.stop_gradient(harmonics), moments, y)
    values, of_lobes = _estimate_lobes(data, lobes=lobes, **how)
    of_lobes = jnp.where(directed, of_lobes, jnp.uint8(Status.AT_BOUND))
    worse = jnp.maximum(of_lobes, status)  # the codes rise from CONVERGED by AT_BOUND to NOT_CONVERGED
    status = jnp.where(usable, jnp.where(finite, worse, jnp.uint8(Status.NON_FINITE)), status)
    values = {name: jnp.where(usable & finite & directed, v, 0) for name, v in values.items()}
    unused = ("beta", "across") if model.family.axes == 1 else ()
    return {**kernel, **{name: v for name, v in values.items() if name not in unused}}, status


def _known_orders(model: FodModel, pulses: tuple[Pulse, ...]) -> tuple[int, ...]:
    """Orders at which signals may be cut; a fixed one where b-values are traced."""
    if _traced(pulses):
        return (_ORDER,) * len(pulses)
    # Of any value of a parameter that is fixed at a traced one.
    spherical = model.spherical
    known = tuple((name, v) for name, v in spherical.held if not isinstance(v, jax.core.Tracer))
    return _orders(replace(spherical, held=known), model.family, jax.tree.map(float, pulses))


@cache
def _orders(model: SphericalMeanModel, density: Density, pulses: tuple[Pulse, ...]) -> tuple[int, ...]:
    with jax.ensure_compile_time_eval():
        return orders_of(model, density, pulses)


def _ordered(signal: Array, volumes: np.ndarray) -> Array:
    """The signal of these volumes; where they lie side by side as a slice, which is faster in reverse mode."""
    first, n = int(volumes[0]), len(volumes)
    if np.array_equal(volumes, np.arange(first, first + n)):
        return signal[first : first + n]
    return jnp.take(signal, volumes, unique_indices=True)


@partial(jax.jit, static_argnames=("lobes", "solver", "adjoint"))
def _estimate_lobes(data: LobesData, *, lobes: Lobes, solver: Solver, adjoint: str) -> tuple[dict[str, Array], Array]:
    end = minimum(lobes, solver, adjoint, data)
    yes = jnp.asarray(True)
    return lobes.maps(end.x), status_of(yes, yes, end.converged > 0, lobes.at_bound(end.x))
