"""Where to start: the best of a grid of parameter values, all tried in one matrix product."""

from __future__ import annotations

import itertools

import numpy as np

from ..models import SphericalMeanModel


def grid(model: SphericalMeanModel) -> np.ndarray:
    """Every combination of the parameters' starts, (points, parameters), float64."""
    axes = [p.lower + (p.upper - p.lower) * np.array(p.starts) for p in model.parameters]
    return np.array(list(itertools.product(*axes)))
