"""dmipy's orientations: μ = [θ, φ], inclination from +z and azimuth, and the frame in which ψ turns."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def mu_from_directions(directions: np.ndarray) -> np.ndarray:
    """[θ, φ] (..., 2) of axes (..., 3), by the end with z ≥ 0: θ in [0, π/2], φ in [-π, π]."""
    x, y, z = np.moveaxis(directions * np.where(directions[..., 2:] < 0, -1, 1), -1, 0)
    return np.stack([np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)], axis=-1)


def directions_from_mu(mu: ArrayLike) -> np.ndarray:
    """Unit vectors (..., 3) of [θ, φ] (..., 2)."""
    theta, phi = np.moveaxis(np.asarray(mu, float), -1, 0)
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


def frame_of(axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images of +y and +z, each (..., 3), under the shortest rotation that takes +x to an axis (..., 3)."""
    x, y, z = np.moveaxis(axis, -1, 0)
    turn = 1 / np.maximum(1 + x, 1e-12)
    return (
        np.stack([-y, 1 - y * y * turn, -y * z * turn], axis=-1),
        np.stack([-z, -y * z * turn, 1 - z * z * turn], axis=-1),
    )
