"""Derivatives of a minimum by what its problem depends on: implicit, or through the iterations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from .base import Point, Problem, Solver
from .linear import diagonal, inverse, matrix, product, vector, without


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

    @partial(minimum.defjvp, symbolic_zeros=True)
    def _tangent(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Minimum, Minimum]:
        (data,), (change,) = primals, tangents
        end = minimum(data)
        x = end.x
        at_data = problem(data)
        down, up = at_data.room(x)
        hessian = matrix(at_data.hessian(x))
        leaves, tree = jax.tree.flatten(data)
        changes = {i: d for i, d in enumerate(jax.tree.leaves(change)) if not isinstance(d, SymbolicZero)}

        def gradient(moving: dict[int, Array]) -> Point:
            moved = [moving.get(i, leaf) for i, leaf in enumerate(leaves)]
            return problem(jax.tree.unflatten(tree, moved)).normal(x).gradient

        g, by_data = jax.jvp(gradient, ({i: leaves[i] for i in changes},), (changes,))

        tiny = 4 * float(jnp.finfo(x[0].dtype).eps)
        held = [((hi <= tiny) & (s <= 0)) | ((lo >= -tiny) & (s >= 0)) for lo, hi, s in zip(down, up, g, strict=True)]
        right = vector([jnp.where(h, 0, -d) for h, d in zip(held, by_data, strict=True)])
        inverted, part = inverse(without(hessian, diagonal(hessian), vector(held)))
        determined = (end.converged > 0) & (part > tiny)
        step = [jnp.where(determined, d, 0) for d in product(inverted, right)]
        still = (jnp.zeros_like(x[0]),) * len(step)
        dx = jax.jvp(lambda step: at_data.move(x, step), (still,), (tuple(step),))[1]
        return end, Minimum(dx, jnp.zeros_like(end.converged))

    return minimum


def unrolled(solver: Solver, problem: Problem, x0: Point, size: int) -> tuple[Minimum, Array]:
    """All of a solver's steps, in a form that can be differentiated; and the cost.

    What the solver decides on the way, like its damping, counts as constant. Memory grows with `solver.most`.
    """

    def step(state: Any, _: None) -> tuple[Any, None]:
        return solver.step(problem, state), None

    state, _ = jax.lax.scan(step, solver.init(x0, size), length=solver.most)
    return Minimum(state.x, state.converged.astype(state.cost.dtype)), jax.lax.stop_gradient(state.cost)
