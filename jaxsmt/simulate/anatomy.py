"""A brain in coordinates: which tissue lies where, with which kernel and which fibres. NumPy only.

Everything is a function of a coronal plane's coordinates, so that a slice and a volume on any grid show one anatomy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

#: S0 of white matter: the noise of phantoms is relative to this.
WHITE_S0 = 1000.0
#: Size of the field of view along x, y and z, in mm.
FIELD_OF_VIEW = (155.0, 183.75, 128.75)
# The outline's half size along x, y and z, in units of 1.25 mm.
_HALF_SIZE, _UNIT = (59, 70, 48.5), 1.25


def coordinates(axis: int, voxels: int, voxel_size: float) -> np.ndarray:
    """Where the centres of voxels lie along an axis, (voxels,): from about -1 to 1 at the outline.

    Args:
        axis: 0, 1, 2 for x, y, z.
        voxels: number of voxels along the axis.
        voxel_size: mm.
    """
    return (np.arange(voxels) - (voxels - 1) / 2) * (voxel_size / _UNIT) / _HALF_SIZE[axis]


class Plane(NamedTuple):
    """A coronal plane: coordinates (x, z) and masks of its tissues, all of one shape, and its coordinate y.

    `callosum` is part of `white`; `white`, `grey` and `fluid` do not overlap, and fill `brain`; `deep` is grey.
    """

    x: np.ndarray
    y: float
    z: np.ndarray
    brain: np.ndarray
    white: np.ndarray
    callosum: np.ndarray
    grey: np.ndarray
    deep: np.ndarray
    fluid: np.ndarray

    @property
    def side(self) -> np.ndarray:
        """Distance from the midline."""
        return np.abs(self.x)

    @property
    def wave(self) -> np.ndarray:
        """The slow variation of all parameters across the brain."""
        return np.sin(5 * self.x + 1 + 3 * self.y) * np.cos(4 * self.z)

    def inside(self) -> Plane:
        """The voxels of the brain only: arrays (voxels,)."""
        arrays = {name: values[self.brain] for name, values in self._asdict().items() if name != "y"}
        return self._replace(**arrays)


def plane(x: np.ndarray, y: float, z: np.ndarray) -> Plane:
    """The outline with a cleft at the midline, the folds of the cortex, the ventricles and the deep grey matter.

    Args:
        x: left-right, of any shape.
        y: back-front, of the plane.
        z: down-up, of x's shape.
    """
    side, angle = np.abs(x), np.arctan2(z, np.abs(x))
    radius = np.hypot(np.hypot(x / 0.98, z / np.where(z > 0, 0.98, 0.94)), y / 0.98)
    cleft = 0.035 * np.exp(-(((z - 0.95) / 0.5) ** 2)) + 0.012
    brain = (radius < 1) & ((side > cleft) | ((np.abs(z - 0.1) < 0.16) & (abs(y) < 0.6)))
    # Folds are waves along the outline.
    folds = 0.055 * np.sin(22 * angle + 3 * np.sin(5 * angle) + 9 * y) + 0.03 * np.sin(9 * angle + 1 + 14 * y)
    depth = np.minimum(1 - radius, np.where(z > 0.3, side - cleft, 1))
    callosum = brain & (np.abs(z - (0.22 + 0.35 * side**2)) < 0.07) & (side < 0.55) & (abs(y) < 0.5)
    white = (brain & (depth > 0.17 + folds)) | callosum
    to_ventricle = ((side - 0.13 - 0.1 * (z - 0.05)) / 0.085) ** 2 + ((z - 0.02) / 0.15) ** 2
    to_deep = ((side - 0.36) / 0.13) ** 2 + ((z + 0.12) / 0.2) ** 2
    ventricle = brain & (to_ventricle + (y / 0.45) ** 2 < 1)
    deep = brain & (to_deep + (y / 0.35) ** 2 < 1)
    sulcus = brain & ~white & (depth < 0.035)
    fluid = (ventricle & ~callosum) | sulcus
    white &= ~deep & ~fluid
    grey = brain & ~white & ~fluid
    return Plane(x, y, z, brain, white, callosum, grey, deep, fluid)


def kernels(where: Plane, factors: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ∥ in µm²/ms, λ⊥/λ∥ and S0, each of the plane's shape; 0 outside the brain.

    Args:
        where: the plane.
        factors: of "lambda_par" and "fraction" in tissue, and of "s0" everywhere; 1 where they are not given.
    """
    white, callosum, grey, deep, fluid = where.white, where.callosum, where.grey, where.deep, where.fluid
    wave = where.wave
    lambda_par = np.select([fluid, white, deep, grey], [2.9, 2.1 + wave / 4, 1.6 + wave / 10, 1.35 + wave / 7], 0)
    fraction = np.select(
        [fluid, callosum, white, deep, grey], [1, 0.12 + 0.03 * wave, 0.2 + 0.06 * wave, 0.35, 0.5 + 0.08 * wave], 0
    )
    s0 = np.select([fluid, white, deep, grey], [2600, WHITE_S0 + 60 * wave, 1150, 1300 + 60 * wave], 0)
    # Water diffuses freely in fluid, whoever's.
    lambda_par *= np.where(fluid, 1, factors.get("lambda_par", 1))
    fraction *= np.where(fluid, 1, factors.get("fraction", 1))
    return lambda_par, fraction, s0 * factors.get("s0", 1)


def concentrations(where: Plane) -> np.ndarray:
    """κ of the bundles' Watson densities, of the plane's shape; 0 in fluid and outside."""
    return np.select([where.fluid, where.white, where.grey], [0.0, 14 + 3 * where.wave, 1.5], 0.0)


def bundles(where: Plane) -> tuple[np.ndarray, np.ndarray]:
    """Axes (..., 3, 3) and weights (..., 3) of three bundles, which each voxel mixes by where it lies.

    Callosal fibres bend up to the cortex, and fan out at the callosum's ends; projection fibres fan out; the third
    bundle runs from back to front in an arc.
    """
    x, y, z, side, callosum = where.x, where.y, where.z, where.side, where.callosum
    sign = np.where(x < 0, -1.0, 1.0)
    bend, forceps = np.clip((side - 0.25) / 0.6, 0, 1) * np.pi / 3, 0.8 * y * np.clip(side / 0.4, 0, 1)
    callosal = _tilted(sign * np.cos(bend), np.sin(bend), forceps)
    fan, corona = 0.9 * x * np.clip(z + 0.3, 0, 1), 0.7 * y * np.clip(z + 0.3, 0, 1)
    projection = _tilted(np.sin(fan), np.cos(fan), corona)
    arc = np.full_like(x, 0.6 * y)
    through = np.stack([np.zeros_like(x), np.cos(arc), -np.sin(arc)], axis=-1)
    mix = np.stack(
        [
            np.exp(-(((z - 0.35) / 0.3) ** 2)) * np.exp(-((side / 0.6) ** 2)) * np.exp(-((y / 0.7) ** 2))
            + 3.0 * callosum,
            np.exp(-(((side - 0.42) / 0.25) ** 2)) * ~callosum,
            0.9 * np.exp(-(((side - 0.62) / 0.14) ** 2 + ((z - 0.2) / 0.25) ** 2)) * ~callosum + 0.02,
        ],
        axis=-1,
    )
    mix /= mix.sum(axis=-1, keepdims=True)
    mix = np.where(mix < 0.15, 0, mix)
    mix /= mix.sum(axis=-1, keepdims=True)
    return np.stack([callosal, projection, through], axis=-2), mix


def _tilted(x: np.ndarray, z: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) in the plane, of components x and z, tilted out of it by an angle towards the front."""
    return np.stack([x * np.cos(angle), np.sin(angle), z * np.cos(angle)], axis=-1)
