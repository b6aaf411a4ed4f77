"""Masks, in files and in arrays alike: which voxels are inside, and maps from their values and back."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, JaxsmtWarning


def place(values: ArrayLike, within: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
    """Make a map from the values of the voxels inside a mask; it is 0 outside.

    Args:
        values: (voxels, …).
        within: the mask, of booleans.
        order: of the voxels: "C" (last axis fastest) or "F" (first axis fastest, as NIfTI files have them).
    Returns:
        (*within.shape, …).

    Example:
        >>> place([1.0, 2.0], np.array([True, False, True]))
        array([1., 0., 2.])
    """
    values = np.asarray(values)
    out = np.zeros((*within.shape, *values.shape[1:]), values.dtype)
    if order == "C":
        out[within] = values
    else:  # a view with the first axis fastest
        spatial = range(within.ndim)
        out.transpose(*reversed(spatial), *range(within.ndim, out.ndim))[within.T] = values
    return out


def take(values: ArrayLike, within: np.ndarray, order: Literal["C", "F"] = "C") -> np.ndarray:
    """Take the values of the voxels inside a mask from a map: what `place` undoes.

    Args:
        values: (*within.shape, …).
        within: the mask, of booleans.
        order: of the voxels, as `place` has it.
    Returns:
        (voxels, …).

    Example:
        >>> take([1.0, 0.0, 2.0], np.array([True, False, True]))
        array([1., 2.])
    """
    values = np.asarray(values)
    if order == "C":
        return values[within]
    spatial = range(within.ndim)
    return values.transpose(*reversed(spatial), *range(within.ndim, values.ndim))[within.T]


def inside(mask: np.ndarray, name: str = "the mask") -> np.ndarray:
    """Which voxels to fit: integers above 0, floats above 0.5; NaN is outside. Warns of other values than 0 and 1.

    Args:
        mask: of any shape and real type.
        name: of the mask, for the texts.
    Returns:
        booleans of the mask's shape.
    Raises:
        InputError: no voxel is inside.
    """
    mask = np.asarray(mask)
    odd = int(np.count_nonzero((mask != 0) & (mask != 1)))
    if odd:
        rule = "above 0.5 is inside, NaN outside" if mask.dtype.kind == "f" else "above 0 is inside"
        warnings.warn(f"{name}: {odd} values are neither 0 nor 1; {rule}", JaxsmtWarning, stacklevel=3)
    chosen = mask > (0.5 if mask.dtype.kind == "f" else 0)
    if not chosen.any():
        raise InputError(f"{name}: the mask is empty", fix="give a mask= that has voxels to fit")
    return chosen
