"""Spheres: `S1Dot`."""

from __future__ import annotations

from ... import Compartment, dot
from .. import refuse
from .base import SignalModel

__all__ = ["S1Dot"]
_NOT_COVERED = (
    "S2SphereStejskalTannerApproximation",
    "S4SphereGaussianPhaseApproximation",
)
__getattr__ = refuse("sphere_models", __all__, _NOT_COVERED)


class S1Dot(SignalModel):
    """Water that does not move: the signal is 1; it has no parameters."""

    def _compartment(self) -> Compartment:
        return dot()
