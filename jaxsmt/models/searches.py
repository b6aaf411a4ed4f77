"""Where the searches for a model's parameters start."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from ..physics.compartments import Parameter

# Most points of the grid on which searches look for their starts, and how many searches there may be.
_GRID, _STARTS = 1000, 4


def start_grid(free: Sequence[Parameter]) -> np.ndarray:
    """Parts of the intervals of free parameters at which searches look for their starts.

    A search starts at the best of the points. More than two parameters can have several optima: then one search starts
    at each of a few values of the first of them.

    Returns:
        (searches, points, free parameters), in (0, 1).
    """
    axes = [np.array(p.starts if p.start is None else (0.5,)) for p in free]
    several = len(axes) > 2 and len(axes[0]) > _STARTS
    if several:
        axes[0] = _thinned(axes[0], _STARTS)
    while np.prod([len(axis) for axis in axes]) > _GRID:
        longest = max(range(several, len(axes)), key=lambda i: len(axes[i]))
        axes[longest] = _thinned(axes[longest], len(axes[longest]) - 1)
    points = np.array(list(itertools.product(*axes)))
    return points.reshape(len(axes[0]) if several else 1, -1, len(axes))


def _thinned(values: np.ndarray, n: int) -> np.ndarray:
    """The first, the last and others of the values, n in all."""
    return values[np.round(np.linspace(0, len(values) - 1, n)).astype(int)]
