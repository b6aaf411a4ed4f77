"""Gaussian noise of real values: m = x + a standard normal number."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array

from ...errors import InputError, shown
from .base import Noise


def noise(coils: int = 1) -> Noise:
    """Gaussian noise; the record is the same object at every call.

    Raises:
        InputError: coils is not 1.
    """
    if coils != 1:
        raise InputError(
            f"Gaussian noise of coils={shown(coils)}: only magnitudes depend on the number of coils",
            fix="leave coils= out, or noise='noncentral-chi'",
        )
    return _NOISE


def _mean(x: Array) -> Array:
    """E[m] = x."""
    return x


def _misfit(m: Array, x: Array) -> Array:
    """-log p(m; x) but for its constant: (m - x)²/2."""
    return 0.5 * (m - x) ** 2


def _base(m: Array) -> Array:
    """The constant of log p, -log(2π)/2."""
    return jnp.full_like(m, -0.5 * math.log(2 * math.pi))


def _real(m: Array, x: Array) -> Array:
    """A real value stands for itself."""
    return jnp.broadcast_arrays(m, x)[0]


_NOISE = Noise(
    name="gaussian",
    channels=1,
    mean=_mean,
    misfit=_misfit,
    base=_base,
    real=_real,
    variance=jnp.ones_like,
    slope=jnp.ones_like,
)
