"""One pass over a series: its shells' means, the data of the voxels inside the mask, and a sample of both sides."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from queue import SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from ..acquisition.background import ENOUGH_VOXELS, spread
from ..acquisition.means import MeansAccumulator
from ..acquisition.plausibility import Sample
from ..errors import JaxsmtWarning
from ..files import nifti
from ..files.voxels import VoxelData
from .inputs import Inputs

#: `progress(stage, done, total)`: how far a stage is, in units of its own.
Progress = Callable[[str, int, int], None]
#: Bytes of volumes that wait for the place where they will be kept.
WAITING = 256 * 2**20
_INSIDE = 4096  # voxels of the sample inside the mask, at most


class Read(NamedTuple):
    """What was read.

    means: (shells, voxels in the mask). data: of these voxels, as stored. sample: of the voxels on both sides.
    """

    means: np.ndarray
    data: VoxelData
    sample: Sample


class Reader:
    """Reads a series in a thread of its own from when it is made, so that JAX is loaded meanwhile.

    Used as a context, it reads no further after its end.
    """

    def __init__(self, inputs: Inputs):
        self._inputs = inputs
        self._place: Future[VoxelData] = Future()
        self._texts: list[str] = []
        self._read: SimpleQueue[int | None] = SimpleQueue()
        self._left = False
        self._pool = ThreadPoolExecutor(1)
        self._result = self._pool.submit(self._pass)
        self._result.add_done_callback(lambda _: self._read.put(None))

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        self._place.cancel()
        self._pool.shutdown(wait=False)

    def into(self, data: VoxelData, progress: Progress) -> Read:
        """Read to the end.

        Args:
            data: takes the data; one of no volumes takes none.
        Raises:
            InputError: the stream is not whole.
        """
        self._place.set_result(data)
        for done in iter(self._read.get, None):
            progress("read", done, self._inputs.image.shape[3])
        for text in self._texts:
            warnings.warn(text, JaxsmtWarning, stacklevel=2)
        return self._result.result()

    def _pass(self) -> Read:
        """All volumes, one after another; they wait until it is known where the data go.

        Raises:
            CancelledError: nobody needs them any more.
        """
        image, inside = self._inputs.image, self._inputs.mask.ravel(order="F")
        indices, n = np.flatnonzero(inside), image.shape[3]
        means, sampler = MeansAccumulator(self._inputs.acquisition.weights, len(indices)), _Sampler(inside, n, image)
        waiting: list[tuple[int, np.ndarray]] = []
        room = max(1, WAITING // max(1, len(indices) * image.dtype.itemsize))
        with closing(nifti.read_volumes(image, tell=self._texts.append)) as volumes:
            for i, volume in enumerate(volumes):
                if self._left:
                    raise CancelledError
                values = volume.take(indices)
                means.add(i, values)
                sampler.add(i, volume)
                waiting.append((i, values))
                if self._place.done() or len(waiting) == room:
                    _put(waiting, self._place.result())
                self._read.put(i + 1)
        data = self._place.result()
        _put(waiting, data)
        # The weights of a shell sum to 1, so scaling its mean scales its volumes.
        with np.errstate(invalid="ignore", over="ignore"):
            means.sums *= image.slope
            means.sums += image.inter
        return Read(means.sums, data, sampler.sample())


def _put(waiting: list[tuple[int, np.ndarray]], data: VoxelData) -> None:
    """Move volumes to their place."""
    while waiting:
        i, values = waiting.pop()
        if data.volumes:
            data.put(i, values)


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
