"""The pieces of solvers, without any search: linear systems, promises of a step, coordinates without bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxsmt as js
from jaxsmt.solvers import in_box
from jaxsmt.solvers.base import Normal
from jaxsmt.solvers.linear import diagonal, few, inverse, largest, matrix, packed, product, solve, stacked, vector
from jaxsmt.solvers.lm import _PATIENCE, _ended, _Options, _step_in_box, promise, settled
from jaxsmt.solvers.unbounded import _NEAR, _free, _snapped


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def scalars(*values):
    return tuple(jnp.asarray(float(v)) for v in values)


def lower_rows(full):
    return [tuple(jnp.asarray(v) for v in row[: i + 1]) for i, row in enumerate(full)]


@pytest.mark.parametrize("n", [1, 5, 6])
def test_systems_of_few_and_of_more_unknowns(n):
    """Written out up to 5 on a CPU, as arrays beyond; NumPy is the oracle of both."""
    rng = np.random.default_rng(n)
    jacobian, right = rng.standard_normal((2 * n, n)), rng.standard_normal(n)
    full = jacobian.T @ jacobian
    a, b = matrix(lower_rows(full)), vector(scalars(*right))
    assert isinstance(b, tuple) == isinstance(a, list) == (n <= 5)
    x, part = solve(a, b)
    np.testing.assert_allclose(np.array(x), np.linalg.solve(full, right), rtol=1e-9)
    inverted, least = inverse(a)
    np.testing.assert_allclose(np.array(stacked(inverted)), np.linalg.inv(full), rtol=1e-8)
    assert 0 < part <= 1
    assert least == pytest.approx(part)
    np.testing.assert_allclose(np.array(product(a, b)), full @ right, rtol=1e-12)
    np.testing.assert_allclose(np.array(diagonal(a)), np.diag(full))
    assert largest(b) == right.max()
    whole = matrix(packed(lower_rows(full)))
    np.testing.assert_allclose(np.array(stacked(whole)), full)
    np.testing.assert_allclose(np.array(stacked(matrix(few(jnp.asarray(full))))), full)
    np.testing.assert_allclose(np.array(few(jnp.asarray(right))), right)


@pytest.mark.parametrize("n", [2, 6])
def test_the_least_pivot_tells_what_is_not_definite(n):
    """1 where unknowns do not depend on each other, 1 - r² of two that do, at most 0 of a saddle."""
    for value, expected in ((0.0, 1.0), (0.6, 0.64), (1.25, 1 - 1.25**2)):
        full = np.eye(n) * 4.0
        full[1, 0] = full[0, 1] = 4 * value
        system = matrix(lower_rows(full))
        for part in (solve(system, vector(scalars(*np.ones(n))))[1], inverse(system)[1]):
            np.testing.assert_allclose(part, expected, rtol=1e-9)


def quadratic(hessian, gradient, cost=1.0):
    return Normal(jnp.asarray(cost), scalars(*gradient), tuple(map(tuple, lower_rows(np.array(hessian)))))


def far():
    """Steps that no bound cuts."""
    return scalars(-9.0, -9.0), scalars(9.0, 9.0)


def test_a_free_step_promises_what_it_gains():
    """Of a quadratic cost that is exact: ½ gᵀH⁻¹g."""
    hessian, gradient = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([-1.0, -0.5])
    gain = 0.5 * gradient @ np.linalg.solve(hessian, gradient)
    np.testing.assert_allclose(promise(quadratic(hessian, gradient), far()), gain, rtol=1e-9)


def test_beside_a_corner_a_step_promises_what_one_coordinate_gains():
    """The whole step is cut short there, although there is far to go along one side."""
    hessian, gradient = np.array([[1.0, 0.999], [0.999, 1.0]]), np.array([-1.0, -0.99])
    down, up = (-1e-9, -1e-9), (1e-9, 2.0)
    d = np.linspace(-1e-9, 2, 20_001)
    best = np.max(-(gradient[1] * d + 0.5 * hessian[1, 1] * d**2))
    found = promise(quadratic(hessian, gradient), (scalars(*down), scalars(*up)))
    assert found >= best * (1 - 1e-6)
    assert found <= 2 * best


def step_in_box(hessian, gradient, down, up):
    """A step without damping, of systems that are given by their diagonal."""
    rows = matrix(lower_rows(np.diag(hessian)))
    return np.array(_step_in_box(scalars(*gradient), rows, scalars(0, 0), scalars(*down), scalars(*up)))


@pytest.mark.parametrize("slope", [0.2, -0.2, 3.0, -3.0])
@pytest.mark.parametrize("limits", [(0.0, 0.5), (-0.5, 0.0), (-0.5, 0.5), (0.0, 4.0), (-4.0, 0.0), (0.0, 0.0)])
def test_a_coordinate_goes_as_far_as_its_bounds_let_it(slope, limits):
    """From a bound inwards and not outwards; what another one does is its own affair."""
    low, high = limits
    found = step_in_box((1.0, 2.0), (slope, 1.0), (low, -9.0), (high, 9.0))
    np.testing.assert_allclose(found, [np.clip(-slope, low, high), -0.5], atol=1e-12)


def test_a_step_does_not_depend_on_the_unit_of_the_cost():
    """That of a coordinate without influence, all rounding, neither: it must not run away in large units."""
    far = (-9.0, -9.0), (9.0, 9.0)
    steps = [step_in_box((unit, 0.0), (0.5 * unit, 1e-32 * unit), *far) for unit in (1.0, 1e6, 1e-6)]
    assert abs(steps[0][1]) > 1e-3
    for step in steps[1:]:
        np.testing.assert_allclose(step, steps[0], rtol=1e-9)


@pytest.mark.parametrize(("part", "expected"), [(0.1, True), (0.5, False)])
def test_damped_steps_end_where_an_undamped_one_promises_rounding_only(part, expected):
    """Damped by 5 a step promises a sixth of that; this counts when patience is over."""
    eps = float(jnp.finfo(float).eps)
    for steps, ended in ((_PATIENCE - 1, False), (_PATIENCE, expected)):
        state = js.levenberg_marquardt().init(scalars(1.0), 1)._replace(steps=jnp.int32(steps))
        options, promised = _Options(100, None, False), jnp.asarray(part * 2 * eps)
        found = _ended(options, state, jnp.asarray(1.0), jnp.asarray(5.0), jnp.asarray(True), promised)
        assert bool(found) == ended


def test_a_coordinate_without_influence_promises_nothing():
    """Neither slope nor curvature: the minimum of the others is one."""
    normal = quadratic(np.diag([1.0, 0.0]), (0.0, 0.0))
    assert promise(normal, far()) == 0
    assert settled(normal, far(), 1e-3)


def test_a_minimum_is_settled_and_a_slope_is_not():
    """A promise below the given part of the cost; a cost that is not finite is no minimum."""
    for slope, expected in ((0.0, True), (1e-3, True), (0.031, True), (0.032, False), (0.5, False)):
        normal = quadratic(np.eye(2), (slope, slope), cost=1.0)  # promises slope²
        assert bool(settled(normal, far(), 1e-3)) == expected, slope
    assert not settled(quadratic(np.eye(2), (0.0, 0.0), cost=np.inf), far(), 1e-3)


def box(lower=(0.0, -1.0), upper=(2.0, np.inf)):
    return in_box(lambda x: (x[0] - 1.0, x[1] - 3.0), scalars(*lower), scalars(*upper))


def test_coordinates_without_bounds_reach_all_of_the_box_and_no_more():
    """0 is the start; those that have two bounds come near them, the others move as they are."""
    cost, point = _free(box(), scalars(0.5, 1.0))
    np.testing.assert_allclose(np.array(point(scalars(0, 0))), [0.5, 1.0], atol=1e-12)
    np.testing.assert_allclose(np.array(point(scalars(40, 7.5))), [2.0, 8.5], atol=1e-12)
    np.testing.assert_allclose(np.array(point(scalars(-40, -0.5))), [0.0, 0.5], atol=1e-12)
    step = 1e-6
    rise = (point(scalars(step, 0))[0] - point(scalars(-step, 0))[0]) / (2 * step)
    np.testing.assert_allclose(rise, 2 * 0.25 * 0.75, rtol=1e-6)  # of a sigmoid over the width
    assert cost(scalars(0, 0)) == pytest.approx(0.5 * (0.5**2 + 2**2))


def test_a_start_at_a_bound_can_leave_it():
    """There a sigmoid is flat: the search begins a thousandth of the range inside."""
    for start, expected in ((0.0, 2e-3), (2.0, 2 - 2e-3)):
        cost, point = _free(box(), scalars(start, 1.0))
        np.testing.assert_allclose(point(scalars(0, 0))[0], expected, atol=1e-12)
        assert abs(jax.grad(lambda u, cost=cost: cost((u, jnp.asarray(0.0))))(jnp.asarray(0.0))) > 1e-4


def test_what_is_near_a_bound_is_put_on_it():
    """Within a ten-thousandth of the range; what is farther stays."""
    near, far = 2 * 0.9 * _NEAR, 2 * 1.1 * _NEAR
    problem = box(upper=(2.0, 3.0))
    for x, expected in (((near, 0.0), (0.0, 0.0)), ((2 - near, 0.0), (2.0, 0.0)), ((far, 0.0), (far, 0.0))):
        np.testing.assert_array_equal(np.array(_snapped(problem, scalars(*x))), expected)
    np.testing.assert_array_equal(np.array(_snapped(problem, scalars(2 - near, -1 + near))), [2.0, -1.0])
    np.testing.assert_array_equal(np.array(_snapped(problem, scalars(2 - far, 1.0))), [2 - far, 1.0])


def test_descent_by_hand():
    """Steps of a tenth of the gradient, cut at the bounds; the best point is kept, and its cost."""
    problem = box(lower=(0.0, -1.0), upper=(0.8, 9.0))
    solver = js.first_order(optax.sgd(0.1), steps=3, schedule=lambda i: jnp.where(i == 1, 10.0, 1.0))
    state = solver.init(scalars(0.5, 1.0), 2)
    states = []
    for _ in range(4):
        state = solver.step(problem, state)
        states.append(state)
    # x₁ - 3: -2, then -1.8, then 0 by a tenfold step; x₀ - 1: -0.5, -0.45, and the bound at 0.8.
    np.testing.assert_allclose([np.array(s.trial) for s in states[:2]], [[0.55, 1.2], [0.8, 3.0]], atol=1e-12)
    np.testing.assert_allclose(np.array(states[2].trial), [0.8, 3.0], atol=1e-12)
    np.testing.assert_allclose([s.cost for s in states[:3]], [2.125, 0.5 * (0.45**2 + 1.8**2), 0.02], atol=1e-12)
    np.testing.assert_allclose(np.array(states[2].x), [0.8, 3.0], atol=1e-12)
    assert [bool(s.done) for s in states] == [False, False, True, True]
    assert [bool(s.converged) for s in states] == [False, False, True, True]
    assert states[-1].steps == 4


def test_a_descent_that_goes_too_far_keeps_its_best_point():
    problem = box(lower=(-9.0, -9.0), upper=(9.0, 9.0))
    solver = js.first_order(optax.sgd(2.5), steps=3)
    state = solver.init(scalars(1.0, 2.0), 2)
    for _ in range(3):
        state = solver.step(problem, state)
    np.testing.assert_allclose(np.array(state.x), [1.0, 2.0])
    assert state.cost == pytest.approx(0.5)
    assert state.done
    assert not state.converged
