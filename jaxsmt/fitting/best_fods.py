"""The best FODs so far of many voxels, while more lobes are tried."""

from __future__ import annotations

import numpy as np

from ..batch.programs import Fits
from ..problems.lobes import Lobes
from ..status import Status


class BestFods:
    """The best FODs so far of the voxels inside the mask."""

    def __init__(self, status: np.ndarray, lobes: Lobes, dtype: np.dtype):
        shape = (len(status), lobes.count)
        self.maps = {name: np.zeros(shape, dtype) for name in ("weight", "odi", "kappa", "beta")}
        vectors = ("direction", "across")[: lobes.density.axes]
        self.maps |= {name: np.zeros((*shape, 3), dtype) for name in vectors}
        self.status, self.criterion = status, np.full(len(status), np.inf)
        self.lobes, self.squares = np.zeros(len(status), np.uint8), np.zeros(len(status))
        self.sd: dict[str, np.ndarray] | None = None

    def put_uniform(self, voxels: np.ndarray, criterion: np.ndarray, fits: Fits, at_bound: np.ndarray) -> None:
        """Take a uniform FOD as that of these voxels. at_bound: in which of them nothing else can be told."""
        self.criterion[voxels], self.squares[voxels] = criterion, fits.maps["uniform_squares"]
        self.status[voxels] = np.where(at_bound, Status.AT_BOUND, Status.CONVERGED)

    def put(self, voxels: np.ndarray, criterion: np.ndarray, fits: Fits, chosen: np.ndarray) -> None:
        """Take the chosen fits as those of these voxels."""
        count = fits.maps["weight"].shape[1]
        for name, values in self.maps.items():
            values[voxels] = 0
            values[voxels, :count] = fits.maps[name][chosen]
        self.criterion[voxels], self.lobes[voxels] = criterion, count
        self.squares[voxels], self.status[voxels] = fits.maps["squares"][chosen], fits.status[chosen]
