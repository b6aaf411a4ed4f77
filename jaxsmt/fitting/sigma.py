"""σ of many voxels from estimates in each, whose law is that of χ: exact for few degrees of freedom too."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

#: What σ was estimated from, as run.json has it.
RESIDUALS, REPEATS, MISFIT = "residuals of smooth signals", "repeats of b = 0", "misfit of kernel and FOD"
OUTSIDE = "background outside the mask"

# Standard errors beyond which two estimates of σ differ.
_SURELY = 3
# Part of σ̂²/σ² that is not cut.
_MOST = 0.95
# Fewest voxels whose σ are drawn to their median.
_FEW_VOXELS = 30
#: The median absolute deviation of normal numbers times this is their standard deviation.
NORMAL = 1.4826


class Law(NamedTuple):
    """The law of log(σ̂/σ) for estimates with ν degrees of freedom, where ν σ̂²/σ² is distributed as χ².

    median: of it. spread: 1.4826 times its median absolute deviation. variance: about its median. mean: of it.
    most: 95 % quantile of σ̂²/σ². mean_of_cut: mean of σ̂²/σ² where values beyond that count as it.
    """

    median: float
    spread: float
    variance: float
    mean: float
    most: float
    mean_of_cut: float


@cache
def law(freedom: int) -> Law:
    """The law of estimates of σ, by quadrature. For many degrees of freedom it tends to N(0, 1/(2ν)).

    Args:
        freedom: ν, 1 or more.
    Returns:
        the law.

    Example:
        A σ from two volumes is too low in the median, and may be anything:

        >>> [round(value, 3) for value in law(1)[:3]]
        [-0.394, 0.905, 1.292]
    """
    wide = 10 / np.sqrt(2 * freedom)
    s = np.linspace(-wide - 30 / freedom, wide, 40_001)
    log_density = freedom * (s - np.expm1(2 * s) / 2)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    below = np.cumsum(density) - density / 2
    median = float(np.interp(0.5, below, s))
    away = np.linspace(0, wide, 10_001)
    inside = np.interp(median + away, s, below) - np.interp(median - away, s, below)
    spread = NORMAL * float(np.interp(0.5, inside, away))
    most = float(np.exp(2 * np.interp(_MOST, below, s)))
    squares = np.minimum(np.exp(2 * s), most)
    moments = (density * values for values in ((s - median) ** 2, s, squares))
    variance, mean, mean_of_cut = (float(np.sum(values)) for values in moments)
    return Law(median, spread, variance, mean, most, mean_of_cut)


def pooled(sigma: Float[np.ndarray, " voxels"], freedom: int) -> tuple[Float[np.ndarray, " voxels"], float]:
    """Estimates of σ in every voxel, drawn to their median as far as they scatter no more than estimates must.

    log σ̂ scatters between voxels by τ² and the variance of its law, which depends on its degrees of freedom ν. The
    median absolute deviation of the estimates gives τ². The bias that the median has by the law is removed, so that
    five degrees of freedom in each of many voxels are enough.

    Args:
        sigma: (voxels,) estimates; those that are not finite and positive count as missing. freedom: ν of each.
    Returns:
        (voxels,), and their relative standard error, without bias of the method: that of a single estimate where σ
        differs from voxel to voxel or voxels are few, near 0 where it is the same everywhere.
    """
    good = np.isfinite(sigma) & (sigma > 0)
    of_estimate, n = law(freedom), int(good.sum())
    unbiased = np.exp(-of_estimate.median)
    if n < _FEW_VOXELS:  # too few to estimate τ²
        return np.where(good, unbiased * sigma, np.nan), of_estimate.variance**0.5
    logs = np.log(sigma[good])
    centre = np.median(logs)
    spread = NORMAL * np.median(np.abs(logs - centre))
    between, within = max(spread**2 - of_estimate.spread**2, 0.0), of_estimate.variance
    part = between / (between + within)
    out = np.full(sigma.shape, unbiased * np.exp(centre))
    out[good] = unbiased * np.exp(centre + part * (logs - centre))
    of_median = np.pi / 2 * (within + between) / n
    return out, float(np.sqrt(part**2 * within + (1 - part) ** 2 * of_median + part * (1 - part) * within))


def error_of_median(sigma: Float[np.ndarray, " voxels"], freedom: int) -> float:
    """Relative standard error of the median of estimates of σ in every voxel, by their scatter.

    Args:
        sigma: (voxels,) estimates; those that are not finite and positive count as missing. freedom: ν of each.
    Returns:
        the error; that of one estimate if there are none.
    """
    logs = np.log(sigma[np.isfinite(sigma) & (sigma > 0)])
    scatter = law(freedom).variance ** 0.5
    if len(logs) >= _FEW_VOXELS:
        scatter = max(scatter, NORMAL * float(np.median(np.abs(logs - np.median(logs)))))
    return float(scatter * np.sqrt(np.pi / 2 / len(logs))) if len(logs) > 1 else scatter


class NoiseLevel(NamedTuple):
    """σ of the voxels; if it was estimated its relative error, what from, and the error of the voxels' median.

    how: the voxels' estimates were pooled, if that is to be told.
    """

    sigma: np.ndarray
    error: float | None = None
    source: str | None = None
    of_median: float = 0.0
    how: str = ""

    @property
    def facts(self) -> tuple[np.ndarray, float | None, str | None]:
        """σ, its relative error, and what it is from, with how."""
        return self.sigma, self.error, None if self.source is None else self.source + self.how


def at_level(sigma: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Estimates of σ times what makes their median that of other estimates.

    With a high floor a σ that is too low makes a kernel that makes σ lower still; residuals of smooth signals do not
    depend on a kernel.

    Args:
        sigma, of: (voxels,) the estimates, and those with the median that is wanted.
    Returns:
        (voxels,) estimates.
    """
    good = np.isfinite(sigma) & (sigma > 0)
    return sigma * (np.median(of[good]) / np.median(sigma[good])) if good.any() else sigma


def noise_or_before(misfit: NoiseLevel, before: NoiseLevel) -> NoiseLevel:
    """σ from the misfit; that from repeats of b = 0 where the misfit is surely larger: the model does not fit then.

    Beside repeats the misfit is known to be noise no better than they tell.

    Args:
        misfit: as it is estimated under a fitted kernel. before: as it was estimated without one.
    Returns:
        one of them; the error of the misfit with that of the repeats.
    """
    good = np.isfinite(misfit.sigma) & np.isfinite(before.sigma)
    if before.source != REPEATS or misfit.error is None or not good.any():
        return misfit
    larger = np.median(misfit.sigma[good]) / np.median(before.sigma[good])
    if larger > 1 + _SURELY * np.hypot(misfit.of_median, before.of_median):
        return before
    return misfit._replace(error=float(np.hypot(misfit.error, before.of_median)))
