"""The search of many voxels' minima side by side, and of one voxel's in a form that can be differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..problems.base import Easier, Search
from ..solvers import Minimum, Point, Problem, Solver, implicit, unrolled
from ..status import Status
from .lanes import End, best_of, blocks, solve, taken
from .sizes import lanes_of

_TO_THE_END = int(np.iinfo(np.int32).max)  # steps of a search that nothing but its solver ends


@dataclass(frozen=True)
class _Voxels:
    """The first `count` of many voxels, and the search for their minima; the fields are those of `search_voxels`."""

    search: Search
    solver: Solver
    varying: Any
    data_of: Callable[[Any], Any]
    count: ArrayLike
    lanes: int
    worth: Array | None = None

    def each(self, function: Callable[[Any], Any]) -> Any:
        """A function of the data of each voxel."""
        return blocks(lambda voxel: function(self.data_of(voxel)), self.varying, self.count, self.lanes)

    def run(self, x0: Point, per_voxel: ArrayLike, limit: ArrayLike | None = None) -> End:
        """Search from so many points per voxel; x0: those of a voxel side by side."""

        def start(item: Array) -> tuple[Any, Any, Any]:
            data, worth = taken((self.varying, self.worth), item // per_voxel)
            return data, tuple(jnp.take(v, item, mode="clip") for v in x0), worth

        def one(voxel: Any) -> Problem:
            return self.search.problem_of(self.data_of(voxel))

        size, items, count = self.search.size, len(x0[0]), self.count * per_voxel
        return solve(self.solver, one, start, size, items, count, self.lanes, self.search.stride, limit)


def search_voxels(
    search: Search,
    solver: Solver,
    varying: Any,
    data_of: Callable[[Any], Any],
    count: ArrayLike,
    lanes: int,
    worth: Array | None = None,
    earlier: Array | None = None,
) -> End:
    """Find the minima of many voxels.

    A voxel is searched from each of its `search.n_starts` starting points. Either all of these searches go to their
    end, or a trial chooses the one that does. The best of a voxel counts. A voxel with an earlier point is searched
    from there alone.

    Args:
        varying: what differs between voxels, leaves (n, …). data_of: `(varying of one voxel) -> data` of the search.
        count: only the first `count` voxels are searched. lanes: how many searches advance side by side.
        worth, earlier: (n,) and (n, numbers of a point) as of `Prepared`.
    """
    voxels = _Voxels(search, solver, varying, data_of, count, lanes, worth)
    if earlier is None:
        return _searched(voxels, voxels, None)
    # Those without an earlier point come first, as only they need starting points.
    fresh = jnp.isnan(earlier[:, 0]) & (jnp.arange(len(earlier), dtype=jnp.int32) < count)
    order = jnp.argsort(~fresh)
    back = jnp.argsort(order)
    varying, worth, earlier = jax.tree.map(lambda leaf: leaf[order], (varying, worth, earlier))
    voxels = replace(voxels, varying=varying, worth=worth)
    end = _searched(voxels, replace(voxels, count=jnp.sum(fresh, dtype=jnp.int32)), earlier)
    return jax.tree.map(lambda leaf: leaf[back], end)


def _searched(voxels: _Voxels, fresh: _Voxels, earlier: Array | None) -> End:
    """The minima of voxels: of `fresh`, the first of them, from starting points, of the others from earlier ones."""
    search, n_starts = voxels.search, voxels.search.n_starts
    starts = tuple(values.reshape(-1) for values in fresh.each(search.starts))
    if n_starts == 1:
        return voxels.run(_or_earlier(starts, earlier), 1)
    trial = search.trial(selective=voxels.worth is not None and voxels.solver.hope is not None)
    if trial is None:
        if earlier is None:
            return _best(voxels.run(starts, n_starts), n_starts)
        return _in_two_rounds(voxels, fresh, starts, _TO_THE_END, earlier)
    if trial.easier is None:
        return _in_two_rounds(voxels, fresh, starts, trial.steps, earlier)
    return voxels.run(_or_earlier(_easier_trial(fresh, starts, trial.steps, trial.easier), earlier), 1)


def _or_earlier(x0: Point, earlier: Array | None) -> Point:
    """The points x0 of voxels, or the earlier points of those that have one."""
    if earlier is None:
        return x0
    return tuple(jnp.where(jnp.isnan(earlier[:, 0]), v, e) for v, e in zip(x0, earlier.T, strict=True))


def _easier_trial(fresh: _Voxels, starts: Point, steps: int, easier: Easier) -> Point:
    """The best point of each voxel after a few steps of an easier search from all of its starting points."""
    varying = fresh.each(easier.summary)
    search = replace(fresh, search=easier.search, varying=varying, data_of=easier.data_of, worth=None)
    n_starts = fresh.search.n_starts
    return _best(search.run(starts, n_starts, steps), n_starts).x


def _in_two_rounds(voxels: _Voxels, fresh: _Voxels, starts: Point, steps: int, earlier: Array | None) -> End:
    """A few steps of the search from all starting points of `fresh`, then the search of all voxels to its end.

    The second round starts at the best of these points, or at the earlier one. Both are a loop, so that the compiler
    meets the search once.
    """
    n_starts = voxels.search.n_starts

    def one_round(i: Array, carry: tuple[Point, End]) -> tuple[Point, End]:
        first = i == 0
        of_round = replace(voxels, count=jnp.where(first, fresh.count, voxels.count))
        end = of_round.run(carry[0], jnp.where(first, n_starts, 1), jnp.where(first, steps, _TO_THE_END))
        best = _or_earlier(_best(end, n_starts).x, earlier)
        return tuple(jnp.zeros_like(v).at[: len(b)].set(b) for v, b in zip(end.x, best, strict=True)), end

    searches = starts[0].shape
    nothing = End(starts, starts[0], jnp.zeros(searches, bool), jnp.zeros(searches, jnp.int32))
    _, end = jax.lax.fori_loop(0, 2, one_round, (starts, nothing))
    return jax.tree.map(lambda leaf: leaf[: len(starts[0]) // n_starts], end)


def _best(end: End, tries: int) -> End:
    """The best of each voxel's searches."""
    return jax.tree.map(lambda leaf: leaf[best_of(end.cost, tries)], end)


def minimum(search: Search, solver: Solver, adjoint: str, data: Any) -> Minimum:
    """The minimum of one voxel, in a form that can be differentiated by its data.

    Under vmap many voxels are searched as `search_voxels` does, side by side.
    """
    if adjoint == "unrolled":
        return _unrolled(search, solver, data)

    def side_by_side(varying: Any, merge: Callable[[Any], Any]) -> Minimum:
        n = len(jax.tree.leaves(varying)[0])
        lanes = min(lanes_of(search), n * search.n_starts)
        end = search_voxels(search, solver, varying, merge, n, lanes)
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

    return implicit(find, search.problem_of)(data)


def _unrolled(search: Search, solver: Solver, data: Any) -> Minimum:
    """The best of the searches from each start, differentiated through its steps."""
    starts = search.starts(jax.lax.stop_gradient(data))

    def from_start(x0: Any) -> tuple[Minimum, Array]:
        return unrolled(solver, search.problem_of(data), x0, search.size)

    ends, costs = jax.lax.map(from_start, starts)
    best = jnp.argmin(costs)
    return jax.tree.map(lambda leaf: leaf[best], ends)


def status_of(usable: ArrayLike, finite: ArrayLike, converged: Array, at_bound: Array) -> Array:
    """The `Status` code of a voxel: whether it could be fitted, then whether it converged, then whether at a bound.

    What counts as at a bound, `ShellMeans.estimate` and `Lobes.at_bound` say.
    """
    fitted = jnp.where(converged, jnp.where(at_bound, Status.AT_BOUND, Status.CONVERGED), Status.NOT_CONVERGED)
    status = jnp.where(usable, fitted, jnp.where(finite, Status.NO_SIGNAL, Status.NON_FINITE))
    return status.astype(jnp.uint8)
