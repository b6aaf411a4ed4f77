"""Compartments."""

from .. import refuse

__getattr__ = refuse(
    "signal_models",
    ("gaussian_models", "cylinder_models", "sphere_models"),
    ("capped_cylinder_models", "plane_models", "tissue_response_models"),
    __name__,
)
