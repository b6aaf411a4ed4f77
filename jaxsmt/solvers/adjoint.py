"""Derivatives of a minimum by what its problem depends on: implicit, or through the iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .base import Point, Problem, Solver
from .box import dot
from .linear import inverse

# Unknowns up to which derivatives are written out, one after the other.
_WRITTEN_OUT = 3


class Minimum(NamedTuple):
    """Where a search ended, and 1 or 0 for whether it converged."""

    x: Point
    converged: Array


def implicit(find: Callable[[Any], Minimum], problem: Callable[[Any], Problem]) -> Callable[[Any], Minimum]:
    """`find(data) -> Minimum` with the derivatives that the conditions of optimality give.

    Where the gradient g(x; data) of the cost vanishes, H dx = -(∂g/∂data) d(data), with H the whole Hessian, not
    only JᵀJ. Coordinates at a bound that the cost pushes against stay there: their derivative is 0. So is that of
    everything where the search did not converge, or where H is not definite and x is not determined.
    Both modes of differentiation, of any order; the iterations themselves are not differentiated.
    """

    @jax.custom_jvp
    def minimum(data: Any) -> Minimum:
        return find(data)

    @minimum.defjvp
    def _tangent(primals, tangents):
        (data,), (change,) = primals, tangents
        end = minimum(data)
        x = end.x
        down, up = problem(data).room(x)
        zero = jnp.zeros_like(x[0])
        still = (zero,) * len(up)

        def gradient(data, step: Point) -> Point:
            own = problem(data)
            return own.normal(own.move(x, step)).gradient

        def by_step(change: Point) -> Point:
            return jax.jvp(lambda step: gradient(data, step), (still,), (change,))[1]

        g = gradient(data, still)
        rows = _jacobian(by_step, len(g), zero)
        by_data = jax.jvp(lambda data: gradient(data, still), (data,), (change,))[1]

        tiny = 4 * float(jnp.finfo(zero.dtype).eps)
        held = [((hi <= tiny) & (s <= 0)) | ((lo >= -tiny) & (s >= 0)) for lo, hi, s in zip(down, up, g, strict=True)]
        matrix = [
            [jnp.where(held[i] | held[j], 1.0 if i == j else 0.0, rows[i][j]) for j in range(len(g))]
            for i in range(len(g))
        ]
        right = [jnp.where(h, 0, -d) for h, d in zip(held, by_data, strict=True)]
        inverted, part = inverse(matrix)
        known = (end.converged > 0) & (part > tiny)
        step = [jnp.where(known, dot(row, right), 0) for row in inverted]
        dx = jax.jvp(lambda step: problem(data).move(x, step), (still,), (tuple(step),))[1]
        return end, Minimum(dx, jnp.zeros_like(end.converged))

    return minimum


def _jacobian(push: Callable[[Point], Point], n: int, zero: Array) -> list[Point]:
    """Derivatives by each coordinate; a loop where writing them out would take the compiler long."""
    if n <= _WRITTEN_OUT:
        return [push(tuple(jnp.ones_like(zero) if i == j else zero for j in range(n))) for i in range(n)]
    columns = jax.lax.map(push, tuple(jnp.eye(n, dtype=zero.dtype)))
    return [tuple(column[i] for column in columns) for i in range(n)]


def unrolled(solver: Solver, problem: Problem, x0: Point, size: int) -> tuple[Minimum, Array]:
    """All of a solver's steps, in a form that can be differentiated; and the cost.

    What the solver decides on the way, like its damping, counts as constant. Memory grows with `solver.most`.
    """

    def step(state, _):
        return solver.step(problem, state), None

    state, _ = jax.lax.scan(step, solver.init(x0, size), length=solver.most)
    return Minimum(state.x, state.converged.astype(state.cost.dtype)), jax.lax.stop_gradient(state.cost)
