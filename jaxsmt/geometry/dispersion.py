"""Dispersion about an axis: orientation dispersion index (ODI) and concentration κ. For NumPy and JAX; imports no JAX.

Source: Zhang et al. 2012, NeuroImage 61:1000, doi:10.1016/j.neuroimage.2012.03.072.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np


def odi_from_kappa(kappa: Any) -> Any:
    """Orientation dispersion index ODI = (2/π)·arctan(1/κ): 1 is isotropic, 0 is parallel.

    Args:
        kappa: concentration κ ≥ 0, an array (...) of NumPy or JAX; inf is parallel.
    Returns:
        ODI in [0, 1], (...), of the same kind.
    """
    xp = kappa.__array_namespace__()
    return xp.arctan2(xp.ones_like(kappa), kappa) * (2 / pi)


def kappa_from_odi(odi: Any) -> Any:
    """Concentration κ = cot(π·ODI/2), the inverse of `odi_from_kappa`.

    Args:
        odi: ODI, an array (...) of NumPy or JAX.
    Returns:
        κ, (...), of the same kind; inf at 0, negative beyond 1.
    """
    xp = odi.__array_namespace__()
    small = odi < 0.5  # each form where its argument keeps its digits
    with np.errstate(divide="ignore"):  # at 0
        narrow = 1 / xp.tan(xp.where(small, odi, 0.5) * (pi / 2))
    return xp.where(small, narrow, xp.tan((1 - xp.where(small, 0.5, odi)) * (pi / 2)))
