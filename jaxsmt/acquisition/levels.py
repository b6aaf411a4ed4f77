"""Which b-values belong together: levels of b, told apart by gaps that are wide against the spread. NumPy only."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..errors import InputError

#: b-values (s/mm²) further apart than this are different levels, whatever their spread: ±50 about each is one.
WIDE_GAP = 100.0
#: The same as a part of b: scatter of large b-values is as large as they are.
_WIDE_PART = 0.02
#: A run of b-values wider than this, or than this part of b, is not one level.
_WIDTH, _WIDTH_PART = 400.0, 0.1
# Levels closer together than the wide gap: the least gap, the least gap over the spread on either side, and the fewest
# volumes a level on average. More is asked of a run that could be one level with scatter.
_FINE, _FINE_OF_NARROW = (25.0, 1.0, 3.0), (40.0, 4.0, 6.0)
# Grids: the fewest levels, how many volumes are looked at, the largest step between the products that are compared, the
# fewest of these, and how close to whole numbers they are on average, where 0.25 is chance.
_GRID_LEVELS, _GRID_VOLUMES, _GRID_PRODUCT, _GRID_PRODUCTS, _GRID_CLOSE = 5, 80, 6.5, 50, 0.08


def levels_of(bvals: np.ndarray, gap: float | None, fewest: float = _FINE[2]) -> list[np.ndarray] | None:
    """The volumes of each level of b, by rising b.

    Args:
        bvals: (n,) s/mm².
        gap: s/mm². b-values further apart than this are different levels. None: a gap is one that is wider than
            `WIDE_GAP`, or clearly wider than the spread on both sides of it.
        fewest: volumes a level, on average, without which close b-values are not levels.
    Returns:
        (volumes,) sorted numbers of each, or None: there are no levels.
    """
    if not bvals.size:
        return []
    order = np.argsort(bvals, kind="stable")
    b = bvals[order]
    wide = np.maximum(WIDE_GAP, _WIDE_PART * b[1:]) if gap is None else gap
    runs = np.split(order, np.flatnonzero(np.diff(b) > wide) + 1)
    levels = []
    for run in runs:
        parts = [run]
        if gap is None:
            parts = _fine_levels(bvals, run, (*_FINE[:2], fewest) if _is_wide(bvals[run]) else _FINE_OF_NARROW)
        if any(_is_wide(bvals[part]) for part in parts):
            return None
        levels += parts
    return [np.sort(level) for level in levels]


def _is_wide(b: np.ndarray) -> bool:
    """Whether sorted b-values spread more than those of one level."""
    return bool(b[-1] - b[0] > max(_WIDTH, _WIDTH_PART * b[-1]))


def _fine_levels(bvals: np.ndarray, run: np.ndarray, need: tuple[float, float, float]) -> list[np.ndarray]:
    """The levels of a run, sorted by b, without a wide gap; the run itself where it has none."""
    least, of_spread, fewest = need
    parts = np.split(run, np.flatnonzero(np.diff(bvals[run]) >= least) + 1)
    if len(run) < fewest * len(parts):
        return [run]
    spread = np.array([np.ptp(bvals[part]) for part in parts])
    gaps = np.array([bvals[b[0]] - bvals[a[-1]] for a, b in pairwise(parts)])
    clear = gaps >= of_spread * np.maximum(spread[:-1], spread[1:])
    return parts if clear.all() else [run]


def on_grid(bvals: np.ndarray, bvecs: np.ndarray) -> bool:
    """Whether the gradients √b g lie on a Cartesian grid, as those of diffusion spectrum imaging do.

    All products √(b_i b_j) g_i·g_j of a grid, in any rotation, are whole multiples of its squared step.

    Args:
        bvals: (n,) s/mm², above 0. bvecs: (n, 3) unit vectors; those of length 0 do not count.
    """
    directed = np.flatnonzero(np.any(bvecs != 0, axis=1))
    lowest = directed[np.argsort(bvals[directed], kind="stable")][:_GRID_VOLUMES]
    if not lowest.size:
        return False
    vectors = bvecs[lowest] * np.sqrt(bvals[lowest] / bvals[lowest[0]])[:, None]
    above = np.triu_indices(len(lowest), 1)
    products = (vectors @ vectors.T)[above]
    size = np.linalg.norm(vectors, axis=1)
    # Right angles are common without a grid too.
    near = products[((size[:, None] * size)[above] < _GRID_PRODUCT) & (np.abs(products) > 0.25)]
    if near.size < _GRID_PRODUCTS:
        return False
    scaled = near[:, None] / np.linspace(0.95, 1.05, 51)
    return bool(np.abs(scaled - np.round(scaled)).mean(axis=0).min() < _GRID_CLOSE)


def require_levels(bvals: np.ndarray, bvecs: np.ndarray, gap: float | None, levels: list[np.ndarray] | None) -> None:
    """Raise InputError where there are no levels, or where the levels are those of a grid.

    Args:
        bvals: (n,) s/mm². bvecs: (n, 3). gap, levels: as of `levels_of`.
    """
    fix = "the spherical mean needs volumes grouped at a few b-values; "
    if gap is None and (levels is None or len(levels) >= _GRID_LEVELS) and on_grid(bvals, bvecs):
        raise InputError(
            f"the {bvals.size} gradients up to {bvals.max():.0f} s/mm² lie on a Cartesian grid (DSI): "
            "these are not shells",
            fix=fix + "shell_gap= names the gap, in s/mm², if each distance from the grid's centre is to be a shell",
        )
    if levels is None:
        apart = "clear gaps" if gap is None else f"a gap of {gap:.0f}"
        raise InputError(
            f"b-values run from {bvals.min():.0f} to {bvals.max():.0f} s/mm² without {apart}: these are not shells",
            fix=fix + "shell_gap= names the gap, in s/mm², between yours",
        )
