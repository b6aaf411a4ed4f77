"""Gradient descent of any kind that optax has, projected on the bounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..errors import InputError
from .base import Point, Problem, Solver, require_part, require_steps
from .lm import no_worse, settled


class State(NamedTuple):
    """Where a descent is, and its best point."""

    x: Point  # best point
    cost: Array  # there
    trial: Point  # where the next step evaluates
    memory: Any  # of the optimiser
    steps: Array
    converged: Array
    done: Array


def updated(optimiser: Any, gradient: Point, memory: Any, x: Point, **more: Any) -> tuple[Point, Any]:
    """An optax optimiser's update and memory, in the types of the gradient and of the earlier memory."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes types
        new = optimiser.update(gradient, memory, x, **more)
    return jax.tree.map(lambda a, b: jnp.asarray(a, jnp.result_type(b)), new, (gradient, memory))


@cache  # equal solvers are one object, so that they share compiled programs
def first_order(
    optimiser: Any, steps: int = 500, schedule: Callable[[Array], Array] | None = None, rtol: float = 1e-4
) -> Solver:
    """Gradient descent by any optimiser of optax, `first_order(optax.adam(1e-2), steps=500)`.

    Its updates are cut where they would leave the bounds; coordinates at a bound that the cost pushes against have
    no gradient. The best point counts. Converged: a Gauss-Newton step promises less than `rtol` of the cost.

    Args:
        optimiser: an `optax.GradientTransformation` that needs gradients alone. For L-BFGS, which searches along lines,
            there is `lbfgs`.
        steps: number of steps before giving up.
        schedule: `(step number) -> factor` of the updates; None: 1.
        rtol: part of the cost.

    Returns:
        the solver; the same arguments give the same object.

    Raises:
        InputError: no optimiser, no steps, or an invalid rtol.

    Example:
        >>> import jaxsmt as js
        >>> import optax
        >>> js.first_order(optax.adam(1e-2), steps=500).most
        500
    """

    if not hasattr(optimiser, "init") or not hasattr(optimiser, "update"):
        raise InputError(
            f"optimiser= is of type {type(optimiser).__name__}", fix="give one of optax, as optax.adam(1e-2)"
        )
    require_steps(steps, "steps")
    require_part(rtol)

    def init(x0: Point, size: int) -> State:
        zero = jnp.zeros_like(x0[0])
        no = jnp.zeros(jnp.shape(zero), bool)
        return State(x0, zero + jnp.inf, x0, optimiser.init((zero,) * size), jnp.zeros(no.shape, jnp.int32), no, no)

    def step(problem: Problem, state: State) -> State:
        normal, room = problem.normal(state.trial), problem.room(state.trial)
        better = no_worse(normal.cost, state.cost)
        x = tuple(jnp.where(better, p, q) for p, q in zip(state.trial, state.x, strict=True))
        converged = state.converged | (settled(normal, room, rtol) & better & ~state.done)
        limits = list(zip(normal.gradient, *room, strict=True))
        gradient = tuple(jnp.where(((hi <= 0) & (g < 0)) | ((lo >= 0) & (g > 0)), 0, g) for g, lo, hi in limits)
        still = tuple(jnp.zeros_like(g) for g in gradient)
        updates, memory = updated(optimiser, gradient, state.memory, still)
        factor = 1.0 if schedule is None else jnp.asarray(schedule(state.steps), normal.cost.dtype)
        move = tuple(jnp.clip(factor * u, lo, hi) for u, lo, hi in zip(updates, *room, strict=True))
        count = state.steps + 1
        return State(
            x=x,
            cost=jnp.where(better, normal.cost, state.cost),
            trial=problem.move(state.trial, move),
            memory=memory,
            steps=count,
            converged=converged,
            done=state.done | converged | (count >= steps),
        )

    return Solver(init, step, steps)
