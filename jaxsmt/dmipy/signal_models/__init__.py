"""Compartments."""

from .. import refuse

__getattr__ = refuse("signal_models", ["gaussian_models", "cylinder_models", "sphere_models"], __name__)
