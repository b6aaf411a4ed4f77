"""Bundles of compartments."""

from .. import refuse

__getattr__ = refuse("distributions", ("distribute_models", "distributions"), (), __name__)
