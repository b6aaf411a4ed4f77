"""Which slices of an image are shown, turned as the head stands: left of the picture is the subject's left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..files import masks

#: Scanner axes, and the plane that a cut across each gives.
_AXES, _PLANES = "xyz", ("sagittal", "coronal", "axial")
# An image is a slab if it has so few slices across one axis, or so few times fewer than across the others.
_FEW_SLICES, _THINNER = 4, 4
_SHOWN = 4  # slices of a slab
_GAP = 4  # pixels between slices


@dataclass(frozen=True)
class Slice:
    """A cut through an image.

    Attributes:
        plane: "axial", "coronal" or "sagittal", which is nearest.
        position: number of the slice among the voxels across, from 0.
        indices: (width, height) indices of its voxels among those inside the mask; -1 outside. The first axis goes to
            the right (the subject's right, or front in sagittal cuts), the second up.
        affine: (4, 4), from indices (right, up, across) to scanner axes, but for the origin.
    """

    plane: str
    position: int
    indices: np.ndarray
    affine: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """(width, height) where the mask is."""
        return self.indices >= 0

    @property
    def aspect(self) -> float:
        """Height over width of a voxel."""
        width, height = (float(np.linalg.norm(self.affine[:3, k])) for k in range(2))
        return height / width

    @property
    def text(self) -> str:
        """What the cut is called.

        Example:
            >>> Slice("axial", 24, np.zeros((2, 2), int), np.eye(4)).text
            'axial 24'
        """
        return f"{self.plane} {self.position}"

    def of(self, values: np.ndarray) -> np.ndarray:
        """A map of the slice, (width, height, …), from values of the voxels inside the mask; 0 outside."""
        return masks.place(values[self.indices[self.inside]], self.inside)


def choose_slices(mask: np.ndarray, affine: np.ndarray) -> list[Slice]:
    """The slices of a page that show most of the mask: one in each plane, or several of a slab of few slices.

    Args:
        mask: (x, y, z) bool.
        affine: (4, 4), voxels to scanner axes.
    """
    image = _Turned.of(mask, affine, mask)
    if image.thin is None:
        return [image.fullest(axis) for axis in (2, 1, 0)]
    return [image.cut(image.thin, int(nth)) for nth in _spread(np.flatnonzero(image.counts[image.thin]))]


def choose_slice(mask: np.ndarray, affine: np.ndarray | None = None, indexed: np.ndarray | None = None) -> Slice:
    """The slice of a picture, which shows most of the mask: an axial one, or one of a slab.

    Args:
        mask: (x, y, z) bool.
        affine: (4, 4), voxels to scanner axes; None: they are the same, so that the picture is as voxels are stored.
        indexed: (x, y, z) bool, the voxels that the slice has; None: those of the mask.
    """
    image = _Turned.of(mask, np.eye(4) if affine is None else affine, mask if indexed is None else indexed)
    return image.fullest(2 if image.thin is None else image.thin)


@dataclass(frozen=True)
class _Turned:
    """An image whose axes go to the right, the front and up.

    Attributes:
        indices: of its voxels, -1 for those without. columns: (3, 3) its axes in scanner axes.
        flipped: which of its axes the file has backwards. counts: voxels of the mask in the slices across each axis.
    """

    indices: np.ndarray
    columns: np.ndarray
    flipped: np.ndarray
    counts: list[np.ndarray]

    @classmethod
    def of(cls, mask: np.ndarray, affine: np.ndarray, indexed: np.ndarray) -> _Turned:
        """The image of a mask, with the indices of some voxels."""
        count = np.count_nonzero(indexed)
        indices = np.where(indexed, masks.place(np.arange(count, dtype=np.int32), indexed, "F"), -1)
        order, signs = _turn(affine[:3, :3])
        turn = tuple(slice(None, None, -1) if sign < 0 else slice(None) for sign in signs)
        turned = mask.transpose(order)[turn]
        counts = [np.count_nonzero(turned, axis=tuple(i for i in range(3) if i != axis)) for axis in range(3)]
        return cls(indices.transpose(order)[turn], affine[:3, list(order)] * signs, signs < 0, counts)

    @property
    def thin(self) -> int | None:
        """The axis across the slices of a slab; None: the image is none."""
        shape = self.indices.shape
        axis = int(np.argmin(shape))
        return axis if shape[axis] <= _FEW_SLICES or shape[axis] * _THINNER < np.median(shape) else None

    def fullest(self, axis: int) -> Slice:
        """The slice across an axis that has most of the mask."""
        return self.cut(axis, int(np.argmax(self.counts[axis])))

    def cut(self, axis: int, nth: int) -> Slice:
        """A slice across an axis."""
        right, up = (i for i in range(3) if i != axis)
        affine = np.eye(4)
        affine[:3, :3] = self.columns[:, [right, up, axis]]
        position = self.indices.shape[axis] - 1 - nth if self.flipped[axis] else nth
        return Slice(_PLANES[axis], position, np.take(self.indices, nth, axis=axis), affine)


def _turn(matrix: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """Which voxel axis is nearest to each scanner axis, and the sign of its direction."""
    cosines = matrix / np.maximum(np.linalg.norm(matrix, axis=0), 1e-12)
    left, order = np.abs(cosines), [0, 0, 0]
    for _ in range(3):  # the surest first
        scanner, voxel = np.unravel_index(np.argmax(left), left.shape)
        order[scanner] = int(voxel)
        left[scanner], left[:, voxel] = -1, -1
    signs = np.array([1.0 if cosines[i, order[i]] >= 0 else -1.0 for i in range(3)])
    return tuple(order), signs


def _spread(indices: np.ndarray) -> np.ndarray:
    """At most so many of them as are shown, evenly spread."""
    places = np.linspace(0, len(indices) - 1, min(len(indices), _SHOWN)) if len(indices) else np.empty(0)
    return indices[places.round().astype(int)]


@dataclass(frozen=True)
class Sheet:
    """Slices side by side on one canvas of square pixels.

    Attributes:
        indices: (height, width) indices of the voxels inside the mask, rows from the top; -1 elsewhere.
        corners: pixel of each slice's lower left corner, (right, down). scales: pixels of a voxel of each, (right, up).
    """

    indices: np.ndarray
    corners: tuple[tuple[int, int], ...]
    scales: tuple[tuple[float, float], ...]


def lay_out(slices: Sequence[Slice]) -> Sheet:
    """Slices side by side, at one scale, cropped to the mask.

    Args:
        slices: at least one.
    """
    finest = min(float(np.linalg.norm(cut.affine[:3, k])) for cut in slices for k in range(2))
    pieces, corners, scales, x = [], [], [], 0
    for cut in slices:
        low, high = _box(cut.inside)
        scale = tuple(float(np.linalg.norm(cut.affine[:3, k])) / finest for k in range(2))
        indices = cut.indices[low[0] : high[0], low[1] : high[1]]
        pixels = [max(round(n * s), 1) for n, s in zip(indices.shape, scale, strict=True)]
        pieces.append(indices[np.ix_(*map(_nearest, pixels, indices.shape))])
        corners.append((x - low[0] * scale[0], low[1] * scale[1]))
        scales.append(scale)
        x += pixels[0] + _GAP
    height = max(piece.shape[1] for piece in pieces)
    canvas = np.full((x - _GAP, height), -1, np.int32)
    placed, x = [], 0
    for piece, (left, below) in zip(pieces, corners, strict=True):
        bottom = (height - piece.shape[1]) // 2
        canvas[x : x + piece.shape[0], bottom : bottom + piece.shape[1]] = piece
        placed.append((round(left), height - bottom + round(below)))
        x += piece.shape[0] + _GAP
    return Sheet(canvas.T[::-1], tuple(placed), tuple((s[0], s[1]) for s in scales))


def _nearest(pixels: int, voxels: int) -> np.ndarray:
    """Which voxel each pixel shows."""
    return np.minimum(((np.arange(pixels) + 0.5) * voxels / pixels).astype(int), voxels - 1)


def _box(inside: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Lower and upper corner of a mask with a voxel's margin; all of it where it is empty."""
    if not inside.any():
        return (0, 0), (inside.shape[0], inside.shape[1])
    across, up = (np.flatnonzero(inside.any(axis=1 - k)) for k in range(2))
    low = max(int(across[0]) - 1, 0), max(int(up[0]) - 1, 0)
    high = min(int(across[-1]) + 2, inside.shape[0]), min(int(up[-1]) + 2, inside.shape[1])
    return low, high
