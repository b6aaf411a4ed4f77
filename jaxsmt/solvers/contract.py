"""What a solver must keep to so that everything can use it; run it on one of your own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import InputError
from .base import Point, Problem, Solver
from .box import in_box

_T = np.linspace(0, 3, 9)
_CURVE = 2 * np.exp(-1.3 * _T) + 0.05 * np.cos(7 * _T)
_AFTER = 5  # steps after the last, which must do no harm


def _decay(x: Point) -> tuple[Array, ...]:
    """An exponential less a curve that is not quite one, so that residuals do not vanish."""
    return tuple(x[0] * jnp.exp(-x[1] * t) - y for t, y in zip(_T.tolist(), _CURVE.tolist(), strict=True))


def _valley(x: Point) -> tuple[Array, ...]:
    """Rosenbrock's function."""
    return 10 * (x[1] - x[0] ** 2), 1 - x[0]


def _dispersed(x: Point) -> tuple[Array, ...]:
    """Means of four decays of rates from f λ to λ, for x = (λ, f), less one that is faster than any in the box."""
    rates = [x[0] * (x[1] + (1 - x[1]) * part) for part in (0.01, 0.15, 0.5, 0.9)]
    means = [jnp.asarray(sum(jnp.exp(-b * rate) for rate in rates)) / 4 for b in (0.5, 1.0, 3.0)]
    return tuple(mean - math.exp(-4 * b) for mean, b in zip(means, (0.5, 1.0, 3.0), strict=True))


class _Case(NamedTuple):
    """Two parameters' residuals, their box, a start, and the least cost in the box."""

    name: str
    residual: Callable[[Point], tuple[Array, ...]]
    lower: tuple[float, float]
    upper: tuple[float, float]
    start: tuple[float, float]
    least: float


# The last leads across a corner, where a step that is cut at the bounds may go uphill.
_CASES = (
    _Case("a curve", _decay, (0.0, 0.0), (5.0, 5.0), (4.0, 0.8), 0.00566824),
    _Case("a minimum on a bound", _decay, (0.0, 0.0), (1.5, 5.0), (0.2, 0.3), 0.175717),
    _Case("a valley", _valley, (-3.0, -3.0), (3.0, 3.0), (-1.2, 1.0), 0.0),
    _Case("a minimum in a corner", _dispersed, (0.0, 0.0), (3.05, 1.0), (2.6, 0.2), 0.00380724),
)


def check_solver(solver: Solver) -> None:
    """Check that a solver keeps to the contract of `Solver`, on small problems, in both precisions.

    It must stay within bounds, remember its best point, end after `most` steps and stay at its end; it must say that it
    converged only at a minimum, and converge where that is easy.

    Args:
        solver: a `Solver`, such as one of your own.

    Raises:
        InputError: the first thing that is wrong, and in which problem.

    Example:
        >>> import jaxsmt as js
        >>> js.check_solver(js.levenberg_marquardt(max_steps=2))
        Traceback (most recent call last):
        jaxsmt.errors.InputError: solver on a curve, float64: converged False, cost 0.1003; the least is 0.005668
          fix: more steps, or a line search
    """
    for x64, cases in ((True, _CASES), (False, _CASES[:1])):
        with jax.enable_x64(x64):
            for case in cases:
                _check_path(case, *_search(solver, case), solver.most)


def _refuse(case: _Case, fact: str, fix: str) -> NoReturn:
    """Raise the error that names the problem and the precision."""
    raise InputError(f"solver on {case.name}, {jnp.result_type(float).name}: {fact}", fix=fix)


def _scalars(values: tuple[float, ...]) -> Point:
    return tuple(jnp.asarray(v, jnp.result_type(float)) for v in values)


def _search(solver: Solver, case: _Case) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x (steps, 2), cost, done and converged (steps,) after each step, the first after the start included."""
    problem: Problem = in_box(case.residual, _scalars(case.lower), _scalars(case.upper))

    def step(state: Any, _: None) -> tuple[Any, tuple[Point, Array, Array, Array]]:
        state = solver.step(problem, state)
        return state, (state.x, state.cost, state.done, state.converged)

    def path(x0: Point) -> tuple[Point, Array, Array, Array]:
        return jax.lax.scan(step, solver.init(x0, 2), length=solver.most + _AFTER)[1]

    try:
        points, cost, done, converged = jax.tree.map(np.asarray, jax.jit(path)(_scalars(case.start)))
    except Exception as error:  # whatever the user's functions may raise
        fix = "init(x0, size) and step(problem, state) are pure JAX, and a step keeps shapes and types of the state"
        _refuse(case, f"cannot run: {str(error).splitlines()[0]}", fix)
    return np.stack(points, axis=1), cost, done, converged


def _check_path(
    case: _Case, x: np.ndarray, cost: np.ndarray, done: np.ndarray, converged: np.ndarray, most: int
) -> None:
    """The path stays in the box, never goes uphill, ends for good, and says truly whether it converged."""
    slack = 1e-5 * (np.array(case.upper) - np.array(case.lower))
    if not (np.isfinite(x).all() and (x >= case.lower - slack).all() and (x <= case.upper + slack).all()):
        _refuse(case, "leaves the bounds", "clip steps to problem.room(x)")
    if (np.diff(cost) > 1e-6 * np.abs(cost[:-1])).any():
        _refuse(case, "the cost of x rises", "x and cost are those of the best point so far")
    ended = np.flatnonzero(done)
    end = min(ended[0] if ended.size else len(done), most - 1)
    if not done[end] or not (done[1:] >= done[:-1]).all():
        _refuse(case, f"is not done after its {most} steps, or not for good", "done after most steps, and ever after")
    if not (converged[1:] >= converged[:-1]).all():
        _refuse(case, "converged changes back", "once True it stays")
    _check_end(case, x[end], float(cost[end]), bool(converged[end]))


def _check_end(case: _Case, x: np.ndarray, cost: float, converged: bool) -> None:
    """The cost at the end is that of its point, and least if the solver says that it converged."""
    actual = 0.5 * sum(float(r) ** 2 for r in case.residual(tuple(x.tolist())))
    if not np.allclose(actual, cost, rtol=1e-3, atol=1e-6):
        _refuse(case, f"cost is {cost:.4g} where it is {actual:.4g}", "cost is ½ Σ r² at x, as of problem.normal(x)")
    good = cost <= 1.01 * case.least + 1e-5
    if case.least and not (converged and good):
        fact = f"converged {converged}, cost {cost:.4g}; the least is {case.least:.4g}"
        _refuse(case, fact, "more steps, or a line search")
    if converged and not good:
        fact = f"converged at cost {cost:.4g}; the least is {case.least:.4g}"
        _refuse(case, fact, "a stricter test of convergence")
