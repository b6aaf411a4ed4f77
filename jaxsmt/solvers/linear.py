"""Small symmetric positive definite systems, as straight-line scalar code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jax import Array

from .base import Point

# Unknowns up to which linear systems are solved by straight-line code.
_WRITTEN_OUT = 5


def square(lower_rows: Sequence[Point]) -> list[Point]:
    """The full rows of a symmetric matrix from those of its lower triangle."""
    n = len(lower_rows)
    return [tuple(lower_rows[max(i, j)][min(i, j)] for j in range(n)) for i in range(n)]


def solve(matrix: list[list[Array]], right: list[Array]) -> tuple[list[Array], Array]:
    """Solve a positive (semi)definite system by LDLᵀ, written out.

    Larger ones go through a loop: written out they take the compiler too long.

    Returns:
        the solution, and the least pivot as a part of its diagonal element, at most 0 where not definite.
    """
    n = len(right)
    if n > _WRITTEN_OUT:
        columns, part = _eliminate(matrix, jnp.stack(right)[:, None])
        return list(columns[:, 0]), part
    low: list[list[Array]] = [[] for _ in range(n)]  # rows of L below its unit diagonal
    pivots: list[Array] = []
    parts: list[Array] = []
    for i in range(n):
        scaled: list[Array] = []  # row i of L·D
        for j in range(i):
            scaled.append(matrix[i][j] - sum(scaled[k] * low[j][k] for k in range(j)))
        low[i] = [s / p for s, p in zip(scaled, pivots, strict=True)]
        pivot = matrix[i][i] - sum(s * l for s, l in zip(scaled, low[i], strict=True))
        # Rounding can leave a pivot at or below zero where parameters cannot be told apart.
        least = _least(matrix[i][i])
        parts.append(pivot / (least / float(jnp.finfo(least.dtype).eps)))
        pivots.append(_at_least(pivot, least))
    y: list[Array] = []
    for i in range(n):
        y.append(right[i] - sum(low[i][k] * y[k] for k in range(i)))
    x = [v / p for v, p in zip(y, pivots, strict=True)]
    for i in reversed(range(n)):
        x[i] = x[i] - sum(low[k][i] * x[k] for k in range(i + 1, n))
    return x, reduce(jnp.minimum, parts)


def _least(diagonal: Array) -> Array:
    """The least pivot that is not taken for rounding."""
    limits = jnp.finfo(diagonal.dtype)
    return jnp.maximum(float(limits.eps) * jnp.abs(diagonal), float(limits.tiny) / float(limits.eps))


def _at_least(pivot: Array, least: Array) -> Array:
    """The larger of pivot and least, with a derivative that is never lost.

    That of `jnp.maximum` asks which of the two equals the result: neither does where the compiler rounds a pivot in
    two ways for its two uses.
    """
    return jnp.where(pivot < least, least, pivot)


def inverse(matrix: list[list[Array]]) -> tuple[list[list[Array]], Array]:
    """Inverse of a positive definite matrix, and the least pivot as of `solve`.

    Its product with a vector is linear in a form that JAX can transpose.
    """
    n = len(matrix)
    one = jnp.ones_like(matrix[0][0])
    if n > _WRITTEN_OUT:
        columns, part = _eliminate(matrix, jnp.eye(n, dtype=one.dtype))
        return [list(row) for row in columns], part
    solved = [solve(matrix, [one if i == j else 0 * one for j in range(n)]) for i in range(n)]
    return [x for x, _ in solved], solved[0][1]


def _eliminate(matrix: list[list[Array]], right: Array) -> tuple[Array, Array]:
    """Gauss-Jordan elimination without pivoting, which a positive definite matrix does not need; right is (n, m)."""
    n = len(right)
    rows = jnp.concatenate([jnp.stack([jnp.stack(row) for row in matrix]), right], axis=1)
    least = _least(jnp.diagonal(rows))
    eps = float(jnp.finfo(rows.dtype).eps)

    def clear_column(carry: tuple[Array, Array], k: Array) -> tuple[tuple[Array, Array], None]:
        rows, part = carry
        row = rows[k] / _at_least(rows[k, k], least[k])
        part = jnp.minimum(part, rows[k, k] / (least[k] / eps))
        return ((rows - rows[:, k][:, None] * row[None]).at[k].set(row), part), None

    # A scan, as reverse mode goes through it too.
    start = rows, jnp.ones_like(rows[0, 0])
    (rows, part), _ = jax.lax.scan(clear_column, start, jnp.arange(n, dtype=jnp.int32))
    return rows[:, n:], part
