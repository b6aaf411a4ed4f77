"""Bingham's density: wider along μ₂ than along the third axis of its frame."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from .base import Density, Lobe


def bingham(mu: ArrayLike, kappa: ArrayLike, beta: ArrayLike, mu2: ArrayLike) -> Lobe:
    """A Bingham density, ψ(n) = exp(κ(μ·n)² + β(μ₂·n)²) / (4π ₁F₁(½; 3/2; B)).

    B is the symmetric matrix κ μμᵀ + β μ₂μ₂ᵀ.

    Args:
        mu: (3,) axis μ, of any length but 0. kappa, beta: scalars, 0 ≤ β ≤ κ ≤ 200; β = 0 is Watson, β = κ a girdle.
        mu2: (3,) where the lobe is widest; its part along μ is removed.
    Returns:
        a `Lobe`, for `js.signal.convolved`; `.density(directions)` is ψ per steradian.

    Example:
        >>> import jaxsmt as js
        >>> lobe = js.bingham([0.0, 0.0, 1.0], 8.0, 4.0, [0.0, 1.0, 0.0])
        >>> across = lobe.density([[0.0, 0.6, 0.8], [0.6, 0.0, 0.8]])
        >>> bool(across[0] > across[1])  # wider along μ₂
        True

    Source: Bingham 1974, Ann Stat 2:1201, doi:10.1214/aos/1176342874.
    """
    kappa, beta = jnp.asarray(kappa), jnp.asarray(beta)
    return _BINGHAM(mu, kappa, kappa - beta, mu2=mu2)


def density() -> Density:
    """The family as a record."""
    return _BINGHAM


def _log_density(u: Array, v: Array, w: Array, kappa: Array, along: Array) -> Array:
    """κ and along = κ - β are the concentrations across μ in the planes of u and v."""
    return -kappa * (u * u) - along * (v * v)


_BINGHAM = Density("bingham", _log_density, axes=2, like_watson=float)
