"""What all results of fits have: maps, S0, a mask, and how far the prediction is from the data."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike

from ... import InputError
from ..schemes import DmipyAcquisitionScheme


class FittedMaps(ABC):
    """Result of a fit; maps have the data's shape without its last axis and are 0 outside the mask.

    A subclass predicts a quantity, `predict`, and takes the same quantity from data, `_measured`.

    Attributes:
        S0: (...) mean of the b = 0 volumes, in units of the data.
        mask: (...) voxels that were fitted.
        scheme: the measurements.
    """

    def __init__(self, S0: np.ndarray, mask: np.ndarray, scheme: DmipyAcquisitionScheme):
        self.S0, self.mask, self.scheme = S0, mask, scheme

    @abstractmethod
    def predict(
        self,
        acquisition_scheme: DmipyAcquisitionScheme | None = None,
        S0: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """The quantity that was fitted, from the fitted parameters."""

    @abstractmethod
    def _measured(self, data: np.ndarray) -> np.ndarray:
        """The quantity that was fitted, from data."""

    def _s0_inside(self, S0: ArrayLike | None, mask: ArrayLike | None) -> np.ndarray:
        """S0, the fit's or another, where both the fit's mask and another are; 0 elsewhere."""
        inside = self.mask if mask is None else (np.asarray(mask) > 0) & self.mask
        return np.where(inside, self.S0 if S0 is None else S0, 0.0) * np.ones(self.mask.shape)

    def _errors(self, data: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Data over S0, and what the prediction leaves of them; both are 0 outside the mask."""
        data = np.asarray(data)
        if data.shape != (*self.mask.shape, self.scheme.number_of_measurements):
            raise InputError(
                f"data of shape {data.shape} for a fit of {self.mask.shape} voxels", fix="give the data of the fit"
            )
        inside = self.mask[..., None]
        s0 = np.where(inside, self.S0[..., None], 1)
        measured = np.where(inside, self._measured(np.where(inside, data, 0)) / s0, 0)
        return measured, measured - self.predict(S0=1.0)

    def mean_squared_error(self, data: ArrayLike) -> np.ndarray:
        """Mean squared residual of the signal over S0.

        Args:
            data: (..., measurements) that were fitted.

        Returns:
            (...) without unit; 0 outside the mask.

        Raises:
            InputError: the data have another shape than those of the fit.
        """
        return np.mean(self._errors(data)[1] ** 2, axis=-1)

    def R2_coefficient_of_determination(self, data: ArrayLike) -> np.ndarray:
        """Coefficient of determination of the signal over S0.

        1 - (residual sum of squares)/(total sum of squares).

        Args:
            data: (..., measurements) that were fitted.

        Returns:
            (...) without unit; 0 outside the mask.

        Raises:
            InputError: the data have another shape than those of the fit.
        """
        measured, error = self._errors(data)
        total = np.sum((measured - measured.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
        return np.where(self.mask, 1 - np.sum(error**2, axis=-1) / np.where(total > 0, total, 1), 0)
