"""Noise of magnitudes from the background outside a mask, where it is nothing but noise. NumPy only.

Without signal a magnitude is the root of the sum of squares of Gaussian channels, two for a Rayleigh background: its
mean square is their number times σ². Backgrounds are often something else: masked out, ghosted, smoothed by a
scanner's filter, noise of unequal coils. So they have to pass tests, and the text of one that fails says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma

import numpy as np

from .acquisition import Acquisition

#: Most voxels that are looked at.
ENOUGH_VOXELS = 2048
# Fewest voxels, as a number and as a part of those that are not 0.
_FEW_VOXELS, _FEW_PART = 100, 0.1
# Part of a voxel's values that may be 0, and part of all values that may be negative.
_ZERO, _NEGATIVE = 0.05, 1e-3
# Standard deviations of a voxel's mean square up to which it belongs to the darkest ones.
_ALIKE = 5.0
# σ over the step between the numbers that are stored, at least.
_STEPS = 2.0
# How far the ratio of moments may be from that of noise, how much a shell may be brighter than the darkest, and by how
# many standard errors more; and the relative error of σ that such tests let pass.
_RATIO, _BRIGHTER, _SURELY, _PASSED = 0.01, 0.06, 4.0, 0.03
_COUNTED = 20_000  # values of which the step between numbers is found


@dataclass(frozen=True)
class Background:
    """σ of the background, or why there is none.

    Attributes:
        sigma: of one channel; None: the background does not tell.
        error: relative standard error, with what the tests let pass and what σ differs between voxels.
        voxels: how many voxels it is from.
        why: what speaks against the background; empty if nothing does.
    """

    sigma: float | None = None
    error: float = np.inf
    voxels: int = 0
    why: str = ""


def background_of(outside: np.ndarray, acquisition: Acquisition, channels: int = 2) -> Background:
    """The noise of the background.

    Args:
        outside: (volumes, voxels) data of voxels outside the mask. acquisition: of the series.
        channels: real channels that a magnitude has, two for Rician noise.
    Returns:
        its σ, or why it has none.

    Example:
        >>> import jaxsmt as js
        >>> acquisition, rng = js.simulate.hcp_scheme(n_b0=2, n_directions=15), np.random.default_rng(0)
        >>> noise = np.hypot(*rng.normal(0, 20, (2, 47, 500)))
        >>> round(background_of(noise, acquisition).sigma)
        20
        >>> background_of(0 * noise, acquisition).why
        'most of it is 0: masked out, or stored too coarsely'
    """
    values, why = _chosen(outside, channels)
    if why:
        return Background(why=why)
    n, voxels = values.shape
    sigma = float(np.sqrt(np.mean(values**2) / channels))
    why = _against(values, sigma, acquisition, channels)
    if why:
        return Background(why=why)
    of_voxels = np.log(np.mean(values**2, axis=0)) / 2
    by_noise = 1 / (2 * channels * n)
    between = max(float(np.var(of_voxels)) - by_noise, 0.0)
    return Background(sigma, float(np.sqrt(_PASSED**2 + between + by_noise / voxels)), voxels)


def spread(numbers: np.ndarray, most: int = ENOUGH_VOXELS) -> np.ndarray:
    """At most so many of them, evenly spread."""
    return numbers[:: max(1, -(-len(numbers) // most))]


def _chosen(outside: np.ndarray, channels: int) -> tuple[np.ndarray, str]:
    """(volumes, voxels) values of the darkest voxels that are alike; or why there are too few."""
    values = np.asarray(outside, float)
    values = values[:, np.isfinite(values).all(axis=0)]
    if values.shape[1] < _FEW_VOXELS:
        return values, f"there are {values.shape[1]} voxels with finite values outside the mask"
    if np.mean(values < 0) > _NEGATIVE:
        return values, "it has negative values, which magnitudes never have"
    values = values[:, np.mean(values == 0, axis=0) <= _ZERO]
    if values.shape[1] < max(_FEW_VOXELS, _FEW_PART * outside.shape[1]):
        return values, "most of it is 0: masked out, or stored too coarsely"
    square = np.mean(values**2, axis=0)
    apart = _ALIKE * np.sqrt(2 / (channels * len(values)))
    alike = np.abs(square / np.percentile(square, 25) - 1) <= apart
    if np.count_nonzero(alike) < max(_FEW_VOXELS, _FEW_PART * len(alike)):
        return values, "its voxels are of many brightnesses"
    return values[:, alike], ""


def _against(values: np.ndarray, sigma: float, acquisition: Acquisition, channels: int) -> str:
    """What speaks against values as noise alone; nothing: empty."""
    step = _step(values)
    if sigma < _STEPS * step:
        return f"its noise is {sigma / step:.2g} of the step between the numbers that are stored"
    expected = np.exp(lgamma((channels + 1) / 2) - lgamma(channels / 2)) * np.sqrt(2 / channels)
    ratio = float(np.mean(values) / np.sqrt(np.mean(values**2)))
    if abs(ratio / expected - 1) > _RATIO + _SURELY * _ratio_error(expected) / np.sqrt(values.size):
        return f"its mean is {ratio:.3f} of its root mean square, where noise alone has {expected:.3f}"
    shells = [shell.volumes for shell in acquisition.shells]
    squares = np.array([np.mean(values[volumes] ** 2) for volumes in shells])
    errors = np.array([np.sqrt(2 / (channels * len(volumes) * values.shape[1])) for volumes in shells])
    darkest = int(np.argmin(squares))
    brighter = squares / squares[darkest] - 1 - _SURELY * np.hypot(errors, errors[darkest])
    if brighter.max() > _BRIGHTER:
        b = [1000 * acquisition.shells[i].b for i in (int(np.argmax(brighter)), darkest)]
        return f"it is brighter at b = {b[0]:.0f} than at {b[1]:.0f} s/mm²: it has signal, such as ghosts"
    return ""


def _ratio_error(expected: float) -> float:
    """Standard deviation of the ratio of moments of one value, relative: less than that of the mean alone."""
    return float(np.sqrt(1 / expected**2 - 1))


def _step(values: np.ndarray) -> float:
    """The least difference between values: that of whole numbers where the series has been stored so."""
    distinct = np.unique(values.ravel()[:: max(1, values.size // _COUNTED)])
    return float(np.diff(distinct).min()) if distinct.size > 1 else np.inf
