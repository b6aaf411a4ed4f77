"""Gaussian diffusion: `G1Ball`, `G2Zeppelin`."""

from __future__ import annotations

from ...physics import compartments
from .. import refuse
from .base import SignalModel

__all__ = ["G1Ball", "G2Zeppelin"]
__getattr__ = refuse("gaussian_models", __all__)


class G1Ball(SignalModel):
    """Isotropic diffusion; lambda_iso in m²/s."""

    _names = ("lambda_iso",)

    def __init__(self, lambda_iso=None):
        super().__init__(lambda_iso=lambda_iso)

    def _compartment(self):
        return compartments.ball()


class G2Zeppelin(SignalModel):
    """Axially symmetric diffusion; mu = [θ, φ], lambda_par and lambda_perp in m²/s."""

    _names = ("mu", "lambda_par", "lambda_perp")

    def __init__(self, mu=None, lambda_par=None, lambda_perp=None):
        super().__init__(mu=mu, lambda_par=lambda_par, lambda_perp=lambda_perp)

    def _compartment(self):
        return compartments.zeppelin()
