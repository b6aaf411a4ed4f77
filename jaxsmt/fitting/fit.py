"""`fit`: data and mask in, maps out."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from ..acquisition.acquisition import Acquisition
from ..acquisition.arguments import require_acquisition
from ..acquisition.arrays import is_traced, real_array
from ..acquisition.background import background_of, spread
from ..acquisition.means import spherical_means
from ..batch import selftest
from ..errors import InputError
from ..files import masks
from ..models.model import SphericalMeanModel
from .arguments import require_model
from .fod_results import FodFit
from .inputs import Order, Voxels, model_maps
from .pipeline import Pipeline
from .results import Fit, FodModel
from .settings import Settings, takes_settings


@overload
def fit(
    model: SphericalMeanModel, acquisition: Acquisition, data: Any, mask: ArrayLike | None = None, **options: Any
) -> Fit: ...


@overload
def fit(
    model: FodModel, acquisition: Acquisition, data: Any, mask: ArrayLike | None = None, **options: Any
) -> FodFit: ...


@takes_settings
def fit(
    model: SphericalMeanModel | FodModel,
    acquisition: Acquisition,
    data: Any,
    mask: ArrayLike | None = None,
    **options: Any,
) -> Fit | FodFit:
    """Fit a model in each voxel: of the spherical means, or FODs.

    Spherical means are fitted by least squares, each weighted by its inverse variance. With noise of magnitudes
    ("rician" or "noncentral-chi") they are the means of expected real parts, which the fit itself and a FOD of free
    harmonics predict, and the fit is repeated. FODs then maximise the likelihood of all volumes under each voxel's
    kernel. A `FodModel` of a model fits kernels and FODs, with noise of magnitudes twice, as FODs predict the noise
    floor best; that of a `Fit` fits FODs with its kernels, its noise and its S0.

    Args:
        model: `smt()` and the like, or a `FodModel`; FODs are fitted where their kernel was.
        acquisition: b-values and directions of the volumes.
        data: (..., volumes), NumPy or JAX array or memory map, any real type, any unit.
        mask: (...), voxels to fit: integers above 0, floats above 0.5; None: all.
        **options: see `Settings`.
    Returns:
        a `Fit`, or a `FodFit` of a `FodModel`. Trouble with a voxel is a code in its `status`.
    Raises:
        InputError: shapes that do not match, an empty mask, an invalid option, an acquisition that cannot
            determine the model.
        ResourceError: this machine's compiler computes wrong numbers.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=12)
        >>> lobe = [[[0.0, 0.0, 1.0]]]  # one voxel with one lobe
        >>> data = 1000 * js.simulate.zeppelin_signal(acquisition, [2.0], [0.3], lobe, [[8.0]], [[1.0]])
        >>> maps = js.fit(js.smt(), acquisition, data)
        >>> maps.parameters["lambda_par"].round(1), maps.s0.round(-1)
        (array([2.], dtype=float32), array([1000.], dtype=float32))
    """
    require_model(model)
    require_acquisition(acquisition)
    _require_known(model, acquisition, data=data, mask=mask, **options)
    settings = Settings.make(options)
    data = real_array(data, "data")
    space = data.shape[:-1]
    if data.ndim == 0 or 0 in space:
        raise InputError(f"data= has the shape {data.shape}", fix="give an array (..., volumes)")
    inside = np.ones(space, bool) if mask is None else real_array(mask, "mask", "biuf")
    if inside.shape != space:
        raise InputError(f"mask of shape {inside.shape} for data of shape {data.shape}", fix="shapes must agree")
    inside = masks.inside(inside)
    acquisition = acquisition.concrete()
    acquisition.require_volumes(data.shape[-1])
    if isinstance(model, FodModel) and inside.ndim == 0:
        raise InputError(f"data of shape {data.shape} for a FOD fit", fix="give (voxels, volumes), of one voxel too")
    # In the order in which voxels lie in memory, so that a memory map is read in long pieces.
    order: Order = "F" if inside.ndim and data.strides[0] < data.strides[inside.ndim - 1] else "C"
    voxels = Voxels(inside, order)
    spherical = model.spherical if isinstance(model, FodModel) else model
    model_maps(spherical, spherical.without_values().maps, voxels)
    pipeline = Pipeline(model, acquisition, settings, inside, order)
    selftest.require_sound(settings.device)
    means = None
    if not (isinstance(model, FodModel) and isinstance(model.kernels, Fit)):
        shell_means = spherical_means(acquisition, data)
        means = np.ascontiguousarray(voxels.take(shell_means.T.reshape(*space, -1)).T)
    background = None
    if pipeline.estimates_sigma and not inside.all():
        outside = Voxels(~inside, order)
        background = background_of(
            outside.rows(data)(spread(np.arange(outside.count))).T, acquisition, settings.channels
        )
    result = pipeline.run(means, voxels.rows(data), background=background)
    return result.fit if result.fods is None else result.fods


def _require_known(model: SphericalMeanModel | FodModel, acquisition: Acquisition, **arguments: Any) -> None:
    """Raise InputError if JAX traces any of the arguments: a fit needs their numbers."""
    spherical = model.spherical if isinstance(model, FodModel) else model
    traced = [name for name, value in arguments.items() if is_traced(value)]
    traced += [f"acquisition={name}" for name, value in acquisition.table._asdict().items() if is_traced(value)]
    traced += [f"model={name}" for name, value in spherical.held if is_traced(value)]
    if traced:
        fact = f"{traced[0]} is traced by JAX" if "=" in traced[0] else f"{traced[0]}= is traced by JAX"
        raise InputError(fact, fix="inside jit, vmap and grad use js.estimate, of one voxel")
