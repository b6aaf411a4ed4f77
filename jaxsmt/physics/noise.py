"""Noise of magnitude data: the Rician distribution of m = M/σ about a signal x = A/σ; everything in units of σ."""

from __future__ import annotations

import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import i0e, i1e

# Beyond it the variance by its expansion, as the difference of squares loses digits.
_STRONG = 12.0


@jax.custom_jvp
def expected_magnitude(x: Array) -> Array:
    """E[m] = √(π/2) L_{1/2}(-x²/2), by Bessel functions scaled so that nothing overflows; even in x.

    Source: Koay & Basser 2006, J Magn Reson 179:317, doi:10.1016/j.jmr.2006.01.016.
    """
    u = x * x / 4
    return math.sqrt(math.pi / 2) * ((1 + 2 * u) * i0e(u) + 2 * u * i1e(u))


def slope(x: Array) -> Array:
    """dE[m]/dx: 0 at x = 0, near 1 for strong signals."""
    u = x * x / 4
    return math.sqrt(math.pi / 8) * x * (i0e(u) + i1e(u))


expected_magnitude.defjvps(lambda dx, _, x: slope(x) * dx)  # its own derivative, term by term, loses digits


def variance(x: Array) -> Array:
    """Var[m] = 2 + x² - E[m]²: 2 - π/2 at x = 0, near 1 for strong signals."""
    square = jnp.maximum(x * x, _STRONG**2)
    near = jnp.clip(x, -_STRONG, _STRONG)
    strong = 1 - (0.5 + (0.5 + 1.375 / square) / square) / square
    return jnp.where(x * x > _STRONG**2, strong, 2 + near * near - expected_magnitude(near) ** 2)


def information(x: Array) -> Array:
    """What a magnitude tells of x, (dE[m]/dx)²/Var[m]: at least 0.91 of its Fisher information, which is at most 1."""
    return slope(x) ** 2 / variance(x)


def misfit(m: Array, x: Array) -> Array:
    """-log p(m; x) but for terms without x: (m - x)²/2 - log(e^{-mx} I₀(mx)), never negative."""
    return 0.5 * (m - x) ** 2 - jnp.log(jnp.minimum(i0e(m * x), 1))


def expected_real(m: Array, x: Array) -> Array:
    """E[real part | m] = m I₁(mx)/I₀(mx): what a magnitude stands for, with Gaussian noise, where the signal is x.

    Its distance from x is the derivative of the log-likelihood by x, so least squares on it, repeated as x follows,
    are an EM algorithm for the Rician likelihood.

    Source: Solo & Noh 2007, ISBI, doi:10.1109/ISBI.2007.356797.
    """
    z = m * x
    return m * i1e(z) / i0e(z)


def signal_of_mean(mean: Array) -> Array:
    """The x whose expected magnitude this is, 0 below the floor; to 1e-4 after Newton's steps."""
    x = jnp.sqrt(jnp.maximum(mean * mean - 1, 0.05))
    for _ in range(6):
        x = jnp.maximum(x - (expected_magnitude(x) - mean) / jnp.maximum(slope(x), 0.1), 0)
    return x


def relative_sigma(m: Array, x: Array, known: Array, rician: bool) -> Array:
    """Most likely σ, in units of what m and x are in, of volumes (n,) whose signal x was fitted by `known` parameters.

    σ² = Σ (m² + x² - 2 m x I₁/I₀(mx/σ²))/(2n - known), by iteration; Σ (m - x)²/(n - known) of Gaussian noise.
    """
    n = m.shape[0]
    if not rician:
        return jnp.sqrt(jnp.sum((m - x) ** 2) / (n - known))

    def step(_, square):
        s = jnp.sqrt(square)
        # m² + x² - 2 m E[real] without the difference of large numbers.
        left = (m - x) ** 2 + 2 * s * x * (m / s - expected_real(m / s, x / s))
        return jnp.sum(left) / (2 * n - known)

    return jnp.sqrt(jax.lax.fori_loop(0, 8, step, jnp.ones_like(m[0])))


def sigma_from_residuals(data: Array, bases: tuple[Array, ...], rician: bool) -> Array:
    """σ of one voxel from what smooth functions of the direction leave of its shells.

    σ² = Σ r²/(ν mean Var[m]): magnitudes vary less than their Gaussian noise where the signal is weak, which is
    solved for by iteration. Up to 10 % low where all of the signal is below σ.

    Args:
        data: (volumes,) shell by shell. bases: orthonormal columns (n, coefficients) of each shell's harmonics.
    """
    edges = [0]
    for basis in bases:
        edges.append(edges[-1] + len(basis))
    parts = [data[i:j] for i, j in itertools.pairwise(edges)]
    product = partial(jnp.matmul, precision="highest")
    fitted = jnp.concatenate([product(q, product(q.T, y)) for q, y in zip(bases, parts, strict=True)])
    leverage = jnp.concatenate([jnp.sum(q * q, axis=1) for q in bases])  # of the noise in what is fitted
    freedom = edges[-1] - sum(q.shape[1] for q in bases)
    raw = jnp.sum((data - fitted) ** 2) / freedom
    if not rician:
        return jnp.sqrt(raw)

    def step(_, state):
        sigma2, v = state
        x2 = jnp.maximum(fitted**2 / jnp.where(sigma2 > 0, sigma2, 1) - 2 + v * (1 - leverage), 0)
        v = variance(jnp.sqrt(x2))
        return raw / jnp.mean(v), v

    return jnp.sqrt(jax.lax.fori_loop(0, 20, step, (raw, jnp.ones_like(fitted)))[0])
