"""Vectors of three scalars, and frames made of them.

Tuples of scalars, not arrays: a batch of them is a few long vectors, which is what is fast.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

Vector = tuple[Array, ...]


def dot(a: Vector | Array, b: Vector | Array) -> Array:
    """Inner product a·b; either may be an array whose first axis has the three components."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """Cross product a × b."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def combine(p: Array | float, a: Vector, q: Array | float, b: Vector) -> Vector:
    """Linear combination p a + q b."""
    return tuple(p * x + q * y for x, y in zip(a, b, strict=True))


def unit(a: Vector) -> Vector:
    """A vector divided by its length."""
    scale = 1 / jnp.sqrt(dot(a, a))
    return tuple(x * scale for x in a)


def across(axis: Vector) -> tuple[Vector, Vector]:
    """Two unit vectors that complete a unit vector to a right-handed orthonormal frame, without a pole where they fail.

    Source: Duff et al. 2017, J Comput Graph Tech 6(1):1.
    """
    x, y, z = axis
    sign = jnp.where(z < 0, -1.0, 1.0).astype(z.dtype)
    a = -1 / (sign + z)
    b = x * y * a
    return (1 + sign * x * x * a, sign * b, -sign * x), (b, sign + y * y * a, -y)
