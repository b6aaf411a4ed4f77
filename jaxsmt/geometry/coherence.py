"""Whether directions fit the image that they are in: with the right ones, fibres go on from voxel to voxel. NumPy only.

Where the axes of a gradient table are exchanged or flipped, every voxel has its fibres, turned; but they no longer
point to voxels whose fibres have their direction, and lines along them end sooner.

Source: Jeurissen et al. 2014, Med Image Anal 18(7):953, https://doi.org/10.1016/j.media.2014.05.012.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

# Lines are followed from so many voxels at most; from fewer than these nothing can be told.
_SEEDS, _FEWEST = 3000, 300
# A step, over the smallest edge of a voxel; steps from a seed to either side; cosine of the sharpest bend of a step.
_STEP, _STEPS, _COSINE = 0.5, 40, np.sqrt(0.5)
# Turns whose lines have at least this part of the longest mean length, or are not so many standard errors shorter,
# may be as right as the best.
_NEARLY, _ERRORS = 0.9, 4.0
_THIN = 4  # slices of an image that hardly tells on which side of them fibres go on


class Turn(NamedTuple):
    """An order and signs of axes: component k of a turned vector is signs[k] times component order[k].

    Example:
        >>> Turn((1, 0, 2), (1, 1, -1)).matrix @ [1, 2, 3]
        array([ 2,  1, -3])
    """

    order: tuple[int, int, int]
    signs: tuple[int, int, int]

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3), which turns a vector from the left."""
        return np.diag(self.signs)[:, np.argsort(self.order)]


#: The 24 orders and signs that differ for axes, whose own sign means nothing; first the one that turns nothing.
TURNS = tuple(
    Turn(order, signs)
    for order in itertools.permutations(range(3), 3)
    for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))
)


class Better(NamedTuple):
    """Turns with which fibres go on for longer than as they are given.

    turns: the best one, or two that the image cannot tell apart. length: of lines with the best one, mean, in units of
    the voxels' size. unturned: that of the directions as they are.
    """

    turns: tuple[Turn, ...]
    length: float
    unturned: float


def better_turns(axes: np.ndarray, at: np.ndarray, size: np.ndarray, frame: np.ndarray) -> Better | None:
    """Look for an order and signs with which fibres go on for longer than as they are given, and than with any other.

    Args:
        axes: (voxels, lobes, 3) unit vectors along the axes of the image, the heaviest lobe first; 0 where a lobe is
            absent or so wide that its axis means little. at: (voxels, 3) whole numbers, where they are.
        size: (3,) of a voxel.
        frame: (3, 3) orthogonal, whose columns are the axes that are exchanged and flipped, in those of the image.
    Returns:
        what is better; None if nothing is, if several turns are as good, or if there are too few voxels.
    """
    if np.count_nonzero(axes.any(axis=(1, 2))) < _FEWEST:
        return None
    turns = np.array([frame @ turn.matrix @ frame.T for turn in TURNS])
    return longer(*lines_along(axes, at, size, turns), turns, np.ptp(at, axis=0) + 1)


def longer(lengths: np.ndarray, ends: np.ndarray, turns: np.ndarray, extent: np.ndarray) -> Better | None:
    """Compare the lines of all turns with those of the first, which turns nothing.

    Args:
        lengths, ends: (turns, seeds), as `lines_along` gives them. turns: (turns, 3, 3), those of `TURNS` in the
            axes of the image. extent: (3,) voxels along these.
    Returns:
        as `better_turns`.
    """
    ended = np.maximum(ends.sum(axis=1), 1)
    mean = lengths.sum(axis=1) / ended  # lines that leave the image are cut, not ended
    best = int(mean.argmax())
    share = (lengths - mean[:, None] * ends) / ended[:, None]  # of each seed, in the error of the mean
    error = (share[best] - share).std(axis=1) * np.sqrt(share.shape[1])
    close = np.flatnonzero((mean > _NEARLY * mean[best]) | (mean[best] - mean < _ERRORS * error))
    if 0 in close or not _is_one(close, turns, extent):
        return None
    first = sorted(close, key=lambda i: -mean[i])
    return Better(tuple(TURNS[i] for i in first), float(mean[best]), float(mean[0]))


def _is_one(close: np.ndarray, turns: np.ndarray, extent: np.ndarray) -> bool:
    """Whether turns are one, or two that differ by a flip across the few slices of a thin image."""
    if len(close) != 2:
        return len(close) == 1
    flip = turns[close[0]] @ turns[close[1]].T
    flip = flip * np.sign(np.trace(flip))  # the sign of an axis means nothing: now two eigenvalues are 1, one is -1
    across = int(np.diag(flip).argmin())
    return bool(flip[across, across] < -0.5 and extent[across] <= _THIN)


def lines_along(axes: np.ndarray, at: np.ndarray, size: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lines that follow the fibres, from the same seeds with each turn of all axes.

    A line goes on in the direction of the lobe that is nearest to its own, and ends where none is within 45° of it.
    What becomes of it beyond the voxels' bounding box is not known.

    Args:
        axes, at, size: as of `better_turns`. turns: (turns, 3, 3) matrices.
    Returns:
        (turns, seeds) lengths of both halves of a line together, in units of `size`, and how many of them end inside.
    """
    present = np.asarray(axes.any(axis=2))
    seeds = np.flatnonzero(present.any(axis=1))
    if len(seeds) > _SEEDS:
        seeds = np.sort(np.random.default_rng(0).choice(seeds, _SEEDS, replace=False))
    low, high = at.min(axis=0), at.max(axis=0)
    number = np.full(high - low + 3, -1, np.int32)  # with a margin of nothing, wider than a step
    number[tuple((at - low + 1).T)] = np.arange(len(at))
    step = _STEP * size.min() / size
    which, seed = np.divmod(np.arange(len(turns) * len(seeds)), len(seeds))
    steps, ends = np.zeros(len(which), int), np.zeros(len(which), int)
    begin = np.einsum("nij,nj->ni", turns[which], axes[seeds, present[seeds].argmax(axis=1)][seed])
    for way in (1, -1):
        line, place, direction = np.arange(len(which)), (at[seeds] - low + 1.0)[seed], way * begin
        for _ in range(_STEPS):
            place = place + direction * step
            to = np.rint(place).astype(int)
            voxel = number[tuple(to.T)]
            turn = turns[which[line]]
            back = np.einsum("nji,nj->ni", turn, direction)  # so that lobes need not be turned
            cosines = np.einsum("nki,ni->nk", axes[voxel], back)
            lobe = np.abs(cosines).argmax(axis=1)
            cosine = cosines[np.arange(len(line)), lobe]
            on = (voxel >= 0) & (np.abs(cosine) > _COSINE)
            inside = ((to > 0) & (to < np.array(number.shape) - 1)).all(axis=1)
            ends[line[inside & ~on]] += 1
            line, place = line[on], place[on]
            if not len(line):
                break
            direction = axes[voxel[on], lobe[on]] * np.sign(cosine[on])[:, None]
            direction = np.einsum("nij,nj->ni", turn[on], direction)
            steps[line] += 1
    shape = len(turns), len(seeds)
    return steps.reshape(shape) * (_STEP * size.min()), ends.reshape(shape)
