"""How far each volume is from what the other volumes of its shell tell: a bad one stands out. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry.harmonics import even_harmonics, n_coefficients
from .acquisition import Acquisition
from .plausibility import Sample

# Orders of harmonics that a shell's signals are taken to follow; there are twice as many volumes as coefficients.
_ORDERS = (6, 4, 2, 0)
# A volume that the others do not tell at all: its leverage is at most this.
_LEVERAGE = 0.9
# A volume stands out by this many robust standard deviations, and by this part of the shell's signal.
_SURELY, _LEAST = 6.0, 0.03
_FEW_VOLUMES = 6  # of a shell, whose spread tells nothing
_FEW_VOXELS = 30


@dataclass(frozen=True, eq=False)
class VolumeResiduals:
    """What the volumes of a series are less what the others of their shell tell, in parts of the mean b = 0 signal.

    The signals of a shell are taken to be harmonics of its directions in each voxel, whatever the model.

    Attributes:
        mean: (volumes,) mean over voxels, of each volume less its prediction from the others.
        spread: (volumes,) root mean square over voxels, scaled so that it is the noise where there is nothing else.
        level: (volumes,) mean signal of the volume's shell.
        noise: median over voxels of the standard deviation of the b = 0 volumes over their mean; NaN of fewer than 4.
        shells: (volumes,) number of each volume's shell. orders: of the harmonics, for each shell.
        voxels: how many were looked at.

    Volumes of shells that are too few to tell have NaN.
    """

    mean: np.ndarray
    spread: np.ndarray
    level: np.ndarray
    noise: float
    shells: np.ndarray
    orders: tuple[int, ...]
    voxels: int

    @property
    def outlying(self) -> np.ndarray:
        """Numbers of the volumes that stand out among those of their shell."""
        found = np.zeros(len(self.mean), bool)
        for shell in range(len(self.orders)):
            there = np.flatnonzero(self.shells == shell)
            if len(there) < _FEW_VOLUMES:
                continue
            for values in (self.mean, self.spread):
                away = values[there] - np.median(values[there])
                sd = 1.4826 * np.median(np.abs(away))
                far = np.abs(away) if values is self.mean else away
                found[there] |= far > np.maximum(_SURELY * sd, _LEAST * self.level[there])
        return np.flatnonzero(found)


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
    shells, orders = np.zeros(count, int), []
    for number, shell in enumerate(acquisition.shells):
        at = shell.volumes
        directions = acquisition.bvecs[at]
        order, basis = _basis(directions, 0 if shell.zero or shell.order == 0 else _ORDERS[0])
        orders.append(order)
        shells[at], level[at] = number, values[at].mean() / scale
        if len(at) < 2:
            continue
        kept = 1 - np.sum(basis**2, axis=1)
        left = values[at] - basis @ (basis.T @ values[at])
        mean[at] = left.mean(axis=1) / kept / scale
        spread[at] = np.sqrt(np.mean(left**2, axis=1) / kept) / scale
    noise = np.nan
    if len(b0.volumes) >= 4:
        noise = float(np.median(values[b0.volumes].std(axis=0, ddof=1) / baseline))
    return VolumeResiduals(mean, spread, level, noise, shells, tuple(orders), values.shape[1])


def _basis(directions: np.ndarray, highest: int) -> tuple[int, np.ndarray]:
    """The order of harmonics that directions determine well, and an orthonormal basis of these, (volumes, n)."""
    for order in _ORDERS:
        if order <= highest and 2 * n_coefficients(order) <= len(directions):
            basis = np.linalg.qr(even_harmonics(directions, order))[0]
            if np.sum(basis**2, axis=1).max() <= _LEVERAGE:
                return order, basis
    return 0, np.full((len(directions), 1), len(directions) ** -0.5)
