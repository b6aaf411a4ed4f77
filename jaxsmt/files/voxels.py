"""The data of the voxels inside a mask: written volume by volume, read voxel by voxel; in memory or in a file."""

from __future__ import annotations

import errno
import os
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ResourceError

# Voxels of a file whose volumes are beside each other.
_BLOCK = 4096


class VoxelData(ABC):
    """Data of voxels, as they are stored in a series.

    Args:
        volumes: how many. voxels: how many. dtype: of the numbers, with byte order.
    """

    def __init__(self, volumes: int, voxels: int, dtype: np.dtype):
        self.volumes, self.voxels, self.dtype = volumes, voxels, dtype

    @abstractmethod
    def put(self, volume: int, values: np.ndarray) -> None:
        """Write a volume, (voxels,)."""

    @abstractmethod
    def rows(self, index: Any) -> np.ndarray:
        """(n, volumes) of the voxels that a slice or an array of numbers chooses."""

    @abstractmethod
    def close(self) -> None:
        """Free what holds the data."""


class InMemory(VoxelData):
    """All data in memory.

    Raises:
        ResourceError: they do not fit.
    """

    def __init__(self, volumes: int, voxels: int, dtype: np.dtype):
        super().__init__(volumes, voxels, dtype)
        try:
            self._values = np.empty((volumes, voxels), dtype)
        except MemoryError:
            raise ResourceError(
                "the voxels inside the mask do not fit into memory",
                fix="a smaller memory_limit=, or a tighter mask=",
            ) from None

    def put(self, volume: int, values: np.ndarray) -> None:
        """Write a volume, (voxels,)."""
        self._values[volume] = values

    def rows(self, index: Any) -> np.ndarray:
        """(n, volumes) of the voxels that a slice or an array of numbers chooses."""
        return self._values[:, index].T

    def close(self) -> None:
        """Free the memory."""
        del self._values


class InFile(VoxelData):
    """All data in a private file, which has no name and is gone with the process.

    The file holds blocks of voxels. A block holds its voxels volume by volume.

    Args:
        folder: of the file.
    Raises:
        ResourceError: the folder cannot be written.
    """

    def __init__(self, volumes: int, voxels: int, dtype: np.dtype, folder: Path):
        super().__init__(volumes, voxels, dtype)
        self._folder = folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  `close` closes it
        except OSError as error:
            raise self._trouble(error) from None

    def put(self, volume: int, values: np.ndarray) -> None:
        """Write a volume, (voxels,).

        Raises:
            ResourceError: the disk is full.
        """
        size = self.dtype.itemsize
        content = np.ascontiguousarray(values, self.dtype).view(np.uint8).data
        for start in range(0, self.voxels, _BLOCK):
            stop = min(start + _BLOCK, self.voxels)
            at = (start * self.volumes + volume * (stop - start)) * size
            part = content[start * size : stop * size]
            try:
                while part:
                    written = os.pwrite(self._file.fileno(), part, at)
                    part, at = part[written:], at + written
            except OSError as error:
                raise self._trouble(error) from None

    def rows(self, index: Any) -> np.ndarray:
        """(n, volumes) of the voxels that a slice or an array of numbers chooses."""
        if isinstance(index, slice):
            start, stop, _ = index.indices(self.voxels)
            return self._between(start, stop).T
        index = np.asarray(index)
        out = np.empty((len(index), self.volumes), self.dtype)
        block = index // _BLOCK
        for nth in np.unique(block):
            chosen = block == nth
            first, last = int(index[chosen].min()), int(index[chosen].max())
            out[chosen] = self._between(first, last + 1).T[index[chosen] - first]
        return out

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def _between(self, start: int, stop: int) -> np.ndarray:
        """(volumes, stop - start) of neighbouring voxels."""
        size = self.dtype.itemsize
        out = np.empty((self.volumes, max(stop - start, 0)), self.dtype)
        for block in range(start - start % _BLOCK, stop, _BLOCK):
            width = min(block + _BLOCK, self.voxels) - block
            low, high = max(start, block), min(stop, block + width)
            for volume in range(self.volumes):
                at = (block * self.volumes + volume * width + low - block) * size
                self._read(out[volume, low - start : high - start], at)
        return out

    def _read(self, values: np.ndarray, at: int) -> None:
        """Fill an array from the file."""
        left = values.view(np.uint8).data
        while left:
            got = os.preadv(self._file.fileno(), [left], at)
            if not got:
                raise ResourceError("the scratch file was cut", file=self._folder, fix="run the same command again")
            left, at = left[got:], at + got

    def _trouble(self, error: OSError) -> ResourceError:
        fix = "free some space, or choose another folder with scratch="
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            fix = "choose another folder with scratch="
        return ResourceError(f"no scratch file for the voxels: {error.strerror or error}", file=self._folder, fix=fix)
