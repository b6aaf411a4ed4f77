"""Harmonics against SciPy's, of NumPy's arrays and JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import sph_harm_y

from jaxsmt.geometry.harmonics import even_harmonics, n_coefficients, to_basis
from jaxsmt.geometry.quadrature import fibonacci_sphere, gradient_directions


def test_harmonics_match_scipy_and_are_orthonormal():
    directions = fibonacci_sphere(4000)
    basis = even_harmonics(directions, 8)
    theta, phi = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    column = 0
    for l in range(0, 9, 2):
        for m in range(-l, l + 1):
            complex_ = sph_harm_y(l, abs(m), theta, phi)  # with the Condon-Shortley phase, as MRtrix
            oracle = complex_.real if m == 0 else 2**0.5 * (complex_.real if m > 0 else complex_.imag)
            np.testing.assert_allclose(basis[:, column], oracle, atol=1e-12)
            column += 1
    assert column == n_coefficients(8) == basis.shape[1]
    np.testing.assert_allclose(basis.T @ basis * 4 * np.pi / 4000, np.eye(column), atol=1e-3)


def test_even_harmonics_are_the_same_at_opposite_points():
    directions = gradient_directions(10)
    np.testing.assert_allclose(even_harmonics(-directions, 8), even_harmonics(directions, 8), atol=1e-13)


def test_addition_theorem_holds_at_high_order():
    """Σ_m Y_lm(g)² = (2l + 1)/4π at every point, the poles too: the recurrence loses no digits."""
    directions = np.concatenate([fibonacci_sphere(50), [[0, 0, 1.0], [0, 0, -1.0]]])
    basis, start = even_harmonics(directions, 28), 0
    for l in range(0, 29, 2):
        power = (basis[:, start : start + 2 * l + 1] ** 2).sum(axis=1)
        np.testing.assert_allclose(power, (2 * l + 1) / (4 * np.pi), rtol=1e-12)
        start += 2 * l + 1


def test_jax_arrays_give_jax_arrays_of_their_precision():
    directions = gradient_directions(10)
    basis = even_harmonics(jnp.asarray(directions, jnp.float32), 8)
    assert isinstance(basis, jax.Array)
    assert basis.dtype == jnp.float32
    np.testing.assert_allclose(basis, even_harmonics(directions, 8), atol=1e-5)


def test_mrtrix_basis_stays_as_it_is():
    coefficients = np.arange(15.0)
    np.testing.assert_array_equal(to_basis(coefficients, "mrtrix"), coefficients)
