"""`fit`: data and mask in, maps out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from . import masks
from .acquisition import Acquisition
from .engine import MeansFitter
from .errors import InputError
from .means import spherical_means
from .models import SphericalMeanModel
from .solvers import Solver, Status
from .voxelwise import VoxelFits


@dataclass(frozen=True)
class Fit:
    """Maps of a fitted model; every array has the data's spatial shape (...).

    Attributes:
        model: what was fitted.
        parameters: free and dependent parameters by name, diffusivities in µm²/ms.
        derived: further maps by name. s0: in units of the data.
        mse: mean squared residual over b = 0 and the shells' means, of the signal over S0.
        r2: coefficient of determination of the same. status: `Status` codes, uint8.
    Where status is not CONVERGED, AT_BOUND or NOT_CONVERGED, all maps are 0.
    """

    model: SphericalMeanModel
    parameters: dict[str, np.ndarray]
    derived: dict[str, np.ndarray]
    s0: np.ndarray
    mse: np.ndarray
    r2: np.ndarray
    status: np.ndarray

    def count(self, status: Status) -> int:
        """Number of voxels with this status."""
        return int(np.count_nonzero(self.status == status))


def fit(
    model: SphericalMeanModel,
    acquisition: Acquisition,
    data,
    mask=None,
    *,
    s0: str = "fit",
    solver: Solver | None = None,
    dtype: str = "float32",
    device=None,
) -> Fit:
    """Fit a spherical-mean model in every voxel.

    Args:
        data: (..., volumes), NumPy or JAX array or memory map, any real type.
        mask: (...), voxels to fit: integers above 0, floats above 0.5; None: all.
        s0: "fit" estimates S0 with the model, "mean" fixes it to the mean of the b = 0 volumes.
        solver: None is `levenberg_marquardt()`. dtype: "float32" or "float64".
        device: a JAX device; None is the first that JAX finds.
    Raises:
        InputError: shapes that do not match, an empty mask, too few shells for the model.
    """
    if s0 not in ("fit", "mean"):
        raise InputError(f"unknown s0 {s0!r}", fix="'fit' or 'mean'")
    data = data if isinstance(data, np.ndarray) else np.asarray(data)
    if data.ndim == 0 or not (np.issubdtype(data.dtype, np.integer) or np.issubdtype(data.dtype, np.floating)):
        raise InputError(f"data of shape {data.shape} and type {data.dtype}", fix="give a real array (..., volumes)")
    space = data.shape[:-1]
    inside = np.ones(space, bool) if mask is None else np.asarray(mask)
    if inside.shape != space:
        raise InputError(f"mask of shape {inside.shape} for data of shape {data.shape}", fix="shapes must agree")
    inside = masks.inside(inside)
    fitter = MeansFitter(model, acquisition, fit_s0=s0 == "fit", solver=solver, dtype=dtype, device=device)
    means = spherical_means(acquisition, data)
    return assemble(model, fitter(means[:, inside.ravel()]), inside)


def assemble(model: SphericalMeanModel, fits: VoxelFits, inside: np.ndarray, order: Literal["C", "F"] = "C") -> Fit:
    """Put the fits of the voxels inside a mask, in `order` ("C" or "F"), into maps of its shape."""
    index = np.flatnonzero(inside.ravel(order=order))

    def place(values) -> np.ndarray:
        values = np.asarray(values)
        flat = np.zeros(inside.size, values.dtype)
        flat[index] = values
        return flat.reshape(inside.shape, order=order)

    return Fit(
        model=model,
        parameters={name: place(v) for name, v in fits.parameters.items()},
        derived={name: place(v) for name, v in fits.derived.items()},
        s0=place(fits.s0),
        mse=place(fits.mse),
        r2=place(fits.r2),
        status=place(fits.status),
    )
