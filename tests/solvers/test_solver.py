"""Levenberg-Marquardt in a box, against SciPy and known minima."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optimistix
import pytest
import scipy.optimize

import jaxsmt as js
from jaxsmt.geometry.quadrature import gradient_directions
from jaxsmt.solvers import in_box, levenberg_marquardt
from jaxsmt.solvers.linear import matrix, vector
from jaxsmt.solvers.lm import _step_in_box


def minimise(residual, lower, upper, start, **options):
    """Drive the solver for one problem, as a batch of one would be."""
    solver = levenberg_marquardt(**options)
    with jax.enable_x64(True):
        scalars = lambda values: tuple(jnp.asarray(v, jnp.float64) for v in values)  # noqa: E731
        problem = in_box(residual, scalars(lower), scalars(upper))
        step = jax.jit(lambda state: solver.step(problem, state))
        state = solver.init(scalars(start), len(start))
        path = []
        while not state.done:
            state = step(state)
            path.append([float(v) for v in state.trial])
    return np.array([float(v) for v in state.x]), state, np.array(path)


def rosenbrock(x):
    return 10 * (x[1] - x[0] ** 2), 1 - x[0]


def powell(x):  # singular Jacobian at the minimum, the origin
    a, b, c, d = x
    return a + 10 * b, 5**0.5 * (c - d), (b - 2 * c) ** 2, 10**0.5 * (a - d) ** 2


def decay(x):  # a curve with noise, so that the residuals do not vanish
    t = np.linspace(0, 3, 9)
    data = 2 * np.exp(-1.3 * t) + 0.05 * np.cos(7 * t)
    return tuple(x[0] * jnp.exp(-x[1] * float(ti)) - float(di) for ti, di in zip(t, data, strict=True))


@pytest.mark.parametrize(
    ("residual", "lower", "upper", "start"),
    [
        (rosenbrock, [-3, -3], [3, 3], [-1.2, 1.0]),
        (rosenbrock, [-3, -3], [0.5, 3], [-1.2, 1.0]),  # minimum on an upper bound
        (rosenbrock, [1.5, -3], [3, 2.0], [3.0, -3.0]),  # minimum in a corner, start in another
        (rosenbrock, [-3, 1.3], [3, 3], [0.0, 3.0]),  # minimum on a lower bound
        (powell, [-5] * 4, [5] * 4, [3.0, -1.0, 0.0, 1.0]),
        (decay, [0, 0], [5, 5], [1.0, 3.0]),
        (decay, [0, 0], [1.5, 5], [1.0, 3.0]),
        (decay, [0, 2.0], [5, 5], [4.0, 5.0]),
    ],
)
def test_finds_the_minimum_that_scipy_finds(residual, lower, upper, start):
    x, state, path = minimise(residual, lower, upper, start)
    oracle = scipy.optimize.least_squares(
        lambda p: np.array([float(r) for r in residual(p)]),
        np.clip(start, lower, upper),
        bounds=(lower, upper),
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    cost = 0.5 * sum(float(r) ** 2 for r in residual(x))
    assert state.converged
    assert cost <= oracle.cost * (1 + 1e-8) + 1e-12
    assert np.all(path >= np.array(lower) - 1e-15)
    assert np.all(path <= np.array(upper) + 1e-15)


def test_only_gauss_newton_steps_tell_what_is_left_to_gain():
    """Gains of slow solvers may be small for long; their searches are never given up."""
    assert levenberg_marquardt().hope > 1
    slow = (levenberg_marquardt(cautious=True), js.lbfgs(), js.first_order(optax.adam(1e-2), steps=5))
    assert {solver.hope for solver in slow} == {None}


def test_gives_up_after_max_steps():
    _, state, path = minimise(rosenbrock, [-3, -3], [3, 3], [-1.2, 1.0], max_steps=3)
    assert len(path) == 3
    assert state.done
    assert not state.converged


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_cost_that_is_not_finite_is_no_minimum(value):
    _, state, _ = minimise(lambda x: (x[0] + value,), [0], [1], [0.5])
    assert state.done
    assert not state.converged


def test_steps_after_the_end_do_no_harm():
    """A batch keeps stepping a voxel that is done until the next exchange."""
    solver = levenberg_marquardt()
    bounds = (jnp.float32(-3), jnp.float32(-3)), (jnp.float32(3), jnp.float32(3))
    state = solver.init((jnp.float32(-1.2), jnp.float32(1.0)), 2)
    step = jax.jit(lambda s: solver.step(in_box(rosenbrock, *bounds), s))
    for _ in range(60):
        state = step(state)
    assert state.done
    assert state.converged
    np.testing.assert_allclose(np.array(state.x), [1, 1], atol=1e-4)


def test_parameter_without_influence_stays_and_converges():
    x, state, _ = minimise(lambda x: (x[0] - 0.25,), [0, 0], [1, 1], [0.9, 0.4])
    assert state.converged
    np.testing.assert_allclose(x, [0.25, 0.4], atol=1e-6)


@pytest.mark.parametrize("n", [2, 5, 6, 12])
def test_steps_of_small_and_large_systems(n):
    """Straight-line code and the loop for larger systems against NumPy; bounds hold coordinates exactly."""
    rng = np.random.default_rng(n)
    jacobian = rng.standard_normal((2 * n, n))
    hessian, gradient = jacobian.T @ jacobian, rng.standard_normal(n)
    with jax.enable_x64(True):

        def step(hessian, gradient, down=None, up=None):
            rows = matrix([tuple(jnp.asarray(row[: i + 1])) for i, row in enumerate(hessian)])
            far = np.full(n, np.inf)
            limits = (-far if down is None else down, far if up is None else up)
            return np.array(_step_in_box(scalars(gradient), rows, scalars(np.zeros(n)), *map(scalars, limits)))

        def scalars(values):
            return vector(tuple(jnp.asarray(values)))

        np.testing.assert_allclose(step(hessian, gradient), -np.linalg.solve(hessian, gradient), rtol=1e-8)
        # The first coordinate is at its bound with the gradient pointing outwards.
        first = np.arange(n) == 0
        up = np.where(first & (gradient < 0), 0, np.inf)
        down = np.where(first & (gradient >= 0), 0, -np.inf)
        held = step(hessian, gradient, down, up)
        assert held[0] == 0
        np.testing.assert_allclose(held[1:], -np.linalg.solve(hessian[1:, 1:], gradient[1:]), rtol=1e-8)
        # A coordinate without influence stays, and does not disturb the others.
        without = np.arange(n) != 1
        idle = step(hessian * without * without[:, None], gradient * without)
        others = np.delete(np.arange(n), 1)
        expected = -np.linalg.solve(hessian[np.ix_(others, others)], gradient[others])
        assert idle[1] == 0
        np.testing.assert_allclose(idle[others], expected, rtol=1e-8)


class Descent(NamedTuple):
    """State of a solver in a few lines, as a user writes one."""

    x: tuple
    cost: jax.Array
    trial: tuple
    damping: jax.Array
    steps: jax.Array
    converged: jax.Array
    done: jax.Array


def damped_newton(most=80, strict=True, inside=True, forgets=False, restless=False):
    """Levenberg's method without any refinement; its flaws are the arguments."""

    def init(x0, size):
        zero = jnp.zeros_like(x0[0])
        return Descent(x0, zero + jnp.inf, x0, zero + 1e-2, jnp.int32(0), jnp.bool_(False), jnp.bool_(False))

    def step(problem, s):
        at = problem.normal(s.trial)
        better = (at.cost < s.cost) | forgets
        x = tuple(jnp.where(better, new, old) for new, old in zip(s.trial, s.x, strict=True))
        cost, damping = jnp.where(better, at.cost, s.cost), jnp.where(better, s.damping / 3, s.damping * 5)
        here = problem.normal(x)
        (a,), (b, c) = here.hessian
        g, h = here.gradient
        low, high = problem.room(x)
        a = jnp.where((low[0] >= 0) & (g > 0) | (high[0] <= 0) & (g < 0), 1e30, a)
        c = jnp.where((low[1] >= 0) & (h > 0) | (high[1] <= 0) & (h < 0), 1e30, c)
        a, c = a + damping * (1 + a), c + damping * (1 + c)
        move = ((b * h - c * g) / (a * c - b * b), (b * g - a * h) / (a * c - b * b))
        if inside:
            move = tuple(jnp.clip(m, lo, hi) for m, lo, hi in zip(move, low, high, strict=True))
            trial = problem.move(x, move)
        else:
            trial = x = tuple(p + 3 * m for p, m in zip(x, move, strict=True))
        gain = jnp.abs(g * move[0] + h * move[1])
        converged = s.converged | ((gain < 1e-6 * cost + 1e-12) if strict else s.steps > 1)
        done = (converged | (s.steps + 1 >= most)) & (not restless)
        return Descent(x, cost, trial, damping, s.steps + 1, converged, done | s.done)

    return js.Solver(init, step, most)


def branches(problem, state):
    return state if state.cost > 1 else state._replace(steps=state.steps + 1)


@pytest.mark.parametrize(
    "solver",
    [
        levenberg_marquardt(),
        levenberg_marquardt(max_steps=300, cautious=True),
        js.first_order(optax.adam(3e-2), steps=2000),
        js.first_order(optax.sgd(0.3, momentum=0.9), steps=1000, schedule=lambda i: 1 / (1 + i / 500)),
        js.lbfgs(),
        js.optimistix_minimiser(optimistix.BFGS(1e-10, 1e-10)),
        damped_newton(),
    ],
    ids=["lm", "cautious", "adam", "momentum", "lbfgs", "optimistix", "a user's"],
)
def test_solvers_keep_the_contract(solver):
    js.check_solver(solver)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (damped_newton(inside=False), "leaves the bounds"),
        (damped_newton(strict=False), "converged"),
        (damped_newton(most=3), "more steps"),
        (damped_newton(restless=True), "is not done"),
        (js.first_order(optax.adam(3e-2), steps=20), "more steps"),
        (damped_newton()._replace(step=branches), "cannot run"),
    ],
)
def test_solvers_that_do_not_keep_it_are_refused(solver, message):
    with pytest.raises(js.InputError, match=message):
        js.check_solver(solver)


def test_every_solver_fits():
    """The whole engine with each of them: at the default solver's optimum, or the status says that it is not."""
    b = np.r_[0, 0, np.repeat([1000.0, 2000.0, 3000.0], 30)]
    acquisition = js.Acquisition(b, np.r_[np.zeros((2, 3)), np.tile(gradient_directions(30), (3, 1))])
    rng = np.random.default_rng(0)
    par, perp = rng.uniform(1.2, 2.2, 50), rng.uniform(0.2, 0.7, 50)
    means = np.asarray(js.signal.zeppelin_mean(acquisition.b[:, None], par[None], perp[None]))
    data = means[np.searchsorted(acquisition.b, b / 1000 - 0.5)].T + 0.01 * rng.standard_normal((50, len(b)))
    best = js.fit(js.smt(), acquisition, data, dtype="float64")
    for solver in (js.first_order(optax.adam(3e-2), steps=600), damped_newton()):
        found = js.fit(js.smt(), acquisition, data, solver=solver, dtype="float64")
        good = (found.status != js.Status.NOT_CONVERGED) & (best.status == js.Status.CONVERGED)
        assert good.mean() > 0.8
        np.testing.assert_allclose(found.mse[good], best.mse[good], rtol=0.05)


def test_a_far_start_is_no_minimum():
    """Where only very short steps lower the cost the search goes on; it used to end there as converged."""
    t = np.arange(0, 330.0, 10)
    y = 0.4 + 1.9 * np.exp(-t * 0.013) - 1.5 * np.exp(-t * 0.022)
    residual = lambda b: b[0] + b[1] * jnp.exp(-t * b[3]) + b[2] * jnp.exp(-t * b[4]) - y  # noqa: E731
    far = [np.inf] * 5
    x, _, _ = minimise(residual, [-f for f in far], far, [50, 150, -100, 1, 2])
    assert not np.allclose(x, [50, 150, -100, 1, 2])


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "9", 2**31, 10**5000], ids=lambda steps: type(steps).__name__)
def test_numbers_of_steps_are_whole_and_can_be_counted(steps):
    """Steps are counted in 32 bits: more of them would fail within the fit."""
    for make in (levenberg_marquardt, lambda most: js.first_order(optax.sgd(0.1), steps=most)):
        with pytest.raises(js.InputError, match="takes a whole number from 1 to 2147483647"):
            make(steps)
    assert levenberg_marquardt(max_steps=2**31 - 1).most == 2**31 - 1
