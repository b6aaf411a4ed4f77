"""The one module that batches: a chunk of voxels of fixed size, fitted in one compiled program."""

from __future__ import annotations

import math
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .models import SphericalMeanModel
from .solvers.base import Problem, Solver, Status
from .solvers.start import grid

# Steps between two exchanges of finished voxels for fresh ones; most voxels are done by then.
_STEPS = 5
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


class _Carry(NamedTuple):
    next: Array  # first voxel that no lane has taken yet
    voxel: Array  # (lanes,) which voxel each lane works on; the number of voxels if none
    y: tuple[Array, ...]
    state: Any
    found: Any  # results of finished voxels, leaves (voxels,)


@partial(jax.jit, static_argnames=("b", "weights", "model", "solver", "fit_s0", "lanes"))
def fit_means(
    means: tuple[Array, ...],
    count: ArrayLike,
    *,
    b: tuple[float, ...],
    weights: tuple[float, ...],
    model: SphericalMeanModel,
    solver: Solver,
    fit_s0: bool,
    lanes: int,
) -> VoxelFits:
    """Fit `model` to the spherical means of a chunk of voxels.

    Minimises Σ_k w_k (y_k - S0 ε(b_k; x))² over x and, if `fit_s0`, over S0 (by projection);
    else S0 is the b = 0 mean and the b = 0 volumes count as b = 0.

    Some voxels take many times as many steps as most. So `lanes` of them advance side by side, and every few steps
    the finished ones make room for the next of the chunk: none waits for a slow one.

    Args:
        means: b = 0 first, then shells; each (voxels,). count: only the first `count` are fitted.
        b: ms/µm², one each. weights: inverse variances, one each; their scale is free.
        lanes: a number whose state fits the cache of one core, or fills a GPU.
    """
    n = means[0].shape[0]
    dtype = means[0].dtype
    b = b if fit_s0 else (0.0, *b[1:])
    roots = tuple(math.sqrt(w / max(weights)) for w in weights)
    finite = jnp.isfinite(sum(means))
    usable = finite & (means[0] > 0)
    largest = reduce(jnp.maximum, (jnp.abs(m) for m in means))
    scale = jnp.where(usable, largest if fit_s0 else means[0], 1)
    y = tuple(jnp.where(usable, m, 0) / scale for m in means)

    lower = tuple(jnp.asarray(p.lower, dtype) for p in model.parameters)
    upper = tuple(jnp.asarray(p.upper, dtype) for p in model.parameters)

    def predict(x):
        return tuple(model.mean(bk, *x) if bk else jnp.ones_like(x[0]) for bk in b)

    def amplitude(y, e):
        if not fit_s0:
            return jnp.ones_like(y[0])
        return _dot(roots, y, roots, e) / _dot(roots, e, roots, e)

    def residual(y, x):
        e = predict(x)
        s0 = amplitude(y, e)
        return tuple(root * (yk - s0 * ek) for root, yk, ek in zip(roots, y, e, strict=True))

    def start(y):
        return jax.vmap(solver.init)(_best_of_grid(model, predict, roots, y, fit_s0))

    def one_step(y, state):
        return solver.step(Problem(partial(residual, y), lower, upper, model.move), state)

    advance = jax.vmap(one_step)

    def exchange(carry: _Carry) -> _Carry:
        """Some steps; then results of the finished lanes out, fresh voxels in."""
        state = jax.lax.fori_loop(0, _STEPS, lambda _, s: advance(carry.y, s), carry.state)
        out = jnp.where(state.done & (carry.voxel < n), carry.voxel, n)  # n is dropped
        result = (state.x, state.converged, state.steps)
        found = jax.tree.map(lambda a, v: a.at[out].set(v, mode="drop"), carry.found, result)
        nth = jnp.cumsum(state.done, dtype=jnp.int32)
        voxel = jnp.where(state.done, carry.next + nth - 1, carry.voxel)
        voxel = jnp.where(voxel < count, voxel, n)
        fresh = tuple(jnp.take(yk, voxel, mode="clip") for yk in y)
        state = jax.tree.map(partial(jnp.where, state.done), start(fresh), state)
        return _Carry(jnp.minimum(carry.next + nth[-1], n), voxel, fresh, state, found)

    # At first every lane is done with no voxel, so the first exchange fills them all.
    nothing = jax.tree.map(jnp.zeros_like, tuple(yk[:lanes] for yk in y))
    state = jax.vmap(solver.init)(tuple(jnp.full(lanes, lo, dtype) for lo in lower))
    state = state._replace(done=jnp.ones_like(state.done))
    found = jax.tree.map(lambda a: jnp.zeros((n,), a.dtype), (state.x, state.converged, state.steps))
    carry = _Carry(jnp.int32(0), jnp.full(lanes, n, jnp.int32), nothing, state, found)
    carry = jax.lax.while_loop(lambda c: (c.next < count) | jnp.any(c.voxel < n), exchange, carry)
    x, converged, steps = carry.found

    def finish(y, x):
        e = predict(x)
        s0 = amplitude(y, e)
        errors = [yk / s0 - ek for yk, ek in zip(y, e, strict=True)]
        mean = sum(y) / len(y) / s0
        total = sum((yk / s0 - mean) ** 2 for yk in y)
        squared = sum(error**2 for error in errors)
        room = [jnp.minimum(xi - lo, hi - xi) / (hi - lo) for xi, lo, hi in zip(x, lower, upper, strict=True)]
        at_bound = reduce(jnp.minimum, room) <= _AT_BOUND
        return s0, squared / len(y), 1 - squared / jnp.where(total > 0, total, 1), at_bound

    s0, mse, r2, at_bound = jax.vmap(finish)(y, x)
    status = jnp.where(converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED)
    usable = usable & (s0 > 0)
    status = jnp.where(usable, status, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    clear = partial(jax.tree.map, lambda a: jnp.where(usable, a, 0))
    return VoxelFits(
        parameters=clear(dict(zip(model.parameter_names, x, strict=True)) | model.dependent(*x)),
        derived=clear(model.derived(*x)),
        s0=clear(s0 * scale),
        mse=clear(mse),
        r2=clear(r2),
        status=status.astype(jnp.uint8),
        steps=clear(steps),
    )


def _dot(*factors):
    total = 0
    for terms in zip(*factors, strict=True):
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        total = total + product
    return total


def _best_of_grid(model, predict, roots, y, fit_s0):
    """The grid point with the least cost in each voxel: a tuple of (voxels,) parameters."""
    points = jnp.asarray(grid(model), y[0].dtype)
    e = jnp.stack(predict(tuple(points.T))) * jnp.array(roots, y[0].dtype)[:, None]
    data = jnp.stack([root * yk for root, yk in zip(roots, y, strict=True)], axis=1)
    squares = jnp.sum(e * e, axis=0, keepdims=True)
    if fit_s0:  # least after projection: largest cosine
        score = jnp.matmul(data, e / jnp.sqrt(squares), precision="highest")
    else:
        score = jnp.matmul(data, 2 * e, precision="highest") - squares
    best = jnp.argmax(score, axis=1)
    return tuple(jnp.take(column, best) for column in points.T)
