"""Where to start: the best of a grid of parameter values, all tried in one matrix product."""

from __future__ import annotations

import itertools

import numpy as np

from ..models import SphericalMeanModel


def grid(model: SphericalMeanModel, per_axis: int = 8) -> np.ndarray:
    """Parameter values on a grid inside the model's bounds, (points, parameters), float64.

    Cell centres, so that no start is at a bound, where the signal may not depend on a parameter.
    """
    axes = [
        p.lower + (p.upper - p.lower) * (np.arange(per_axis) + 0.5) / per_axis for p in model.parameters
    ]
    return np.array(list(itertools.product(*axes)))
