"""Noncentral chi noise: root-sum-of-squares magnitudes of n coils with equal and uncorrelated noise.

p(m; x) = x (m/x)ⁿ exp(-(m² + x²)/2) I_{n-1}(mx), and Rician noise for n = 1. All that is needed of Bessel functions are
their ratios, which a recurrence gives; so nothing overflows, and nothing is a difference of large numbers.
"""

from __future__ import annotations

import itertools
import math
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import i0e

from ...errors import InputError, is_whole, shown
from .base import Noise

#: More coils are not tested.
MAX_COILS = 64

# By precision: how many orders above those asked for the recurrence of ratios starts, and how many terms of the
# expansion start it there. The ratios' errors are below rounding.
_START = {np.dtype(np.float32): (6, 4), np.dtype(np.float64): (16, 10)}
# Beyond it ratios are taken for 1.
_FAR = 1e9
# By precision: where x² + 2n is larger the variance comes from its expansion.
_STRONG = {np.dtype(np.float32): 60.0, np.dtype(np.float64): 900.0}
# Var[m] = Σ_k P_k(p)/μᵏ with μ = x² + 2n and p = x²/μ: the coefficients of P_0, P_1, …, from Kummer's equation of E[m].
# The error is below 1e-6 for μ > 60 and below 1e-12 for μ > 900, whatever the number of coils.
_VARIANCE = (
    (1 / 2, 1 / 2),
    (-1 / 8, -2 / 8, 7 / 8),
    (-1 / 16, -3 / 16, -47 / 16, 75 / 16),
    (5 / 128, 20 / 128, 702 / 128, -5260 / 128, 5445 / 128),
    (23 / 256, 115 / 256, -2258 / 256, 56750 / 256, -182805 / 256, 140175 / 256),
)


def noncentral_chi(coils: int = 1) -> Noise:
    """Return the noise of root-sum-of-squares magnitudes of several coils.

    The coils' noise has one σ and is not correlated. Magnitudes m and noise-free root-sum-of-squares signals x, both
    over σ, follow p(m; x) = x (m/x)ⁿ exp(-(m² + x²)/2) I_{n-1}(mx). One coil is Rician noise. `fit(..., coils=n)` with
    `noise="noncentral-chi"` takes the same record.

    Args:
        coils: number n of coils, from 1 to 64; with correlated coils or parallel imaging an effective number.

    Returns:
        the distribution; equal numbers give the same object.

    Raises:
        InputError: coils is not a whole number from 1 to 64.

    Source: Constantinides et al. 1997, Magn Reson Med 38:852, doi:10.1002/mrm.1910380524.

    Example:
        The noise floor of four coils, in units of σ:

        >>> import jax.numpy as jnp
        >>> import jaxsmt as js
        >>> noise = js.noncentral_chi(4)
        >>> round(float(noise.expected_magnitude(jnp.asarray(0.0))), 3)
        2.742
    """
    if not is_whole(coils, 1, MAX_COILS):
        raise InputError(f"coils={shown(coils)} is no number of coils", fix=f"a whole number from 1 to {MAX_COILS}")
    return _record(int(coils))


#: What `noises.find` calls.
noise = noncentral_chi


@cache
def _record(n: int) -> Noise:
    """The distribution of n coils."""
    return Noise(
        name="noncentral-chi",
        channels=2 * n,
        mean=partial(_mean, n),
        misfit=partial(_misfit, n),
        base=partial(_base, n),
        real=partial(real, n),
        variance=partial(_variance, n),
        slope=partial(_slope, n),
    )


@cache
def _polynomials(terms: int) -> tuple[tuple[float, ...], ...]:
    """Coefficients of Q_1 … Q_terms with z I_ν'(z)/I_ν(z) = w + q Σ_j Q_j(q)/w^{j-1}, w² = z² + ν², q = z²/w².

    From the Riccati equation zλ' + λ² = w² of the left side λ, power by power of 1/w.
    """
    q = np.polynomial.Polynomial([0.0, 1.0])
    series = [-0.5 * q]
    for j in range(1, terms):
        products = sum(a * b for a, b in zip(series, reversed(series), strict=True))
        series.append(-0.5 * (2 * q * (1 - q) * series[-1].deriv() - (j - 1) * q * series[-1] + products))
    return tuple(tuple(p.coef[1:].tolist()) for p in series)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    """The polynomial Σ_i c_i xⁱ."""
    value = jnp.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = value * x + c
    return value


def _start(order: int, terms: int, square: Array) -> Array:
    """I_k(z)/(z I_{k-1}(z)) of a high order k from z²: (λ - ν)/z² with ν = k - 1 and `_polynomials`."""
    nu = order - 1
    w2 = square + nu * nu
    w, q = jnp.sqrt(w2), square / w2
    total = jnp.zeros_like(square)
    for coefficients in reversed(_polynomials(terms)):
        total = total / w + _horner(coefficients, q)
    return 1 / (w + nu) + total / w2


@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)  # traced once for each shape
def _ratios(highest: int, z: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """s_k = I_k(z)/(z I_{k-1}(z)) and d_k = s_k - s_{k+1} for k = 1 … highest; even in z, smooth, finite for |z| ≤ 1e9.

    s_k = 1/(2k + z² s_{k+1}) and d_k = s_k s_{k+1} (2 - z² d_{k+1}) go downwards, where errors shrink; nothing cancels,
    as z² d_k is at most 1. They start at a high order, with d = -2 (ds/dz²)/s.
    """
    above, terms = _START[np.dtype(z.dtype)]
    order = highest + above
    square = z * z
    s, slope = jax.jvp(partial(_start, order, terms), (square,), (jnp.ones_like(square),))
    d = -2 * slope / s
    ratios, differences = [], []
    for k in range(order - 1, 0, -1):
        higher, s = s, 1 / (2 * k + z * (z * s))
        d = s * higher * (2 - z * (z * d))
        ratios.append(s)
        differences.append(d)
    return tuple(ratios[::-1][:highest]), tuple(differences[::-1][:highest])


@_ratios.defjvp
def _ratios_jvp(highest: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Any, Any]:
    """ds_k/dz = -z s_k d_k, so derivatives of any order need a few more ratios only."""
    (z,), (dz,) = primals, tangents
    s, d = _ratios(highest + 1, z)
    slopes = [-z * a * b * dz for a, b in zip(s, d, strict=True)]
    second = tuple(below - above for below, above in itertools.pairwise(slopes))
    return (s[:highest], d[:highest]), (tuple(slopes[:highest]), second)


def _ratio(n: int, z: Array) -> Array:
    """I_n(z)/I_{n-1}(z)."""
    z = jnp.clip(z, -_FAR, _FAR)
    return z * _ratios(n, z)[0][n - 1]


def real(n: int, m: Array, x: Array) -> Array:
    """x + d log p/dx = m I_n(mx)/I_{n-1}(mx).

    Source, for one coil: Solo & Noh 2007, ISBI, doi:10.1109/ISBI.2007.356797.
    """
    return m * _ratio(n, m * x)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _misfit(n: int, m: Array, x: Array) -> Array:
    """(m - x)²/2 - log[Γ(n) (2/z)^{n-1} e^{-z} I_{n-1}(z)] with z = mx, never negative.

    I_{n-1} is I₀ times the ratios I_k/I_{k-1}, and each 2k/z times such a ratio is 1/(1 + z² s_{k+1}/(2k)).
    """
    z = jnp.abs(m * x)
    near = jnp.minimum(z, _FAR)
    s, _ = _ratios(n, near)
    factors = [1 + near * (near * s[k]) / (2 * k) for k in range(1, n)]
    cost = 0.5 * (m - x) ** 2 - jnp.log(jnp.minimum(i0e(z), 1))
    for k in range(0, n - 1, 2):  # more than two could overflow
        cost = cost + jnp.log(math.prod(factors[k + 1 : k + 2], start=factors[k]))
    return cost


@_misfit.defjvp
def _misfit_jvp(n: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Derivatives x - m r by x and m - x r by m, where r = I_n/I_{n-1}."""
    (m, x), (dm, dx) = primals, tangents
    r = _ratio(n, m * x)
    return _misfit(n, m, x), (x - m * r) * dx + (m - x * r) * dm


def _base(n: int, m: Array) -> Array:
    """(2n - 1) log m - (n - 1) log 2 - log Γ(n)."""
    return (2 * n - 1) * jnp.log(m) - ((n - 1) * math.log(2) + math.lgamma(n))


def _kummer(n: int, x: Array) -> tuple[Array, Array]:
    """M(1/2, n, -x²/2) and M(1/2, n+1, -x²/2), Kummer's functions.

    M(1/2, b, -2u) is the mean over all angles of exp(-2u sin²θ) cos^{2b-2}θ, over the mean of the power of the cosine.
    That power is a sum of cos 2jθ with positive weights, each of which becomes e^{-u} I_j(u); u = x²/4.
    """
    u = x * x / 4
    near = jnp.minimum(u, _FAR)
    s, _ = _ratios(n, near)
    sums = []
    for b in (n, n + 1):
        middle = math.comb(2 * b - 2, b - 1)
        weights = [1.0, *(2 * math.comb(2 * b - 2, b - 1 - j) / middle for j in range(1, b))]
        total = jnp.full_like(u, weights[-1])
        for j in range(b - 1, 0, -1):
            total = weights[j - 1] + near * s[j - 1] * total
        sums.append(i0e(u) * total)
    return sums[0], sums[1]


def _floor(n: int) -> float:
    """E[m] at x = 0: √2 Γ(n + 1/2)/Γ(n) = √(π/2) Π_k (k + 1/2)/k for k < n."""
    return math.sqrt(math.pi / 2) * math.prod((k + 0.5) / k for k in range(1, n))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _mean(n: int, x: Array) -> Array:
    """E[m] = β M(-1/2, n, -y) = β (M(1/2, n, -y) + y/n M(1/2, n+1, -y)), y = x²/2, β = √2 Γ(n + 1/2)/Γ(n).

    Source: Koay & Basser 2006, J Magn Reson 179:317, doi:10.1016/j.jmr.2006.01.016.
    """
    first, second = _kummer(n, x)
    return _floor(n) * (first + x * x / (2 * n) * second)


@_mean.defjvp
def _mean_jvp(n: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """By the closed form of the slope, which loses no digits."""
    return _mean(n, *primals), _slope(n, *primals) * tangents[0]


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _slope(n: int, x: Array) -> Array:
    """dE[m]/dx = β x/(2n) M(1/2, n+1, -x²/2): 0 at x = 0, near 1 for strong signals."""
    return _floor(n) / (2 * n) * x * _kummer(n, x)[1]


@_slope.defjvp
def _slope_jvp(n: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """d²E[m]/dx² = β (M(1/2, n, -y) - (1 - 1/(2n)) M(1/2, n+1, -y)), by the relation of contiguous functions."""
    first, second = _kummer(n, *primals)
    return _slope(n, *primals), _floor(n) * (first - (1 - 0.5 / n) * second) * tangents[0]


def _variance(n: int, x: Array) -> Array:
    """Var[m] = x² + 2n - E[m]², by its expansion where the difference would lose digits."""
    strong = _STRONG[np.dtype(x.dtype)]
    square = x * x + 2 * n
    p = x * x / square
    expanded = jnp.zeros_like(x)
    for coefficients in reversed(_VARIANCE):
        expanded = expanded / square + _horner(coefficients, p)
    if 2 * n >= strong:
        return expanded
    limit = math.sqrt(strong - 2 * n)
    near = jnp.clip(x, -limit, limit)
    return jnp.where(square > strong, expanded, near * near + 2 * n - _mean(n, near) ** 2)
