"""What the contract of solvers refuses, one thing at a time: solvers that play a path that is written down."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import jaxsmt as js
from jaxsmt.solvers.contract import _CASES

MOST = 6  # steps of every path; the contract looks at some more


class Playing(NamedTuple):
    """How far a path has been played; the rest is read from it."""

    x: tuple
    cost: jax.Array
    done: jax.Array
    converged: jax.Array
    steps: jax.Array
    number: jax.Array


def minimum_of(case):
    """Where the cost of a problem is least in its box, by SciPy."""
    with jax.enable_x64(True):
        residuals = jax.jit(lambda x: jnp.stack(case.residual(tuple(x))))
        bounds = case.lower, case.upper
        start = np.clip(case.start, np.array(case.lower) + 1e-3, np.array(case.upper) - 1e-3)
        found = scipy.optimize.least_squares(lambda x: np.array(residuals(x)), start, bounds=bounds, xtol=1e-12)
        return np.clip(found.x, case.lower, case.upper), found.cost


@pytest.fixture(scope="module")
def minima():
    return [minimum_of(case) for case in _CASES]


def played(minima, change=lambda case, path: None):
    """A solver that is at the minimum of each problem from its third step on, but for what `change` does to the path.

    A path has x (steps, 2), cost, done and converged (steps,).
    """
    paths = []
    for case, (x, cost) in zip(_CASES, minima, strict=True):
        late = np.arange(MOST + 5) >= 2
        start = np.array(case.start)
        path = {
            "x": np.where(late[:, None], x, 0.5 * (start + x)),
            "cost": np.where(late, cost, 2 * cost + 1),
            "done": late.copy(),
            "converged": late.copy(),
        }
        change(case.name, path)
        paths.append(path)
    starts = [case.start for case in _CASES]
    table = {name: np.stack([path[name] for path in paths]) for name in paths[0]}

    def at(number, step, like):
        x, cost = (jnp.asarray(table[name], like.dtype)[number, step] for name in ("x", "cost"))
        done, converged = (jnp.asarray(table[name])[number, step] for name in ("done", "converged"))
        return Playing((x[0], x[1]), cost, done, converged, jnp.asarray(step + 1, jnp.int32), number)

    def init(x0, size):
        away = [jnp.abs(x0[0] - float(p)) + jnp.abs(x0[1] - float(q)) for p, q in starts]
        number = jnp.argmin(jnp.stack(away))
        return at(number, 0, x0[0])._replace(steps=jnp.zeros((), jnp.int32))

    return js.Solver(init, lambda problem, state: at(state.number, state.steps, state.cost), MOST)


def test_a_path_to_each_minimum_is_right(minima):
    """So the least costs that the contract knows are those that SciPy finds."""
    for case, (_, cost) in zip(_CASES, minima, strict=True):
        assert case.least == pytest.approx(cost, rel=1e-3, abs=1e-9)
    js.check_solver(played(minima))


def test_a_hard_valley_may_be_given_up(minima):
    """Only where it is easy must a solver converge; a curved valley may take it more steps than it has."""

    def change(name, path):
        if name == "a valley":
            path["converged"][:] = False
            path["x"][:], path["cost"][:] = (-1.0, 1.0), 2.0

    js.check_solver(played(minima, change))


def step_out(path):
    """Just over a bound, early on the path."""
    path["x"][1] = 5.001, 1.0


def rise(path):
    """By little, on the way to the minimum."""
    path["cost"][:2] = 1.0, 1.0001


def never_end(path):
    path["done"][:] = False


def end_late(path):
    path["done"][:MOST] = False


def begin_again(path):
    path["done"][MOST + 2] = False


def change_back(path):
    path["converged"][MOST + 2] = False


def tell_less(path):
    """A cost that is not that of the point."""
    path["cost"][2:] *= 0.98


def lose_the_point(path):
    path["x"][:, 0] = np.nan


def stay_high(path):
    """2 % above the least, with the cost of the point."""
    path["x"][2:, 1] += 0.016
    x = tuple(path["x"][-1].tolist())
    path["cost"][2:] = 0.5 * sum(float(r) ** 2 for r in _CASES[0].residual(x))


def give_up(path):
    path["converged"][:] = False


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (step_out, "leaves the bounds"),
        (lose_the_point, "leaves the bounds"),
        (rise, "the cost of x rises"),
        (never_end, f"is not done after its {MOST} steps"),
        (end_late, f"is not done after its {MOST} steps"),
        (begin_again, "is not done .*, or not for good"),
        (change_back, "converged changes back"),
        (tell_less, "cost is .* where it is"),
        (stay_high, "converged True, cost .*; the least is 0.005668"),
        (give_up, "converged False"),
    ],
)
def test_each_flaw_is_named(minima, spoil, said):
    with pytest.raises(js.InputError, match=f"solver on a curve, float64: {said}"):
        js.check_solver(played(minima, lambda name, path: spoil(path) if name == "a curve" else None))


@pytest.mark.parametrize(("beyond", "refused"), [(0.8e-5, False), (1.2e-5, True)])
@pytest.mark.parametrize("side", ["lower", "upper"])
def test_rounding_may_lead_over_a_bound(minima, side, beyond, refused):
    """By a hundred-thousandth of the range, in either direction."""

    def change(name, path):
        if name == "a curve":
            path["x"][1, 0] = -5 * beyond if side == "lower" else 5 + 5 * beyond

    if refused:
        with pytest.raises(js.InputError, match="leaves the bounds"):
            js.check_solver(played(minima, change))
    else:
        js.check_solver(played(minima, change))


def test_convergence_at_a_point_that_is_no_minimum_is_refused(minima):
    """In the valley, whose least cost is 0: there only those who claim it must be there."""

    def change(name, path):
        if name == "a valley":
            path["x"][2:], path["cost"][2:] = (0.99, 0.9801), 0.5e-4

    with pytest.raises(js.InputError, match=r"solver on a valley, float64: converged at cost 5e-05; the least is 0"):
        js.check_solver(played(minima, change))
