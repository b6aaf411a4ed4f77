"""Arrays of NumPy or of JAX, told apart without importing JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from ..errors import InputError, shown


def is_jax(values: Any) -> bool:
    """Whether an array is JAX's, traced or not."""
    return hasattr(values, "aval")


def is_traced(values: Any) -> bool:
    """Whether an array is one that JAX traces now: by `jit`, `vmap`, `grad`."""
    return hasattr(values, "to_concrete_value")


def concrete_value(values: Any) -> Any:
    """The numbers behind an array that JAX traces, or None where there are none; other values as they are."""
    return values.to_concrete_value() if is_traced(values) else values


def real_array(values: Any, name: str, kinds: str = "iuf") -> np.ndarray:
    """Values that a user gives as an array of real numbers, which is not copied if it is one.

    Args:
        values: array, list, number. name: of the argument, for the texts. kinds: NumPy's kinds of the types that it may
            have: "b" booleans, "i" and "u" integers, "f" floats.
    Raises:
        InputError: they are text, complex, masked, of unequal lengths, or no numbers at all.

    Example:
        >>> real_array([1, 2], "bvals")
        array([1, 2])
    """
    if isinstance(values, np.ma.MaskedArray):
        raise InputError(f"{name}= is a masked array", fix=f"give {name}=values.filled(0), without what is masked")
    try:
        array = values if isinstance(values, np.ndarray) else np.asarray(values)
    except ValueError:  # rows of unequal lengths
        raise InputError(f"{name}= is no array of one shape", fix="every row needs the same length") from None
    if array.dtype.kind in kinds:
        return array
    if array.size == 0 and isinstance(values, list | tuple):
        raise InputError(f"{name}= is empty", fix=f"give real numbers as {name}=")
    what = f"has the type {array.dtype}"
    if array.ndim == 0:
        is_plain = isinstance(values, str | complex | bool | None)
        what = f"is {shown(values)}" if is_plain else f"is of type {type(values).__name__}"
    raise InputError(f"{name}= {what}", fix=f"give real numbers as {name}=")


def real_number(value: Any, name: str, rule: str, lowest: float = -np.inf, highest: float = np.inf) -> float:
    """A finite number that a user gives, in [lowest, highest].

    Args:
        name: of the argument, and rule: what it takes, for the texts.
    Raises:
        InputError: it is no number, not finite, or beyond.

    Example:
        >>> real_number(50, "b0_threshold", "a number from 0", 0)
        50.0
    """
    is_number = not isinstance(value, str | bool | np.bool_ | None) and np.ndim(value) == 0 and np.isrealobj(value)
    try:
        number = float(value) if is_number else np.nan
    except (TypeError, ValueError, OverflowError):  # of integers that no double holds
        number = np.nan
    if not (np.isfinite(number) and lowest <= number <= highest):
        is_plain = isinstance(value, str | int | float | complex | None)
        what = shown(value) if is_plain else f"something of type {type(value).__name__}"
        raise InputError(f"{name}= is {what}", fix=f"{name}= takes {rule}")
    return number


def equal_values(a: Any, b: Any) -> bool:
    """Whether two arrays, or mappings of arrays, have the same shapes and numbers. NaN is equal to NaN.

    Traced arrays have no numbers to compare: each is equal to itself only.

    Example:
        >>> equal_values(np.array([1.0, np.nan]), np.array([1.0, np.nan]))
        True
    """
    if a is b:
        return True
    a, b = concrete_value(a), concrete_value(b)
    if a is None or b is None:
        return False
    if hasattr(a, "__array__") and hasattr(b, "__array__"):
        return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)
    if hasattr(a, "__array__") or hasattr(b, "__array__"):  # one is an array, the other is not
        return False
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(equal_values(a[name], b[name]) for name in a)
    return bool(a == b)


def equal_fields(a: Any, b: Any) -> bool:
    """Whether two dataclasses have equal values in all fields: their own `==` raises where fields are arrays."""
    return all(equal_values(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
