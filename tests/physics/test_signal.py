"""The zeppelin's spherical mean and Legendre moments, and their derivatives: against quadrature, at awkward points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import eval_legendre

from jaxsmt.physics.signal import attenuation_moments, zeppelin_legendre, zeppelin_mean
from tests.conftest import gauss_mean

DTYPES = [(np.float32, 2e-6), (np.float64, 1e-12)]
# b(λ∥ - λ⊥) on both sides of every switch between formulas, and far out.
GRID = np.meshgrid(
    [0.0, 0.005, 0.5, 1.0, 3.0, 10.0, 40.0],
    [0.0, 1e-6, 0.3, 1.0, 1.0 + 1e-4, 2.0, 3.05],
    [0.0, 1e-6, 0.5, 1.0, 2.0],
    indexing="ij",
)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_mean_matches_quadrature(dtype, tolerance):
    with jax.enable_x64(dtype is np.float64):
        value = zeppelin_mean(*(jnp.asarray(g, dtype) for g in GRID))
        assert value.dtype == dtype
        # Where the attenuation itself is rounded, exp(-bλ) has relative error bλ·eps.
        room = tolerance * (1 + GRID[0] * np.maximum(GRID[1], GRID[2]))
        assert np.all(np.abs(np.asarray(value, float) / gauss_mean(*GRID) - 1) <= room)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_moments_match_quadrature(n):
    z = np.concatenate([np.linspace(-60, 60, 241), [-1, 1, 1e-9, -1e-9]])
    c = np.maximum(-z, 0)
    with jax.enable_x64(True):
        moment = np.asarray(attenuation_moments(c, z, 4)[n])
    np.testing.assert_allclose(moment, gauss_mean(1.0, c + z, c, n), rtol=1e-11)


@pytest.mark.parametrize(
    ("b", "par", "perp"),
    [(0, 1, 0.5), (1, 1, 1), (2, 1.7, 0), (3, 0, 0), (1, 2, 1), (1, 1, 2), (2, 0.5, 1.7)],
)
def test_gradients_match_finite_differences(b, par, perp):
    """At λ∥ = λ⊥, b = 0, a stick, no diffusion, on the switch between formulas, and oblate."""
    with jax.enable_x64(True):
        point = np.array([b, par, perp], float)
        gradient = np.array(jax.grad(zeppelin_mean, argnums=(0, 1, 2))(*point))
        hessian = np.array(jax.hessian(lambda p: zeppelin_mean(p[0], p[1], p[2]))(jnp.asarray(point)))
        h = 1e-4
        steps = h * np.eye(3)
        value = lambda p: float(gauss_mean(*p))  # noqa: E731
        numeric = [(value(point + s) - value(point - s)) / (2 * h) for s in steps]
        numeric2 = [
            [
                (value(point + s + t) - value(point + s - t) - value(point - s + t) + value(point - s - t))
                / (2 * h) ** 2
                for t in steps
            ]
            for s in steps
        ]
    np.testing.assert_allclose(gradient, numeric, atol=1e-7)
    np.testing.assert_allclose(hessian, numeric2, atol=1e-6)


def test_gradient_is_finite_everywhere_in_single_precision():
    arguments = [jnp.asarray(g.ravel(), jnp.float32) for g in GRID]
    for argument in (0, 1, 2):
        gradient = jax.vmap(jax.grad(zeppelin_mean, argnums=argument))(*arguments)
        assert np.all(np.isfinite(gradient))


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 10), st.floats(0, 3), st.floats(0, 3))
def test_mean_is_an_attenuation_between_its_extremes(b, par, perp):
    """exp(-b max λ) ≤ ε ≤ exp(-b min λ), for any tensor."""
    with jax.enable_x64(True):
        value = float(zeppelin_mean(b, par, perp))
    assert np.exp(-b * max(par, perp)) * (1 - 1e-12) <= value <= np.exp(-b * min(par, perp)) * (1 + 1e-12)


def test_integers_broadcast():
    value = zeppelin_mean(np.array([0, 1, 2]), 2, 1)
    np.testing.assert_allclose(value, gauss_mean(np.array([0, 1, 2]), 2, 1), rtol=1e-6)


@pytest.mark.parametrize(("par", "perp"), [(2.0, 0.3), (1.0, 1.0), (0.5, 2.0), (3.0, 0.0)])
def test_legendre_moments(par, perp):
    """Against 300 nodes; a prolate, an isotropic and an oblate tensor, and a stick."""
    b, (x, w) = np.array([0.0, 1.0, 6.0]), np.polynomial.legendre.leggauss(300)
    with jax.enable_x64(True):
        k = zeppelin_legendre(b, par, perp, 28)
        np.testing.assert_allclose(k[:, 0], zeppelin_mean(b, par, perp), atol=1e-14)
    signal = np.exp(-b[:, None] * perp - b[:, None] * (par - perp) * x**2)
    for i, l in enumerate(range(0, 29, 2)):
        np.testing.assert_allclose(k[:, i], signal @ (w * eval_legendre(l, x)) / 2, atol=1e-14)
