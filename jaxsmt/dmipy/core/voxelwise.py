"""dmipy's `fit`: its arguments, its checks, and what it prints."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ... import InputError
from ..parameters import Parameters, not_covered
from ..schemes import DmipyAcquisitionScheme
from .fitted_maps import FittedMaps

Result = TypeVar("Result", bound=FittedMaps)


class MaskedData(NamedTuple):
    """Data as a fit takes them.

    Attributes:
        data: (..., measurements), of at least two dimensions.
        mask: (...) voxels to fit.
        s0: (...) mean of the b = 0 volumes.
    """

    data: np.ndarray
    mask: np.ndarray
    s0: np.ndarray


class VoxelwiseModel(Parameters, ABC, Generic[Result]):
    """A model with dmipy's `fit`; a subclass says in `_fit` how it is fitted."""

    def fit(
        self,
        acquisition_scheme: DmipyAcquisitionScheme,
        data: ArrayLike,
        mask: ArrayLike | None = None,
        solver: str = "brute2fine",
        Ns: int = 5,
        maxiter: int = 300,
        N_sphere_samples: int = 30,
        use_parallel_processing: bool = True,
        number_of_processors: int | None = None,
    ) -> Result:
        """Fit all voxels of the mask whose first volume is positive; FODs also need a fitted kernel there.

        Args:
            acquisition_scheme: the measurements.
            data: (..., measurements), of any scale.
            mask: (...) voxels to fit: above 0; None: all.
            solver: "brute2fine"; jaxsmt's solver is used.
            Ns: makes no difference.
            maxiter: makes no difference.
            N_sphere_samples: makes no difference.
            use_parallel_processing: makes no difference.
            number_of_processors: makes no difference.

        Returns:
            the fitted model; its maps have the shape (...).

        Raises:
            InputError: shapes do not match, there is no b = 0 measurement, or no voxel to fit.
            NotCoveredError: `solver="mix"`.
        """
        _require_solver(solver)
        series = _series(acquisition_scheme, np.atleast_2d(np.asarray(data)), mask)
        self._require_maps_of(series.mask.shape)
        start = time.perf_counter()
        fitted = self._fit(acquisition_scheme, series)
        _print_duration(int(fitted.mask.sum()), time.perf_counter() - start)
        return fitted

    @abstractmethod
    def _fit(self, scheme: DmipyAcquisitionScheme, series: MaskedData) -> Result:
        """The fitted model."""

    def _require_maps_of(self, shape: tuple[int, ...]) -> None:
        """Raise InputError if a parameter is fixed at a map of another shape."""
        for name, free in self.parameter_optimization_flags.items():
            if not free and self.x0_parameters[name].shape != shape:
                raise InputError(
                    "data and x0 both N-dimensional but have different shapes. "
                    f"Current shapes are {shape} and {self.x0_parameters[name].shape}."
                )


def require_voxels(mask: np.ndarray) -> np.ndarray:
    """The mask, if there is a voxel in it; else raise InputError."""
    if not mask.any():
        raise InputError(
            "no voxel to fit: the mask is empty, or the first volume is nowhere positive", fix="check both"
        )
    return mask


def _require_solver(solver: str) -> None:
    """Raise unless the solver is one of dmipy's that is covered."""
    if solver == "mix":
        raise not_covered("solver='mix'", "give solver='brute2fine'; jaxsmt's solver is used")
    if solver != "brute2fine":
        raise InputError(f"Unknown solver name {solver}", fix="give solver='brute2fine'")


def _series(scheme: DmipyAcquisitionScheme, data: np.ndarray, mask: ArrayLike | None) -> MaskedData:
    """Data with the voxels to fit and S0, as dmipy has them."""
    if not scheme.b0_mask.any():
        raise InputError("acquisition scheme must have b0-measurements for signal-attenuation-based model fitting.")
    scheme.acquisition.require_volumes(data.shape[-1])
    inside = data[..., 0] > 0
    if mask is not None:
        mask = np.asarray(mask)
        # The mask of a single voxel, whose data have got a first axis of 1, may lack that axis.
        if mask.shape not in (inside.shape, inside.shape[1:] if inside.shape[:1] == (1,) else inside.shape):
            raise InputError(f"a mask of shape {mask.shape} for data of shape {data.shape}", fix="shapes must agree")
        inside = inside & (np.broadcast_to(mask, inside.shape) > 0)
    return MaskedData(data, inside, data[..., scheme.b0_mask].mean(axis=-1))


def _print_duration(voxels: int, seconds: float) -> None:
    """Print what dmipy prints at the end of a fit."""
    print(f"Fitting of {voxels} voxels complete in {seconds} seconds.")
    print(f"Average of {seconds / voxels} seconds per voxel.")
