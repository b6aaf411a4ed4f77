"""Where the search for lobes starts: the best of a dictionary of Watson lobes, in the space of spherical harmonics.

For directions that are spread evenly the squared error of a FOD ψ is, up to a constant,

    Σ_lm N_l ψ_lm² - 2 a_lm ψ_lm,   N_l = 4π Σ_k n_k K_l(b_k)²,   a_lm = Σ_k n_k K_l(b_k) y_lm(b_k),

with y_lm the harmonic fit of shell k's n_k volumes. So all lobes of the dictionary, and all pairs of them, are cheap to
compare. Such an error is also that of one shell which stands for all (`one_shell`), where a few steps of a search
choose among starting points. The true error is left to the solver. Lobes of another density start about as wide as the
Watson lobe.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import cache, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..geometry import frames
from ..geometry.frames import Vector
from ..geometry.harmonics import even_harmonics, n_coefficients
from ..geometry.quadrature import fibonacci_sphere
from ..physics.densities.base import Density, watson_zonal
from ..solvers import Point
from .lobe_coordinates import Coordinates

#: Highest order of the harmonics by which lobes are compared.
ORDER = 8
_L = np.arange(2, ORDER + 1, 2)
# 32 bits: what JAX takes as an index in either precision.
_INDEX = np.repeat(np.arange(len(_L), dtype=np.int32), 2 * _L + 1)  # into _L, for each coefficient of order 2 … 8
_SINGLE = (2.0, 5.0, 12.0, 30.0)  # κ of single lobes tried
_PAIRS = ((24.0, 24.0), (6.0, 6.0), (6.0, 24.0))  # and of both lobes of a pair
_THIRD = (6.0, 24.0)  # and of a lobe added to a pair
_AXES = 48
#: Directions of a shell that stands for all: few, and so even that harmonics to order 8 have a condition of 1.7 there.
ONE_SHELL = fibonacci_sphere(128)[:64]
_LEAST = 0.1  # weight of a lobe at the start


class HarmonicFits(NamedTuple):
    """Harmonic fits of the shells.

    fits: each shell's (44, n) matrix from its volumes to n times the coefficients of order 2 … 8;
    zero where its directions do not determine them. counts: each shell's (4,) n (2l + 1), or 0 there.
    """

    fits: tuple[Any, ...]
    counts: tuple[Any, ...]

    @property
    def order(self) -> int:
        """The highest order of harmonics that a shell's directions determine; of fits whose counts are known."""
        return max(2 * int(np.count_nonzero(count)) for count in self.counts)


def harmonic_fits_of(directions: Sequence[np.ndarray]) -> HarmonicFits:
    """Prepare the harmonic fits for shells of (n, 3) directions, NumPy's or JAX's.

    Of JAX's directions, which may be traced, it is taken for granted that they are spread evenly.
    """
    fits, counts = [], []
    for g in directions:
        n, order = len(g), ORDER
        while order and (n_coefficients(order) > n or (isinstance(g, np.ndarray) and _poor(g, order))):
            order -= 2
        count = np.zeros(len(_L))
        count[: order // 2] = n * (2 * _L + 1)[: order // 2]
        xp = g.__array_namespace__()
        fit = n * xp.linalg.pinv(even_harmonics(g, order))[1:]
        fits.append(xp.concat([fit, xp.zeros((len(_INDEX) - len(fit), n), dtype=fit.dtype)]))
        counts.append(count)
    return HarmonicFits(tuple(fits), tuple(counts))


def _poor(directions: np.ndarray, order: int) -> bool:
    return bool(np.linalg.cond(even_harmonics(directions, order)) > 3)


class Summary(NamedTuple):
    """What the squared error of a FOD depends on: a_lm of order 2 … 8, (44,), and N_l (2l + 1)/4π of each l, (4,)."""

    a: Array
    energy: Array


def summary_of(harmonics: HarmonicFits, moments: Sequence[Array], y: Array) -> Summary:
    """The summary of one voxel. moments: each shell's Legendre moments of the kernel. y: (volumes,) over S0."""
    dtype = y.dtype
    a = jnp.zeros(len(_INDEX), dtype)
    energy = jnp.zeros(len(_L), dtype)  # N_l (2l+1)/4π
    first = 0
    for fit, weight, shell_moments in zip(harmonics.fits, harmonics.counts, moments, strict=True):
        values, first = y[first : first + fit.shape[1]], first + fit.shape[1]
        k = shell_moments[1 : len(_L) + 1]
        k = jnp.concatenate([k, jnp.zeros(len(_L) - len(k), dtype)]) if len(k) < len(_L) else k
        a = a + k[_INDEX] * jnp.matmul(fit, values, precision="highest")
        energy = energy + weight * k * k
    return Summary(a, energy)


class OneShell(NamedTuple):
    """A shell that stands for all: the signal y (64,) at `ONE_SHELL`, and the moments K_0 = 0, K_2, …, K_8 (5,)."""

    moments: Array
    y: Array


def one_shell(summary: Summary) -> OneShell:
    """The shell on which a FOD has about the same squared error, but for a constant."""
    n, dtype = len(ONE_SHELL), summary.a.dtype
    moments = jnp.sqrt(summary.energy / jnp.asarray(n * (2 * _L + 1), dtype))
    strength = n * moments[_INDEX]
    coefficients = summary.a / jnp.where(strength > 0, strength, 1)
    harmonics = jnp.asarray(even_harmonics(ONE_SHELL, ORDER)[:, 1:], dtype)
    y = jnp.matmul(harmonics, coefficients, precision="highest")
    return OneShell(jnp.concatenate([0 * moments[:1], moments]), y)


def starting_points(density: Density, coordinates: Coordinates, count: int, summary: Summary) -> Point:
    """Points to start from in one voxel, the most promising first: (points,) each coordinate. count: of lobes."""
    dtype = summary.a.dtype
    products = _Products(*summary)
    if count == 1:
        return _single(coordinates, products, _widths(density, _SINGLE, dtype))
    thirds = _widths(density, _THIRD, dtype)

    def of_pair(widths: _Width) -> Point:
        return _several(coordinates, count, products, widths, thirds)

    return jax.vmap(of_pair)(_widths(density, _PAIRS, dtype))


class _Width(NamedTuple):
    """Widths of lobes, leaves (...).

    zonal: (..., 4) c_l of a Watson lobe for l = 2 … 8. concentration: (...) of a lobe that is about as wide.
    """

    zonal: Array
    concentration: Array


def _widths(density: Density, kappas: Any, dtype: Any) -> _Width:
    """Those of Watson lobes of concentrations κ (...)."""
    zonal = np.apply_along_axis(lambda k: _zonal(float(k[0])), -1, np.array(kappas)[..., None])
    concentration = np.vectorize(density.as_wide_as_watson)(kappas)
    return _Width(jnp.asarray(zonal, dtype), jnp.asarray(concentration, dtype))


class _Products:
    """Inner products of one voxel's data, and of FODs, with Watson lobes of the dictionary's axes."""

    def __init__(self, a: Array, energy: Array):
        self.a, self.energy, self.dtype = a, energy, a.dtype
        axes = fibonacci_sphere(2 * _AXES)[:_AXES]
        self.axes, self.cosine = axes, axes @ axes.T
        # P_l of the angle between every two axes, (axes, axes, l).
        self.legendre = np.polynomial.legendre.legvander(np.clip(self.cosine, -1, 1), ORDER)[..., 2::2]
        harmonics = even_harmonics(axes, ORDER)[:, 1:]
        self.along = [self._product(harmonics[:, i == _INDEX], a[i == _INDEX]) for i in range(len(_L))]

    def _product(self, matrix: np.ndarray, vector: Array) -> Array:
        return jnp.matmul(jnp.asarray(matrix, self.dtype), vector, precision="highest")

    def data(self, lobe: _Width) -> Array:
        """With the data, (axes,)."""
        return reduce(operator.add, [c * values for c, values in zip(lobe.zonal, self.along, strict=True)])

    def lobes(self, lobe: _Width, other: _Width) -> Array:
        """With lobes of another width on the same axis."""
        return jnp.sum(lobe.zonal * other.zonal * self.energy)

    def pairs(self, lobe: _Width, other: _Width) -> Array:
        """With lobes of another width on every axis, (axes, axes)."""
        legendre = jnp.asarray(self.legendre, self.dtype)
        products = lobe.zonal * other.zonal * self.energy
        return reduce(
            operator.add, [legendre[..., i] * products[i] for i in range(len(_L))]
        )  # of four, faster than a product of matrices

    def row(self, index: Array, lobe: _Width, other: _Width) -> Array:
        """With lobes of another width, of one axis on every axis, (axes,)."""
        legendre = jnp.asarray(self.legendre, self.dtype)[index]
        return jnp.matmul(legendre, lobe.zonal * other.zonal * self.energy, precision="highest")

    def axis(self, index: Array) -> tuple[Array, ...]:
        axis = jnp.asarray(self.axes, self.dtype)[index]
        return axis[0], axis[1], axis[2]


@cache
def _zonal(kappa: float) -> np.ndarray:
    """c_l of a Watson lobe for l = 2 … 8."""
    return watson_zonal(kappa, ORDER)[1:]


def _single(coordinates: Coordinates, h: _Products, widths: _Width) -> Point:
    """The best lobe; where it has a second axis, widened along either axis across it, the likelier first."""
    gain = jax.vmap(lambda width: 2 * h.data(width) - h.lobes(width, width))(widths)
    best = jnp.argmax(gain.reshape(-1))
    axis = h.axis(best % _AXES)
    points = coordinates.begin_single(axis, _widest(h.a, axis), widths.concentration[best // _AXES])
    return tuple(jnp.stack(values) for values in zip(*points, strict=True))


def _several(coordinates: Coordinates, count: int, h: _Products, widths: _Width, thirds: _Width) -> Point:
    """The best pair of axes for lobes of two widths (2,), and the best lobe to add to it of widths (thirds,)."""
    first, second = (jax.tree.map(lambda leaf, i=i: leaf[i], widths) for i in range(2))
    g11, g22, g12 = h.lobes(first, first), h.lobes(second, second), h.pairs(first, second)
    h1, h2 = h.data(first), h.data(second)
    near = jnp.asarray(h.cosine > 0.99)
    gain = jnp.where(near, -jnp.inf, _mixture(h1[:, None], h2[None, :], g11, g22, g12)[0])
    # First the column: of a whole matrix an index is found slowly, a maximum fast.
    j = jnp.argmax(jnp.max(gain, axis=0))
    i = jnp.argmax(gain[:, j])
    _, w = _mixture(h1[i], h2[j], g11, g22, g12[i, j])
    pair = (
        *coordinates.begin(h.axis(i), first.concentration),
        *coordinates.begin(h.axis(j), second.concentration),
    )
    if count == 2:
        return (*pair, w)

    h12 = w * h1[i] + (1 - w) * h2[j]
    g = w * w * g11 + 2 * w * (1 - w) * g12[i, j] + (1 - w) ** 2 * g22

    def added(third: _Width) -> tuple[Array, Array]:
        """The gain by a third lobe on each axis, and its best weight."""
        g3, h3 = h.lobes(third, third), h.data(third)
        g123 = w * h.row(i, first, third) + (1 - w) * h.row(j, second, third)
        gain, share = _mixture(h3, h12, g3, g, g123)
        return jnp.where(near[i] | near[j], -jnp.inf, gain), share

    gains, shares = jax.vmap(added)(thirds)
    best = jnp.argmax(gains.reshape(-1))
    third = coordinates.begin(h.axis(best % _AXES), thirds.concentration[best // _AXES])
    return (*third, *pair, shares.reshape(-1)[best], w)


def _mixture(one: Array, other: Array, of_one: Array, of_other: Array, both: Array) -> tuple[Array, Array]:
    """The gain by a mixture of two parts of a FOD, and the best weight of the first.

    one, other: products of the parts with the data. of_one, of_other: with themselves. both: with each other.
    """
    w = _share(one - other + of_other - both, of_one - 2 * both + of_other)
    gain = 2 * (w * one + (1 - w) * other)
    return gain - w * w * of_one - 2 * w * (1 - w) * both - (1 - w) ** 2 * of_other, w


def _share(slope: Array, curvature: Array) -> Array:
    """Best weight of the first of two parts, kept away from 0 and 1."""
    return jnp.clip(slope / jnp.where(curvature > 0, curvature, 1), _LEAST, 1 - _LEAST)


def _widest(a: Array, axis: tuple[Array, ...]) -> tuple[Array, ...]:
    """Unit vector across an axis in which the second-order part of the FOD is largest."""
    # The symmetric tensor T with gᵀTg = Σ_m a_2m Y_2m(g), from its values at six axes.
    six = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]]) / np.sqrt([[1]] * 3 + [[2]] * 3)
    x, y, z = six.T
    tensor = np.linalg.inv(np.stack([x * x, y * y, z * z, 2 * x * y, 2 * x * z, 2 * y * z], axis=1))
    entries = jnp.matmul(jnp.asarray(tensor @ even_harmonics(six, 2)[:, 1:], a.dtype), a[:5], precision="highest")
    xx, yy, zz, xy, xz, yz = (entries[i] for i in range(6))

    def form(p: Vector, q: Vector) -> Array:
        rows = (xx, xy, xz), (xy, yy, yz), (xz, yz, zz)
        return frames.dot(p, tuple(frames.dot(row, q) for row in rows))

    e1, e2 = frames.across(axis)
    angle = 0.5 * jnp.arctan2(2 * form(e1, e2), form(e1, e1) - form(e2, e2))
    return frames.combine(jnp.cos(angle), e1, jnp.sin(angle), e2)
