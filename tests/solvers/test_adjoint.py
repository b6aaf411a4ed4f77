"""Derivatives of minima by what their problem depends on, where these are known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsmt.solvers import in_box, levenberg_marquardt
from jaxsmt.solvers.adjoint import Minimum, implicit, unrolled


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def problem_of(data, lower=(-9.0, -9.0), upper=(9.0, 9.0)):
    """Residuals whose minimum is x = (a, a b), and does not vanish: the whole Hessian counts."""
    a, b = data
    bounds = (tuple(jnp.asarray(v) for v in side) for side in (lower, upper))
    return in_box(lambda x: (x[0] - a, 3 * (x[1] - x[0] * b), x[0] * 0 + 2.0), *bounds)


def found(x, converged=1.0):
    """A search that knows where the minimum is."""
    return lambda data: Minimum(tuple(jnp.asarray(v) for v in x(*data)), jnp.asarray(converged))


A, B = np.array(1.5), np.array(0.4)


@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_are_those_of_the_closed_form(mode):
    end = implicit(found(lambda a, b: (a, a * b)), problem_of)
    rates = np.array(mode(lambda a, b: jnp.stack(end((a, b)).x), (0, 1))(A, B))
    np.testing.assert_allclose(rates, [[1, 0.4], [0, 1.5]], atol=1e-12)
    only = np.array(mode(lambda b: jnp.stack(end((A, b)).x))(B))
    np.testing.assert_allclose(only, [0, 1.5], atol=1e-12)


def test_residuals_that_stay_bend_the_minimum():
    """r = (x - a, ½ x² + 2) does not vanish: JᵀJ alone would give another derivative."""

    def root(a):
        """Where x - a + (½ x² + 2) x = 0, by Newton's method."""
        x = 0.3
        for _ in range(60):
            x = x - (x - a + (0.5 * x**2 + 2) * x) / (3 + 1.5 * x**2)
        return x

    def problem(a):
        return in_box(lambda x: (x[0] - a, 0.5 * x[0] ** 2 + 2.0), (jnp.asarray(-9.0),), (jnp.asarray(9.0),))

    end = implicit(lambda a: Minimum((jax.lax.stop_gradient(root(a)),), jnp.asarray(1.0)), problem)
    rate = jax.grad(lambda a: end(a).x[0])(jnp.asarray(1.5))
    np.testing.assert_allclose(rate, (root(1.5 + 1e-6) - root(1.5 - 1e-6)) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_coordinates_at_a_bound_stay_there(side):
    """x₀ is held at ±1, so that x₁ = ±b follows b alone."""
    sign = 1.0 if side == "upper" else -1.0
    bounds = {"upper": (1.0, 9.0)} if side == "upper" else {"lower": (-1.0, -9.0)}
    a, b = sign * A, B
    end = implicit(found(lambda a, b: (sign, sign * b)), lambda data: problem_of(data, **bounds))
    rates = np.array(jax.jacfwd(lambda a, b: jnp.stack(end((a, b)).x), (0, 1))(a, b))
    np.testing.assert_allclose(rates, [[0, 0], [0, sign]], atol=1e-12)


def test_what_did_not_converge_or_is_not_determined_has_no_derivative():
    """Zero, and not what noise would make of it."""
    lost = implicit(found(lambda a, b: (a, a * b), converged=0.0), problem_of)
    np.testing.assert_array_equal(jax.jacfwd(lambda a: jnp.stack(lost((a, jnp.asarray(B))).x))(A), 0)

    def flat(data):
        side = tuple(jnp.asarray(9.0) for _ in range(2))
        return in_box(lambda x: (x[0] - data[0], 0 * x[1]), tuple(-v for v in side), side)

    idle = implicit(found(lambda a, b: (a, 0.3)), flat)
    np.testing.assert_array_equal(jax.jacfwd(lambda a: jnp.stack(idle((a, B)).x))(A), 0)


def test_unrolled_steps_agree():
    """Through all of a solver's steps the derivative is the same, and the cost is that at the end."""

    def end(a):
        start = jnp.asarray(0.2), jnp.asarray(0.1)
        minimum, cost = unrolled(levenberg_marquardt(max_steps=8), problem_of((a, B)), start, 2)
        return jnp.stack(minimum.x), (minimum.converged, cost)

    rate, (converged, cost) = jax.jacfwd(end, has_aux=True)(A)
    np.testing.assert_allclose(rate, [1, 0.4], atol=1e-6)
    assert converged == 1
    assert cost == pytest.approx(2.0)
