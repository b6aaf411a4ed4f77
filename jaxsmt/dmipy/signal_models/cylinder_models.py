"""Cylinders: `C1Stick`."""

from __future__ import annotations

from ...physics import compartments
from .. import refuse
from .base import SignalModel

__all__ = ["C1Stick"]
__getattr__ = refuse("cylinder_models", __all__)


class C1Stick(SignalModel):
    """Diffusion along an axis only; mu = [θ, φ], lambda_par in m²/s."""

    _names = ("mu", "lambda_par")

    def __init__(self, mu=None, lambda_par=None):
        super().__init__(mu=mu, lambda_par=lambda_par)

    def _compartment(self):
        return compartments.stick()
