"""Arrays of NumPy or of JAX, told apart without importing JAX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np


def is_jax(values: Any) -> bool:
    """Whether an array is JAX's, traced or not."""
    return hasattr(values, "aval")


def is_traced(values: Any) -> bool:
    """Whether an array is one that JAX traces now: by `jit`, `vmap`, `grad`."""
    return hasattr(values, "to_concrete_value")


def concrete_value(values: Any) -> Any:
    """The numbers behind an array that JAX traces, or None where there are none; other values as they are."""
    return values.to_concrete_value() if is_traced(values) else values


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
