"""What a search keeps: the best point that it has seen, whole, whatever comes after."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsmt as js
from jaxsmt.solvers import in_box
from jaxsmt.solvers.lm import no_worse

SOLVERS = {
    "adam": js.first_order(optax.adam(3e-2), steps=200),
    "lbfgs": js.lbfgs(steps=30),
}


@pytest.mark.parametrize(
    ("cost", "best", "expected"),
    [
        (1.0, np.inf, True),  # the first evaluation
        (1.0, 2.0, True),
        (2.0, 2.0, True),  # rounding hides the last gains: the later point is the nearer one
        (2.0, np.nextafter(np.float32(2), np.float32(0)), False),
        (0.0, 0.0, True),
        (0.0, 1e-30, True),
        (1e-30, 0.0, False),
        (np.nan, 2.0, False),
        (np.nan, np.inf, False),
        (np.inf, 2.0, False),
        (np.inf, np.inf, False),
    ],
)
def test_only_finite_costs_that_are_no_higher_take_the_place_of_the_best(cost, best, expected):
    assert bool(jax.jit(no_worse)(jnp.float32(cost), jnp.float32(best))) is expected


@pytest.mark.parametrize("name", SOLVERS)
def test_trials_without_a_cost_lose_nothing(name):
    """Below 0.5 the cost is NaN, and everything leads there: the search ends at a point with a cost, not converged."""

    def residual(x):
        return (jnp.where(x[0] < 0.5, jnp.nan, 1 + x[0]),)

    state = _minimise(SOLVERS[name], residual, (jnp.float32(0.55),))
    assert 0.5 <= state.x[0] <= 0.55
    assert state.cost == pytest.approx(0.5 * (1 + float(state.x[0])) ** 2, rel=1e-5)
    assert state.done
    assert not state.converged


def test_a_search_that_has_converged_is_done():
    """It does not go on until its steps are used up."""
    solver = js.lbfgs(steps=30)
    bounds = (jnp.float32(0), jnp.float32(0)), (jnp.float32(1), jnp.float32(3))
    problem = in_box(lambda x: (x[0] - 0.4, x[1] - 1.2, 0.1 + 0 * x[0]), *bounds)
    state = solver.init((jnp.float32(0.6), jnp.float32(0.9)), 2)
    step = jax.jit(partial(solver.step, problem))
    while not state.converged and state.steps < solver.most:
        state = step(state)
    assert state.converged
    assert state.done
    assert state.steps < solver.most


@pytest.mark.parametrize("name", SOLVERS)
def test_the_best_point_is_one_point(name):
    """Its coordinates are of one trial, whose cost is that of the state, in every voxel of many."""
    rng = np.random.default_rng(0)
    b = np.array([1.0, 2.0, 3.0], np.float32)
    data = np.exp(-b * rng.uniform(0.2, 2, (2000, 1)).astype(np.float32)) + 0.02 * rng.standard_normal((2000, 3))

    def residual(data, x):
        return tuple(x[0] * jnp.exp(-float(b[i]) * x[1]) - data[i] for i in range(3))

    def search(data):
        start = (jnp.float32(0.6), jnp.float32(0.9))
        return _minimise(SOLVERS[name], partial(residual, data), start)

    data = jnp.asarray(data, jnp.float32)
    states = jax.jit(jax.vmap(search))(data)
    costs = jax.vmap(lambda data, x: 0.5 * sum(r**2 for r in residual(data, x)))(data, states.x)
    np.testing.assert_allclose(states.cost, costs, rtol=1e-4, atol=1e-9)


def _minimise(solver, residual, start):
    """The state after all steps, from 0 to 1 or, of the second coordinate, to 3."""
    lower, upper = (jnp.float32(0),) * len(start), (jnp.float32(1), jnp.float32(3))[: len(start)]
    problem = in_box(residual, lower, upper)

    def step(state, _):
        return solver.step(problem, state), None

    return jax.lax.scan(step, solver.init(start, len(start)), length=solver.most)[0]
