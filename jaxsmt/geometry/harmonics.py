"""Real, even, orthonormal spherical harmonics, of NumPy's arrays or JAX's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import InputError, shown


def n_coefficients(lmax: int) -> int:
    """Number of even harmonics up to an even order: (lmax+1)(lmax+2)/2.

    Example:
        >>> n_coefficients(8)
        45
    """
    return (lmax + 1) * (lmax + 2) // 2


def even_harmonics(directions: Any, lmax: int) -> Any:
    """Real even spherical harmonics, orthonormal on the sphere.

    Y_l0 = P̄_l^0, Y_lm = √2 P̄_l^m cos(mφ) and Y_l,-m = √2 P̄_l^m sin(mφ) for m > 0, with P̄ the
    normalised associated Legendre functions with the Condon-Shortley phase (-1)^m: MRtrix's basis
    (tournier07). Columns in its order: l = 0, 2, …, lmax and m = -l … l within each l.

    Args:
        directions: (n, 3) unit vectors, of NumPy or JAX.
        lmax: even order.
    Returns:
        (n, (lmax+1)(lmax+2)/2).

    Example:
        >>> even_harmonics(np.array([[0.0, 0.0, 1.0]]), 2)[0, [0, 3]].round(4)
        array([0.2821, 0.6308])
    """
    xp = directions.__array_namespace__()
    x, y, z = directions.T
    sine, phi = xp.hypot(x, y), xp.atan2(y, x)
    legendre = _normalised_legendre(z, sine, lmax)
    columns = []
    for l in range(0, lmax + 1, 2):
        for m in range(-l, l + 1):
            angular = xp.cos(m * phi) if m >= 0 else xp.sin(-m * phi)
            columns.append((math.sqrt(2) if m else 1.0) * legendre[l, abs(m)] * angular)
    return xp.stack(columns, axis=1)


#: Bases in which FODs can be given.
BASES = ("mrtrix", "descoteaux07", "descoteaux07_legacy")


def to_basis(coefficients: np.ndarray, basis: str) -> np.ndarray:
    """Turn coefficients of MRtrix's basis into those of another: DIPY's `descoteaux07`, legacy or not.

    All bases have the order m = -l … l within each l. Where MRtrix's coefficients are c (cosines at m > 0, sines at
    m < 0), those of DIPY are c_-m at m > 0; at m < 0 they are c_|m| in the legacy basis, else (-1)^m c_|m|.

    Args:
        coefficients: (..., n) of the even harmonics.
        basis: one of `BASES`.
    Returns:
        (..., n).
    Raises:
        InputError: another basis.
    """
    if basis == "mrtrix":
        return coefficients
    if basis not in BASES:
        raise InputError(f"unknown basis {shown(basis)}", fix=f"basis= is one of {', '.join(BASES)}")
    out = np.array(coefficients)
    l = 0
    while n_coefficients(l) <= out.shape[-1]:
        centre = l * (l + 1) // 2
        for m in range(1, l + 1):
            out[..., centre + m] = coefficients[..., centre - m]
            out[..., centre - m] = (1 if basis.endswith("legacy") else (-1) ** m) * coefficients[..., centre + m]
        l += 2
    return out


def _normalised_legendre(z: Any, sine: Any, lmax: int) -> dict[tuple[int, int], Any]:
    """P̄_l^m for 0 ≤ m ≤ l ≤ lmax by the stable recurrence in l at fixed m."""
    p = {(0, 0): z.__array_namespace__().full_like(z, math.sqrt(0.25 / math.pi))}
    for m in range(lmax + 1):
        if m:
            p[m, m] = -math.sqrt((2 * m + 1) / (2 * m)) * sine * p[m - 1, m - 1]
        if m < lmax:
            p[m + 1, m] = math.sqrt(2 * m + 3) * z * p[m, m]
        for l in range(m + 2, lmax + 1):
            a = math.sqrt((4 * l * l - 1) / (l * l - m * m))
            b = math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1))
            p[l, m] = a * (z * p[l - 1, m] - b * p[l - 2, m])
    return p
