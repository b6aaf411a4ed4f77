"""The one module that batches: a chunk of voxels of fixed size, fitted in one compiled program."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .models import SphericalMeanModel
from .solvers.base import Solver, Status
from .solvers.start import grid

# Steps that every voxel takes side by side; about nine in ten are done by then.
_FIRST_STEPS = 6
# Steps between two selections of the voxels that still have to go on.
_MORE_STEPS = 4
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


@partial(jax.jit, static_argnames=("b", "weights", "model", "solver", "fit_s0", "block"))
def fit_means(
    means: tuple[Array, ...],
    *,
    b: tuple[float, ...],
    weights: tuple[float, ...],
    model: SphericalMeanModel,
    solver: Solver,
    fit_s0: bool,
    block: int,
) -> VoxelFits:
    """Fit `model` to the spherical means of a chunk of voxels.

    Minimises Σ_k w_k (y_k - S0 ε(b_k; x))² over x and, if `fit_s0`, over S0 (by projection);
    else S0 is the b = 0 mean and the b = 0 volumes count as b = 0.

    Args:
        means: b = 0 first, then shells; each (voxels,), voxels a multiple of `block`.
        b: ms/µm², one each. weights: inverse variances, one each; their scale is free.
        block: voxels that advance side by side (fits the cache of one core).
    """
    n = means[0].shape[0]
    b = b if fit_s0 else (0.0, *b[1:])
    roots = tuple(math.sqrt(w / max(weights)) for w in weights)
    finite = jnp.isfinite(sum(means))
    usable = finite & (means[0] > 0)
    scale = jnp.where(usable, means[0], 1)
    y = tuple(jnp.where(usable, m, 0) / scale for m in means)

    lower = tuple(jnp.asarray(p.lower, y[0].dtype) for p in model.parameters)
    upper = tuple(jnp.asarray(p.upper, y[0].dtype) for p in model.parameters)

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

    def advance(count, y, state):
        step = jax.vmap(lambda y, s: solver.step(partial(residual, y), lower, upper, s))
        return jax.lax.fori_loop(0, count, lambda _, s: step(y, s), state)

    # Every voxel takes the first steps, block by block: nothing is moved in memory.
    def blockwise(args):
        y, ok = args
        x0 = _best_of_grid(model, predict, roots, y, fit_s0)
        state = jax.vmap(solver.init)(x0)
        state = state._replace(done=~ok)
        return advance(min(_FIRST_STEPS, solver.max_steps), y, state)

    split = jax.tree.map(lambda a: a.reshape(-1, block), (y, usable))
    state = jax.tree.map(lambda a: a.reshape(n), jax.lax.map(blockwise, split))

    # Those that need more are gathered, a small block at a time, so that they hold up no others.
    lanes = max(block // 4, 1)

    def go_on(state):
        count = jnp.cumsum(~state.done)
        index = jnp.searchsorted(count, jnp.arange(1, lanes + 1, dtype=count.dtype))
        take = partial(jax.tree.map, lambda a: jnp.take(a, index, mode="clip"))
        few = advance(_MORE_STEPS, take(y), take(state))
        return jax.tree.map(lambda a, v: a.at[index].set(v, mode="drop"), state, few)

    state = jax.lax.while_loop(lambda s: ~jnp.all(s.done), go_on, state)

    def finish(y, x):
        e = predict(x)
        s0 = amplitude(y, e)
        errors = [yk / s0 - ek for yk, ek in zip(y, e, strict=True)]
        mean = sum(y) / len(y) / s0
        total = sum((yk / s0 - mean) ** 2 for yk in y)
        squared = sum(error**2 for error in errors)
        at_bound = sum(
            ((xi - lo) <= _AT_BOUND * (hi - lo)) | ((hi - xi) <= _AT_BOUND * (hi - lo))
            for xi, lo, hi in zip(x, lower, upper, strict=True)
        )
        return s0, squared / len(y), 1 - squared / jnp.where(total > 0, total, 1), at_bound > 0

    s0, mse, r2, at_bound = jax.vmap(finish)(y, state.x)
    status = jnp.where(
        state.converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED
    )
    status = jnp.where(usable, status, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    clear = partial(jax.tree.map, lambda a: jnp.where(usable, a, 0))
    return VoxelFits(
        parameters=clear(dict(zip(model.parameter_names, state.x, strict=True)) | model.dependent(*state.x)),
        derived=clear(model.derived(*state.x)),
        s0=clear(s0 * scale),
        mse=clear(mse),
        r2=clear(r2),
        status=status.astype(jnp.uint8),
        steps=clear(state.steps),
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
    squares = jnp.sum(e * e, axis=0)
    if fit_s0:  # least after projection: largest cosine
        score = jnp.matmul(data, e / jnp.sqrt(squares), precision="highest")
    else:
        score = jnp.matmul(data, 2 * e, precision="highest") - squares
    best = jnp.argmax(score, axis=1)
    return tuple(jnp.take(column, best) for column in points.T)
