"""Rician noise: the magnitude m of a complex number whose real and imaginary parts have Gaussian noise of σ = 1."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import i0e, i1e

from ...errors import InputError, shown
from . import noncentral_chi
from .base import Noise

# Beyond it the variance by its expansion, as the difference of squares loses digits.
_STRONG = 12.0


def noise(coils: int = 1) -> Noise:
    """Rician noise; the record is the same object at every call.

    Raises:
        InputError: coils is not 1.
    """
    if coils != 1:
        raise InputError(
            f"Rician noise of coils={shown(coils)}: it is that of one coil, or of coils that were combined adaptively",
            fix="leave coils= out, or noise='noncentral-chi' for root-sum-of-squares images",
        )
    return _NOISE


@jax.custom_jvp
def _mean(x: Array) -> Array:
    """E[m] = √(π/2) L_{1/2}(-x²/2), by Bessel functions scaled so that nothing overflows; even in x.

    Source: Koay & Basser 2006, J Magn Reson 179:317, doi:10.1016/j.jmr.2006.01.016.
    """
    u = x * x / 4
    return math.sqrt(math.pi / 2) * ((1 + 2 * u) * i0e(u) + 2 * u * i1e(u))


def _slope(x: Array) -> Array:
    """dE[m]/dx: 0 at x = 0, near 1 for strong signals."""
    u = x * x / 4
    return math.sqrt(math.pi / 8) * x * (i0e(u) + i1e(u))


_mean.defjvps(lambda dx, _, x: _slope(x) * dx)  # the derivative of the formula, term by term, loses digits


def _variance(x: Array) -> Array:
    """Var[m] = 2 + x² - E[m]²: 2 - π/2 at x = 0, near 1 for strong signals."""
    square = jnp.maximum(x * x, _STRONG**2)
    strong = 1 - (0.5 + (0.5 + 1.375 / square) / square) / square
    return jnp.where(x * x > _STRONG**2, strong, 2 + x * x - _mean(x) ** 2)


def _misfit(m: Array, x: Array) -> Array:
    """-log p(m; x) but for log m: (m - x)²/2 - log(e^{-mx} I₀(mx)), never negative."""
    return 0.5 * (m - x) ** 2 - jnp.log(jnp.minimum(i0e(m * x), 1))


_NOISE = Noise(
    name="rician",
    channels=2,
    mean=_mean,
    misfit=_misfit,
    base=jnp.log,
    real=partial(noncentral_chi.real, 1),  # one ratio costs less than two Bessel functions
    variance=_variance,
    slope=_slope,
)
