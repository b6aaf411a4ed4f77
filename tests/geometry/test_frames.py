"""Vectors of scalars, against NumPy's, and frames without a pole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsmt.geometry import frames

AXES = [(0.0, 0, 1), (0, 0, -1), (1, 0, 0), (0, -1, 0), (1e-4, 0, -1), (0.6, 0.48, 0.64), (-0.6, 0.48, -0.64)]


def vector(values):
    """Three scalars of JAX."""
    return tuple(jnp.asarray(float(value)) for value in values)


def test_products_are_numpys():
    a, b = np.array([1.0, -2, 3]), np.array([0.5, 4, -1])
    np.testing.assert_allclose(frames.dot(vector(a), vector(b)), a @ b)
    np.testing.assert_allclose(frames.cross(vector(a), vector(b)), np.cross(a, b))
    np.testing.assert_allclose(frames.combine(2.0, vector(a), -1.0, vector(b)), 2 * a - b)
    np.testing.assert_allclose(frames.unit(vector(a)), a / np.linalg.norm(a), rtol=1e-6)


def test_dot_takes_the_columns_of_an_array():
    directions = np.arange(12.0).reshape(4, 3)
    products = frames.dot(jnp.asarray(directions).T, vector([1, 2, 3]))
    np.testing.assert_allclose(products, directions @ [1, 2, 3])


@pytest.mark.parametrize("axis", AXES)
def test_frames_are_orthonormal_and_right_handed(axis):
    axis = np.array(axis) / np.linalg.norm(axis)
    with jax.enable_x64(True):
        u, v = (np.array(side) for side in frames.across(vector(axis)))
    frame = np.stack([u, v, axis])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frame), 1)


@pytest.mark.parametrize("axis", AXES)
def test_frames_have_derivatives_everywhere(axis):
    """At z = -1 a frame by one formula would divide by 0; z = 0 is where the formulas meet."""
    with jax.enable_x64(True):
        axis = vector(np.array(axis) / np.linalg.norm(axis))
        slopes = np.array(jax.jacrev(frames.across)(axis))
    assert np.all(np.isfinite(slopes))
    assert np.abs(slopes).max() < 10
