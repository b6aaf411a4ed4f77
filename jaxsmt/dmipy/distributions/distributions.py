"""Between concentrations and orientation dispersion indices."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ...geometry.dispersion import kappa_from_odi, odi_from_kappa
from .. import refuse

__all__ = ["kappa2odi", "odi2kappa"]
_NOT_COVERED = (
    "get_sh_order_from_odi",
    "SD1Watson",
    "SD2Bingham",
    "SD3SphericalHarmonics",
    "DD1Gamma",
)
__getattr__ = refuse("distributions", __all__, _NOT_COVERED)


def odi2kappa(odi: ArrayLike) -> np.ndarray:
    """Concentration of an orientation dispersion index, κ = cot(π ODI/2).

    Args:
        odi: (...) in [0, 1].

    Returns:
        (...) κ, from infinity at 0 to 0 at 1.

    Example:
        >>> odi2kappa(0.5).round(3).item()
        1.0
    """
    return np.asarray(kappa_from_odi(np.asarray(odi, float)))


def kappa2odi(kappa: ArrayLike) -> np.ndarray:
    """Orientation dispersion index of a concentration, ODI = (2/π) arctan(1/κ).

    Args:
        kappa: (...) of at least 0.

    Returns:
        (...) ODI, from 1 at 0 to 0 at infinity.

    Example:
        >>> kappa2odi(1.0).round(3).item()
        0.5
    """
    return np.asarray(odi_from_kappa(np.asarray(kappa, float)))
