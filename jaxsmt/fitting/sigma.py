"""σ of many voxels from estimates in each."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Fewest voxels whose σ are drawn to their median.
_FEW_VOXELS = 30


def pooled(sigma: Float[np.ndarray, " voxels"], freedom: int) -> tuple[Float[np.ndarray, " voxels"], float]:
    """Estimates of σ in every voxel, drawn to their median as far as they scatter no more than estimates must.

    log σ scatters between voxels by τ² + 1/(2ν), ν the degrees of freedom. The median absolute deviation of the
    estimates gives τ².

    Args:
        sigma: (voxels,) estimates; those that are not finite and positive count as missing. freedom: ν of each.
    Returns:
        (voxels,), and their relative standard error, without bias of the method: near 1/√(2ν) where σ differs from
        voxel to voxel, near 0 where it is the same everywhere.
    """
    good = np.isfinite(sigma) & (sigma > 0)
    of_estimate, n = 1 / (2 * freedom), int(good.sum())
    if n < _FEW_VOXELS:  # too few to estimate τ²
        return np.where(good, sigma, np.nan), of_estimate**0.5
    logs = np.log(sigma[good])
    centre = np.median(logs)
    between = max((1.4826 * np.median(np.abs(logs - centre))) ** 2 - of_estimate, 0.0)
    part = between / (between + of_estimate)
    out = np.full(sigma.shape, np.exp(centre))
    out[good] = np.exp(centre + part * (logs - centre))
    of_median = np.pi / 2 * (of_estimate + between) / n
    return out, float(np.sqrt(part**2 * of_estimate + (1 - part) ** 2 * of_median + part * (1 - part) * of_estimate))
