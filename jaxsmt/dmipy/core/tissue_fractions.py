"""Volume fractions of tissues with different S0: dmipy's second fit, linear and exact."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float

# Least fraction, as in dmipy.
_LEAST = 1e-3
# Voxels at once.
_BLOCK = 8192


def tissue_fractions(
    means: Float[np.ndarray, "voxels shells"],
    signals: Float[np.ndarray, "voxels shells models"],
    responses: Float[np.ndarray, " models"],
) -> Float[np.ndarray, "voxels models"]:
    """The fractions v ≥ 0.001 with the least Σ (means - Σ_m v_m S0_m signals_m)²; they need not sum to 1.

    Args:
        means: spherical means, in units of the data.
        signals: the spherical means over S0 of each compartment.
        responses: S0 of the tissue of each compartment, in units of the data.
    Returns:
        the fractions.
    """
    out = np.empty((len(means), len(responses)))
    for i in range(0, len(means), _BLOCK):
        out[i : i + _BLOCK] = _least_squares(means[i : i + _BLOCK], signals[i : i + _BLOCK] * responses)
    return out


def _least_squares(y: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bounded least squares: every set of coefficients that are not at the bound is tried, so that it is exact."""
    n = columns.shape[2]
    best, least = np.full((len(y), n), _LEAST), np.full(len(y), np.inf)
    for free in itertools.product((False, True), repeat=n):
        at, v = np.array(free), np.full((len(y), n), _LEAST)
        if at.any():
            left = y - columns[:, :, ~at].sum(axis=2) * _LEAST
            inverse = np.linalg.pinv(columns[:, :, at])
            v[:, at] = np.einsum("vms,vs->vm", inverse, left)
        cost = np.sum((y - np.einsum("vsm,vm->vs", columns, v)) ** 2, axis=1)
        better = np.all(v >= _LEAST, axis=1) & (cost < least)
        best[better], least[better] = v[better], cost[better]
    return best
