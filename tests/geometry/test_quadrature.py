"""Points that are spread evenly, and a mesh that is closed."""

import numpy as np
import pytest

from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.geometry.quadrature import fibonacci_sphere, gradient_directions, icosphere


@pytest.mark.parametrize("n", [100, 1001])
def test_spiral_is_a_quadrature(n):
    """The plain mean over the spiral integrates low harmonics, with an error that falls faster than 1/n."""
    points = fibonacci_sphere(n)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    means = even_harmonics(points, 6).mean(axis=0)
    np.testing.assert_allclose(means, [(4 * np.pi) ** -0.5] + [0] * 27, atol=20 / n**1.5)


def test_directions_are_spread_over_axes():
    for n in (6, 30, 90):
        g = gradient_directions(n)
        np.testing.assert_allclose(np.linalg.norm(g, axis=1), 1)
        closest = np.degrees(np.arccos(np.sort(np.abs(g @ g.T) - 2 * np.eye(n), axis=1)[:, -1]))
        # The densest packing of n caps on the half sphere bounds the angle from above.
        assert closest.min() > 0.75 * np.degrees(np.arccos(1 - 1 / n)) * 1.9 * 0.9
    np.testing.assert_array_equal(gradient_directions(30), gradient_directions(30))


def test_six_directions_are_the_axes_of_an_icosahedron():
    """The known optimum: all angles between them are arccos(1/√5)."""
    g = gradient_directions(6)
    cosines = np.abs(g @ g.T)[np.triu_indices(6, 1)]
    np.testing.assert_allclose(cosines, 5**-0.5, atol=1e-3)


def test_another_seed_gives_other_directions():
    assert not np.allclose(gradient_directions(12, seed=0), gradient_directions(12, seed=1))


@pytest.mark.parametrize("subdivisions", [0, 1, 2])
def test_icosphere_is_a_closed_mesh(subdivisions):
    vertices, faces = icosphere(subdivisions)
    assert len(faces) == 20 * 4**subdivisions
    assert len(np.unique(vertices.round(9), axis=0)) == len(vertices)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    # Each edge is run through once in each direction: no holes, one orientation.
    assert len(np.unique(edges, axis=0)) == len(edges)
    np.testing.assert_array_equal(np.unique(edges, axis=0), np.unique(edges[:, ::-1], axis=0))
    assert len(vertices) - len(edges) // 2 + len(faces) == 2
