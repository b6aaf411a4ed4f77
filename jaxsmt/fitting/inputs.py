"""What a fit knows of each voxel beside its data: σ, gradient deviation, maps of the model; checked inside the mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..batch.corrector import Rows
from ..errors import InputError
from ..files import masks
from ..models.model import SphericalMeanModel
from .settings import Settings

Order = Literal["C", "F"]
# The largest entry of L that a gradient deviation can have.
_LARGEST_DEVIATION = 0.5


@dataclass(frozen=True)
class Voxels:
    """The voxels inside a mask, and the order in which they are numbered.

    Attributes:
        inside: (...) bool. order: "C", or "F" for the order of NIfTI files.
    """

    inside: np.ndarray
    order: Order = "C"

    @property
    def count(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.inside))

    def take(self, values: np.ndarray) -> np.ndarray:
        """(voxels, …) values of a map (*space, …)."""
        return masks.take(values, self.inside, self.order)

    def place(self, values: np.ndarray) -> np.ndarray:
        """A map (*space, …) of (voxels, …) values; 0 outside the mask."""
        return masks.place(values, self.inside, self.order)

    def rows(self, data: np.ndarray) -> Rows:
        """`(slice or numbers) -> (voxels, volumes)` of data (*space, volumes)."""
        if self.inside.ndim == 0:
            return lambda numbers: data[None][numbers]
        voxels = np.unravel_index(
            np.flatnonzero(self.inside.ravel(order=self.order)), self.inside.shape, order=self.order
        )
        return lambda numbers: data[tuple(axis[numbers] for axis in voxels)]


def sigma_of(settings: Settings, voxels: Voxels) -> np.ndarray | None:
    """(voxels,) σ; None if it has to be estimated.

    Raises:
        InputError: it is not finite and positive, or has another shape.
    """
    if settings.given_sigma is None:
        return None
    sigma = np.asarray(settings.given_sigma, float)
    if sigma.ndim and sigma.shape != voxels.inside.shape:
        raise InputError(
            f"sigma= has the shape {sigma.shape}, the data have {voxels.inside.shape}", fix="shapes must agree"
        )
    sigma = voxels.take(np.broadcast_to(sigma, voxels.inside.shape))
    bad = np.count_nonzero(~(np.isfinite(sigma) & (sigma > 0)))
    if bad:
        raise InputError(f"sigma= is not positive and finite in {bad} voxels", fix="give the noise of one volume")
    return sigma


def deviation_of(settings: Settings, voxels: Voxels) -> np.ndarray | None:
    """(voxels, 3, 3) gradient deviation L; None if there is none.

    Raises:
        InputError: wrong shape, or values that are not finite or too large to be a gradient deviation.
    """
    if settings.grad_dev is None:
        return None
    shape = (*voxels.inside.shape, 3, 3)
    if settings.grad_dev.shape != shape:
        raise InputError(f"grad_dev= has the shape {settings.grad_dev.shape}", fix=f"{shape}, L of gradients (I + L)g")
    deviation = voxels.take(settings.grad_dev)
    largest = np.abs(deviation).max(initial=0)
    if not np.isfinite(deviation).all() or largest > _LARGEST_DEVIATION:
        raise InputError(
            f"grad_dev= has values up to {largest:.3g} inside the mask", fix=_what_deviation(deviation, largest)
        )
    return deviation


def _what_deviation(deviation: np.ndarray, largest: float) -> str:
    """What may have been given instead of a gradient deviation that is too large."""
    diagonal = np.diagonal(deviation, axis1=1, axis2=2)
    if np.isfinite(deviation).all() and np.abs(np.median(diagonal) - 1) < _LARGEST_DEVIATION:
        return "this seems to be I + L: subtract the unit matrix, and give L of gradients (I + L)g"
    if largest <= 100 * _LARGEST_DEVIATION:
        return "if this is in percent, divide it by 100: L of gradients (I + L)g is small"
    return "give L of gradients (I + L)g, which is small and finite"


def require_linear(acquisition: Acquisition, settings: Settings) -> None:
    """Refuse gradient deviations of encodings that are not linear: they would change the encoding's shape.

    Raises:
        InputError: there are both.
    """
    shape = acquisition.b_delta
    if settings.grad_dev is not None and shape is not None and np.any(np.asarray(shape) != 1):
        raise InputError(
            "gradient deviations change the shape of an encoding that is not linear (b_Δ = 1)",
            fix="leave grad_dev= out, or the volumes of other shapes",
        )


def model_maps(model: SphericalMeanModel, maps: tuple[np.ndarray, ...], voxels: Voxels) -> list[np.ndarray]:
    """(voxels,) values of the model's maps, which `model.without_values()` lists.

    Raises:
        InputError: a map has another shape, or invalid values.
    """
    for values in maps:
        if values.shape != voxels.inside.shape:
            fact = f"a map of shape {values.shape} in the model for data of {voxels.inside.shape}"
            raise InputError(fact, fix="shapes must agree")
    model.space.check(voxels.inside)
    return [voxels.take(values) for values in maps]


def of_voxels(model: SphericalMeanModel, voxels: Voxels) -> SphericalMeanModel:
    """The model of the voxels alone: each of its maps has their values, (voxels,).

    Raises:
        InputError: a map has another shape, or invalid values.
    """
    model_maps(model, model.without_values().maps, voxels)

    def taken(value: Any) -> Any:
        return voxels.take(value) if isinstance(value, np.ndarray) else value

    held = tuple((name, taken(value)) for name, value in model.held)
    changed = tuple(
        (name, replace(p, lower=taken(p.lower), upper=taken(p.upper), start=taken(p.start)))
        for name, p in model.changed
    )
    return replace(model, held=held, changed=changed)
