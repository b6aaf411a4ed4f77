"""The one module that batches: a chunk of voxels of fixed size, fitted in one compiled program."""

from __future__ import annotations

import itertools
import math
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from . import lobe_starts
from .acquisition import Pulse
from .compartments import Kernel
from .lobe_starts import Table
from .lobes import Data, Lobes
from .models import SphericalMeanModel
from .orientation import Lobe, watson
from .signal import convolved
from .solvers import Solver, Status, in_box

# Steps between two exchanges of finished voxels for fresh ones; most voxels are done by then.
_STEPS, _LOBE_STEPS = 5, 2
# Steps from each of several starts before only the best goes on.
_FEW = 16
# Least b = 0 mean, as a part of the largest mean, that can serve as S0.
_LEAST_S0 = 1e-6
# A parameter closer to its bound than this part of its range is at the bound.
_AT_BOUND = 1e-4


class VoxelFits(NamedTuple):
    """Results of a chunk: leaves of shape (voxels,)."""

    parameters: dict[str, Array]
    derived: dict[str, Array]
    s0: Array
    mse: Array
    r2: Array
    status: Array
    steps: Array


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
        state = jax.tree.map(partial(jnp.where, state.done), enter(x0), state)
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


@partial(jax.jit, static_argnames=("pulses", "weights", "model", "solver", "fit_s0", "lanes"))
def fit_means(
    means: tuple[Array, ...],
    numbers: tuple[Array, ...],
    maps: tuple[Array, ...],
    count: ArrayLike,
    *,
    pulses: tuple[Pulse, ...],
    weights: tuple[float, ...],
    model: SphericalMeanModel,
    solver: Solver,
    fit_s0: bool,
    lanes: int,
) -> VoxelFits:
    """Fit `model` to the spherical means of a chunk of voxels.

    Minimises Σ_k w_k (y_k - S0 ε(b_k; x))² over x and, if `fit_s0`, over S0 (by projection);
    else S0 is the b = 0 mean and the b = 0 volumes count as b = 0.

    Args:
        means: b = 0 first, then shells; each (voxels,). numbers, maps: the model's, scalars and (voxels,) each.
        count: only the first `count` are fitted. pulses: one each.
        weights: inverse variances, one each; their scale is free. model: without values.
        lanes: a number whose state fits the cache of one core, or fills a GPU.
    """
    n = means[0].shape[0]
    dtype = means[0].dtype
    pulses = pulses if fit_s0 else (pulses[0]._replace(b=0.0), *pulses[1:])
    roots = tuple(math.sqrt(w / max(weights)) for w in weights)
    finite = jnp.isfinite(sum((*means, *maps), start=jnp.zeros_like(means[0])))
    largest = reduce(jnp.maximum, (jnp.abs(m) for m in means))
    # With S0 fixed to next to nothing the signal over it has no meaning.
    usable = finite & (means[0] > (0 if fit_s0 else _LEAST_S0 * largest))
    scale = jnp.where(usable, largest if fit_s0 else means[0], 1)
    y = tuple(jnp.where(usable, m, 0) / scale for m in means)

    def values_of(x, own):
        return model.values(x, (*numbers, *own))

    def predict(x, own):
        values = values_of(x, own)
        return tuple(model.mean(pulse, values) if pulse.b else jnp.ones_like(x[0]) for pulse in pulses)

    def bounds(own) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        lower, upper = (tuple(jnp.asarray(v, dtype) for v in ends) for ends in model.space.box((*numbers, *own)))
        return lower, upper

    def amplitude(y, e):
        if not fit_s0:
            return jnp.ones_like(y[0])
        return _dot(roots, y, roots, e) / _dot(roots, e, roots, e)

    def residual(data, x):
        y, own = data
        e = predict(x, own)
        s0 = amplitude(y, e)
        return tuple(root * (yk - s0 * ek) for root, yk, ek in zip(roots, y, e, strict=True))

    grid = jnp.asarray(model.grid(), dtype)
    tries = len(grid)

    def best_of_grid(data, nth):
        """The point with the least cost in a voxel, of the nth part of the grid."""
        y, own = data
        x = model.space.begin(tuple(grid.reshape(-1, grid.shape[2]).T), (*numbers, *own))
        e = jnp.stack(predict(x, own)) * jnp.array(roots, dtype)[:, None]
        data = jnp.stack([root * yk for root, yk in zip(roots, y, strict=True)])
        squares = jnp.sum(e * e, axis=0)
        # All parts in one product: without maps the signals of the grid are the same for all voxels.
        if fit_s0:  # least after projection: largest cosine
            score = jnp.matmul(data, e / jnp.sqrt(squares)[None], precision="highest")
        else:
            score = jnp.matmul(data, 2 * e, precision="highest") - squares
        if tries > 1:
            elsewhere = jnp.arange(len(score), dtype=nth.dtype) // grid.shape[1] != nth
            score = jnp.where(elsewhere, -jnp.inf, score)
        best = jnp.argmax(score)
        return tuple(xi[best] for xi in x)

    def start(item):
        voxel, nth = item // tries, item % tries
        fresh = jax.tree.map(lambda leaf: jnp.take(leaf, voxel, mode="clip"), (y, maps))
        return fresh, jax.vmap(best_of_grid)(fresh, nth)

    def problem(data):
        lower, upper = bounds(data[1])
        return in_box(partial(residual, data), lower, upper, model.step)

    end = _solve(solver, problem, start, len(model.free), n * tries, count * tries, lanes, _STEPS)
    if tries > 1:
        best = jnp.argmin(end.cost.reshape(n, tries), axis=1) + tries * jnp.arange(n)
        end = jax.tree.map(lambda leaf: leaf[best], end)

    def finish(y, own, x):
        e = predict(x, own)
        s0 = amplitude(y, e)
        errors = [yk / s0 - ek for yk, ek in zip(y, e, strict=True)]
        mean = sum(y) / len(y) / s0
        total = sum((yk / s0 - mean) ** 2 for yk in y)
        squared = sum(error**2 for error in errors)
        box = zip(x, *bounds(own), strict=True)
        room = [jnp.minimum(xi - lo, hi - xi) - _AT_BOUND * (hi - lo) for xi, lo, hi in box]
        at_bound = reduce(jnp.minimum, room) <= 0
        values = values_of(x, own)
        return (
            values,
            model.derive(values),
            s0,
            squared / len(y),
            1 - squared / jnp.where(total > 0, total, 1),
            at_bound,
        )

    values, derived, s0, mse, r2, at_bound = jax.vmap(finish)(y, maps, end.x)
    status = jnp.where(end.converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED)
    usable = usable & (s0 > 0)
    status = jnp.where(usable, status, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    clear = partial(jax.tree.map, lambda a: jnp.where(usable, a, 0))
    return VoxelFits(
        parameters=clear(values),
        derived=clear(derived),
        s0=clear(s0 * scale),
        mse=clear(mse),
        r2=clear(r2),
        status=status.astype(jnp.uint8),
        steps=clear(end.steps),
    )


def _dot(*factors):
    total = 0
    for terms in zip(*factors, strict=True):
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        total = total + product
    return total


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
    cost: Array  # Σ r² over the volumes, of the signal over S0
    isotropic: Array  # the same of a uniform FOD
    status: Array


@partial(jax.jit, static_argnames=("lobes", "kernel", "pulses", "solver", "lanes"))
def fit_lobes(
    y: Array,
    values: dict[str, Array],
    directions: tuple[Array, ...],
    table: Table,
    count: ArrayLike,
    *,
    lobes: Lobes,
    kernel: Kernel,
    pulses: tuple[Pulse, ...],
    solver: Solver,
    lanes: int,
) -> LobeFits:
    """Fit lobes with a fixed kernel to the signals of a chunk of voxels.

    Minimises Σ (y_i - E_i)² over the volumes of all shells above b = 0.

    Args:
        y: (voxels, volumes) signal over S0, shell by shell. values: of the kernels, by name, each (voxels,).
        count: only the first `count` voxels are fitted. directions: each shell's (n, 3). pulses: each shell's.
    """
    n = y.shape[0]
    bounds = np.cumsum([0, *(len(g) for g in directions)])

    def moments(values):
        return tuple(kernel.legendre(pulse, order, values) for pulse, order in zip(pulses, lobes.orders, strict=True))

    def begin(args):
        y, values = args
        shells = tuple(y[i:j] for i, j in itertools.pairwise(bounds))
        return lobe_starts.starts(lobes, table, moments(values), shells)

    x0 = jax.lax.map(begin, (y, values), batch_size=lanes)
    tries = len(x0)
    x0 = tuple(jnp.stack(values, axis=1).reshape(-1) for values in zip(*x0, strict=True))  # (voxels · tries,)

    def solve(x0, each: ArrayLike, limit: ArrayLike | None) -> _End:
        """From `each` points per voxel, those of a voxel side by side."""

        def start(item):
            voxel = item // each
            own = jax.tree.map(lambda leaf: jnp.take(leaf, voxel, axis=0, mode="clip"), (y, values))
            data = (own[0], jax.vmap(moments)(own[1]))
            return data, tuple(jnp.take(v, item, mode="clip") for v in x0)

        return _solve(solver, problem, start, lobes.size, n * tries, count * each, lanes, _LOBE_STEPS, limit)

    def problem(data):
        return lobes.problem(Data(directions, data[1], data[0]))

    def round(i, carry):
        """First a few steps from each start; then to the end from the best point of each voxel."""
        x0, _ = carry
        end = solve(x0, jnp.where(i == 0, tries, 1), jnp.where(i == 0, _FEW, jnp.iinfo(jnp.int32).max))
        best = jnp.argmin(end.cost.reshape(n, tries), axis=1) + tries * jnp.arange(n)
        return tuple(jnp.zeros_like(v).at[:n].set(v[best]) for v in end.x), end

    if tries == 1:
        end = solve(x0, 1, None)
    else:
        nothing = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lambda: solve(x0, jnp.int32(1), jnp.int32(1)))
        )
        _, end = jax.lax.fori_loop(0, 2, round, (x0, nothing))
        end = jax.tree.map(lambda leaf: leaf[:n], end)
    status = jnp.where(
        end.converged,
        jnp.where(jax.vmap(lobes.at_bound)(end.x), Status.AT_BOUND, Status.CONVERGED),
        Status.NOT_CONVERGED,
    )

    def uniform(y, values):
        e = [jnp.full(len(g), 1, y.dtype) * m[0] for g, m in zip(directions, moments(values), strict=True)]
        return jnp.sum((y - jnp.concatenate(e)) ** 2)

    return LobeFits(
        **jax.vmap(lobes.named)(end.x),
        cost=2 * end.cost,
        isotropic=jax.vmap(uniform)(y, values),
        status=status.astype(jnp.uint8),
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
