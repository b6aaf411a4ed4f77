"""Narrow lobes in few harmonics: cut, they ring; apodised, they are as narrow as the order allows. NumPy.

A narrow density that is cut at an even order L has ripples all over the sphere, which peak finders take for lobes. Of
all even polynomials of order L whose ripples are at most r of the peak, T_L(x₀ cos θ) has the narrowest main lobe: the
Chebyshev polynomial with T_L(x₀) = 1/r (Dolph 1946, Proc IRE 34:335, doi:10.1109/JRPROC.1946.225956). Lobes
that are too narrow for the order are convolved with what makes a Watson density of their width that lobe. Fans, whose
two widths differ, would ring more then: the ripples of a narrow lobe add up along them while its peak does not. They
are smoothed on the sphere besides, exp(-t l(l+1)), by as much as makes their ripples as low.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .densities.base import LARGEST, Density, watson_zonal
from .frame_harmonics import octant_rule

# The narrowest Watson density that may be cut becomes the Chebyshev lobe while its concentration grows by this factor.
_BLEND = 1.2
# Concentrations at which gains are computed; those of lobes are interpolated.
_GRID = 400
# The same of fans: larger concentrations, ratios of both, points of the sphere, and the largest t, found in so many
# steps.
_FAN_GRID, _FAN_RATIOS, _FAN_POINTS, _FAN_MOST, _FAN_STEPS = 80, 9, 24, 0.1, 16
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
    blended = (1 - share) * lobes + share * narrowest_lobe(lmax, ripple)
    return grid, np.where(share > 0, blended / np.where(share > 0, lobes, 1), 1.0)


def fan_gains(density: Density, concentrations: np.ndarray, lmax: int, ripple: float) -> np.ndarray:
    """By what each degree of fans is multiplied besides `gains` so that they ring no more than round lobes.

    Args:
        density: the lobes' family, of two axes.
        concentrations: (lobes, 2).
        lmax: even order.
        ripple: in (0, 1), over a lobe's peak.
    Returns:
        (lobes, lmax/2 + 1) for l = 0, 2, …, lmax; 1 for lobes that need nothing more.
    """
    l = 2 * np.arange(lmax // 2 + 1)
    if lmax == 0:
        return np.ones((len(concentrations), 1))
    grid, ratios, table = _fan_table(density, lmax, ripple)
    largest = np.clip(concentrations.max(axis=1), grid[0], grid[-1])
    ratio = np.clip(concentrations.min(axis=1) / largest, 0, 1)
    row = np.interp(np.log(largest), np.log(grid), np.arange(len(grid)))
    column = np.interp(ratio, ratios, np.arange(len(ratios)))
    i, j = (np.minimum(at.astype(int), n - 2) for at, n in zip((row, column), table.shape, strict=True))
    y, x = row - i, column - j
    below = (1 - x) * table[i, j] + x * table[i, j + 1]
    above = (1 - x) * table[i + 1, j] + x * table[i + 1, j + 1]
    smoothing = (1 - y) * below + y * above
    gained: np.ndarray = np.exp(-smoothing[:, None] * (l * (l + 1)))
    return gained


@cache
def _fan_table(density: Density, lmax: int, ripple: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Larger concentrations, smaller ones over these, and t of the smoothing of each pair."""
    grid, ratios = np.geomspace(density.largest * 1e-2, density.largest, _FAN_GRID), np.linspace(0, 1, _FAN_RATIOS)
    across, ratio = (values.ravel() for values in np.meshgrid(grid, ratios, indexing="ij"))
    basis = density.basis(lmax)
    u, v, w, weights = basis.rule
    log = np.asarray(density.log_density(u, v, w, across[:, None], (ratio * across)[:, None]), float)
    moments = np.exp(log) * weights @ basis.at_nodes
    lobes = moments / moments[:, :1] * gains(density, across, lmax, ripple)[:, basis.l // 2]
    around = octant_rule(_FAN_POINTS, _FAN_POINTS)[:3]
    harmonics = basis.evaluate(*(np.append(at, top) for at, top in zip(around, (0.0, 0.0, 1.0), strict=True)))

    def low_enough(t: np.ndarray) -> np.ndarray:
        values = lobes * np.exp(-t[:, None] * (basis.l * (basis.l + 1))) @ harmonics.T
        return values.min(axis=1) >= -ripple * values[:, -1]

    low, high = np.zeros(len(across)), np.full(len(across), _FAN_MOST)
    high[low_enough(low)] = 0.0
    for _ in range(_FAN_STEPS):
        middle = (low + high) / 2
        enough = low_enough(middle)
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return grid, ratios, high.reshape(_FAN_GRID, _FAN_RATIOS)


def _depth(coefficients: np.ndarray) -> float:
    """How far a lobe of these c_l, which is symmetric about its axis, goes below zero, over its peak."""
    full = np.zeros(2 * len(coefficients) - 1)
    full[::2] = (4 * np.arange(len(coefficients)) + 1) * coefficients
    values = np.polynomial.legendre.legval(_COSINES, full)
    return float(-values.min() / values[0])
