"""Weights of spherical means: which linear form a·S of a shell's signals estimates their mean over the sphere."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..geometry.harmonics import even_harmonics, n_coefficients
from ..geometry.quadrature import fibonacci_sphere

#: Highest order tried for a shell's harmonic fit; the signal has nothing above it at b ≤ 10.
MAX_ORDER = 16
#: Largest factor by which a shell's weights may raise the noise of its mean over the plain mean.
MAX_AMPLIFICATION = 1.05


def mean_weights(directions: np.ndarray) -> tuple[int, np.ndarray]:
    """Weights a with Σ a_i S(g_i) = spherical mean of S, from harmonic least squares.

    The order of the harmonics is the highest with no more coefficients than directions, full rank, and
    noise √(n Σa²) at most `MAX_AMPLIFICATION` times that of the plain mean.

    Args:
        directions: (n, 3) unit vectors.
    Returns:
        order (0: plain mean) and (n,) weights that sum to 1.
    """
    n = len(directions)
    for order in range(MAX_ORDER, 0, -2):
        if n_coefficients(order) > n:
            continue
        singular = np.linalg.svd(even_harmonics(directions, order), compute_uv=False)
        if singular[-1] > 1e-6 * singular[0]:
            weights = harmonic_weights(directions, order)
            if math.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION:
                return order, weights
    return 0, np.full(n, 1 / n)


def harmonic_weights(directions: Any, order: int) -> Any:
    """The l = 0 row of the pseudo-inverse of the even harmonics up to an order, at (n, 3) directions: (n,).

    Any basis of their space gives it. This one, Σ_l (2l + 1) P_l(g·p_j) for as many axes p_j as there are
    harmonics, is smooth everywhere, and each member's spherical mean is 1. NumPy or JAX, as the directions are.
    """
    xp, n = directions.__array_namespace__(), n_coefficients(order)
    axes = xp.asarray(fibonacci_sphere(2 * n)[:n], dtype=directions.dtype)
    cosine = (directions[:, None, :] * axes[None]).sum(axis=-1)
    before, legendre, basis = xp.ones_like(cosine), cosine, xp.ones_like(cosine)
    for l in range(2, order + 1):
        before, legendre = legendre, ((2 * l - 1) * cosine * legendre - (l - 1) * before) / l
        if l % 2 == 0:
            basis = basis + (2 * l + 1) * legendre
    q, r = xp.linalg.qr(basis)
    return (q * xp.linalg.solve(r.T, xp.ones(n, dtype=q.dtype))[None, :]).sum(axis=1)
