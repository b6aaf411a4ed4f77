"""Points on the sphere, spread evenly, and a mesh of it."""

from __future__ import annotations

import numpy as np


def fibonacci_sphere(n: int) -> np.ndarray:
    """`n` nearly uniform unit vectors over the whole sphere, (n, 3), by the golden spiral."""
    k = np.arange(n)
    z = 1 - (2 * k + 1) / n
    phi = k * np.pi * (3 - np.sqrt(5))
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=-1)


def gradient_directions(n: int, *, seed: int = 0, steps: int = 200) -> np.ndarray:
    """`n` unit vectors spread evenly over axes (g and -g count as one), (n, 3).

    Each point repels the others and their antipodes as electric charges do. Gradient descent from a golden spiral on
    the half sphere finds where they rest. The same arguments give the same points.

    Args:
        n: number of directions.
        seed: of the small disturbance of the spiral.
        steps: of the descent.
    Returns:
        (n, 3).

    Source: Jones et al. 1999, Magn Reson Med 42:515,
    doi:10.1002/(SICI)1522-2594(199909)42:3<515::AID-MRM14>3.0.CO;2-Q.
    """
    rng = np.random.default_rng(seed)
    points = fibonacci_sphere(2 * n)[:n] + 1e-3 * rng.standard_normal((n, 3))
    for step in range(steps):
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        force = np.zeros_like(points)
        for sign in (1, -1):
            difference = points[:, None] - sign * points[None]
            distance = np.linalg.norm(difference, axis=-1)
            np.fill_diagonal(distance, np.inf)
            force += (difference / distance[..., None] ** 3).sum(axis=1)
        # A move of a fraction of the mean distance between neighbours, shrinking to nothing.
        largest = np.linalg.norm(force, axis=1).max()
        points += force / largest * (1 - step / steps) / np.sqrt(n)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def icosphere(subdivisions: int) -> tuple[np.ndarray, np.ndarray]:
    """A triangle mesh of the sphere: an icosahedron whose triangles are divided into four, again and again.

    Args:
        subdivisions: how often; 3 give 642 vertices.
    Returns:
        (n, 3) unit vectors and (faces, 3) vertex numbers, counterclockwise seen from outside.
    """
    vertices, faces = _icosahedron()
    for _ in range(subdivisions):
        edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
        edges, middle = np.unique(edges, axis=0, return_inverse=True)
        middle = middle.reshape(-1, 3) + len(vertices)
        new = vertices[edges].sum(axis=1)
        vertices = np.concatenate([vertices, new / np.linalg.norm(new, axis=1, keepdims=True)])
        a, b, c = faces.T
        ab, bc, ca = middle.T
        faces = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return vertices, faces


def _icosahedron() -> tuple[np.ndarray, np.ndarray]:
    """Its 12 vertices, and its 20 faces: triples of neighbours, counterclockwise seen from outside."""
    golden = (1 + np.sqrt(5)) / 2
    corners = [(s, t * golden, 0) for s in (-1, 1) for t in (-1, 1)]
    vertices = np.array([np.roll(corner, k) for k in range(3) for corner in corners]) / np.hypot(1, golden)
    near = vertices @ vertices.T > 0.4
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(i + 1, 12)
        if near[i, j] and near[j, k] and near[i, k] and np.linalg.det(vertices[[i, j, k]]) > 0
    ]
    return vertices, np.array(faces)
