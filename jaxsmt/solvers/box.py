"""Problems given by a handful of residuals over a box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .base import Normal, Point, Problem

# Unknowns up to which second derivatives are written out, one after the other: in a loop they are slower, but written
# out many take the compiler long.
_WRITTEN_OUT = 3


def _straight(x: Point, step: Point) -> Point:
    """x + step."""
    return tuple(p + d for p, d in zip(x, step, strict=True))


def in_box(
    residual: Callable[[Point], Any],
    lower: Point,
    upper: Point,
    move: Callable[[Point, Point], Point] = _straight,
) -> Problem:
    """The problem of ½ Σ residual(x)² over lower ≤ x ≤ upper, a tuple of scalars each.

    The residual is a tuple of scalars, for a handful, or an array. `move(x, step)` goes from x by a step, to first
    order x + step; it need not heed the bounds.
    """

    def normal(x: Point) -> Normal:
        r, push = jax.linearize(residual, x)
        zero, one = jnp.zeros_like(x[0]), jnp.ones_like(x[0])
        columns = [push(tuple(one if i == j else zero for i in range(len(x)))) for j in range(len(x))]
        return Normal(
            cost=0.5 * dot(r, r),
            gradient=tuple(dot(c, r) for c in columns),
            hessian=tuple(tuple(dot(a, b) for b in columns[: i + 1]) for i, a in enumerate(columns)),
        )

    def hessian(x: Point) -> tuple[Point, ...]:
        n, zero, one = len(x), jnp.zeros_like(x[0]), jnp.ones_like(x[0])

        def by_step(change: Point) -> Point:
            return jax.jvp(lambda step: normal(inside(x, step)).gradient, ((zero,) * n,), (change,))[1]

        if n <= _WRITTEN_OUT:
            rows = [by_step(tuple(one if i == j else zero for j in range(n))) for i in range(n)]
        else:
            columns = jax.lax.map(by_step, tuple(jnp.eye(n, dtype=zero.dtype)))
            rows = [tuple(column[i] for column in columns) for i in range(n)]
        return tuple(row[: i + 1] for i, row in enumerate(rows))

    def room(x: Point) -> tuple[Point, Point]:
        return (
            tuple(lo - p for lo, p in zip(lower, x, strict=True)),
            tuple(hi - p for hi, p in zip(upper, x, strict=True)),
        )

    def inside(x: Point, step: Point) -> Point:
        # Not `jnp.clip`, whose derivative rounding can lose, see `linear`.
        moved = zip(move(x, step), lower, upper, strict=True)
        return tuple(jnp.where(p < lo, lo, jnp.where(p > hi, hi, p)) for p, lo, hi in moved)

    return Problem(normal, hessian, room, inside)


def dot(a: Any, b: Any) -> Any:
    """Σ a_i b_i of two tuples of scalars, or arrays."""
    if not isinstance(a, tuple | list):
        return jnp.sum(a * b)
    total = a[0] * b[0]
    for p, q in zip(a[1:], b[1:], strict=True):
        total = total + p * q
    return total
