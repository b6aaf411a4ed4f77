"""Spheres: `S1Dot`, `S4SphereGaussianPhaseApproximation`."""

from __future__ import annotations

from ... import Compartment, Parameter, dot, sphere
from .. import refuse
from .base import WATER_IN_AXONS, SignalModel, by_diameter

__all__ = ["S1Dot", "S4SphereGaussianPhaseApproximation"]
_NOT_COVERED = ("S2SphereStejskalTannerApproximation",)
__getattr__ = refuse("sphere_models", __all__, _NOT_COVERED)


class S1Dot(SignalModel):
    """Water that does not move: the signal is 1; it has no parameters."""

    def _compartment(self) -> Compartment:
        return dot()


class S4SphereGaussianPhaseApproximation(SignalModel):
    """Diffusion restricted in a sphere. Schemes need delta and Delta.

    Args:
        diameter: of the sphere, m.
        diffusion_constant: diffusivity inside, m²/s; it is not fitted.

    Example:
        >>> list(S4SphereGaussianPhaseApproximation().parameter_names)
        ['diameter']

    Source: Murday & Cotts 1968, J Chem Phys 48:4938, doi:10.1063/1.1668160.
    """

    _names = ("diameter",)

    def __init__(self, diameter: float | None = None, diffusion_constant: float = WATER_IN_AXONS):
        super().__init__(diameter=diameter)
        self.diffusion_constant = diffusion_constant

    def _compartment(self) -> Compartment:
        low, high = self.parameter_ranges["diameter"]
        diameter = Parameter("diameter", low, high, 10.0, "um", smallest=1e-3, largest=50.0)
        return by_diameter(sphere(), diameter, self.diffusion_constant)
