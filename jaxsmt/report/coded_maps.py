"""Maps in one byte for each voxel, cropped to their mask: small enough to be part of a page. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..files import nifti

_HIGHEST = 255


@dataclass(frozen=True)
class CodedMap:
    """A map in uint8: values are slope·codes + inter; the code 0 is outside.

    Attributes:
        codes: (x, y, z) uint8.
        slope, inter: of the values.
        affine: (4, 4), voxels to scanner axes.
    """

    codes: np.ndarray
    slope: float
    inter: float
    affine: np.ndarray

    def to_nifti(self) -> bytes:
        """The map as the content of a `.nii.gz` file."""
        return nifti.to_bytes(self.codes, self.affine, self.slope, self.inter)


@dataclass(frozen=True)
class Grid:
    """A box of voxels, and those of them that are inside a mask.

    Attributes:
        inside: (x, y, z) bool.
        affine: (4, 4), voxels to scanner axes.
    """

    inside: np.ndarray
    affine: np.ndarray

    def around(self) -> tuple[slice, slice, slice]:
        """The smallest box that holds all voxels inside; all of the grid if there are none."""
        box = []
        for axis in range(3):
            at = np.flatnonzero(self.inside.any(axis=tuple(i for i in range(3) if i != axis)))
            box.append(slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, self.inside.shape[axis]))
        return box[0], box[1], box[2]

    def cropped(self, box: tuple[slice, slice, slice]) -> Grid:
        """The grid of a box within this one."""
        moved = np.eye(4)
        moved[:3, 3] = [side.start for side in box]
        return Grid(self.inside[box], self.affine @ moved)

    def halved(self) -> Grid:
        """The grid with voxels of twice the length; one is inside if any of its eight is."""
        larger = np.diag([2.0, 2.0, 2.0, 1.0])
        larger[:3, 3] = 0.5
        return Grid(np.any(_eights(self.inside, False), axis=-1), self.affine @ larger)


def halve(volume: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A map on the grid that `Grid.halved` gives: the mean of the voxels inside; of whole numbers their largest.

    Args:
        volume, inside: (x, y, z).

    Example:
        >>> halve(np.array([[[1.0, 3.0, 5.0]]]), np.array([[[True, True, False]]]))
        array([[[2., 0.]]])
    """
    parts, counted = _eights(volume, 0), _eights(inside, False) & np.isfinite(_eights(volume, 0))
    if volume.dtype.kind in "iub":
        return np.where(counted, parts, 0).max(axis=-1)
    total = np.where(counted, parts, 0).sum(axis=-1)
    return total / np.maximum(counted.sum(axis=-1), 1)


def _eights(volume: np.ndarray, beyond: float | bool) -> np.ndarray:
    """(x/2, y/2, z/2, 8): voxels of each two by two by two; `beyond` is the value of those past an odd end."""
    even = np.pad(volume, [(0, n % 2) for n in volume.shape], constant_values=beyond)
    a, b, c = (n // 2 for n in even.shape)
    return even.reshape(a, 2, b, 2, c, 2).transpose(0, 2, 4, 1, 3, 5).reshape(a, b, c, 8)


def encode(volume: np.ndarray, grid: Grid, limits: tuple[float, float]) -> CodedMap:
    """A map in codes 1 to 255 for values from limits[0] to limits[1], those beyond at the ends; 0 where not inside.

    Whole numbers from 0 to 255 are their own codes. Values that are not finite count as outside.

    Args:
        volume: (x, y, z).
        grid: of the volume.
        limits: lowest and highest value that is told apart.
    """
    low, high = limits
    if volume.dtype.kind in "iub" and low > -1 and high < _HIGHEST + 1:
        slope, inter = 1.0, 0.0
    else:
        slope = max(high - low, float(np.finfo(np.float32).tiny)) / (_HIGHEST - 1)
        inter = low - slope
    lowest = 0 if slope == 1.0 and inter == 0.0 else 1
    known = grid.inside & np.isfinite(volume)
    codes = np.clip(np.rint((np.where(known, volume, low) - inter) / slope), lowest, _HIGHEST)
    return CodedMap(np.where(known, codes, 0).astype(np.uint8), slope, inter, grid.affine)
