"""Cylinders: `C1Stick`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ... import Compartment, stick
from .. import refuse
from .base import SignalModel

__all__ = ["C1Stick"]
__getattr__ = refuse("cylinder_models", __all__)


class C1Stick(SignalModel):
    """Diffusion along an axis only.

    Args:
        mu: [θ, φ] of the axis, in radians.
        lambda_par: diffusivity along the axis, m²/s.

    Example:
        >>> from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
        >>> scheme = acquisition_scheme_from_bvalues([0, 1e9, 1e9], [[0, 0, 0], [0, 0, 1], [1, 0, 0]])
        >>> C1Stick(mu=[0, 0], lambda_par=2e-9)(scheme).round(3).tolist()
        [1.0, 0.135, 1.0]
    """

    _names = ("mu", "lambda_par")

    def __init__(self, mu: ArrayLike | None = None, lambda_par: float | None = None):
        super().__init__(mu=mu, lambda_par=lambda_par)

    def _compartment(self) -> Compartment:
        return stick()
