"""The one module that batches: a chunk of voxels of fixed size, fitted in one compiled program."""

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

from . import lobe_starts, noise
from .acquisition import Pulse
from .compartments import Kernel
from .expectation import LMAX, Ideal, ideal, own_design, shared_design
from .harmonics import even_harmonics
from .lobe_starts import Table
from .lobes import Data as LobesData
from .lobes import Lobes, misfit
from .orientation import Lobe, watson
from .shell_means import Data as MeansData
from .shell_means import Prior, ShellMeans, Uncertainty
from .signal import convolved
from .solvers import Minimum, Point, Solver, Status, implicit, unrolled

#: Voxels side by side in fits of spherical means, and of lobes: on a CPU their state fits one core's cache; a GPU is
#: filled.
LANES = {"cpu": (4_096, 64), "gpu": (131_072, 16_384)}
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


class _End(NamedTuple):
    """Where searches ended, leaves (items,)."""

    x: Any
    cost: Array
    converged: Array
    steps: Array


class _Carry(NamedTuple):
    next: Array  # first item that no lane has taken yet
    item: Array  # (lanes,) which item each lane works on; the number of items if none
    data: Any  # of those items, leaves (lanes, …)
    state: Any
    end: _End  # of finished items


def _solve(
    solver: Solver,
    problem,
    start,
    size: int,
    items: int,
    count: ArrayLike,
    lanes: int,
    stride: int,
    limit: ArrayLike | None = None,
) -> _End:
    """Run a solver on the first `count` of `items` problems of `size` steps each.

    Some items take many times as many steps as most. So `lanes` of them advance side by side, and every few
    steps the finished ones make room for the next: none waits for a slow one.

    Args:
        problem: `(data of one item) -> Problem`. start: `(item numbers (lanes,)) -> (data, x0)`.
        stride: steps between two exchanges. limit: steps after which an item is left as it is, if not the solver's own.
    """

    def advance(data, state):
        return jax.vmap(lambda data, state: solver.step(problem(data), state))(data, state)

    def enter(x0):
        return jax.vmap(lambda x0: solver.init(x0, size))(x0)

    def exchange(carry: _Carry) -> _Carry:
        """Some steps; then results of the finished lanes out, fresh items in."""
        state = jax.lax.fori_loop(0, stride, lambda _, s: advance(carry.data, s), carry.state)
        if limit is not None:
            state = state._replace(done=state.done | (state.steps >= limit))
        out = jnp.where(state.done & (carry.item < items), carry.item, items)  # dropped: out of range
        result = _End(state.x, state.cost, state.converged, state.steps)
        end = jax.tree.map(lambda a, v: a.at[out].set(v, mode="drop"), carry.end, result)
        nth = jnp.cumsum(state.done, dtype=jnp.int32)
        item = jnp.where(state.done, carry.next + nth - 1, carry.item)
        item = jnp.where(item < count, item, items)
        data, x0 = start(item)
        state = jax.tree.map(partial(_where, state.done), enter(x0), state)
        return _Carry(jnp.minimum(carry.next + nth[-1], items), item, data, state, end)

    # At first every lane is done with no item, so the first exchange fills them all.
    nobody = jnp.full(lanes, items, jnp.int32)
    data, x0 = jax.tree.map(jnp.zeros_like, start(nobody))
    state = enter(x0)
    state = state._replace(done=jnp.ones_like(state.done))
    end = _End(state.x, state.cost, state.converged, state.steps)
    end = jax.tree.map(lambda a: jnp.zeros((items,), a.dtype), end)
    carry = _Carry(jnp.int32(0), nobody, data, state, end)
    return jax.lax.while_loop(lambda c: (c.next < count) | jnp.any(c.item < items), exchange, carry).end


def outcome(usable: ArrayLike, finite: ArrayLike, converged: Array, at_bound: Array) -> Array:
    """The status code."""
    fitted = jnp.where(converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED)
    status = jnp.where(usable, fitted, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    return status.astype(jnp.uint8)


def _best(cost: Array, tries: int) -> Array:
    """Which of each voxel's searches ended lowest."""
    voxels = len(cost) // tries
    return jnp.argmin(cost.reshape(voxels, tries), axis=1) + tries * jnp.arange(voxels)


def _search_means(
    problem: ShellMeans,
    solver: Solver,
    own: Any,
    data: Callable[[Any], MeansData],
    count: ArrayLike,
    lanes: int,
) -> _End:
    """Fit the first `count` of n voxels. own: leaves (n, …). data: `(own of one voxel) -> MeansData`."""
    n, tries = len(jax.tree.leaves(own)[0]), problem.tries

    def start(item):
        voxel, nth = item // tries, item % tries
        fresh = _taken(own, voxel)
        return fresh, jax.vmap(lambda own, nth: problem.start(data(own), nth))(fresh, nth)

    def one(own):
        return problem.problem(data(own))

    end = _solve(solver, one, start, problem.size, n * tries, count * tries, lanes, _STEPS)
    return end if tries == 1 else jax.tree.map(lambda leaf: leaf[_best(end.cost, tries)], end)


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


def _blocks(one: Callable[[Any], Any], own: Any, count: ArrayLike, lanes: int) -> Any:
    """`one` of the first `count` of n voxels, `lanes` of them side by side; the rest is 0. own: leaves (n, …)."""
    n = len(jax.tree.leaves(own)[0])
    lanes, many = min(lanes, n), jax.vmap(one)

    def take(start) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, lanes), own)

    def step(i, out):
        start = jnp.minimum(i * lanes, n - lanes)
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return jax.tree.map(put, out, many(take(start)))

    shapes = jax.eval_shape(lambda: many(take(0)))
    out = jax.tree.map(lambda a: jnp.zeros((n, *a.shape[1:]), a.dtype), shapes)
    return jax.lax.fori_loop(0, (jnp.asarray(count) + lanes - 1) // lanes, step, out)


def _where(chosen: Array, new: Array, old: Array) -> Array:
    """By lane, whatever else the leaves' axes are."""
    return jnp.where(chosen.reshape(chosen.shape + (1,) * (old.ndim - 1)), new, old)


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

        spread = _blocks(uncertain, (means, maps, end.x, sigma, factors), count, lanes)
        spread = jax.tree.map(lambda a: _where(settled, a, jnp.full_like(a, jnp.nan)), spread)
        spread = jax.tree.map(lambda a: _where(usable, a, jnp.zeros_like(a)), spread)
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


class IdealVolumes(NamedTuple):
    """What `ideal_volumes` finds: leaves (voxels, …).

    means: (shells,) of expected real parts. factors: (shells,) variances of the means over σ². sigma: from the misfit.
    magnitude: (volumes,) b = 0 first, then shell by shell.
    """

    means: Array
    factors: Array
    sigma: Array
    magnitude: Array


@partial(jax.jit, static_argnames=("rician", "lanes"))
def sigmas(data: Array, bases: tuple[Array, ...], count: ArrayLike, *, rician: bool, lanes: int) -> Array:
    """`noise.sigma_from_residuals` of (voxels, volumes) data: (voxels,)."""
    return _blocks(partial(noise.sigma_from_residuals, bases=bases, rician=rician), data, count, lanes)


@partial(jax.jit, static_argnames=("kernel", "pulses", "rician", "lanes"))
def ideal_volumes(
    data: Array,
    sigma: Array,
    s0: Array,
    values: dict[str, Array],
    deviation: Array | None,
    directions: tuple[Array, ...],
    weights: Array,
    count: ArrayLike,
    *,
    kernel: Kernel,
    pulses: tuple[Pulse, ...],
    rician: bool,
    lanes: int,
) -> IdealVolumes:
    """`expectation.ideal` of a chunk of voxels.

    Args:
        data: (voxels, volumes) b = 0 first, then shell by shell. sigma, s0: (voxels,), above 0. values: of the kernels,
            by name. deviation: (voxels, 3, 3) L of the gradients (I + L)g, or None. directions, pulses: each shell's.
        weights: (shells, volumes) of their means. count: only the first `count` voxels matter.
    """
    nominal = tuple(even_harmonics(g, LMAX)[:, 1:] for g in directions)

    def one(own) -> IdealVolumes:
        data, sigma, s0, values, deviation = own
        usable = (sigma > 0) & (s0 > 0)
        sigma, s0 = jnp.where(usable, sigma, 1), jnp.where(usable, s0, 1)
        found = expect(data, sigma, s0, values, deviation)
        means = jnp.matmul(weights, found.real, precision="highest")
        squares = weights**2
        # Of one σ for all volumes of a shell; the more so, the less they tell of their signals.
        factors = jnp.sum(squares, axis=1) ** 2 / jnp.matmul(squares, found.information, precision="highest")
        zero = jnp.zeros_like(sigma)
        return IdealVolumes(
            jnp.where(usable, means, 0),
            factors,
            jnp.where(usable, found.sigma, zero),
            jnp.where(usable, found.magnitude, 0),
        )

    def expect(data, sigma, s0, values, deviation) -> Ideal:

        def moments(pulse: Pulse) -> Array:
            return kernel.legendre(pulse, LMAX, values)

        meant = shared_design(nominal, tuple(map(moments, pulses)))
        if deviation is None:
            return ideal(data, sigma, s0, meant, None, rician)
        harmonics, each = [], []
        for pulse, g in zip(pulses, directions, strict=True):
            turned = g + jnp.matmul(g, deviation.T, precision="highest")
            square = jnp.sum(turned**2, axis=1)
            harmonics.append(even_harmonics(turned / jnp.sqrt(square)[:, None], LMAX)[:, 1:])
            each.append(jax.vmap(lambda b, pulse=pulse: moments(pulse._replace(b=b)))(pulse.b * square))
        return ideal(data, sigma, s0, own_design(tuple(harmonics), tuple(each)), meant, rician)

    return _blocks(one, (data, sigma, s0, values, deviation), count, lanes)


@partial(jax.jit, static_argnames=("pulses", "kernel"))
def kernel_means(values: dict[str, Array], *, pulses: tuple[Pulse, ...], kernel: Kernel) -> Array:
    """Spherical means over S0, (voxels, pulses), from everything by name, (voxels,) each."""
    return jnp.stack([kernel.mean(pulse, values) for pulse in pulses], axis=-1)


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
) -> _End:
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

    def solve(x0, each: ArrayLike, limit: ArrayLike | None) -> _End:
        """From `each` points per voxel, those of a voxel side by side."""

        def start(item):
            return jax.vmap(fetch)(_taken(own, item // each)), tuple(jnp.take(v, item, mode="clip") for v in x0)

        return _solve(solver, problem, start, lobes.size, n * tries, count * each, lanes, _LOBE_STEPS, limit)

    def round(i, carry):
        """First a few steps from each start; then to the end from the best point of each voxel."""
        x0, _ = carry
        end = solve(x0, jnp.where(i == 0, tries, 1), jnp.where(i == 0, _FEW, jnp.iinfo(jnp.int32).max))
        best = _best(end.cost, tries)
        return tuple(jnp.zeros_like(v).at[:n].set(v[best]) for v in end.x), end

    if tries == 1:
        return solve(x0, 1, None)
    nothing = jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lambda: solve(x0, jnp.int32(1), jnp.int32(1)))
    )
    _, end = jax.lax.fori_loop(0, 2, round, (x0, nothing))
    return jax.tree.map(lambda leaf: leaf[:n], end)


def _taken(own: Any, voxel: Array) -> Any:
    """The leaves of these voxels."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, voxel, axis=0, mode="clip"), own)


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
        squared = _blocks(squares, ((y, values, floor), end.x), count, lanes)
    sd = None
    if deviations is not None:
        sd = _blocks(uncertain, ((y, values, floor), end.x, sigma, deviations), count, lanes)
        sd = {name: jnp.where((status == Status.CONVERGED)[:, None], v, jnp.nan) for name, v in sd.items()}
    return LobeFits(
        **jax.vmap(lobes.named)(end.x),
        cost=2 * end.cost,
        isotropic=isotropic,
        squared=(squared, squared_means),
        status=status,
        sd=sd,
    )


@partial(jax.jit, static_argnames=("pulses", "lmax", "kernel", "axial"))
def fod_signals(
    values: dict[str, Array],
    lobes: tuple[Array, ...],
    directions: tuple[Array, ...],
    *,
    pulses: tuple[Pulse, ...],
    lmax: tuple[int, ...],
    kernel: Kernel,
    axial: bool,
) -> Array:
    """Signals over S0 of kernels convolved with mixtures of lobes, (voxels, volumes), shell by shell.

    values: of the kernels, (voxels,). lobes: weights (voxels, N), then as of `lobe_harmonics`, (voxels, N, …).
    """

    def shell(values, parts, g, pulse, order):
        def one(weight, *parts):
            def moments(b, l):
                return jnp.broadcast_to(kernel.legendre(pulse, l, values), (*b.shape, l // 2 + 1))

            zero = jnp.zeros(len(g), g.dtype)
            return weight * convolved(g, zero, moments, _lobe(parts, axial), order)

        return jnp.sum(jax.vmap(one)(*parts), axis=0)

    def voxel(values, parts):
        each = zip(directions, pulses, lmax, strict=True)
        return jnp.concatenate([shell(values, parts, g, pulse, order) for g, pulse, order in each])

    return jax.vmap(voxel)(values, lobes)


@partial(jax.jit, static_argnames=("axial", "lmax"))
def lobe_harmonics(lobes: tuple[Array, ...], *, axial: bool, lmax: int) -> Array:
    """`Lobe.harmonics` of many lobes, (lobes, coefficients).

    lobes: axis (lobes, 3) and κ (lobes,) of Watson's, or axis, μ₂, κ and β of Bingham's.
    """
    return jax.vmap(lambda *parts: _lobe(parts, axial).harmonics(lmax))(*lobes)


@partial(jax.jit, static_argnames=("axial",))
def lobe_densities(lobes: tuple[Array, ...], directions: Array, *, axial: bool) -> Array:
    """`Lobe.density` of many lobes, as of `lobe_harmonics`, at (n, 3) unit vectors: (lobes, n)."""
    return jax.vmap(lambda *parts: _lobe(parts, axial).density(directions))(*lobes)


def _lobe(parts: tuple[Array, ...], axial: bool) -> Lobe:
    if axial:
        return watson(*parts)
    axis, across, kappa, beta = parts
    return Lobe(axis, across, kappa, beta, axial=False)
