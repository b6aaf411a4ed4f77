"""Points on the sphere."""

from __future__ import annotations

import numpy as np


def fibonacci_sphere(n: int) -> np.ndarray:
    """`n` nearly uniform unit vectors over the whole sphere, shape (n, 3), by the golden spiral."""
    k = np.arange(n)
    z = 1 - (2 * k + 1) / n
    phi = k * np.pi * (3 - np.sqrt(5))
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=-1)


def gradient_directions(n: int, *, seed: int = 0, steps: int = 200) -> np.ndarray:
    """`n` unit vectors spread evenly over axes (g and -g count as one), shape (n, 3).

    Electrostatic repulsion between every point and the antipodes of the others, by gradient
    descent from a golden spiral on the half sphere (Jones et al. 1999, Magn Reson Med 42:515,
    doi:10.1002/(SICI)1522-2594(199909)42:3<515::AID-MRM14>3.0.CO;2-Q). Deterministic.
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
