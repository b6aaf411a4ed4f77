"""One pass over a series: its shells' means, the data of the voxels inside the mask, and a sample of both sides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..acquisition.background import ENOUGH_VOXELS, spread
from ..acquisition.means import MeansAccumulator
from ..acquisition.plausibility import Sample
from ..files import nifti
from ..files.voxels import VoxelData
from .inputs import Inputs

#: `progress(stage, done, total)`: how far a stage is, in units of its own.
Progress = Callable[[str, int, int], None]
_INSIDE = 4096  # voxels of the sample inside the mask, at most


def read_series(inputs: Inputs, data: VoxelData, progress: Progress) -> tuple[np.ndarray, VoxelData, Sample]:
    """(shells, voxels in the mask) spherical means, the data of these voxels as stored, and a sample.

    Args:
        data: takes the data; one of no volumes takes none.
    """
    image, inside = inputs.image, inputs.mask.ravel(order="F")
    n = image.shape[3]
    means = MeansAccumulator(inputs.acquisition.weights, inside.size)
    sampler = _Sampler(inside, n, image)
    for i, volume in enumerate(nifti.read_volumes(image)):
        means.add(i, volume)
        sampler.add(i, volume)
        if data.volumes:
            data.put(i, np.compress(inside, volume))
        progress("read", i + 1, n)
    # The weights of a shell sum to 1, so scaling its mean scales its volumes.
    with np.errstate(invalid="ignore", over="ignore"):
        return means.sums[:, inside] * image.slope + image.inter, data, sampler.sample()


def rows_of(data: VoxelData, image: nifti.Image) -> Callable[[Any], np.ndarray]:
    """`(slice or numbers) -> (voxels, volumes)` data, scaled."""

    def rows(index: Any) -> np.ndarray:
        with np.errstate(invalid="ignore", over="ignore"):
            return data.rows(index) * image.slope + image.inter

    return rows


class _Sampler:
    """Takes some voxels of each volume.

    Args:
        inside: (voxels,) bool, in the order of the file. volumes: how many will come.
    """

    def __init__(self, inside: np.ndarray, volumes: int, image: nifti.Image):
        count = int(np.count_nonzero(inside))
        self._image, self._ratio = image, (inside.size - count) / max(count, 1)
        self._chosen = [spread(np.flatnonzero(inside), _INSIDE), spread(np.flatnonzero(~inside), ENOUGH_VOXELS)]
        self._values = [np.empty((volumes, len(numbers)), image.dtype) for numbers in self._chosen]

    def add(self, volume: int, values: np.ndarray) -> None:
        """Take from a volume, (voxels,)."""
        for out, numbers in zip(self._values, self._chosen, strict=True):
            out[volume] = values[numbers]

    def sample(self) -> Sample:
        """What was taken."""
        image = self._image
        with np.errstate(invalid="ignore", over="ignore"):
            inside, outside = (values * image.slope + image.inter for values in self._values)
        largest = float(np.iinfo(image.dtype).max) if image.dtype.kind in "iu" else np.inf
        return Sample(inside, outside, self._ratio, image.dtype, largest * image.slope + image.inter)
