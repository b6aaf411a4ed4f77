"""How far each volume is from what the other volumes of its shell tell: a bad one stands out. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..geometry.harmonics import even_harmonics, n_coefficients
from .acquisition import Acquisition
from .plausibility import Sample

# Orders of harmonics that a shell's signals are taken to follow, and how many volumes there are for each coefficient:
# with fewer a bad volume would spoil the predictions of all others so much that it would not stand out.
_ORDERS, _VOLUMES_EACH = (6, 4, 2), 5
# A volume whose leverage is larger is hardly told by the others.
_LEVERAGE = 0.9
# A volume stands out by this many robust standard deviations, and by this part of the shell's signal.
_SURELY, _LEAST = 6.0, 0.03
_FEW_VOLUMES = 6  # of a shell, whose spread tells nothing
_MOST = 0.3  # part of a shell that may stand out; if more seem to, the others do not tell what is right
_FEW_VOXELS = 30


@dataclass(frozen=True, eq=False)
class VolumeResiduals:
    """What the volumes of a series are less what the others of their shell tell, in parts of the mean b = 0 signal.

    The signals of a shell are taken to be harmonics of its directions in each voxel, whatever the model. Volumes that
    stand out tell nothing about the others.

    Attributes:
        mean: (volumes,) mean over voxels, of each volume less its prediction from the others.
        spread: (volumes,) root mean square over voxels, scaled so that it is the noise where signals are harmonics.
        level: (volumes,) mean signal of the volume's shell.
        noise: median over voxels of the standard deviation of the b = 0 volumes over their mean; NaN of fewer than 4.
        shells: (volumes,) number of each volume's shell. orders: of the harmonics, for each shell.
        outlying: numbers of the volumes that stand out among those of their shell.
        voxels: how many were looked at.

    Volumes of shells that are too few to tell have NaN.
    """

    mean: np.ndarray
    spread: np.ndarray
    level: np.ndarray
    noise: float
    shells: np.ndarray
    orders: tuple[int, ...]
    outlying: np.ndarray
    voxels: int

    def facts(self) -> dict[str, Any]:
        """All of it, as JSON has it; `of_facts` undoes it."""
        return {f.name: _plain(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> VolumeResiduals:
        """The residuals that `facts` tells.

        Args:
            facts: as `facts` gives them, perhaps after JSON.
        """
        arrays = {name: np.array(facts[name], float) for name in ("mean", "spread", "level")}  # None is NaN
        noise = np.nan if facts["noise"] is None else float(facts["noise"])
        shells, orders = np.array(facts["shells"], int), tuple(facts["orders"])
        outlying, voxels = np.array(facts["outlying"], int), int(facts["voxels"])
        return cls(**arrays, noise=noise, shells=shells, orders=orders, outlying=outlying, voxels=voxels)


def _plain(value: Any) -> Any:
    """A value as JSON has it; numbers that are not finite become null there."""
    return value.tolist() if isinstance(value, np.ndarray) else list(value) if isinstance(value, tuple) else value


def residuals_of_volumes(sample: Sample, acquisition: Acquisition) -> VolumeResiduals | None:
    """The residuals of all volumes.

    Args:
        sample: of the series. acquisition: its table.
    Returns:
        them; None without b = 0 or with too few voxels.
    """
    values, b0 = sample.usable, acquisition.b0
    if b0 is None or values.shape[1] < _FEW_VOXELS:
        return None
    baseline = values[b0.volumes].mean(axis=0)
    values, baseline = values[:, baseline > 0], baseline[baseline > 0]
    if values.shape[1] < _FEW_VOXELS:
        return None
    scale, count = float(baseline.mean()), len(values)
    mean, spread, level = (np.full(count, np.nan) for _ in range(3))
    shells, odd, orders = np.zeros(count, int), np.zeros(count, bool), []
    for number, shell in enumerate(acquisition.shells):
        at = shell.volumes
        shells[at], level[at] = number, values[at].mean() / scale
        highest = 0 if shell.zero or shell.b_delta == 0 else _ORDERS[0]
        order, mean[at], spread[at], odd[at] = _of_shell(values[at] / scale, acquisition.bvecs[at], highest)
        orders.append(order)
    noise = np.nan
    if len(b0.volumes) >= 4:
        noise = float(np.median(values[b0.volumes].std(axis=0, ddof=1) / baseline))
    return VolumeResiduals(
        mean, spread, level, noise, shells, tuple(orders), np.flatnonzero(odd), voxels=values.shape[1]
    )


def _of_shell(
    values: np.ndarray, directions: np.ndarray, highest: int
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Order of harmonics, mean and spread of each volume, and which stand out.

    Those that do are taken away one by one, as they spoil the predictions of their neighbours.
    """
    n = len(values)
    kept, level = np.ones(n, bool), float(values.mean())
    if n < 2:
        return 0, np.full(n, np.nan), np.full(n, np.nan), ~kept
    order, harmonics = _harmonics(directions, highest)
    while True:
        mean, spread = _left(values, harmonics, kept)
        found = _worst(mean, spread, kept, level)
        if found is None:
            return order, mean, spread, ~kept
        if np.count_nonzero(~kept) + 1 > _MOST * n:
            kept[:] = True
            return order, *_left(values, harmonics, kept), ~kept
        kept[found] = False


def _left(values: np.ndarray, harmonics: np.ndarray, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of all volumes less what the other ones that are kept tell."""
    basis, triangle = np.linalg.qr(harmonics[kept])
    whole = np.linalg.solve(triangle.T, harmonics.T).T  # of the kept volumes the basis
    left = values - whole @ (basis.T @ values[kept])
    leverage = np.sum(whole**2, axis=1)
    remains = np.where(kept, np.maximum(1 - leverage, 1 - _LEVERAGE), 1)  # part of a kept volume's error that is left
    variance = np.where(kept, remains, 1 + leverage)
    return left.mean(axis=1) / remains, np.sqrt(np.mean(left**2, axis=1) / variance)


def _harmonics(directions: np.ndarray, highest: int) -> tuple[int, np.ndarray]:
    """The order of harmonics that the directions determine well, and these, (volumes, coefficients)."""
    for order in _ORDERS:
        if order <= highest and _VOLUMES_EACH * n_coefficients(order) <= len(directions):
            harmonics = even_harmonics(directions, order)
            basis, triangle = np.linalg.qr(harmonics)
            least = np.abs(np.diag(triangle)).min()
            if least > 1e-3 and np.sum(basis**2, axis=1).max() <= _LEVERAGE:
                return order, harmonics
    return 0, np.ones((len(directions), 1))


def _worst(mean: np.ndarray, spread: np.ndarray, kept: np.ndarray, level: float) -> int | None:
    """The kept volume that stands out most, if any does."""
    if np.count_nonzero(kept) < _FEW_VOLUMES:
        return None
    far = np.zeros(len(mean))
    for values, sign in ((mean, np.abs), (spread, np.asarray)):
        away = values - np.median(values[kept])
        sd = 1.4826 * np.median(np.abs(away[kept]))
        far = np.maximum(far, sign(away) / max(_SURELY * sd, _LEAST * level, 1e-12))
    far[~kept] = 0
    worst = int(np.argmax(far))
    return worst if far[worst] > 1 else None
