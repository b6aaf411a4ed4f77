"""Weights of spherical means: exact for the harmonics of their order, and quiet."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsmt.acquisition.weights import MAX_AMPLIFICATION, harmonic_weights, mean_weights
from jaxsmt.geometry.harmonics import even_harmonics, n_coefficients
from jaxsmt.geometry.quadrature import gradient_directions


@pytest.mark.parametrize("n", [6, 15, 30, 64, 90, 200])
def test_weights_integrate_the_harmonics_of_their_order(n):
    directions = gradient_directions(n)
    order, weights = mean_weights(directions)
    moments = weights @ even_harmonics(directions, order)
    np.testing.assert_allclose(moments, [(4 * np.pi) ** -0.5] + [0] * (len(moments) - 1), atol=1e-10)
    assert n_coefficients(order) <= n
    assert np.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION
    assert order >= 2


def test_uneven_directions_bias_the_plain_mean_only():
    """Directions denser about one axis: the harmonic weights undo what the plain mean suffers."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((90, 3)) * [1, 1, 1.2]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    _, weights = mean_weights(directions)
    signal = np.exp(-2 * directions[:, 2] ** 2)
    x, w = np.polynomial.legendre.leggauss(50)
    truth = 0.5 * np.exp(-2 * x**2) @ w
    assert abs(weights @ signal - truth) < 0.1 * abs(signal.mean() - truth)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**31))
def test_weights_of_any_directions_sum_to_one_and_keep_the_noise_down(n, seed):
    directions = np.random.default_rng(seed).standard_normal((n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    _, weights = mean_weights(directions)
    assert abs(weights.sum() - 1) < 1e-9
    assert np.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION + 1e-12


def test_directions_on_a_half_sphere_are_as_good_as_on_the_whole():
    directions = gradient_directions(60)
    folded = directions * np.sign(directions[:, 2:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(mean_weights(folded)[1], mean_weights(directions)[1], atol=1e-12)


@pytest.mark.parametrize("order", [2, 4, 8])
def test_weights_are_a_row_of_the_pseudo_inverse(order):
    """By the definition, in the orthonormal basis."""
    directions = gradient_directions(60)
    row = np.linalg.pinv(even_harmonics(directions, order))[0] / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(harmonic_weights(directions, order), row, atol=1e-12)


def test_weights_have_derivatives_by_directions():
    directions = gradient_directions(15)
    with jax.enable_x64(True):
        rate = jax.jacfwd(lambda g: harmonic_weights(g, 2))(jnp.asarray(directions))
    step = 1e-6 * np.random.default_rng(0).standard_normal((15, 3))
    change = harmonic_weights(directions + step, 2) - harmonic_weights(directions - step, 2)
    np.testing.assert_allclose(np.tensordot(rate, 2 * step, 2), change, atol=1e-12)
