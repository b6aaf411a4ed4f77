"""Acquisition schemes, models and fits."""

from .. import refuse

__getattr__ = refuse(
    "core",
    ("modeling_framework", "acquisition_scheme", "fitted_modeling_framework"),
    ("constants", "gradient_conversions", "signal_model_properties"),
    __name__,
)
