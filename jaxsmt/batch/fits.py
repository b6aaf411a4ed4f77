"""Fits of a chunk of voxels, or of one voxel in a form that can be differentiated."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.shells import Pulse
from ..physics.compartments import Kernel
from ..problems import lobe_starts
from ..problems.lobe_starts import Table
from ..problems.lobes import Data as LobesData
from ..problems.lobes import Lobes, misfit
from ..problems.shell_means import Data as MeansData
from ..problems.shell_means import Prior, ShellMeans, Uncertainty
from ..solvers import Minimum, Point, Solver, implicit, unrolled
from ..status import Status
from .lanes import LANES, End, best_of, blocks, solve, taken, where

# Steps between two exchanges of finished voxels for fresh ones; most voxels are done by then.
_STEPS, _LOBE_STEPS = 5, 2
# Steps from each of several starts before only the best goes on.
_FEW = 16


class VoxelFits(NamedTuple):
    """Results of a chunk: leaves of shape (voxels,)."""

    parameters: dict[str, Array]
    derived: dict[str, Array]
    s0: Array
    mse: Array
    r2: Array
    status: Array
    steps: Array
    uncertainty: Uncertainty | None = None


def outcome(usable: ArrayLike, finite: ArrayLike, converged: Array, at_bound: Array) -> Array:
    """The status code."""
    fitted = jnp.where(converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED)
    status = jnp.where(usable, fitted, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    return status.astype(jnp.uint8)


def _search_means(
    problem: ShellMeans,
    solver: Solver,
    own: Any,
    data: Callable[[Any], MeansData],
    count: ArrayLike,
    lanes: int,
) -> End:
    """Fit the first `count` of n voxels. own: leaves (n, …). data: `(own of one voxel) -> MeansData`."""
    n, tries = len(jax.tree.leaves(own)[0]), problem.tries

    def start(item):
        voxel, nth = item // tries, item % tries
        fresh = taken(own, voxel)
        return fresh, jax.vmap(lambda own, nth: problem.start(data(own), nth))(fresh, nth)

    def one(own):
        return problem.problem(data(own))

    end = solve(solver, one, start, problem.size, n * tries, count * tries, lanes, _STEPS)
    return end if tries == 1 else jax.tree.map(lambda leaf: leaf[best_of(end.cost, tries)], end)


def minimum(
    problem: ShellMeans | Lobes, solver: Solver, adjoint: str, data: MeansData | tuple[LobesData, Table]
) -> Minimum:
    """Fit one voxel, in a form that can be differentiated by its data.

    Under vmap many voxels are fitted as `fit_means` and `fit_lobes` do, side by side.
    """
    if adjoint == "unrolled":
        return _unrolled(problem, solver, data)

    def search(own: Any, merge: Callable[[Any], Any]) -> Minimum:
        n, lanes = len(jax.tree.leaves(own)[0]), LANES[_platform()]
        if isinstance(problem, Lobes):
            end = _search_lobes(problem, solver, own, lambda own: own, merge, n, min(lanes[1], n))
        else:
            end = _search_means(problem, solver, own, merge, n, min(lanes[0], n * problem.tries))
        return Minimum(end.x, end.converged.astype(end.cost.dtype))

    @jax.custom_batching.custom_vmap
    def find(data):
        one = search(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], data), lambda own: own)
        return jax.tree.map(lambda leaf: leaf[0], one)

    @find.def_vmap
    def _(size, batched, data):
        leaves, tree = jax.tree.flatten(data)
        where = [i for i, own in enumerate(jax.tree.leaves(batched[0])) if own]

        def merge(own: list) -> Any:
            new = dict(zip(where, own, strict=True))
            return jax.tree.unflatten(tree, [new.get(i, leaf) for i, leaf in enumerate(leaves)])

        end = search([leaves[i] for i in where], merge)
        return end, jax.tree.map(lambda _: True, end)

    def posed(data):
        return problem.problem(data[0] if isinstance(problem, Lobes) else data)

    return implicit(find, posed)(data)


def _platform() -> str:
    return "cpu" if jax.default_backend() == "cpu" else "gpu"


def _unrolled(problem: ShellMeans | Lobes, solver: Solver, data: Any) -> Minimum:
    """The best of the searches from each start, differentiated through its steps."""
    fixed = jax.lax.stop_gradient(data)
    if isinstance(problem, Lobes):
        own = data[0]
        points = _lobe_starts(problem, *fixed)
    else:
        own = data
        points = [problem.start(fixed, jnp.int32(i)) for i in range(problem.tries)]
    starts = tuple(jnp.stack(values) for values in zip(*points, strict=True))
    ends, costs = jax.lax.map(lambda x0: unrolled(solver, problem.problem(own), x0, problem.size), starts)
    best = jnp.argmin(costs)
    return jax.tree.map(lambda leaf: leaf[best], ends)


@partial(jax.jit, static_argnames=("problem", "solver", "lanes"))
def fit_means(
    means: tuple[Array, ...],
    numbers: tuple[Array, ...],
    maps: tuple[Array, ...],
    sigma: Array | None,
    factors: tuple[Array, ...] | None,
    prior: Prior | None,
    count: ArrayLike,
    *,
    problem: ShellMeans,
    solver: Solver,
    lanes: int,
) -> VoxelFits:
    """Fit a model to the spherical means of a chunk of voxels.

    Args:
        means: b = 0 first, then shells; each (voxels,). numbers, maps: the model's, scalars and (voxels,) each.
        sigma: (voxels,) of one volume's noise, for a prior and uncertainties. factors: variances of the means over σ²,
            (voxels,) each, for uncertainties.
        count: only the first `count` are fitted. problem: without `fit_s0`, S0 is the b = 0 mean.
        lanes: a number whose state fits the cache of one core, or fills a GPU.
    """

    def pose(means, maps, sigma):
        return problem.pose(means, numbers, maps, sigma, prior)

    scaled, own = jax.vmap(pose)(means, maps, sigma)
    varying = (scaled.y, maps, scaled.tightness)

    def data(own) -> MeansData:
        y, maps, tightness = own
        return MeansData(y, (*numbers, *maps), () if prior is None else tuple(prior.mean), tightness)

    end = _search_means(problem, solver, varying, data, count, lanes)
    found = jax.vmap(lambda own, x: problem.results(data(own), x))(varying, end.x)
    usable = own.usable & (found.s0 > 0)
    status = outcome(usable, own.finite, end.converged, found.at_bound)
    clear = partial(jax.tree.map, lambda a: jnp.where(usable, a, 0))
    spread = None
    if factors is not None:
        settled = status == Status.CONVERGED

        def uncertain(own):
            means, maps, x, sigma, factors = own
            return problem.uncertainty(means, numbers, maps, x, sigma, factors, prior)

        spread = blocks(uncertain, (means, maps, end.x, sigma, factors), count, lanes)
        spread = jax.tree.map(lambda a: where(settled, a, jnp.full_like(a, jnp.nan)), spread)
    return VoxelFits(
        parameters=clear(found.values),
        derived=clear(found.derived),
        s0=clear(found.s0 * own.scale),
        mse=clear(found.mse),
        r2=clear(found.r2),
        status=status,
        steps=clear(end.steps),
        uncertainty=spread,
    )


class LobeFits(NamedTuple):
    """FODs of a chunk: leaves (voxels, lobes) and (voxels, lobes, 3), lobes by falling weight; else (voxels,)."""

    weight: Array
    odi: Array
    kappa: Array
    beta: Array
    direction: Array
    across: Array
    cost: Array  # Σ r² over the volumes, of the signal over S0; -2 log p if their noise is Rician
    isotropic: Array  # the same of a uniform FOD
    squared: tuple[Array, Array]  # Σ r² of either
    status: Array
    sd: dict[str, Array] | None = None


def _lobe_starts(lobes: Lobes, data: LobesData, table: Table) -> list[Point]:
    bounds = np.cumsum([0, *(len(g) for g in data.directions)])
    shells = tuple(data.y[i:j] for i, j in itertools.pairwise(bounds))
    return lobe_starts.starts(lobes, table, data.kernel, shells)


def _search_lobes(
    lobes: Lobes,
    solver: Solver,
    own: Any,
    fetch: Callable[[Any], Any],
    data: Callable[[Any], tuple[LobesData, Table]],
    count: ArrayLike,
    lanes: int,
) -> End:
    """Fit the first `count` of n voxels.

    Args:
        own: leaves (n, …). fetch: `(own of one voxel) -> fresh`, done once for a search. data: of a fresh one.
    """
    n = len(jax.tree.leaves(own)[0])

    def begin(own):
        return _lobe_starts(lobes, *data(fetch(own)))

    def problem(fresh):
        return lobes.problem(data(fresh)[0])

    x0 = jax.lax.map(begin, own, batch_size=lanes)
    tries = len(x0)
    x0 = tuple(jnp.stack(values, axis=1).reshape(-1) for values in zip(*x0, strict=True))  # (voxels · tries,)

    def from_each(x0, each: ArrayLike, limit: ArrayLike | None) -> End:
        """From `each` points per voxel, those of a voxel side by side."""

        def start(item):
            return jax.vmap(fetch)(taken(own, item // each)), tuple(jnp.take(v, item, mode="clip") for v in x0)

        return solve(solver, problem, start, lobes.size, n * tries, count * each, lanes, _LOBE_STEPS, limit)

    def round(i, carry):
        """First a few steps from each start; then to the end from the best point of each voxel."""
        x0, _ = carry
        end = from_each(x0, jnp.where(i == 0, tries, 1), jnp.where(i == 0, _FEW, jnp.iinfo(jnp.int32).max))
        best = best_of(end.cost, tries)
        return tuple(jnp.zeros_like(v).at[:n].set(v[best]) for v in end.x), end

    if tries == 1:
        return from_each(x0, 1, None)
    nothing = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lambda: from_each(x0, jnp.int32(1), jnp.int32(1)))
    )
    _, end = jax.lax.fori_loop(0, 2, round, (x0, nothing))
    return jax.tree.map(lambda leaf: leaf[:n], end)


@partial(jax.jit, static_argnames=("lobes", "kernel", "pulses", "solver", "lanes", "rician"))
def fit_lobes(
    y: Array,
    values: dict[str, Array],
    sigma: Array | None,
    deviations: dict[str, Array] | None,
    directions: tuple[Array, ...],
    table: Table,
    count: ArrayLike,
    *,
    lobes: Lobes,
    kernel: Kernel,
    pulses: tuple[Pulse, ...],
    solver: Solver,
    lanes: int,
    rician: bool,
) -> LobeFits:
    """Fit lobes with a fixed kernel to the signals of a chunk of voxels.

    Minimises Σ (y_i - E_i)² over the volumes of all shells above b = 0, or maximises the likelihood of Rician y.

    Args:
        y: (voxels, volumes) signal over S0, shell by shell. values: of the kernels, by name, each (voxels,).
        sigma: (voxels,) noise over S0, where the noise is Rician or uncertainties are wanted. deviations: those of
            `Uncertainty`, (voxels, k), of the kernel and, relative to it, "s0"; then the lobes have uncertainties.
        count: only the first `count` voxels are fitted. directions: each shell's (n, 3). pulses: each shell's.
    """

    def moments(values):
        return tuple(kernel.legendre(pulse, order, values) for pulse, order in zip(pulses, lobes.orders, strict=True))

    def fetch(own):
        y, values, sigma = own
        return y, moments(values), sigma

    def one(fresh) -> LobesData:
        y, moments, sigma = fresh
        return LobesData(directions, moments, y, sigma)

    def data(fresh):
        return one(fresh), table

    floor = sigma if rician else None
    y = jnp.maximum(y, 0) if rician else y
    end = _search_lobes(lobes, solver, (y, values, floor), fetch, data, count, lanes)

    def uniform(own):
        fitted = one(fetch(own))
        means = [jnp.full(len(g), 1, y.dtype) * m[0] for g, m in zip(directions, fitted.kernel, strict=True)]
        return misfit(fitted, jnp.concatenate(means))

    def squares(fitted):
        own, x = fitted
        fitted = one(fetch(own))
        return misfit(fitted, lobes.linearise(fitted, x).signal)[1]

    def uncertain(fitted):
        own, x, noise, deviations = fitted
        y, values, floor = own
        k = len(deviations["s0"])

        def moved(t) -> LobesData:
            off = {name: jnp.sum(t * d) for name, d in deviations.items()}
            changed = {name: v + off[name] for name, v in values.items()}
            scale = 1 + off["s0"]
            return one((y / scale, moments(changed), None if floor is None else floor / scale))

        return lobes.uncertainty(one(fetch(own)), x, noise, moved, k)

    at_bound = jax.vmap(lobes.at_bound)(end.x)
    status = outcome(True, True, end.converged, at_bound)
    isotropic, squared_means = jax.vmap(uniform)((y, values, floor))
    squared = 2 * end.cost
    if rician:
        squared = blocks(squares, ((y, values, floor), end.x), count, lanes)
    sd = None
    if deviations is not None:
        sd = blocks(uncertain, ((y, values, floor), end.x, sigma, deviations), count, lanes)
        sd = {name: jnp.where((status == Status.CONVERGED)[:, None], v, jnp.nan) for name, v in sd.items()}
    return LobeFits(
        **jax.vmap(lobes.named)(end.x),
        cost=2 * end.cost,
        isotropic=isotropic,
        squared=(squared, squared_means),
        status=status,
        sd=sd,
    )
