"""Between concentrations and orientation dispersion indices."""

from __future__ import annotations

import numpy as np

from ...physics.orientation import kappa_from_odi, odi_from_kappa
from .. import refuse

__all__ = ["kappa2odi", "odi2kappa"]
__getattr__ = refuse("distributions", __all__)


def odi2kappa(odi):
    """κ = cot(π ODI/2)."""
    return np.asarray(kappa_from_odi(odi))


def kappa2odi(kappa):
    """ODI = (2/π) arctan(1/κ)."""
    return np.asarray(odi_from_kappa(kappa))
