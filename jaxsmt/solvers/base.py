"""What a solver is: two pure functions of one voxel. Whoever batches them drives the loop."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from jax import Array

#: Free parameters of one voxel: a tuple of scalars, so that a batch of them is a few long vectors
#: (the layout that vector units and GPUs like) instead of many short rows.
Point = tuple[Array, ...]
#: `residual(x) -> tuple of scalars`.
Residual = Callable[[Point], tuple[Array, ...]]


class Status(IntEnum):
    """Outcome in one voxel, as written to the status map."""

    OUTSIDE = 0  #: not in the mask
    CONVERGED = 1
    AT_BOUND = 2  #: converged with a parameter at its bound
    NOT_CONVERGED = 3
    NO_SIGNAL = 4
    NON_FINITE = 5


def _straight(x: Point, step: Point) -> Point:
    return tuple(p + d for p, d in zip(x, step, strict=True))


class Problem(NamedTuple):
    """One voxel's least squares: minimise ½ Σ residual(x)² over lower ≤ x ≤ upper.

    `move(x, step)` goes from x by a step of x, to first order x + step, perhaps along a curve that
    follows the valleys of the cost; it need not heed the bounds.
    """

    residual: Residual
    lower: Point
    upper: Point
    move: Callable[[Point, Point], Point] = _straight


class Solver(NamedTuple):
    """A bounded nonlinear least-squares solver of one voxel.

    init: `(x0) -> state`, evaluates nothing.
    step: `(problem, state) -> state`, evaluates the residual once. Never leaves the bounds; a
        state that is done stays done, and further steps do it no harm.
    A state is a pytree of scalars with at least the fields `x` (Point, the best so far), `done`
    and `converged` (bool); every state must be done after finitely many steps.
    """

    init: Callable[[Point], Any]
    step: Callable[[Problem, Any], Any]
