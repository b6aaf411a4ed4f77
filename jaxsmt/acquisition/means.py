"""Spherical means of a whole series: one pass over the data, memory for one map a shell. NumPy only."""

from __future__ import annotations

import numpy as np

from .acquisition import Acquisition


def spherical_means(acquisition: Acquisition, data: np.ndarray) -> np.ndarray:
    """Spherical means of a series, in double precision.

    Reads the array once, volume after volume or block after block as it lies in memory, so that memory maps and
    integer types in C or Fortran order cost no copy of the series.

    Args:
        acquisition: of the series.
        data: (..., volumes) of any real type.
    Returns:
        (shells, voxels), in the order of `acquisition.shells`.
    Raises:
        InputError: the acquisition has another number of volumes.
    """
    weights = acquisition.weights
    acquisition.require_volumes(data.shape[-1])
    voxels = int(np.prod(data.shape[:-1]))
    if data.ndim > 1 and data.strides[-1] == max(data.strides, key=abs):  # volume after volume
        means = MeansAccumulator(weights, voxels)
        for i in range(data.shape[-1]):
            means.add(i, np.ascontiguousarray(data[..., i]).reshape(-1))
        return means.sums
    rows = data.reshape(voxels, -1)
    out = np.empty((len(weights), voxels))
    for i in range(0, voxels, 8192):
        with np.errstate(invalid="ignore", over="ignore"):
            out[:, i : i + 8192] = weights @ rows[i : i + 8192].astype(np.float64).T
    return out


class MeansAccumulator:
    """Spherical means of volumes that arrive one after another; holds one map for each shell.

    Args:
        weights: (shells, volumes), each volume in one shell.
        voxels: number of them.

    Attributes:
        sums: (shells, voxels), the means when all volumes have been added.
    """

    _BLOCK = 32_768  # voxels: the working set stays in a core's cache

    def __init__(self, weights: np.ndarray, voxels: int) -> None:
        self.sums = np.zeros((len(weights), voxels))
        self._shell = np.argmax(weights != 0, axis=0)
        self._weight = weights[self._shell, np.arange(weights.shape[1])]
        self._product = np.empty(self._BLOCK)

    def add(self, volume: int, values: np.ndarray) -> None:
        """Add volume number `volume`: its values, (voxels,) of any real type and byte order."""
        total, weight = self.sums[self._shell[volume]], self._weight[volume]
        for i in range(0, values.size, self._BLOCK):
            part = values[i : i + self._BLOCK]
            with np.errstate(invalid="ignore", over="ignore"):  # non-finite voxels get their status code
                product = np.multiply(part, weight, out=self._product[: part.size])
                total[i : i + self._BLOCK] += product
