"""Orientation densities on the sphere: Watson and Bingham lobes, and their harmonic coefficients.

A lobe lives in its own orthonormal frame: its axis μ, and for Bingham the axis μ₂ along which it is
widest. With w = μ·n, v = μ₂·n and u the third component,

    ψ(n) = exp(κ w² + β v²) / Z = exp(-κ u² - (κ - β) v²) / Z′,        0 ≤ β ≤ κ,

so κ and κ - β are the lobe's concentrations across μ in the two planes; Watson has β = 0.
ψ is even in u, v and w: of the real harmonics in the frame only those of even l and even m ≥ 0
(cosines, azimuth from μ₂) have a coefficient, and each is a polynomial in w² and v² - u².
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..sphere import frames
from ..sphere.harmonics import even_harmonics

#: Quadrature for densities up to κ = 200: Gauss-Legendre nodes in w over (0, 1), azimuths over a
#: quarter turn. The coefficients of order 28 are good to 2e-6 there, and to 1e-8 up to κ = 128.
_NODES = (40, 32)


def odi_from_kappa(kappa: ArrayLike) -> Array:
    """Orientation dispersion index (2/π)·arctan(1/κ): 1 is isotropic, 0 is parallel.

    Source: Zhang et al. 2012, NeuroImage 61:1000, doi:10.1016/j.neuroimage.2012.03.072.
    """
    kappa = jnp.asarray(kappa)
    return jnp.arctan2(jnp.ones_like(kappa), kappa) * (2 / np.pi)


def kappa_from_odi(odi: ArrayLike) -> Array:
    """Concentration κ = cot(π·ODI/2), the inverse of `odi_from_kappa`; inf at 0, negative beyond 1."""
    odi = jnp.asarray(odi)
    small = odi < 0.5  # each form where its argument keeps its digits
    narrow = 1 / jnp.tan(jnp.where(small, odi, 0.5) * (np.pi / 2))
    return jnp.where(small, narrow, jnp.tan((1 - jnp.where(small, 0.5, odi)) * (np.pi / 2)))


def zonal_coefficients(kappa: float, lmax: int) -> np.ndarray:
    """c_l = ⟨P_l(μ·n)⟩ of a Watson lobe for l = 0, 2, …, lmax, (lmax/2 + 1,), in NumPy; κ may be inf."""
    if np.isinf(kappa):
        return np.ones(lmax // 2 + 1)
    x, weights = np.polynomial.legendre.leggauss(256)
    density = weights * np.exp(kappa * (x**2 - 1))
    return density @ np.polynomial.legendre.legvander(x, lmax)[:, ::2] / density.sum()


@partial(jax.tree_util.register_dataclass, data_fields=["axis", "across", "kappa", "beta"], meta_fields=["axial"])
@dataclass(frozen=True)
class Lobe:
    """A Watson or Bingham density; build it with `watson` or `bingham`.

    Attributes:
        axis: (3,) unit vector μ. across: (3,) unit vector μ₂ ⟂ μ. kappa, beta: scalars.
        axial: True for Watson, whose β is 0 and μ₂ without meaning.
    """

    axis: Array
    across: Array
    kappa: Array
    beta: Array
    axial: bool

    def components(self, directions: ArrayLike) -> tuple[Array, Array, Array]:
        """u, v, w: components of unit vectors (..., 3) in the lobe's frame."""
        n = jnp.asarray(directions)
        frame = (jnp.cross(self.axis, self.across), self.across, self.axis)
        return tuple(jnp.sum(n * a.reshape((1,) * (n.ndim - 1) + (3,)), axis=-1) for a in frame)  # type: ignore[return-value]

    def log_normaliser(self) -> Array:
        """log ∫exp(κ w² + β v²)dn = log(4π ₁F₁(½; 3/2; B)), by quadrature."""
        weights = frame_harmonics(0, self.axial).weights(self.kappa, self.kappa - self.beta)
        return jnp.log(jnp.sum(weights)) + self.kappa + float(np.log(4 * np.pi))

    def density(self, directions: ArrayLike) -> Array:
        """ψ(n) per steradian at unit vectors (..., 3); its integral over the sphere is 1."""
        _, v, w = self.components(directions)
        return jnp.exp(self.kappa * w**2 + self.beta * v**2 - self.log_normaliser())

    def harmonics(self, lmax: int) -> Array:
        """Coefficients ∫ψ Y_lm dn of the density up to an even order, in MRtrix's basis and order.

        See `harmonics.even_harmonics`; the axes are those in which μ is given.
        """
        basis = frame_harmonics(lmax, self.axial)
        c, _, _ = basis.coefficients(self.kappa, self.kappa - self.beta)
        # The density cut at lmax is a polynomial: a product rule of that order integrates it exactly.
        points, weights = _sphere_rule(lmax)
        monomials = basis.monomials(*self.components(jnp.asarray(points, c.dtype)))
        product = partial(jnp.matmul, precision="highest")
        density = product(monomials, product(jnp.asarray(basis.polynomials, c.dtype), c))
        return product(density, jnp.asarray(weights[:, None] * even_harmonics(points, lmax), c.dtype))


def watson(mu: ArrayLike, kappa: ArrayLike) -> Lobe:
    """Watson density ψ(n) ∝ exp(κ(μ·n)²), normalised by 4π ₁F₁(½; 3/2; κ).

    Args:
        mu: (3,) axis, of any length but 0. kappa: concentration, 0 ≤ κ ≤ 200.

    Source: Mardia & Jupp 2000, Directional statistics, doi:10.1002/9780470316979.
    """
    mu = _unit(mu)
    kappa = jnp.asarray(kappa, mu.dtype)
    across, _ = frames.across((mu[0], mu[1], mu[2]))
    return Lobe(mu, jnp.stack(across), kappa, jnp.zeros_like(kappa), axial=True)


def bingham(mu: ArrayLike, kappa: ArrayLike, beta: ArrayLike, mu2: ArrayLike) -> Lobe:
    """Bingham density ψ(n) ∝ exp(κ(μ·n)² + β(μ₂·n)²), normalised by 4π ₁F₁(½; 3/2; B).

    Args:
        mu: (3,) axis. kappa, beta: 0 ≤ β ≤ κ ≤ 200; β = 0 is Watson, β = κ a girdle.
        mu2: (3,) where the lobe is widest; its part along μ is removed.

    Source: Bingham 1974, Ann Stat 2:1201, doi:10.1214/aos/1176342874.
    """
    mu = _unit(mu)
    mu2 = jnp.asarray(mu2, mu.dtype)
    return Lobe(
        mu,
        _unit(mu2 - jnp.sum(mu * mu2) * mu),
        jnp.asarray(kappa, mu.dtype),
        jnp.asarray(beta, mu.dtype),
        axial=False,
    )


def _unit(vector: ArrayLike) -> Array:
    vector = jnp.asarray(vector)
    vector = vector if jnp.issubdtype(vector.dtype, jnp.floating) else vector.astype(jnp.result_type(float))
    return vector / jnp.sqrt(jnp.sum(vector**2))


class FrameHarmonics:
    """Harmonics in a lobe's frame, A_lm = √(4π) Y_lm for even l ≤ lmax and even m ≥ 0.

    In this scale a density has the coefficients c_lm = ⟨A_lm⟩ (c_00 = 1), and by Funk and Hecke its
    convolution with an axial kernel of Legendre moments K_l is Σ K_l c_lm A_lm.

    Attributes:
        l, m: (coefficients,) orders, rising in l. powers: (monomials, 2) exponents of
            s = 2w² - 1 and d = v² - u². polynomials: (monomials, coefficients): A_lm in them.
            Monomials about s = 0 do not cancel: signals and densities are entire functions of s.
    """

    def __init__(self, lmax: int, axial: bool, nodes: tuple[int, int] = _NODES):
        self.lmax, self.axial = lmax, axial
        pairs = [(l, m) for l in range(0, lmax + 1, 2) for m in range(0, 1 if axial else l + 1, 2)]
        self.l, self.m = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
        degree = lmax // 2
        self.powers = np.array([(i, j) for j in range(1 if axial else degree + 1) for i in range(degree + 1 - j)])
        self._nodes = nodes

    def evaluate(self, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        """A_lm at points of the sphere, (points, coefficients), in NumPy."""
        every = even_harmonics(np.stack([v, u, w], axis=1), self.lmax)
        return np.sqrt(4 * np.pi) * every[:, self.l * (self.l + 1) // 2 + self.m]

    def monomials(self, u: Array, v: Array, w: Array) -> Array:
        """s^i d^j at points of the sphere (...): (..., monomials)."""
        s, d = 2 * w**2 - 1, v**2 - u**2
        return jnp.stack([s**i * d**j for i, j in self.powers.tolist()], axis=-1)

    @cached_property
    def polynomials(self) -> np.ndarray:
        w, u, v, _ = _octant(self.lmax + 2, 1 if self.axial else self.lmax + 2)
        s, d = 2 * w**2 - 1, v**2 - u**2
        monomials = s[:, None] ** self.powers[:, 0] * d[:, None] ** self.powers[:, 1]
        return np.linalg.lstsq(monomials, self.evaluate(u, v, w), rcond=None)[0]

    @cached_property
    def _quadrature(self):
        w, u, v, weights = _octant(self._nodes[0], 1 if self.axial else self._nodes[1])
        harmonics = self.evaluate(u, v, w)
        if self.axial:  # the mean over the azimuth, which one node does not give
            u = v = np.sqrt((1 - w**2) / 2)
        squares = np.stack([np.ones_like(u), u**2, v**2])
        moments = np.concatenate([harmonics * factor[:, None] for factor in squares], axis=1)
        return *squares[1:], weights, moments

    def weights(self, across: Array, along: Array) -> Array:
        """Quadrature weights times exp(-κ u² - (κ - β) v²); `across` = κ, `along` = κ - β."""
        u2, v2, weights, _ = self._quadrature
        dtype = jnp.result_type(across)
        return jnp.exp(-across * jnp.asarray(u2, dtype) - along * jnp.asarray(v2, dtype)) * jnp.asarray(weights, dtype)

    def coefficients(self, across: Array, along: Array) -> tuple[Array, Array, Array]:
        """c_lm of the density and its derivatives by κ at fixed κ - β, and by κ - β at fixed κ."""
        weights = self.weights(across, along)
        moments = jnp.matmul(weights, jnp.asarray(self._quadrature[3], weights.dtype), precision="highest")
        n = len(self.l)
        z, mean_u2, mean_v2 = moments[0], moments[n] / moments[0], moments[2 * n] / moments[0]
        c = moments[:n] / z
        return c, c * mean_u2 - moments[n : 2 * n] / z, c * mean_v2 - moments[2 * n :] / z


@cache
def frame_harmonics(lmax: int, axial: bool, nodes: tuple[int, int] = _NODES) -> FrameHarmonics:
    """The `FrameHarmonics` of these arguments, made once."""
    return FrameHarmonics(lmax, axial, nodes)


def _octant(n_polar: int, n_azimuth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """w, u, v and weights of a product rule for the mean over the sphere of functions even in each."""
    x, weight = np.polynomial.legendre.leggauss(2 * n_polar)
    x, weight = x[n_polar:], weight[n_polar:]
    azimuth = np.pi / 2 * (np.arange(n_azimuth) + 0.5) / n_azimuth
    rho = np.sqrt(1 - x**2)
    u, v = np.outer(rho, np.sin(azimuth)).ravel(), np.outer(rho, np.cos(azimuth)).ravel()
    return np.repeat(x, n_azimuth), u, v, np.repeat(weight / n_azimuth, n_azimuth)


@cache
def _sphere_rule(lmax: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the half sphere z > 0 and weights for means of even polynomials up to degree 2 lmax."""
    z, weight = np.polynomial.legendre.leggauss(2 * (lmax // 2) + 2)
    z, weight = z[len(z) // 2 :], weight[len(z) // 2 :]
    n = 2 * lmax + 1
    phi = 2 * np.pi * np.arange(n) / n
    rho = np.sqrt(1 - z**2)
    points = np.stack([np.outer(rho, np.cos(phi)).ravel(), np.outer(rho, np.sin(phi)).ravel(), np.repeat(z, n)], axis=1)
    return points, np.repeat(weight / n, n)
