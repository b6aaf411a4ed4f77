"""A kernel convolved with a lobe: the one place where convolved signals are computed.

For one lobe and one shell the signal is a polynomial of s = 2w² - 1 and d = v² - u², with u, v and w the components of
the gradient direction in the lobe's frame (Funk-Hecke, Σ K_l c_lm A_lm). Its coefficients depend on the voxel and the
shell alone. So a direction costs one Horner pass, and the derivatives come with it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Float

from .frame_harmonics import FrameHarmonics

#: Coefficients of 1, s, s², …, then those times d, d², …: (terms, ...) each, an array or a tuple of arrays.
Polynomial = tuple[Any, ...]


class Value(NamedTuple):
    """A polynomial's value, and its derivatives by s and by d."""

    value: Array
    by_s: Array
    by_d: Array


def polynomials(
    basis: FrameHarmonics, coefficients: Float[Array, "*#batch coefficients"], moments: Float[Array, "*#batch orders"]
) -> Float[Array, "*batch monomials"]:
    """Coefficients of the signal's polynomial in monomials, (..., monomials).

    Args:
        coefficients: c_lm of a density, or their derivatives, (..., coefficients of the basis).
        moments: K_l of the kernel, (..., l_max/2 + 1).
    """
    scaled = coefficients * moments[..., basis.l // 2]
    return jnp.matmul(scaled, jnp.asarray(basis.polynomials.T, scaled.dtype), precision="highest")


def by_powers_of_d(basis: FrameHarmonics, polynomial: Array) -> Polynomial:
    """(monomials, ...) coefficients, divided by their powers of d, as `horner` wants them."""
    starts = np.flatnonzero(np.diff(basis.powers[:, 1])) + 1
    return tuple(jnp.split(polynomial, starts))


def polynomial_of_numbers(
    basis: FrameHarmonics, coefficients: Sequence[Array], moments: Sequence[Array]
) -> list[Array]:
    """One row of `polynomials` number by number, for kernels in which there are no arrays: (monomials,) of them."""
    scaled = [c * moments[l // 2] for c, l in zip(coefficients[: len(basis.l)], basis.l, strict=True)]
    least = 1e-12 * np.max(np.abs(basis.polynomials))
    rows = [[float(f) * c for f, c in zip(row, scaled, strict=True) if abs(f) > least] for row in basis.polynomials]
    return [reduce(operator.add, row) for row in rows]


def numbers_by_powers_of_d(basis: FrameHarmonics, polynomial: Sequence[Array]) -> Polynomial:
    """`by_powers_of_d` of numbers."""
    powers = basis.powers[:, 1].tolist()
    return tuple(tuple(c for c, j in zip(polynomial, powers, strict=True) if j == n) for n in range(powers[-1] + 1))


def horner(polynomial: Polynomial, s: Array, d: Array) -> Value:
    """A polynomial and its derivatives at s and d; derivatives that nobody uses cost nothing."""
    return Value(*_horner(polynomial, s, d))


@jax.custom_jvp
@jax.jit  # traced once for each shape
def _horner(f: Polynomial, s: Array, d: Array) -> tuple[Array, Array, Array]:
    zero = 0 * s  # with the axes that vmap adds, as its derivatives have them
    value = ds = dd = zero
    for n, row in enumerate(reversed(f)):
        p, dp = zero + row[-1], zero
        for k in reversed(range(len(row) - 1)):
            dp = dp * s + p
            p = p * s + row[k]
        if n:
            dd = dd * d + value
            value, ds = value * d + p, ds * d + dp
        else:
            value, ds = p, dp
    return value, ds, dd


@partial(_horner.defjvp, symbolic_zeros=True)
def _horner_jvp(primals, tangents):  # type: ignore[no-untyped-def]  # JAX's own signature
    """Linear in the coefficients, and by s or d the same of another polynomial; nothing for what does not change."""
    f, s, d = primals

    def powers(row: Array) -> Array:
        return jnp.arange(1, len(row), dtype=row.dtype).reshape((-1,) + (1,) * (row.ndim - 1))

    by_s = tuple(row[1:] * powers(row) for row in f if len(row) > 1)
    by_d = tuple(j * row for j, row in enumerate(f))[1:]
    out = _horner(f, s, d)
    terms = [tuple(0 * v for v in out)]
    if not isinstance(tangents[0][0], SymbolicZero):
        terms.append(_horner(tangents[0], s, d))
    for polynomial, change in ((by_s, tangents[1]), (by_d, tangents[2])):
        if polynomial and not isinstance(change, SymbolicZero):
            terms.append(tuple(change * v for v in _horner(polynomial, s, d)))
    return out, tuple(map(sum, zip(*terms, strict=True)))


#: Highest order that `order_needed` looks at.
ORDER_MAX = 120


def order_needed(
    moments: Float[np.ndarray, "... orders"], coefficients: Float[np.ndarray, " orders"], tolerance: float = 1e-4
) -> int:
    """Smallest even order at which convolved signals may be cut.

    A signal is Σ (2l+1) K_l c_l P_l with |P_l| ≤ 1, and its |c_l| are at most those of the narrowest lobe. What is left
    out is at most Σ_{l > lmax} (2l+1) |K_l c_l|.

    Args:
        moments: K_l of kernels, (..., ORDER_MAX/2 + 1). coefficients: the largest |c_l|, (ORDER_MAX/2 + 1,); 1 for a
            single fibre. tolerance: of the signal over S0.
    """
    terms = (4 * np.arange(len(coefficients)) + 1) * np.abs(moments * coefficients)
    left_out = terms[..., ::-1].cumsum(axis=-1)[..., ::-1]  # with this order and those above
    enough = np.append(left_out[..., 1:], np.zeros_like(left_out[..., :1]), axis=-1) <= tolerance
    return 2 * int(np.max(np.argmax(enough, axis=-1)))
