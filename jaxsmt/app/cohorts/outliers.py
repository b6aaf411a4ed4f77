"""Which numbers differ from those of the other series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Fewer series are not compared: their spread says too little.
FEWEST = 6
_LOWEST_LIMIT = 4.5
_TO_SD = 0.6745  # median absolute deviation of a normal distribution, over its standard deviation
_MEAN_TO_SD = 0.7979  # mean absolute deviation, likewise
_FINEST = 0.005  # smaller spreads, relative to the median, count as this: what nobody minds is no finding


@dataclass(frozen=True)
class Outlier:
    """A value that differs from the others.

    Attributes:
        index: which one.
        value: the number.
        low, high: smallest and largest value of those that are no outliers.
        z: robust z.
        limit: of |z|.
    """

    index: int
    value: float
    low: float
    high: float
    z: float
    limit: float


def limit_of(n: int) -> float:
    """The largest |z| of n values that is no outlier.

    With few values the median absolute deviation varies by itself, so the limit is higher. Normally distributed
    numbers of 6 to 1000 series exceed it in one column of about a hundred.

    Example:
        >>> limit_of(10), limit_of(100)
        (7.0, 4.5)
    """
    return max(_LOWEST_LIMIT, 4 + 30 / n)


def robust_z(values: np.ndarray, step: float = 0.0) -> tuple[np.ndarray, float]:
    """Robust z, and the limit of |z|.

    z is 0.6745 (x - median)/MAD, with MAD the median absolute deviation from the median. If more than half of the
    values are equal, MAD is 0, and 0.7979 (x - median)/(mean absolute deviation) takes its place, with the limit 4.5:
    one of six values that differs from the rest, which are equal, has z = 4.8. No standard deviation is taken to be
    smaller than 0.5 % of the median, nor than `step`.

    Args:
        values: (n,) finite numbers.
        step: in their unit.
    Returns:
        (n,) numbers, 0 if all values are equal; and the limit.

    Example:
        >>> z, limit = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 40.0]))
        >>> z.round(2).tolist(), limit
        ([-1.12, -0.67, -0.22, 0.22, 0.67, 16.41], 9.0)

    Source: Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers, ASQC Quality Press.
    """
    middle = float(np.median(values))
    apart = np.abs(values - middle)
    sd, limit = float(np.median(apart)) / _TO_SD, limit_of(len(values))
    if sd == 0:
        sd, limit = float(np.mean(apart)) / _MEAN_TO_SD, _LOWEST_LIMIT
    sd = max(sd, _FINEST * abs(middle), step)
    return ((values - middle) / sd if sd else np.zeros_like(values)), limit


def find_outliers(values: Sequence[float], step: float = 0.0) -> list[Outlier]:
    """The values that differ from the others, in their order.

    Args:
        values: numbers; those that are not finite are left out.
        step: see `robust_z`.
    Returns:
        outliers; none if there are fewer than `FEWEST` numbers.
    """
    numbers = np.asarray(values, float)
    known = np.flatnonzero(np.isfinite(numbers))
    if len(known) < FEWEST:
        return []
    there = numbers[known]
    z, limit = robust_z(there, step)
    usual = there[np.abs(z) <= limit]
    return [
        Outlier(int(known[i]), float(there[i]), float(usual.min()), float(usual.max()), float(z[i]), limit)
        for i in np.flatnonzero(np.abs(z) > limit)
    ]
