"""Maps that models derive from the two diffusivities of a zeppelin."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def mean_diffusivity(lambda_par: Array, lambda_perp: Array) -> Array:
    """(λ∥ + 2 λ⊥)/3, in the unit of the diffusivities."""
    return (lambda_par + 2 * lambda_perp) / 3


def fractional_anisotropy(lambda_par: Array, lambda_perp: Array) -> Array:
    """(λ∥ - λ⊥)/√(λ∥² + 2 λ⊥²), and 0 without diffusion; negative for oblate tensors."""
    square = lambda_par**2 + 2 * lambda_perp**2
    return (lambda_par - lambda_perp) / jnp.sqrt(jnp.where(square > 0, square, 1))


def cubed_fractional_anisotropy(lambda_par: Array, lambda_perp: Array) -> Array:
    """Third power of the fractional anisotropy."""
    return fractional_anisotropy(lambda_par, lambda_perp) ** 3
