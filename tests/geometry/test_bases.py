"""Orders and signs of the bases in which other programs read harmonics."""

import numpy as np
import pytest
import scipy.special

import jaxsmt as js
from jaxsmt.geometry.harmonics import even_harmonics, to_basis
from jaxsmt.geometry.quadrature import fibonacci_sphere


def dipys_basis(points, lmax, legacy):
    """DIPY's definition of descoteaux07: Im Y at m > 0, Re Y at m < 0, of |m| if legacy; √2 but at m = 0."""
    theta, phi = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    columns = []
    for l in range(0, lmax + 1, 2):
        for m in range(-l, l + 1):
            y = scipy.special.sph_harm_y(l, abs(m) if legacy else m, theta, phi)
            columns.append((y.imag if m > 0 else y.real) * (1 if m == 0 else np.sqrt(2)))
    return np.stack(columns, axis=1)


def test_basis_of_mrtrix():
    """tournier07: √2 Re Y_l^m at m > 0, √2 Im Y_l^|m| at m < 0, with the Condon-Shortley phase."""
    points = fibonacci_sphere(100)
    theta, phi = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    columns = []
    for l in range(0, 9, 2):
        for m in range(-l, l + 1):
            y = scipy.special.sph_harm_y(l, abs(m), theta, phi)
            columns.append((y.imag if m < 0 else y.real) * (1 if m == 0 else np.sqrt(2)))
    np.testing.assert_allclose(even_harmonics(points, 8), np.stack(columns, axis=1), atol=1e-12)
    # Its first term with a sign, written out: Y_2,1 = -√(15/4π) x z.
    np.testing.assert_allclose(even_harmonics(points, 2)[:, 4], -np.sqrt(15 / 4 / np.pi) * points[:, 0] * points[:, 2])


@pytest.mark.parametrize("basis", ["descoteaux07", "descoteaux07_legacy"])
def test_bases_of_dipy(basis):
    points, coefficients = fibonacci_sphere(100), np.random.default_rng(0).standard_normal((2, 45))
    ours = coefficients @ even_harmonics(points, 8).T
    theirs = to_basis(coefficients, basis) @ dipys_basis(points, 8, basis.endswith("legacy")).T
    np.testing.assert_allclose(theirs, ours, atol=1e-12)


def test_unknown_basis():
    with pytest.raises(js.InputError, match="unknown basis"):
        to_basis(np.zeros(6), "tournier")
