"""What a solver is: two pure functions of one voxel. Whoever batches them drives the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array

#: Where a search is, or a step of it: a tuple of scalars, so that a batch of them is a few long
#: vectors (the layout that vector units and GPUs like) instead of many short rows.
Point = tuple[Array, ...]


class Normal(NamedTuple):
    """The normal equations of ½ Σ r² at a point, in the coordinates of a step."""

    cost: Array  # ½ Σ r²
    gradient: Point  # Jᵀr
    hessian: tuple[Point, ...]  # JᵀJ, rows of its lower triangle


class Problem(NamedTuple):
    """One voxel's least squares, on a box or on any smooth set of points.

    A point and a step need not have the same number of coordinates: a direction is three numbers,
    a step of it two.

    normal: `(x) -> Normal`. hessian: `(x)` -> all of the cost's second derivatives by a step, rows of the lower
        triangle; terms that vanish with the gradient may be left out.
    room: `(x) -> (lower, upper)`, the box that a step from x may lie in.
    move: `(x, step) -> x`, to first order along the step, perhaps on a curve that follows the
        valleys of the cost; the result obeys the bounds whenever the step is in its box.
    """

    normal: Callable[[Point], Normal]
    hessian: Callable[[Point], tuple[Point, ...]]
    room: Callable[[Point], tuple[Point, Point]]
    move: Callable[[Point, Point], Point]


class Solver(NamedTuple):
    """A bounded nonlinear least-squares solver of one voxel.

    init: `(x0, size) -> state` for steps of `size` coordinates, evaluates nothing.
    step: `(problem, state) -> state`, evaluates the normal equations once. Never leaves the
        bounds; a state that is done stays done, and further steps do it no harm.
    most: steps after which every state is done.
    A state is a NamedTuple of scalars, or pytrees of them, with at least the fields `x` (Point, the best so far),
    `cost`, `steps` (int32), `done` and `converged` (bool).
    """

    init: Callable[[Point, int], Any]
    step: Callable[[Problem, Any], Any]
    most: int
