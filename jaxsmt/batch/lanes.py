"""Many problems of one kind side by side, none waiting for a slow one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..solvers import Problem, Solver


class End(NamedTuple):
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
    worth: Any
    end: End  # of finished items


def solve(
    solver: Solver,
    problem: Callable[[Any], Problem],
    start: Callable[[Array], tuple[Any, Any, Any]],
    size: int,
    items: int,
    count: ArrayLike,
    lanes: int,
    stride: int,
    limit: ArrayLike | None = None,
) -> End:
    """Run a solver on the first `count` of `items` problems of `size` steps each.

    Some items take many times as many steps as most. So `lanes` of them advance side by side, and every few
    steps the finished ones make room for the next: none waits for a slow one.

    Args:
        problem: `(data of one item) -> Problem`. start: `(item numbers (lanes,)) -> (data, x0, worth)`; worth: costs
            below which a minimum is of use, or None; see `Solver.hope`.
        stride: steps between two exchanges. limit: steps after which an item is left as it is, if not the solver's own.
    """

    def advance(data: Any, state: Any) -> Any:
        return jax.vmap(lambda data, state: solver.step(problem(data), state))(data, state)

    def enter(x0: Any) -> Any:
        return jax.vmap(lambda x0: solver.init(x0, size))(x0)

    def exchange(carry: _Carry) -> _Carry:
        """Some steps; then results of the finished lanes out, fresh items in."""
        state = jax.lax.fori_loop(0, stride, lambda _, s: advance(carry.data, s), carry.state)
        if carry.worth is not None and solver.hope is not None:
            gain = carry.state.cost - state.cost  # none where steps were rejected, which tells nothing
            state = state._replace(done=state.done | ((gain > 0) & (state.cost - solver.hope * gain > carry.worth)))
        if limit is not None:
            state = state._replace(done=state.done | (state.steps >= limit))
        out = jnp.where(state.done & (carry.item < items), carry.item, items)  # dropped: out of range
        result = End(state.x, state.cost, state.converged, state.steps)
        end = jax.tree.map(lambda a, v: a.at[out].set(v, mode="drop"), carry.end, result)
        nth = jnp.cumsum(state.done, dtype=jnp.int32)
        item = jnp.where(state.done, carry.next + nth - 1, carry.item)
        item = jnp.where(item < count, item, items)
        data, x0, worth = start(item)
        state = jax.tree.map(partial(where, state.done), enter(x0), state)
        return _Carry(jnp.minimum(carry.next + nth[-1], items), item, data, state, worth, end)

    # At first every lane is done with no item, so the first exchange fills them all.
    nobody = jnp.full(lanes, items, jnp.int32)
    data, x0, worth = jax.tree.map(jnp.zeros_like, start(nobody))
    state = enter(x0)
    state = state._replace(done=jnp.ones_like(state.done))
    end = End(state.x, state.cost, state.converged, state.steps)
    end = jax.tree.map(lambda a: jnp.zeros((items,), a.dtype), end)
    carry = _Carry(jnp.int32(0), nobody, data, state, worth, end)
    return jax.lax.while_loop(lambda c: (c.next < count) | jnp.any(c.item < items), exchange, carry).end


def best_of(cost: Array, tries: int) -> Array:
    """Which of each voxel's searches ended lowest."""
    voxels = len(cost) // tries
    return jnp.argmin(cost.reshape(voxels, tries), axis=1) + tries * jnp.arange(voxels)


def taken(leaves: Any, voxel: Array) -> Any:
    """The leaves of these voxels."""
    return jax.tree.map(lambda leaf: jnp.take(leaf, voxel, axis=0, mode="clip"), leaves)


def where(chosen: Array, new: Array, old: Array) -> Array:
    """By lane, whatever else the leaves' axes are."""
    return jnp.where(chosen.reshape(chosen.shape + (1,) * (old.ndim - 1)), new, old)


def blocks(one: Callable[[Any], Any], leaves: Any, count: ArrayLike, lanes: int) -> Any:
    """`one` of the first `count` of n voxels, `lanes` of them side by side; the rest is of no use. leaves: (n, …)."""
    n = len(jax.tree.leaves(leaves)[0])
    many = jax.jit(jax.vmap(one), inline=True)  # so that Python traces it once for both uses
    if lanes >= n:
        return many(leaves)

    def take(start: ArrayLike) -> Any:
        return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, lanes), leaves)

    def step(i: Array, out: Any) -> Any:
        start = jnp.minimum(i * lanes, n - lanes)
        put = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return jax.tree.map(put, out, many(take(start)))

    shapes = jax.eval_shape(lambda: many(take(0)))
    out = jax.tree.map(lambda a: jnp.zeros((n, *a.shape[1:]), a.dtype), shapes)
    return jax.lax.fori_loop(0, (jnp.asarray(count) + lanes - 1) // lanes, step, out)
