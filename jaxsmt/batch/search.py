"""The search of many voxels' minima side by side, and of one voxel's in a form that can be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..problems.base import Search
from ..solvers import Minimum, Solver, implicit, unrolled
from ..status import Status
from .lanes import End, best_of, blocks, lanes_of, solve, taken


def search(
    problem: Search, solver: Solver, varying: Any, data: Callable[[Any], Any], count: ArrayLike, lanes: int
) -> End:
    """Minimise the first `count` of n voxels.

    Every voxel has `problem.searches` starting points. Either all searches go to their end, or each takes
    `problem.trial_steps` steps and only the best goes on. The best of a voxel counts.

    Args:
        varying: leaves (n, …). data: `(varying of one voxel) -> data` of the problem.
    """
    n, searches = len(jax.tree.leaves(varying)[0]), problem.searches
    # Side by side are voxels here and searches below: as many of either fill the lanes.
    starts = blocks(lambda voxel: problem.starts(data(voxel)), varying, count, lanes)
    starts = tuple(values.reshape(-1) for values in starts)  # (n · searches,), those of a voxel side by side

    def run(x0: Any, each: ArrayLike, limit: ArrayLike | None) -> End:
        """From `each` points per voxel."""

        def start(item: Array) -> tuple[Any, Any]:
            return taken(varying, item // each), tuple(jnp.take(v, item, mode="clip") for v in x0)

        def one(voxel: Any) -> Any:
            return problem.problem(data(voxel))

        return solve(solver, one, start, problem.size, n * searches, count * each, lanes, problem.stride, limit)

    if searches == 1:
        return run(starts, 1, None)
    if problem.trial_steps is None:
        end = run(starts, searches, None)
        return jax.tree.map(lambda leaf: leaf[best_of(end.cost, searches)], end)
    return _best_after_trial(run, starts, n, searches, problem.trial_steps)


def _best_after_trial(run: Callable[..., End], starts: Any, n: int, searches: int, trial_steps: int) -> End:
    """A few steps from each start; then to the end from the best point of each voxel. One program for both rounds."""

    def one_round(i: Array, carry: tuple[Any, End]) -> tuple[Any, End]:
        x0, _ = carry
        end = run(x0, jnp.where(i == 0, searches, 1), jnp.where(i == 0, trial_steps, jnp.iinfo(jnp.int32).max))
        best = best_of(end.cost, searches)
        return tuple(jnp.zeros_like(v).at[:n].set(v[best]) for v in end.x), end

    shapes = jax.eval_shape(lambda: run(starts, jnp.int32(1), jnp.int32(1)))
    nothing = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
    _, end = jax.lax.fori_loop(0, 2, one_round, (starts, nothing))
    return jax.tree.map(lambda leaf: leaf[:n], end)


def minimum(problem: Search, solver: Solver, adjoint: str, data: Any) -> Minimum:
    """The minimum of one voxel, in a form that can be differentiated by its data.

    Under vmap many voxels are searched as `search` does, side by side.
    """
    if adjoint == "unrolled":
        return _unrolled(problem, solver, data)

    def side_by_side(varying: Any, merge: Callable[[Any], Any]) -> Minimum:
        n = len(jax.tree.leaves(varying)[0])
        end = search(problem, solver, varying, merge, n, min(lanes_of(problem), n * problem.searches))
        return Minimum(end.x, end.converged.astype(end.cost.dtype))

    @jax.custom_batching.custom_vmap
    def find(data: Any) -> Minimum:
        one = side_by_side(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], data), lambda varying: varying)
        return jax.tree.map(lambda leaf: leaf[0], one)

    @find.def_vmap
    def _(size: int, batched: Any, data: Any) -> tuple[Minimum, Any]:
        leaves, tree = jax.tree.flatten(data)
        where = [i for i, varies in enumerate(jax.tree.leaves(batched[0])) if varies]

        def merge(varying: list[Array]) -> Any:
            new = dict(zip(where, varying, strict=True))
            return jax.tree.unflatten(tree, [new.get(i, leaf) for i, leaf in enumerate(leaves)])

        end = side_by_side([leaves[i] for i in where], merge)
        return end, jax.tree.map(lambda _: True, end)

    return implicit(find, problem.problem)(data)


def _unrolled(problem: Search, solver: Solver, data: Any) -> Minimum:
    """The best of the searches from each start, differentiated through its steps."""
    starts = problem.starts(jax.lax.stop_gradient(data))

    def from_start(x0: Any) -> tuple[Minimum, Array]:
        return unrolled(solver, problem.problem(data), x0, problem.size)

    ends, costs = jax.lax.map(from_start, starts)
    best = jnp.argmin(costs)
    return jax.tree.map(lambda leaf: leaf[best], ends)


def outcome(usable: ArrayLike, finite: ArrayLike, converged: Array, at_bound: Array) -> Array:
    """The status code."""
    fitted = jnp.where(converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED)
    status = jnp.where(usable, fitted, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    return status.astype(jnp.uint8)
