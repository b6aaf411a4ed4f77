"""Spheres: `S1Dot`."""

from __future__ import annotations

from ...physics import compartments
from .. import refuse
from .base import SignalModel

__all__ = ["S1Dot"]
__getattr__ = refuse("sphere_models", __all__)


class S1Dot(SignalModel):
    """Water that does not move."""

    def _compartment(self):
        return compartments.dot()
