"""Cylinders: `C1Stick`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ... import Compartment, stick
from .. import refuse
from .base import SignalModel

__all__ = ["C1Stick"]
_NOT_COVERED = (
    "C2CylinderStejskalTannerApproximation",
    "C3CylinderCallaghanApproximation",
    "C4CylinderGaussianPhaseApproximation",
)
__getattr__ = refuse("cylinder_models", __all__, _NOT_COVERED)


class C1Stick(SignalModel):
    """Diffusion along an axis only.

    Args:
        mu: [θ, φ] of the axis, in radians.
        lambda_par: diffusivity along the axis, m²/s.

    Example:
        >>> import jaxsmt as js
        >>> from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
        >>> table = js.simulate.hcp_scheme(n_b0=1, n_directions=12)
        >>> scheme = acquisition_scheme_from_bvalues(table.bvals * 1e6, table.bvecs)
        >>> C1Stick(lambda_par=2e-9).spherical_mean(scheme).round(3).tolist()
        [1.0, 0.598, 0.441, 0.362]
    """

    _names = ("mu", "lambda_par")

    def __init__(self, mu: ArrayLike | None = None, lambda_par: float | None = None):
        super().__init__(mu=mu, lambda_par=lambda_par)

    def _compartment(self) -> Compartment:
        return stick()
