"""Where the search for lobes starts: the best of a dictionary, in the space of spherical harmonics.

For directions that are spread evenly the squared error of a FOD ψ is, up to a constant,

    Σ_l N_l Σ_m ψ_lm² - 2 Σ_lm a_lm ψ_lm,   N_l = 4π Σ_k n_k K_l(b_k)²,   a_lm = Σ_k n_k K_l(b_k) y_lm(b_k),

with y_lm the harmonic fit of shell k's n_k volumes. That makes all of a dictionary of Watson lobes, and
all pairs of them, cheap to compare; the true error is left to the solver.
"""

from __future__ import annotations

import itertools
import math
from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from .harmonics import even_harmonics, n_coefficients
from .lobes import Lobes
from .orientation import frame_harmonics, kappa_from_odi, odi_from_kappa
from .quadrature import fibonacci_sphere
from .solvers.base import Point

_ORDER = 8
_SINGLE = (2.0, 5.0, 12.0, 30.0)  # κ of single lobes tried
_PAIRED = (6.0, 24.0)  # and of each lobe in a pair
_AXES = 48
_LEAST = 0.1  # weight of a lobe at the start
_TENSOR = 6 * [0]


class Table(NamedTuple):
    """Harmonic fits of the shells.

    fits: each shell's (44, n) matrix from its volumes to n times the coefficients of order 2 … 8;
    zero where its directions do not determine them. counts: each shell's (4,) n, or 0 there.
    """

    fits: tuple[Array, ...]
    counts: tuple[Array, ...]


def table(directions: tuple[np.ndarray, ...]) -> Table:
    """Prepare the harmonic fits for shells of (n, 3) directions."""
    fits, counts = [], []
    for g in directions:
        order = _ORDER
        while order and (n_coefficients(order) > len(g) or np.linalg.cond(even_harmonics(g, order)) > 3):
            order -= 2
        fit, count = np.zeros((n_coefficients(_ORDER) - 1, len(g))), np.zeros(_ORDER // 2)
        if order:
            fit[: n_coefficients(order) - 1] = len(g) * np.linalg.pinv(even_harmonics(g, order))[1:]
            count[: order // 2] = len(g)
        fits.append(fit)
        counts.append(count)
    return Table(tuple(fits), tuple(counts))


@cache
def _axes(n: int) -> np.ndarray:
    """n axes spread over the half sphere."""
    return fibonacci_sphere(2 * n)[:n]


@cache
def _zonal(kappas: tuple[float, ...]) -> np.ndarray:
    """c_l(κ) = ⟨P_l⟩ of Watson lobes for l = 2 … 8: (κ, 4)."""
    x, w = np.polynomial.legendre.leggauss(128)
    density = w * np.exp(np.array(kappas)[:, None] * (x**2 - 1))
    return (density @ np.polynomial.legendre.legvander(x, _ORDER)[:, 2::2]) / density.sum(axis=1, keepdims=True)


_L = np.arange(2, _ORDER + 1, 2)
_L_OF = np.repeat(np.arange(4), 2 * _L + 1)  # index of l for each coefficient of order 2 … 8


def starts(lobes: Lobes, fits: Table, kernel: tuple[Array, ...], y: tuple[Array, ...]) -> list[Point]:
    """Points to start from in one voxel, the most promising first.

    Args:
        kernel: each shell's Legendre moments. y: each shell's volumes (n,), over S0.
    """
    dtype = y[0].dtype
    a = jnp.zeros(len(_L_OF), dtype)
    energy = jnp.zeros(len(_L), dtype)  # N_l (2l+1)/4π
    for fit, count, moments, values in zip(fits.fits, fits.counts, kernel, y, strict=True):
        k = moments[1 : len(_L) + 1]
        k = jnp.concatenate([k, jnp.zeros(len(_L) - len(k), dtype)]) if len(k) < len(_L) else k
        a = a + k[_L_OF] * jnp.matmul(jnp.asarray(fit, dtype), values, precision="highest")
        energy = energy + jnp.asarray(count * (2 * _L + 1), dtype) * k * k
    axes = _axes(_AXES)
    harmonics = even_harmonics(axes, _ORDER)[:, 1:]
    along = [
        jnp.matmul(jnp.asarray(harmonics[:, _L_OF == i], dtype), a[_L_OF == i], precision="highest") for i in range(4)
    ]
    if lobes.count == 1:
        return _single(lobes, a, along, energy)
    return _several(lobes, along, energy)


def _score(zonal: np.ndarray, along: list[Array]) -> Array:
    """Σ_l c_l a_l(axis), (axes,)."""
    return sum(float(c) * h for c, h in zip(zonal, along, strict=True))


def _single(lobes: Lobes, a: Array, along: list[Array], energy: Array) -> list[Point]:
    zonal = _zonal(_SINGLE)
    gain = jnp.stack([2 * _score(c, along) - jnp.sum(jnp.asarray(c**2, energy.dtype) * energy) for c in zonal])
    best = jnp.argmax(gain.reshape(-1))
    axis = jnp.asarray(_axes(_AXES), energy.dtype)[best % _AXES]
    odi = odi_from_kappa(jnp.asarray(_SINGLE, energy.dtype)[best // _AXES])
    mu = tuple(axis[i] for i in range(3))
    if lobes.axial:
        return [(*mu, odi)]
    return [(*mu, *_widest(a, axis), odi, odi_from_kappa(kappa_from_odi(odi) / 2))]


def _widest(a: Array, axis: Array) -> tuple[Array, ...]:
    """Unit vector across an axis in which the second-order part of the FOD is largest."""
    # The symmetric tensor T with gᵀTg = Σ_m a_2m Y_2m(g), from its values at six axes.
    six = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt([[1]] * 3 + [[2]] * 3)
    x, y, z = six.T
    quadratic = np.linalg.inv(np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1))
    entries = jnp.matmul(jnp.asarray(quadratic @ even_harmonics(six, 2)[:, 1:], a.dtype), a[:5], precision="highest")
    xx, yy, zz, xy, xz, yz = (entries[i] for i in range(6))
    rows = (xx, xy, xz), (xy, yy, yz), (xz, yz, zz)
    from .lobes import _across

    e1, e2 = _across(tuple(axis[i] for i in range(3)))

    def form(p, q):
        return sum(p[i] * sum(rows[i][j] * q[j] for j in range(3)) for i in range(3))

    angle = 0.5 * jnp.arctan2(2 * form(e1, e2), form(e1, e1) - form(e2, e2))
    return tuple(jnp.cos(angle) * p + jnp.sin(angle) * q for p, q in zip(e1, e2, strict=True))


def _several(lobes: Lobes, along: list[Array], energy: Array) -> list[Point]:
    """The best pair of axes for each choice of their concentrations."""
    dtype = energy.dtype
    axes = _axes(_AXES)
    cosine = np.clip(axes @ axes.T, -1, 1)
    legendre = np.polynomial.legendre.legvander(cosine, _ORDER)[..., 2::2]  # (axes, axes, 4)
    zonal = _zonal(_PAIRED)
    score = [_score(c, along) for c in zonal]
    points = []
    for i, j in ((1, 1), (0, 0), (0, 1)):
        first, second, own = zonal[i], zonal[j], None
        g11, g22 = (jnp.sum(jnp.asarray(c * c, dtype) * energy) for c in (first, second))
        g12 = sum(jnp.asarray(first[k] * second[k] * legendre[..., k], dtype) * energy[k] for k in range(4))
        h1, h2 = score[i][:, None], score[j][None, :]
        spread = g11 - 2 * g12 + g22
        w = jnp.clip((h1 - h2 + g22 - g12) / jnp.where(spread > 0, spread, 1), _LEAST, 1 - _LEAST)
        gain = 2 * (w * h1 + (1 - w) * h2) - w * w * g11 - 2 * w * (1 - w) * g12 - (1 - w) ** 2 * g22
        best = jnp.argmax(jnp.where(jnp.asarray(cosine > 0.99), -jnp.inf, gain).reshape(-1))
        p, q = best // _AXES, best % _AXES
        point = []
        for n, kappa in ((p, _PAIRED[i]), (q, _PAIRED[j])):
            axis = jnp.asarray(axes, dtype)[n]
            odi = odi_from_kappa(jnp.full((), kappa, dtype))
            point += [axis[0], axis[1], axis[2], odi]
        points.append((*point, w.reshape(-1)[best]))
    return points
