"""Small symmetric positive definite systems: of a few unknowns as straight-line scalar code, of more as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .base import Point

# Unknowns up to which linear systems are solved by straight-line code. Written out, larger ones take the compiler of a
# CPU too long; a GPU would have to launch a kernel for each operation of a loop.
_WRITTEN_OUT = {"cpu": 5, "gpu": 11}

Vector = Any  #: a tuple of scalars; an array (n,) where there are more than a few
Matrix = Any  #: rows of scalars; an array (n, n) where there are more than a few


def _written_out(unknowns: int) -> bool:
    """Whether straight-line code solves a system, on the device for which the program is traced."""
    device = jax.config.jax_default_device  # type: ignore[attr-defined]
    platform = jax.default_backend() if device is None else getattr(device, "platform", device)
    return unknowns <= _WRITTEN_OUT["cpu" if platform == "cpu" else "gpu"]


def vector(values: Sequence[Array]) -> Vector:
    """Scalars as a vector of their number; an array stays one."""
    if isinstance(values, Array):
        return values
    return tuple(values) if _written_out(len(values)) else jnp.stack(tuple(values))


def few(values: Array) -> Any:
    """A vector as scalars, or a symmetric matrix as the rows of its lower triangle, where there are only a few."""
    if not _written_out(len(values)):
        return values
    return tuple(values) if values.ndim == 1 else tuple(tuple(row[: i + 1]) for i, row in enumerate(values))


def packed(lower_rows: Sequence[Point]) -> Any:
    """The rows of a symmetric matrix's lower triangle; the whole matrix where there are more than a few."""
    if isinstance(lower_rows, Array):
        return lower_rows
    return tuple(lower_rows) if _written_out(len(lower_rows)) else stacked(_full(lower_rows))


def matrix(lower: Any) -> Matrix:
    """A symmetric matrix from the rows of its lower triangle, or from what `packed` made of them."""
    if isinstance(lower, Array):
        return lower
    rows = _full(lower)
    return rows if _written_out(len(rows)) else stacked(rows)


def _full(lower_rows: Sequence[Point]) -> list[Point]:
    n = range(len(lower_rows))
    return [tuple(lower_rows[max(i, j)][min(i, j)] for j in n) for i in n]


def stacked(matrix: Matrix) -> Array:
    """A matrix as an array, however many its unknowns."""
    return jnp.stack([jnp.stack(row) for row in matrix]) if isinstance(matrix, list) else matrix


def diagonal(matrix: Matrix) -> Vector:
    """The diagonal of a matrix."""
    if isinstance(matrix, list):
        return tuple(row[i] for i, row in enumerate(matrix))
    # Not `jnp.diagonal`, a gather, whose transpose is a scatter-add.
    return jnp.sum(jnp.where(jnp.eye(len(matrix), dtype=bool), matrix, 0), axis=1)


def largest(vector: Vector) -> Array:
    """The largest element of a vector."""
    return reduce(jnp.maximum, vector) if isinstance(vector, tuple) else jnp.max(vector)


def product(matrix: Matrix, vector: Vector) -> Vector:
    """A matrix times a vector."""
    if isinstance(vector, tuple):
        return tuple(jnp.asarray(sum(a * b for a, b in zip(row, vector, strict=True))) for row in matrix)
    return jnp.sum(matrix * vector[None], axis=1)


def without(matrix: Matrix, diagonal: Vector, held: Vector) -> Matrix:
    """A matrix with another diagonal; rows and columns of unknowns that are held are those of the identity."""
    if not isinstance(matrix, list):
        kept = jnp.where(held[:, None] | held[None], 0, matrix)
        return jnp.where(jnp.eye(len(held), dtype=bool), jnp.where(held, 1, diagonal)[:, None], kept)
    n = range(len(held))
    return [
        [jnp.where(held[i], 1, diagonal[i]) if i == j else jnp.where(held[i] | held[j], 0, matrix[i][j]) for j in n]
        for i in n
    ]


def solve(matrix: Matrix, right: Vector) -> tuple[Vector, Array]:
    """Solve a positive (semi)definite system by LDLᵀ, written out, or by elimination in a loop.

    Returns:
        the solution, and the least pivot as a part of its diagonal element, at most 0 where not definite.
    """
    if not isinstance(matrix, list):
        columns, part = _eliminate(matrix, right[:, None])
        return columns[:, 0], part
    n = len(right)
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
    return tuple(x), reduce(jnp.minimum, parts)


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


def inverse(matrix: Matrix) -> tuple[Matrix, Array]:
    """Inverse of a positive definite matrix, and the least pivot as of `solve`.

    Its product with a vector is linear in a form that JAX can transpose.
    """
    n = len(matrix)
    if not isinstance(matrix, list):
        return _eliminate(matrix, jnp.eye(n, dtype=matrix.dtype))
    one = jnp.ones_like(matrix[0][0])
    solved = [solve(matrix, tuple(one if i == j else 0 * one for j in range(n))) for i in range(n)]
    return [x for x, _ in solved], solved[0][1]


def _eliminate(matrix: Array, right: Array) -> tuple[Array, Array]:
    """Gauss-Jordan elimination without pivoting, which a positive definite matrix does not need; right is (n, m)."""
    n = len(right)
    rows = jnp.concatenate([matrix, right], axis=1)
    least = _least(diagonal(matrix))
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
