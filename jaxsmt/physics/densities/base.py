"""What an orientation density is: a record of functions. Lobes, FOD fits and signals are made from it.

A density is even, and has its largest value along the axis μ of its own frame. With w = μ·n, v = μ₂·n and u the third
component of n,

    ψ(n) = exp(L(u, v, w; concentrations)) / Z,

L the logarithm up to a constant, Z the normaliser. Everything else follows by quadrature: coefficients in the harmonics
of the frame, their derivatives, and the order at which convolved signals may be cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ...geometry import dispersion, frames
from ...geometry.harmonics import even_harmonics
from ..frame_harmonics import NODES, FrameHarmonics, frame_harmonics, half_sphere_rule

#: Largest concentration that a fit considers: ODI 0.005, a spread of 3.6°.
LARGEST = 128.0


def odi_from_kappa(kappa: ArrayLike) -> Array:
    """`geometry.dispersion.odi_from_kappa` of anything that JAX takes as an array."""
    odi: Array = dispersion.odi_from_kappa(jnp.asarray(kappa))
    return odi


def kappa_from_odi(odi: ArrayLike) -> Array:
    """`geometry.dispersion.kappa_from_odi` of anything that JAX takes as an array."""
    kappa: Array = dispersion.kappa_from_odi(jnp.asarray(odi))
    return kappa


@dataclass(frozen=True)
class Density:
    """A family of orientation densities, a record of functions; hashable, as programs are compiled for it.

    A density with one axis is symmetric about it and has one concentration κ. One with two axes, μ and μ₂, is even in
    all three components and has two concentrations, κ along u and κ - β along v. At concentration 0 it is uniform.

    Args:
        name: letters and digits, as in file names.
        log_density: `(u, v, w, *concentrations) -> L`, the logarithm of ψ up to a constant: pure JAX, elementwise, even
            and smooth in u, v and w, 0 (its largest value) at w = 1.
        axes: 1 or 2. largest: the largest concentration that a fit considers.
        like_watson: κ of a Watson density -> the concentration that is about as wide; None: by its order parameter.
        nodes: of the quadrature in fits, in w and in azimuth; enough for the largest concentration.

    Example:
        >>> import jaxsmt as js
        >>> density = js.axial_density("power", lambda x, kappa: kappa * x**4)
        >>> density([0.0, 0.0, 1.0], 3.0).density([[0.0, 0.0, 1.0]]).shape
        (1,)
    """

    name: str
    log_density: Callable[..., Array]
    axes: int = 1
    largest: float = LARGEST
    like_watson: Callable[[float], float] | None = None
    nodes: tuple[int, int] = (28, 20)

    def __call__(self, mu: ArrayLike, *concentrations: ArrayLike, mu2: ArrayLike | None = None) -> Lobe:
        """A lobe of this family.

        Args:
            mu: (3,) axis, of any length but 0. concentrations: scalars, one for each axis.
            mu2: (3,) second axis; its part along μ is removed. None: any.
        """
        axis = _unit(mu)
        if mu2 is None:
            across = jnp.stack(frames.across((axis[0], axis[1], axis[2]))[0])
        else:
            second = jnp.asarray(mu2, axis.dtype)
            across = _unit(second - jnp.sum(axis * second) * axis)
        return Lobe(self, axis, across, tuple(jnp.asarray(c, axis.dtype) for c in concentrations))

    def basis(self, l_max: int, nodes: tuple[int, int] = NODES) -> FrameHarmonics:
        """The harmonics in which the density has coefficients.

        Args:
            l_max: even order. nodes: of the quadrature in w and in azimuth.
        Returns:
            the `FrameHarmonics`, made once.
        """
        return frame_harmonics(l_max, 0 if self.axes == 1 else l_max, nodes)

    def coefficients(self, basis: FrameHarmonics, concentrations: tuple[Array, ...]) -> tuple[Array, list[Array]]:
        """Coefficients of the density in the harmonics of its frame, and their derivatives.

        c_lm = ⟨A_lm⟩ and ∂c/∂κ = ⟨A ∂L/∂κ⟩ - c ⟨∂L/∂κ⟩, by quadrature.

        Args:
            basis: of `basis`. concentrations: a scalar for each axis.
        Returns:
            c, (coefficients,), and its derivative by each concentration.
        """
        log, slopes = self._at_nodes(basis, concentrations)
        weights = jnp.exp(log) * jnp.asarray(basis.rule.weights, log.dtype)
        rows = jnp.stack([weights, *(weights * slope for slope in slopes)])
        moments = jnp.matmul(rows, jnp.asarray(basis.at_nodes, rows.dtype), precision="highest")
        z = moments[0, 0]
        c = moments[0] / z
        return c, [(row - c * row[0]) / z for row in moments[1:]]

    def log_normaliser(self, concentrations: tuple[Array, ...]) -> Array:
        """Logarithm of the normaliser, log Z = log ∫exp(L) dn, by quadrature.

        Args:
            concentrations: a scalar for each axis.
        Returns:
            a scalar.
        """
        basis = self.basis(2)  # that of order 0 has one azimuth
        log, _ = self._at_nodes(basis, concentrations)
        total = jnp.sum(jnp.exp(log) * jnp.asarray(basis.rule.weights, log.dtype))
        return jnp.log(total) + float(np.log(4 * np.pi))

    def _at_nodes(self, basis: FrameHarmonics, concentrations: tuple[Array, ...]) -> tuple[Array, list[Array]]:
        """L at the nodes of the quadrature, and its derivatives by the concentrations."""
        dtype = jnp.result_type(concentrations[0])
        u, v, w = (jnp.asarray(x, dtype) for x in basis.rule[:3])
        return self.slopes((u, v, w), tuple(jnp.broadcast_to(c, u.shape) for c in concentrations))

    def slopes(self, at: tuple[Array, ...], spread: tuple[Array, ...]) -> tuple[Array, list[Array]]:
        """L and its derivatives by the concentrations.

        Args:
            at: u, v and w. spread: the concentrations; all of one shape.
        Returns:
            L, and its derivative by each concentration, of that shape.
        """

        def log(*spread: Array) -> Array:
            return self.log_density(*at, *spread)

        slopes = []
        for i in range(len(spread)):
            tangent = tuple(jnp.ones_like(c) if i == j else jnp.zeros_like(c) for j, c in enumerate(spread))
            value, slope = jax.jvp(log, spread, tangent)
            slopes.append(slope)
        return value, slopes

    def zonal(self, concentration: float, l_max: int) -> np.ndarray:
        """Coefficients c_l = ⟨P_l(μ·n)⟩ where all concentrations are the same, in NumPy.

        Args:
            concentration: of all axes. l_max: even order.
        Returns:
            (l_max/2 + 1,) for l = 0, 2, …, l_max.
        """
        return self.zonals(np.array([concentration]), l_max)[0]

    def zonals(self, concentrations: np.ndarray, l_max: int) -> np.ndarray:
        """`zonal` of many concentrations.

        Args:
            concentrations: (n,), each of all axes. l_max: even order.
        Returns:
            (n, l_max/2 + 1), in double precision.
        """
        return _zonal(self, tuple(concentrations.tolist()), l_max)

    def bound(self, l_max: int) -> np.ndarray:
        """The largest |c_l| of any concentration that a fit considers.

        Args:
            l_max: even order.
        Returns:
            (l_max/2 + 1,) for l = 0, 2, …, l_max, in NumPy.
        """
        grid = np.geomspace(self.largest / 100, self.largest, 12)
        largest: np.ndarray = np.abs(self.zonals(grid, l_max)).max(axis=0)
        return largest

    def as_wide_as_watson(self, kappa: float) -> float:
        """The concentration at which the density is about as wide as Watson's.

        Args:
            kappa: of a Watson density.
        Returns:
            where the order parameter ⟨P₂⟩ is the same, at most the largest concentration.
        """
        if self.like_watson is not None:
            return self.like_watson(kappa)
        grid = np.geomspace(self.largest * 1e-4, self.largest, 200)
        order = self.zonals(grid, 2)[:, 1]
        return float(np.interp(watson_zonal(kappa, 2)[1], np.maximum.accumulate(order), grid))


@partial(jax.tree_util.register_dataclass, data_fields=["axis", "across", "concentrations"], meta_fields=["family"])
@dataclass(frozen=True)
class Lobe:
    """One density of a family, with its axes; build it with `watson`, `bingham` or a `Density`.

    Attributes:
        family: the `Density`. axis: (3,) unit vector μ. across: (3,) unit vector μ₂ ⟂ μ, without meaning where the
            family has one axis. concentrations: scalars.
    """

    family: Density
    axis: Array
    across: Array
    concentrations: tuple[Array, ...]

    def components(self, directions: ArrayLike) -> tuple[Array, Array, Array]:
        """u, v, w: components of unit vectors (..., 3) in the lobe's frame."""
        n = jnp.asarray(directions)

        def along(axis: Array) -> Array:
            return jnp.sum(n * axis.reshape((1,) * (n.ndim - 1) + (3,)), axis=-1)

        return along(jnp.cross(self.axis, self.across)), along(self.across), along(self.axis)

    def density(self, directions: ArrayLike) -> Array:
        """ψ(n) per steradian at unit vectors (..., 3); its integral over the sphere is 1."""
        u, v, w = self.components(directions)
        spread = [jnp.broadcast_to(c, w.shape) for c in self.concentrations]
        return jnp.exp(self.family.log_density(u, v, w, *spread) - self.family.log_normaliser(self.concentrations))

    def harmonics(self, l_max: int) -> Array:
        """Coefficients ∫ψ Y_lm dn of the density up to an even order, in MRtrix's basis and order.

        See `geometry.harmonics.even_harmonics`; the axes are those in which μ is given.
        """
        basis = self.family.basis(l_max)
        c, _ = self.family.coefficients(basis, self.concentrations)
        # The density cut at l_max is a polynomial: a product rule of that order integrates it exactly.
        points, weights = half_sphere_rule(l_max)
        monomials = basis.monomials(*self.components(jnp.asarray(points, c.dtype)))
        product = partial(jnp.matmul, precision="highest")
        density = product(monomials, product(jnp.asarray(basis.polynomials, c.dtype), c))
        return product(density, jnp.asarray(weights[:, None] * even_harmonics(points, l_max), c.dtype))


def axial_density(
    name: str, log_density: Callable[[Array, Array], Array], largest: float = LARGEST, nodes: int = 48
) -> Density:
    """A density of one's own that is symmetric about its axis, given as a function of the cosine.

    ψ(n) ∝ exp(f(x, κ)) with x = |μ·n|. It works wherever "watson" does.

    Args:
        name: letters and digits, as in file names.
        log_density: f, `(x, kappa) -> log ψ` up to a constant: pure JAX, elementwise, smooth and even in x, uniform at
            κ = 0 and narrower as κ grows.
        largest: κ that a fit goes up to. nodes: of the quadrature in x; `check_density` says whether they are enough.
    Returns:
        a `Density`: call it with (mu, kappa) for a lobe, or give it to `FodModel`.

    Example:
        >>> import jaxsmt as js
        >>> narrow_top = js.axial_density("power", lambda x, kappa: kappa * x**4)
        >>> signal = js.signal.convolved([[0.0, 0.0, 1.0]], 1.0, (1.7, 0.2), narrow_top([0.0, 0.0, 1.0], 4.0))
        >>> signal.shape
        (1,)
    """
    return Density(name, _Axial(log_density), largest=largest, nodes=(nodes, 1))


@dataclass(frozen=True)
class _Axial:
    """A function of the cosine as one of the components, 0 along the axis."""

    log_density: Callable[[Array, Array], Array]

    def __call__(self, u: Array, v: Array, w: Array, kappa: Array) -> Array:
        return self.log_density(jnp.abs(w), kappa) - self.log_density(jnp.ones_like(w), kappa)


def watson_zonal(kappa: float, l_max: int) -> np.ndarray:
    """c_l = ⟨P_l(μ·n)⟩ of a Watson density for l = 0, 2, …, l_max, (l_max/2 + 1,), in NumPy; κ may be inf."""
    if np.isinf(kappa):
        return np.ones(l_max // 2 + 1)
    x, weights = np.polynomial.legendre.leggauss(256)
    density = weights * np.exp(kappa * (x**2 - 1))
    coefficients: np.ndarray = density @ np.polynomial.legendre.legvander(x, l_max)[:, ::2] / density.sum()
    return coefficients


@cache
def _zonal(family: Density, concentrations: tuple[float, ...], l_max: int) -> np.ndarray:
    """c_l of each concentration, (concentrations, l_max/2 + 1), in double precision."""
    x, weights = np.polynomial.legendre.leggauss(256)
    across = np.sqrt((1 - x**2) / 2)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        nodes = [jnp.asarray(np.broadcast_to(c, (len(concentrations), 256))) for c in (across, across, x)]
        spread = [jnp.broadcast_to(jnp.asarray(concentrations, float)[:, None], nodes[0].shape)] * family.axes
        density = np.exp(np.asarray(family.log_density(*nodes, *spread))) * weights
    moments: np.ndarray = density @ np.polynomial.legendre.legvander(x, l_max)[:, ::2]
    return moments / moments[:, :1]


def _unit(vector: ArrayLike) -> Array:
    vector = jnp.asarray(vector)
    vector = vector if jnp.issubdtype(vector.dtype, jnp.floating) else vector.astype(jnp.result_type(float))
    return vector / jnp.sqrt(jnp.sum(vector**2))
