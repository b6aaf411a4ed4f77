"""Arguments of models and of their information that are something else than they should be."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from ..acquisition.arrays import is_jax, real_array
from ..errors import InputError
from ..physics.compartments import Compartment
from .definition import Definition


def not_a_model(model: Any) -> InputError:
    """The error of an argument `model=` that is none, with what would make one of it."""
    fix = "the arguments are model, acquisition, data or signal"
    if isinstance(model, Compartment):
        fix = "a model of one compartment is js.SphericalMeanModel(compartment)"
    elif callable(model) and not isinstance(model, type):
        fix = f"call it: {getattr(model, '__name__', 'function')}()"
    return InputError(f"model= is of type {type(model).__name__}", fix=fix)


def require_spherical(model: Any) -> None:
    """Raise InputError unless the argument `model=` is a model of spherical means.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(model, Definition):
        raise not_a_model(model)


def require_pulses(acquisition: Any) -> None:
    """Raise InputError unless the argument `acquisition=` has pulses.

    Raises:
        InputError: it has none.
    """
    if not hasattr(acquisition, "pulses"):
        raise InputError(f"acquisition= is of type {type(acquisition).__name__}", fix="js.Acquisition(bvals, bvecs)")


def numbers_of(values: Any, name: str) -> Array:
    """Real numbers as an array of JAX, which may be traced.

    Raises:
        InputError: they are text, complex, masked, of unequal lengths, or no numbers at all.
    """
    return jnp.asarray(values if is_jax(values) else real_array(values, name, "biuf"))
