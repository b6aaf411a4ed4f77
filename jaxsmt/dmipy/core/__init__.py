"""Acquisition schemes, models and fits."""

from .. import refuse

__getattr__ = refuse("core", ["modeling_framework", "acquisition_scheme", "fitted_modeling_framework"], __name__)
