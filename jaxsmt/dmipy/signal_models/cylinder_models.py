"""Cylinders: `C1Stick`, `C4CylinderGaussianPhaseApproximation`."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ... import Compartment, Parameter, cylinder, stick
from .. import refuse
from .base import WATER_IN_AXONS, SignalModel, by_diameter

__all__ = ["C1Stick", "C4CylinderGaussianPhaseApproximation"]
_NOT_COVERED = (
    "C2CylinderStejskalTannerApproximation",
    "C3CylinderCallaghanApproximation",
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


class C4CylinderGaussianPhaseApproximation(SignalModel):
    """Diffusion along an axis, and restricted across it in a cylinder. Schemes need delta and Delta.

    Args:
        mu: [θ, φ] of the axis, in radians.
        lambda_par: diffusivity along the axis, m²/s.
        diameter: of the cylinder, m.
        diffusion_perpendicular: diffusivity across the axis, m²/s; it is not fitted.

    Example:
        >>> list(C4CylinderGaussianPhaseApproximation().parameter_names)
        ['mu', 'lambda_par', 'diameter']

    Source: van Gelderen et al. 1994, J Magn Reson B 103:255, doi:10.1006/jmrb.1994.1038.
    """

    _names = ("mu", "lambda_par", "diameter")

    def __init__(
        self,
        mu: ArrayLike | None = None,
        lambda_par: float | None = None,
        diameter: float | None = None,
        diffusion_perpendicular: float = WATER_IN_AXONS,
    ):
        super().__init__(mu=mu, lambda_par=lambda_par, diameter=diameter)
        self.diffusion_perpendicular = diffusion_perpendicular

    def _compartment(self) -> Compartment:
        low, high = self.parameter_ranges["diameter"]
        diameter = Parameter("diameter", low, high, 4.0, "um", smallest=1e-3, largest=50.0)
        return by_diameter(cylinder(), diameter, self.diffusion_perpendicular)
