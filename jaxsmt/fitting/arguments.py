"""Arguments of `fit` and `estimate` that are something else than they should be."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.acquisition import Acquisition
from ..acquisition.arrays import is_jax, real_array
from ..errors import InputError
from ..models.arguments import not_a_model
from ..models.model import SphericalMeanModel
from .results import Fit, FodModel


def require_model(model: Any) -> None:
    """Raise InputError unless the argument `model=` is a model of spherical means or of FODs.

    Raises:
        InputError: it is something else; the text says what makes a model of it.
    """
    if isinstance(model, SphericalMeanModel | FodModel):
        return
    if isinstance(model, Fit):
        raise InputError("model= is a Fit", fix="its kernels with FODs are model.fod_model('watson')")
    raise not_a_model(model)


def one_signal(signal: ArrayLike, acquisition: Acquisition) -> Array:
    """A signal (volumes,) in single or double precision.

    Raises:
        InputError: it is no real array of one voxel with these volumes.
    """
    array = jnp.asarray(signal if is_jax(signal) else real_array(signal, "signal", "biufc"))
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise InputError(f"a signal of type {array.dtype}", fix="give its magnitude, or its real part")
    if not jnp.issubdtype(array.dtype, jnp.floating):
        array = array.astype(jnp.result_type(float))
    elif array.dtype.itemsize < 4:
        array = array.astype(jnp.float32)
    if array.ndim != 1:
        raise InputError(f"a signal of shape {array.shape}", fix="one voxel's (volumes,); jax.vmap for many")
    acquisition.require_volumes(len(array))
    return array
