"""What a solver is: two pure functions of one voxel. Whoever batches them drives the loop."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple

from jax import Array

from ..errors import InputError, is_whole, shown

#: Where a search is, or a step of it: a tuple of scalars, so that a batch of them is a few long
#: vectors (the layout that vector units and GPUs like) instead of many short rows.
Point = tuple[Array, ...]
_MOST_STEPS = 2**31 - 1  # counted in 32 bits


class Normal(NamedTuple):
    """The normal equations of ½ Σ r² at a point, in the coordinates of a step.

    Of a few coordinates as scalars, of many perhaps as arrays. `gradient[i]` and, for j ≤ i, `hessian[i][j]` work with
    both; the diagonal is `hessian[i][i]`, as rows may be longer than i + 1.
    """

    cost: Array  # ½ Σ r²
    gradient: Any  # Jᵀr: a tuple, or (size,)
    hessian: Any  # JᵀJ: rows of its lower triangle, or (size, size)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


class Problem(NamedTuple):
    """One voxel's least squares, on a box or on any smooth set of points.

    A point and a step need not have the same number of coordinates: a direction is three numbers, a step of it two.

    Attributes:
        normal: `(x) -> Normal`, the normal equations at x.
        hessian: `(x) ->` all second derivatives of the cost by a step, in the form of `Normal.hessian`; terms that
            vanish with the gradient may be left out.
        room: `(x) -> (lower, upper)`, the box in which a step from x may lie.
        move: `(x, step) -> x`, to first order along the step, perhaps on a curve that follows the valleys of the cost;
            the result obeys the bounds whenever the step is in its box.
        scalars: `(function) ->` the same function of a lane's scalars, perhaps in a form that is faster under vmap.
    """

    normal: Callable[[Point], Normal]
    hessian: Callable[[Point], Any]
    room: Callable[[Point], tuple[Point, Point]]
    move: Callable[[Point, Point], Point]
    scalars: Callable[[Callable[..., Any]], Callable[..., Any]] = _as_it_is


class Solver(NamedTuple):
    """A bounded nonlinear least-squares solver of one voxel.

    A state is a NamedTuple of scalars, small arrays, or pytrees of them, with at least the fields `x` (a tuple of
    scalars, the best point so far), `cost` (½ Σ r² there), `steps` (int32), `done` and `converged` (bool).
    `check_solver` checks a solver of your own.

    Attributes:
        init: `(x0, size) -> state`, for steps of `size` coordinates; it evaluates nothing.
        step: `(problem, state) -> state`; it evaluates the normal equations once, `problem.normal(x)`, and never leaves
            the bounds, `problem.room(x)`. A state that is done stays done, and further steps do it no harm.
        most: number of steps after which every state is done.
        hope: where only a low enough cost is of use, a search is given up if `hope` times the gain of its last few
            steps would not get it there. None: never, as for solvers whose gains may grow again.

    Example:
        >>> import jaxsmt as js
        >>> solver = js.levenberg_marquardt(max_steps=50)
        >>> isinstance(solver, js.Solver), solver.most
        (True, 50)
    """

    init: Callable[[Point, int], Any]
    step: Callable[[Problem, Any], Any]
    most: int
    hope: float | None = None


def require_steps(steps: int, name: str) -> None:
    """Raise InputError unless the argument of this name is a number of steps.

    Raises:
        InputError: it is no whole number from 1 that JAX can count to.
    """
    if not is_whole(steps, 1, _MOST_STEPS):
        fix = f"{name}= takes a whole number from 1 to {_MOST_STEPS}"
        raise InputError(f"{name}={shown(steps)} is not valid", fix=fix)


def require_part(rtol: float | None) -> None:
    """Raise InputError unless `rtol=` can be a part of the cost.

    Raises:
        InputError: it is no number from 0 to 1, and not None.
    """
    if rtol is not None and (isinstance(rtol, bool) or not isinstance(rtol, Real) or not 0 <= rtol <= 1):
        raise InputError(f"rtol={shown(rtol)} is not valid", fix="rtol= takes a part of the cost, from 0 to 1")
