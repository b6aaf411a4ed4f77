"""Signal equations: pure JAX functions of one voxel, each formula once.

b in ms/µm², diffusivities in µm²/ms; arguments broadcast against each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from .convolution import ORDER_MAX, by_powers_of_d, horner, order_needed, polynomials
from .densities.base import Lobe, watson_zonal

# Where the Taylor series hands over to the closed forms. At |z| = 1 both are good to rounding.
_SWITCH = 1.0
# Number of series and Chebyshev terms that reach rounding in the two precisions.
_TERMS = {np.dtype(np.float32): (10, 20), np.dtype(np.float64): (20, 42)}
# a in [1, ∞) is mapped to [-1, 1) by (a - 1)/(a + _MAP); 10 gives the fastest Chebyshev decay.
_MAP = 10.0


def _oblate_coefficients(terms: int) -> np.ndarray:
    """Chebyshev coefficients of a·∫₀¹ exp(-a(1-x²))dx = √a·Dawson(√a) over a in [1, ∞)."""
    nodes = np.cos(np.pi * (np.arange(terms) + 0.5) / terms)
    t = 0.5 * (nodes + 1)
    a = (1 + _MAP * t) / (1 - t)
    # The integrand lives within 40/a of x = 1; integrate y = 1 - x over that.
    x, w = np.polynomial.legendre.leggauss(128)
    y = 0.5 * np.minimum(1.0, 40 / a)[:, None] * (x + 1)
    values = a * 0.5 * np.minimum(1.0, 40 / a) * (np.exp(-a[:, None] * y * (2 - y)) @ w)
    return np.polynomial.chebyshev.chebfit(nodes, values, terms - 1)


@partial(jax.jit, static_argnums=2)  # traced once for each shape, however often a model calls it
def _moments(c: Array, z: Array, count: int) -> tuple[Array, ...]:
    """E_0 … E_{count-1} of `attenuation_moments`, without derivatives."""
    series_terms, oblate_terms = _TERMS[np.dtype(c.dtype)]
    at_pole, at_equator = jnp.exp(-c - z), jnp.exp(-c)

    # |z| ≤ 1: Taylor series of the highest moment, then the downward recurrence, which is stable.
    small_z = jnp.clip(z, -_SWITCH, _SWITCH)
    n = count - 1
    series = jnp.zeros_like(z)
    for k in reversed(range(series_terms)):
        series = series * -small_z + 1 / (math.factorial(k) * (2 * n + 2 * k + 1))
    small = [at_equator * series]
    for n in reversed(range(count - 1)):
        small.append((2 * small_z * small[-1] + at_pole) / (2 * n + 1))
    small.reverse()

    # |z| > 1: error function (prolate) or Dawson's integral (oblate), then the upward recurrence.
    prolate_z, a = jnp.maximum(z, _SWITCH), jnp.maximum(-z, _SWITCH)
    root = jnp.sqrt(prolate_z)
    prolate = at_equator * (0.5 * math.sqrt(math.pi)) * jax.lax.erf(root) / root
    coefficients = _oblate_coefficients(oblate_terms).tolist()  # weakly typed: keeps float32
    t2 = 4 * (a - 1) / (a + _MAP) - 2  # twice the Chebyshev argument, for Clenshaw
    p = q = jnp.zeros_like(z)
    for coefficient in coefficients[:0:-1]:
        p, q = t2 * p - q + coefficient, p
    oblate = at_pole * (0.5 * t2 * p - q + coefficients[0]) / a
    large = jnp.where(z > 0, prolate, oblate)
    large_z = jnp.where(z > 0, prolate_z, -a)
    out = []
    for n in range(count):
        out.append(jnp.where(jnp.abs(z) <= _SWITCH, small[n], large))
        large = ((2 * n + 1) * large - at_pole) / (2 * large_z)
    return tuple(out)


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def attenuation_moments(c: ArrayLike, z: ArrayLike, count: int) -> tuple[Array, ...]:
    """Even moments of a Gaussian attenuation over the polar angle.

    E_n(c, z) = ∫₀¹ x²ⁿ exp(-c - z x²) dx for n = 0 … count-1 (E_n(0, z) is the Boys function).
    The family is closed under differentiation, ∂E_n/∂c = -E_n and ∂E_n/∂z = -E_{n+1}, so
    derivatives of every order are exact and finite for every z, also at z = 0 and for z < 0.

    Args:
        c: b λ⊥, no unit. z: b (λ∥ - λ⊥), no unit, any sign; any shape that broadcasts with c.
        count: how many moments, a Python int ≥ 1.
    Returns:
        `count` arrays of the broadcast shape, relative error a few roundings for small n.

    Example:
        >>> import jaxsmt as js
        >>> [round(float(moment), 3) for moment in js.signal.attenuation_moments(0.0, 0.0, 3)]  # 1/(2n + 1)
        [1.0, 0.333, 0.2]
    """
    c, z = _as_float(c, z)
    return _moments(c, z, count)


@attenuation_moments.defjvp
def _attenuation_moments_jvp(
    count: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    dc, dz = tangents
    e = attenuation_moments(*primals, count + 1)
    return e[:count], tuple(-e[n] * dc - e[n + 1] * dz for n in range(count))


def _as_float(*values: ArrayLike) -> list[Array]:
    """Arrays of one shape and of the common type of those that are floating; integers take it."""
    arrays = [jnp.asarray(v) for v in values]
    floating = [a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)]
    dtype = jnp.result_type(*floating) if floating else jnp.result_type(float)
    return jnp.broadcast_arrays(*(a.astype(dtype) for a in arrays))


def exponent_of(
    b: ArrayLike, lambda_par: ArrayLike, lambda_perp: ArrayLike, b_delta: ArrayLike | None = None
) -> tuple[Array, Array]:
    """The exponent of a zeppelin, c + z x², x the cosine between its axis and that of the encoding.

    c + z x² = b [(1 - b_Δ)(λ∥ + 2λ⊥)/3 + b_Δ (λ⊥ + (λ∥ - λ⊥) x²)]: of linear encoding c = b λ⊥ and z = b (λ∥ - λ⊥).

    Args:
        b: ms/µm². lambda_par, lambda_perp: µm²/ms. b_delta: shape b_Δ of the b-tensor in [-1/2, 1]; None: 1. Broadcast.
    Returns:
        c and z, no unit, of the broadcast shape.

    Example:
        >>> import jaxsmt as js
        >>> [round(float(part), 2) for part in js.signal.exponent_of(1.0, 1.7, 0.2, 0.0)]  # spherical: b times the mean
        [0.7, 0.0]

    Source: Eriksson et al. 2015, J Chem Phys 142:104201, doi:10.1063/1.4913502.
    """
    if b_delta is None:
        b, lambda_par, lambda_perp = _as_float(b, lambda_par, lambda_perp)
        return b * lambda_perp, b * (lambda_par - lambda_perp)
    b, lambda_par, lambda_perp, b_delta = _as_float(b, lambda_par, lambda_perp, b_delta)
    difference = lambda_par - lambda_perp
    return b * (lambda_perp + (1 - b_delta) * difference / 3), b * b_delta * difference


def zeppelin_mean(
    b: ArrayLike, lambda_par: ArrayLike, lambda_perp: ArrayLike, b_delta: ArrayLike | None = None
) -> Array:
    """Spherical mean of an axially symmetric Gaussian compartment (zeppelin).

    ε(b) = ∫₀¹ exp(-c - z x²) dx with c and z as of `exponent_of`; of linear encoding
    exp(-b λ⊥) ∫₀¹ exp(-b (λ∥ - λ⊥) x²) dx. A stick has λ⊥ = 0, a ball λ∥ = λ⊥.

    Args:
        b: b-value, ms/µm². lambda_par, lambda_perp: diffusivities, µm²/ms, ≥ 0. b_delta: shape b_Δ of the encoding,
            None: linear. Broadcast.
    Returns:
        signal over S0, in (0, 1], of the broadcast shape; oblate tensors (λ⊥ > λ∥) included.

    Example:
        >>> import jaxsmt as js
        >>> print(f"{js.signal.zeppelin_mean(1.0, 1.7, 0.2):.3f}")
        0.543

    Source: Kaden et al. 2016, Magn Reson Med 75:1752, doi:10.1002/mrm.25734.
    """
    return attenuation_moments(*exponent_of(b, lambda_par, lambda_perp, b_delta), 1)[0]


def zeppelin_legendre(
    b: ArrayLike, lambda_par: ArrayLike, lambda_perp: ArrayLike, lmax: int, b_delta: ArrayLike | None = None
) -> Array:
    """Legendre moments of a zeppelin's signal about its axis.

    K_l(b) = ∫₀¹ exp(-c - z x²) P_l(x) dx for l = 0, 2, …, lmax with c and z as of `exponent_of`; K_0 is its spherical
    mean. By Gauss-Legendre quadrature: absolute error a rounding for |b (λ∥ - λ⊥)| ≤ 60.

    Args:
        b: ms/µm². lambda_par, lambda_perp: µm²/ms. lmax: even order. b_delta: shape b_Δ of the encoding, None: linear.
            They broadcast to (...).
    Returns:
        (..., lmax/2 + 1), no unit.

    Example:
        >>> import jaxsmt as js
        >>> js.signal.zeppelin_legendre(1.0, 1.7, 0.2, 4).shape
        (3,)
    """
    c, z = (part[..., None] for part in exponent_of(b, lambda_par, lambda_perp, b_delta))
    return legendre_moments(lambda x: jnp.exp(-c - z * (x * x).reshape((1,) * (c.ndim - 1) + x.shape)), c.dtype, lmax)


def legendre_moments(attenuation: Callable[[Array], Array], dtype: DTypeLike, lmax: int) -> Array:
    """Legendre moments ∫₀¹ k(x) P_l(x) dx, l = 0, 2, …, lmax, of any even kernel: (..., lmax/2 + 1).

    By Gauss-Legendre quadrature with 32 nodes, as `zeppelin_legendre`; the first is the spherical mean.

    Args:
        attenuation: cosines (nodes,) -> k (..., nodes). dtype: of the cosines. lmax: even order.
    Returns:
        (..., lmax/2 + 1), no unit.

    Example:
        >>> import jaxsmt as js
        >>> [round(float(moment), 3) for moment in js.signal.legendre_moments(lambda x: x * x, float, 2)]
        [0.333, 0.133]
    """
    nodes, weighted = legendre_rule(lmax)
    values = attenuation(jnp.asarray(nodes, dtype))
    return jnp.matmul(values, jnp.asarray(weighted, values.dtype), precision="highest")


@cache
def legendre_rule(lmax: int, nodes: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre rule for ∫₀¹ k(x) P_l(x) dx of an even k, in NumPy.

    Args:
        lmax: even order. nodes: how many.
    Returns:
        x, (nodes,) on (0, 1), and weights times P_l(x) for l = 0, 2, …, lmax, (nodes, lmax/2 + 1).

    Example:
        >>> import jaxsmt as js
        >>> x, weighted = js.signal.legendre_rule(2, nodes=8)
        >>> (x**2 @ weighted).round(4).tolist()  # ∫₀¹ x² dx, ∫₀¹ x² P₂(x) dx
        [0.3333, 0.1333]
    """
    x, weights = np.polynomial.legendre.leggauss(2 * nodes)
    x, weights = x[nodes:], weights[nodes:]
    return x, weights[:, None] * np.polynomial.legendre.legvander(x, lmax)[:, ::2]


# μ_m, m = 1, 2, …: where the derivative of the spherical Bessel function j₁ is 0. The first is at 2.08, others
# are close to (m - ½)π; Newton's steps on tan μ = 2μ/(2 - μ²), cleared of denominators, reach rounding.
def _sphere_roots(count: int) -> np.ndarray:
    mu = np.arange(1, count + 1) * np.pi - np.where(np.arange(count) == 0, 1.06, 0.34 / np.arange(1, count + 1))
    for _ in range(20):
        f = 2 * mu * np.cos(mu) - (2 - mu**2) * np.sin(mu)
        mu = mu - f / (mu**2 * np.cos(mu))
    return mu


_SPHERE_ROOTS = _sphere_roots(40)


# The zeros of the derivative of the Bessel function J₁, by Newton's steps from McMahon's β - 7/(8β) with β = (m - ¼)π;
# J₁ and J₀ are integrals over a period, which equidistant nodes give to rounding.
def _cylinder_roots(count: int) -> np.ndarray:
    mu = (np.arange(1, count + 1) - 0.25) * np.pi
    mu = mu - 7 / (8 * mu)
    t = (np.arange(256) + 0.5) * np.pi / 256
    for _ in range(20):
        phase = mu[:, None] * np.sin(t)
        j0, j1 = np.cos(phase).mean(axis=1), np.cos(t - phase).mean(axis=1)
        slope = j0 - j1 / mu
        mu = mu - slope / ((1 / mu**2 - 1) * j1 - slope / mu)  # J₁'' by Bessel's equation
    return mu


_CYLINDER_ROOTS = _cylinder_roots(40)


def sphere_mean(b: ArrayLike, delta: ArrayLike, Delta: ArrayLike, radius: ArrayLike, diffusivity: ArrayLike) -> Array:
    """Signal of water restricted in an impermeable sphere, Gaussian phase approximation.

    ln E = -2 γ²G² Σ_m R²/(μ_m² (μ_m² - 2)) [2(u + e^-u - 1) - e^{-A(Δ-δ)} (1 - e^-u)²]/A², with A = μ_m² D/R²,
    u = Aδ, γ²G² = b/(δ²(Δ - δ/3)) and μ_m the zeros of j₁'. Terms beyond 40 are left out: below 1e-4 of
    ln E where R ≤ 15 µm, D ≥ 0.1 µm²/ms and δ ≥ 1 ms.

    Args:
        b: ms/µm². delta, Delta: duration and separation of the pulses, ms, 0 < δ ≤ Δ.
        radius: R, µm, > 0. diffusivity: D inside, µm²/ms, > 0. All broadcast.
    Returns:
        signal over S0, isotropic: its own spherical mean.

    Example:
        >>> import jaxsmt as js
        >>> print(f"{js.signal.sphere_mean(3.0, 10.0, 30.0, 5.0, 2.0):.2f}")
        0.79

    Source: Murday & Cotts 1968, J Chem Phys 48:4938, doi:10.1063/1.1668160.
    """
    return jnp.exp(-_restricted_exponent(b, delta, Delta, radius, diffusivity, _SPHERE_ROOTS, 2))


def cylinder_exponent(
    b: ArrayLike, delta: ArrayLike, Delta: ArrayLike, radius: ArrayLike, diffusivity: ArrayLike
) -> Array:
    """Exponent of water restricted across an impermeable cylinder, Gaussian phase approximation, gradient across.

    With a gradient at the cosine x to the axis and free diffusion along it E = exp(-bλ∥x² - q(1 - x²)): the signal of a
    zeppelin with bλ⊥ = q. q = 2 γ²G² Σ_m R²/(μ_m² (μ_m² - 1)) [2(u + e^-u - 1) - e^{-A(Δ-δ)} (1 - e^-u)²]/A², with A =
    μ_m² D/R², u = Aδ, γ²G² = b/(δ²(Δ - δ/3)) and μ_m the zeros of J₁'. Terms beyond 40 are left out.

    Args:
        b: ms/µm². delta, Delta: duration and separation of the pulses, ms, 0 < δ ≤ Δ.
        radius: R, µm, > 0. diffusivity: D inside, µm²/ms, > 0. All broadcast.
    Returns:
        q, no unit.

    Example:
        >>> import jaxsmt as js
        >>> print(f"{js.signal.cylinder_exponent(3.0, 10.0, 30.0, 5.0, 2.0):.2f}")
        0.34

    Source: van Gelderen et al. 1994, J Magn Reson B 103:255, doi:10.1006/jmrb.1994.1038.
    """
    return _restricted_exponent(b, delta, Delta, radius, diffusivity, _CYLINDER_ROOTS, 1)


def _restricted_exponent(
    b: ArrayLike,
    delta: ArrayLike,
    Delta: ArrayLike,
    radius: ArrayLike,
    diffusivity: ArrayLike,
    roots: np.ndarray,
    dimensions_less_one: int,
) -> Array:
    """-ln E of water in a sphere, or across a cylinder: one formula but for the roots and dimensions."""
    b, delta, Delta, radius, diffusivity = _as_float(b, delta, Delta, radius, diffusivity)
    mu2 = jnp.asarray(roots**2, b.dtype).reshape((1,) * b.ndim + roots.shape)
    rate = (diffusivity / radius**2)[..., None] * mu2
    u = rate * delta[..., None]
    # u + e^-u - 1, by its series where the sum would cancel.
    small = jnp.minimum(u, 0.3)
    series = small**2 * (0.5 - small * (1 / 6 - small * (1 / 24 - small * (1 / 120 - small / 720))))
    lag = jnp.where(u < 0.3, series, u + jnp.expm1(-u))
    bracket = 2 * lag - jnp.exp(-rate * (Delta - delta)[..., None]) * jnp.expm1(-u) ** 2
    total = jnp.sum(bracket / (mu2 * (mu2 - dimensions_less_one) * u**2), axis=-1)
    exponent: Array = 2 * b * radius**2 / (Delta - delta / 3) * total
    return exponent


def truncation_order(z: float, tolerance: float = 1e-4, kappa: float = math.inf) -> int:
    """Smallest even order at which a convolved zeppelin's signal may be cut, see `convolution.order_needed`.

    Args:
        z: the largest b (λ∥ - λ⊥), without unit; a smaller one needs no more. tolerance: of the signal over S0.
        kappa: the largest κ of Watson or Bingham lobes; inf for a single fibre.
    Returns:
        an even order.

    Example:
        >>> import jaxsmt as js
        >>> js.signal.truncation_order(3.0, kappa=16.0)
        10
    """
    nodes, weighted = legendre_rule(ORDER_MAX, 128)
    return order_needed(np.exp(-z * nodes**2) @ weighted, watson_zonal(kappa, ORDER_MAX), tolerance)


#: A zeppelin as (λ∥, λ⊥), or a function (b, lmax) -> Legendre moments (..., lmax/2 + 1).
KernelLike = tuple[ArrayLike, ArrayLike] | Callable[[Array, int], Array]


def convolved(
    directions: ArrayLike, b: ArrayLike, kernel: KernelLike, orientation: Lobe, lmax: int | None = None
) -> Array:
    """Signal of a kernel whose axes follow an orientation density.

    E(g, b) = ∫ψ(n) k(g·n; b) dn = Σ_lm K_l(b) c_lm A_lm(g) (Funk-Hecke), with the harmonics of the lobe's own frame.

    Args:
        directions: (..., 3) unit vectors g. b: b-value, ms/µm², broadcasts to (...).
        kernel: (λ∥, λ⊥) of a zeppelin in µm²/ms, or a function (b, lmax) -> (..., lmax/2 + 1), or what
            broadcasts to it, as `zeppelin_legendre` returns.
        orientation: `watson(...)`, `bingham(...)` or a lobe of a density of your own, see `axial_density`.
        lmax: even order at which the sum is cut. None: 28, which leaves out at most 4e-5 of S0 for Watson and Bingham
            lobes and b (λ∥ - λ⊥) ≤ 18; more if b and a zeppelin's diffusivities are known (not traced) and need
            it. Lower orders are faster, see `truncation_order`.
    Returns:
        signal over S0, (...).

    Example:
        >>> import jaxsmt as js
        >>> along = js.signal.convolved([[0.0, 0.0, 1.0]], 1.0, (1.7, 0.2), js.watson([0.0, 0.0, 1.0], 1e-6))
        >>> mean = js.signal.zeppelin_mean(1.0, 1.7, 0.2)  # a uniform density leaves the spherical mean
        >>> bool(abs(along[0] - mean) < 1e-5)
        True

    Source: Kaden et al. 2016, Magn Reson Med 75:1752, doi:10.1002/mrm.25734.
    """
    g = jnp.asarray(directions, orientation.axis.dtype)
    b = jnp.broadcast_to(jnp.asarray(b, g.dtype), g.shape[:-1])
    if lmax is None:
        lmax = max(28, _needed_order(b, kernel))
    moments = kernel(b, lmax) if callable(kernel) else zeppelin_legendre(b, *kernel, lmax)
    family = orientation.family
    basis = family.basis(lmax)
    c, _ = family.coefficients(basis, orientation.concentrations)
    polynomial = jnp.moveaxis(polynomials(basis, c.reshape((1,) * b.ndim + c.shape), moments), -1, 0)
    u, v, w = orientation.components(g)
    return horner(by_powers_of_d(basis, polynomial), 2 * w**2 - 1, v**2 - u**2).value


def _needed_order(b: Array, kernel: KernelLike) -> int:
    """Order for a zeppelin of known numbers; 0 where they are not known."""
    if callable(kernel) or any(isinstance(v, jax.core.Tracer) for v in (b, *kernel)):
        return 0
    return truncation_order(float(np.max(np.asarray(b))) * float(np.max(np.asarray(kernel[0]))), 4e-5)
