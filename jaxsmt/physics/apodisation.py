"""Narrow lobes in few harmonics: cut, they ring; apodised, they are as narrow as the order allows. NumPy.

A narrow density that is cut at an even order L has ripples all over the sphere, which peak finders take for lobes. Of
all even polynomials of order L whose ripples are at most r of the peak, T_L(x₀ cos θ) has the narrowest main lobe: the
Chebyshev polynomial with T_L(x₀) = 1/r (Dolph 1946, Proc IRE 34:335, doi:10.1109/JRPROC.1946.225956). Lobes
that are too narrow for the order are convolved with what makes a Watson density of their width that lobe.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .densities.base import LARGEST, Density, watson_zonal

# The narrowest Watson density that may be cut becomes the Chebyshev lobe while its concentration grows by this factor.
_BLEND = 1.2
# Concentrations at which gains are computed; those of lobes are interpolated.
_GRID = 400
_COSINES = np.cos(np.radians(np.linspace(0, 90, 1801)))


@cache
def narrowest_lobe(lmax: int, ripple: float) -> np.ndarray:
    """Coefficients c_l = ⟨P_l⟩ of the narrowest lobe of an order that has ripples of at most this part of its peak.

    Args:
        lmax: even order.
        ripple: in (0, 1).
    Returns:
        (lmax/2 + 1,) for l = 0, 2, …, lmax.

    Example:
        >>> narrowest_lobe(8, 0.003).round(3)
        array([1.   , 0.834, 0.535, 0.248, 0.071])
    """
    if lmax == 0:
        return np.ones(1)
    x, weights = np.polynomial.legendre.leggauss(lmax + 1)
    stretch = np.cosh(np.arccosh(1 / ripple) / lmax)
    values = weights * np.polynomial.chebyshev.chebval(stretch * x, [0] * lmax + [1])
    coefficients: np.ndarray = values @ np.polynomial.legendre.legvander(x, lmax)[:, ::2]
    return coefficients / coefficients[0]


@cache
def largest_kappa(lmax: int, ripple: float) -> float:
    """κ of the narrowest Watson density that, cut at an order, goes below zero by at most this part of its peak.

    Args:
        lmax: even order, 2 or more.
        ripple: in (0, 1).
    Returns:
        κ, at most that of the narrowest lobe of a fit.

    Example:
        >>> round(largest_kappa(8, 0.003), 2)
        6.5
    """
    low, high = 0.1, LARGEST
    while high / low > 1 + 1e-9:
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if _depth(watson_zonal(middle, lmax)) <= ripple else (low, middle)
    return low


def gains(density: Density, concentrations: np.ndarray, lmax: int, ripple: float) -> np.ndarray:
    """By what each degree of lobes is multiplied so that they ring by no more than about `ripple`.

    Args:
        density: the lobes' family.
        concentrations: (lobes,), the largest of each lobe.
        lmax: even order.
        ripple: in (0, 1), over a lobe's peak.
    Returns:
        (lobes, lmax/2 + 1) for l = 0, 2, …, lmax; 1 for lobes that the order holds.
    """
    if lmax == 0:
        return np.ones((len(concentrations), 1))
    grid, table = _table(density, lmax, ripple)
    return np.stack([np.interp(concentrations, grid, column) for column in table.T], axis=1)


@cache
def _table(density: Density, lmax: int, ripple: float) -> tuple[np.ndarray, np.ndarray]:
    """Concentrations, (grid,), and their gains, (grid, lmax/2 + 1)."""
    grid = np.geomspace(density.largest * 1e-3, density.largest, _GRID)
    widest = largest_kappa(lmax, ripple)
    # Width is told by ⟨P₂⟩, whatever the density.
    begin, end = (watson_zonal(kappa, lmax)[1] for kappa in (widest, _BLEND * widest))
    lobes = density.zonals(grid, lmax)
    share = np.clip((lobes[:, 1:2] - begin) / (end - begin), 0, 1)
    given = (1 - share) * lobes + share * narrowest_lobe(lmax, ripple)
    return grid, np.where(share > 0, given / np.where(share > 0, lobes, 1), 1.0)


def _depth(coefficients: np.ndarray) -> float:
    """How far a lobe of these c_l, which is symmetric about its axis, goes below zero, over its peak."""
    full = np.zeros(2 * len(coefficients) - 1)
    full[::2] = (4 * np.arange(len(coefficients)) + 1) * coefficients
    values = np.polynomial.legendre.legval(_COSINES, full)
    return float(-values.min() / values[0])
