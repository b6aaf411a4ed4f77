"""Watson's density: symmetric about its axis."""

from __future__ import annotations

from jax import Array
from jax.typing import ArrayLike

from .base import Density, Lobe


def watson(mu: ArrayLike, kappa: ArrayLike) -> Lobe:
    """A Watson density, ψ(n) = exp(κ(μ·n)²) / (4π ₁F₁(½; 3/2; κ)).

    Args:
        mu: (3,) axis μ, of any length but 0. kappa: concentration κ, a scalar in [0, 200].
    Returns:
        a `Lobe`, for `js.signal.convolved`; `.density(directions)` is ψ per steradian.

    Example:
        >>> import jaxsmt as js
        >>> lobe = js.watson([0.0, 0.0, 1.0], 0.0)
        >>> print(f"{lobe.density([1.0, 0.0, 0.0]):.4f}")  # uniform: 1/4π
        0.0796

    Source: Mardia & Jupp 2000, Directional statistics, doi:10.1002/9780470316979.
    """
    return _WATSON(mu, kappa)


def density() -> Density:
    """The family as a record."""
    return _WATSON


def _log_density(u: Array, v: Array, w: Array, kappa: Array) -> Array:
    return -kappa * (u * u + v * v)


_WATSON = Density("watson", _log_density, like_watson=float)
