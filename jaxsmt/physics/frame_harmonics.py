"""Spherical harmonics in the frame of a lobe, and the polynomials that they are.

A lobe is even in its components u, v and w. So only harmonics of even l and even m ≥ 0 (cosines, azimuth from v) have a
coefficient, and each is a polynomial in s = 2w² - 1 and d = v² - u².
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..geometry.harmonics import even_harmonics

#: Quadrature for densities up to κ = 200: Gauss-Legendre nodes in w over (0, 1), azimuths over a quarter turn. The
#: coefficients of order 28 are good to 2e-6 there, and to 1e-8 up to κ = 128.
NODES = (40, 32)


class Rule(NamedTuple):
    """Nodes and weights for means over the sphere of functions that are even in u, v and w, (nodes,) each."""

    u: np.ndarray
    v: np.ndarray
    w: np.ndarray
    weights: np.ndarray


class FrameHarmonics:
    """A_lm = √(4π) Y_lm in a lobe's frame, for even l ≤ l_max and even m from 0 to m_max.

    In this scale a density has the coefficients c_lm = ⟨A_lm⟩ (c_00 = 1), and by Funk and Hecke its convolution with an
    axially symmetric kernel of Legendre moments K_l is Σ K_l c_lm A_lm.

    Attributes:
        l, m: (coefficients,) orders, rising in l. powers: (monomials, 2) exponents of s and d.
        polynomials: (monomials, coefficients): A_lm in monomials. Those about s = 0 do not cancel, as signals and
            densities are entire functions of s.
    """

    def __init__(self, l_max: int, m_max: int, nodes: tuple[int, int] = NODES):
        self.l_max, self.m_max = l_max, min(m_max, l_max)
        pairs = [(l, m) for l in range(0, l_max + 1, 2) for m in range(0, min(l, self.m_max) + 1, 2)]
        self.l, self.m = (np.array(column, np.int32) for column in zip(*pairs, strict=True))
        degree = l_max // 2
        self.powers = np.array([(i, j) for j in range(self.m_max // 2 + 1) for i in range(degree + 1 - j)])
        self._nodes = nodes

    def evaluate(self, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        """A_lm at points of the sphere, (points, coefficients), in NumPy."""
        harmonics = even_harmonics(np.stack([v, u, w], axis=1), self.l_max)
        chosen: np.ndarray = np.sqrt(4 * np.pi) * harmonics[:, self.l * (self.l + 1) // 2 + self.m]
        return chosen

    def monomials(self, u: Array, v: Array, w: Array) -> Array:
        """s^i d^j at points of the sphere (...): (..., monomials)."""
        s, d = 2 * w**2 - 1, v**2 - u**2
        return jnp.stack([s**i * d**j for i, j in self.powers.tolist()], axis=-1)

    @cached_property
    def polynomials(self) -> np.ndarray:
        rule = octant_rule(self.l_max + 2, self.l_max + 2 if self.m_max else 1)
        s, d = 2 * rule.w**2 - 1, rule.v**2 - rule.u**2
        monomials = s[:, None] ** self.powers[:, 0] * d[:, None] ** self.powers[:, 1]
        solution: np.ndarray = np.linalg.lstsq(monomials, self.evaluate(*rule[:3]), rcond=None)[0]
        return solution

    @cached_property
    def rule(self) -> Rule:
        """The quadrature of densities. Those without azimuth (m_max = 0) have one azimuth, at u = v."""
        return octant_rule(self._nodes[0], self._nodes[1] if self.m_max else 1)

    @cached_property
    def separated(self) -> tuple[np.ndarray, np.ndarray]:
        """A_lm at the nodes as products: (polar angles, coefficients) at azimuth 0, (azimuths, m_max/2 + 1) cos mφ."""
        azimuths = self._nodes[1] if self.m_max else 1
        w, phi = self.rule.w[::azimuths], np.pi / 2 * (np.arange(azimuths) + 0.5) / azimuths
        polar = self.evaluate(np.zeros_like(w), np.sqrt(1 - w**2), w)
        return polar, np.cos(np.outer(phi, np.arange(0, self.m_max + 1, 2)))

    @cached_property
    def at_nodes(self) -> np.ndarray:
        """A_lm at the nodes, (nodes, coefficients)."""
        return self.evaluate(*self.rule[:3])


@cache
def frame_harmonics(l_max: int, m_max: int, nodes: tuple[int, int] = NODES) -> FrameHarmonics:
    """The `FrameHarmonics` of these arguments, made once."""
    return FrameHarmonics(l_max, m_max, nodes)


def octant_rule(n_polar: int, n_azimuth: int) -> Rule:
    """A product rule on the octant u, v, w > 0."""
    x, weight = np.polynomial.legendre.leggauss(2 * n_polar)
    x, weight = x[n_polar:], weight[n_polar:]
    azimuth = np.pi / 2 * (np.arange(n_azimuth) + 0.5) / n_azimuth
    rho = np.sqrt(1 - x**2)
    u, v = np.outer(rho, np.sin(azimuth)).ravel(), np.outer(rho, np.cos(azimuth)).ravel()
    return Rule(u, v, np.repeat(x, n_azimuth), np.repeat(weight / n_azimuth, n_azimuth))


@cache
def half_sphere_rule(l_max: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of the half sphere z > 0, and weights for means of even polynomials up to degree 2 l_max."""
    z, weight = np.polynomial.legendre.leggauss(2 * (l_max // 2) + 2)
    z, weight = z[len(z) // 2 :], weight[len(z) // 2 :]
    n = 2 * l_max + 1
    phi = 2 * np.pi * np.arange(n) / n
    rho = np.sqrt(1 - z**2)
    points = np.stack([np.outer(rho, np.cos(phi)).ravel(), np.outer(rho, np.sin(phi)).ravel(), np.repeat(z, n)], axis=1)
    return points, np.repeat(weight / n, n)
