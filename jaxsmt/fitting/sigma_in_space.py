"""σ that varies smoothly in space, from estimates in each voxel: a robust mean over a Gaussian neighbourhood. NumPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .inputs import Voxels
from .sigma import NORMAL, law

# Part of σ that the noise of the estimates may leave of it, in the median voxel: it decides the neighbourhood's width.
_ERROR = 0.03
# Standard deviations of the neighbourhood in voxels, the narrowest and the widest, and the factor between two that are
# tried. Coils and g-factors hardly vary over fewer voxels than the narrowest.
_NARROWEST, _WIDEST, _FACTOR = 1.5, 12.0, 1.25
_REACH = 3.0  # standard deviations after which weights are 0
_STEPS = 4  # how often squares are cut about the mean before
# By what the square of the error grows, for each axis, where what is left is smoothed once more: for Gaussians
# 4 - 4 (2/3)^(n/2) + (1/2)^(n/2) in n dimensions, 2.18 in three.
_TWICE = 1.3


class _Neighbourhoods(NamedTuple):
    """Gaussian weights about each voxel: their sum, that of their squares, and a mean over them.

    around: the smallest box that holds the voxels. good: in it. sd: in voxels. known: sum of the weights.
    """

    around: tuple[slice, ...]
    good: np.ndarray
    sd: float
    known: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Of values in the box; those of voxels that are not good do not count."""
        summed = _convolved(np.where(self.good, values, 0), self.sd)
        return np.where(self.known > 0, summed / np.where(self.known > 0, self.known, 1), np.nan)

    def counts(self) -> np.ndarray:
        """How many voxels with equal weights would tell as much."""
        squares = _convolved(self.good.astype(np.float32), self.sd, power=2)
        return np.where(squares > 0, self.known**2 / np.where(squares > 0, squares, 1), 0)


def smoothed(sigma: Float[np.ndarray, " voxels"], freedom: int, space: Voxels) -> tuple[np.ndarray, float, float]:
    """σ of voxels from estimates in each, pooled over Gaussian neighbourhoods inside the mask.

    The neighbourhood is the narrowest in which the noise of the estimates leaves an error of 3 %, and no narrower than
    1.5 voxels. The mean is that of σ̂², where the largest 5 % that the law of σ̂² allows count as its end, so that a few
    wild voxels do not raise it.

    Args:
        sigma: (voxels,) estimates; those that are not finite and positive do not count. freedom: ν of each.
        space: where the voxels are, on a grid of two or three axes.
    Returns:
        (voxels,) σ; its relative standard error, with what the estimates scatter about it beyond their law; and the
        neighbourhood's standard deviation in voxels. NaN, infinite and 0 where there are no estimates.
    """
    estimates = space.place(np.asarray(sigma, np.float32))  # half the memory, and precise enough
    good = space.inside & np.isfinite(estimates) & (estimates > 0)
    if not good.any():
        return np.full(sigma.shape, np.nan), np.inf, 0.0
    of, error = _wide_enough(good, freedom)
    of_estimate = law(freedom)
    logs = np.log(np.where(of.good, estimates[of.around], 1))
    middle = of.mean(logs) - of_estimate.mean
    for _ in range(_STEPS):
        most = 2 * middle + np.log(of_estimate.most)
        squares = np.exp(np.minimum(2 * logs, most, where=of.good, out=np.zeros_like(logs)))
        middle = np.log(of.mean(squares) / of_estimate.mean_of_cut) / 2
    # What is left is smoothed once more, as steep or bent σ differ from their means.
    squares = np.exp(2 * np.where(of.good, logs - middle, 0))
    middle = middle + np.log(of.mean(np.minimum(squares, of_estimate.most)) / of_estimate.mean_of_cut) / 2
    left = (logs - middle)[of.good]
    spread = NORMAL * float(np.median(np.abs(left - np.median(left))))
    between = max(spread**2 - of_estimate.spread**2, 0.0)
    whole = np.full(space.inside.shape, np.nan, np.float32)
    whole[of.around] = np.exp(middle)
    out = space.take(whole)
    out = np.where(np.isfinite(out), out, np.nanmedian(out)).astype(sigma.dtype)  # far from all estimates
    return out, float(np.hypot(error, between**0.5)), of.sd


def _wide_enough(good: np.ndarray, freedom: int) -> tuple[_Neighbourhoods, float]:
    """Neighbourhoods as wide as the noise of the estimates asks for, and the relative error that this leaves."""
    along = [
        np.flatnonzero(good.any(axis=tuple(a for a in range(good.ndim) if a != axis))) for axis in range(good.ndim)
    ]
    around = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in along)
    inside = good[around]
    sd = _NARROWEST
    while True:
        of = _Neighbourhoods(around, inside, sd, _convolved(inside.astype(np.float32), sd))
        error = _TWICE ** (inside.ndim / 2) * float((2 * freedom * np.median(of.counts()[inside])) ** -0.5)
        if error <= _ERROR or sd >= _WIDEST:
            return of, error
        sd *= _FACTOR


def _convolved(values: np.ndarray, sd: float, power: int = 1) -> np.ndarray:
    """Sums of values times a power of Gaussian weights about each place, axis by axis; 0 beyond the edges."""
    reach = int(np.ceil(_REACH * sd))
    weights = (np.exp(-(np.arange(reach + 1) ** 2) / (2 * sd**2)) ** power).astype(values.dtype)
    for axis in range(values.ndim):
        moved = np.moveaxis(values, axis, 0)
        out = weights[0] * moved
        for step in range(1, min(reach, len(moved) - 1) + 1):
            out[step:] += weights[step] * moved[:-step]
            out[:-step] += weights[step] * moved[step:]
        values = np.moveaxis(out, 0, axis)
    return values
