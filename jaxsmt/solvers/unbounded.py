"""Minimisers that know no bounds, of optax and optimistix, on coordinates without any."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .base import Point, Problem, Solver, require_part, require_steps
from .first_order import updated
from .lm import no_worse, settled

# A coordinate closer to its bound than this part of its range is put on it: a sigmoid comes near it only.
_NEAR = 1e-4


class State(NamedTuple):
    """Where a search is, and its best point."""

    x: Point
    cost: Array
    free: Point  # coordinates without bounds, about the start
    start: Point
    memory: Any
    steps: Array
    converged: Array
    done: Array


@cache
def lbfgs(steps: int = 100, rtol: float = 1e-6, **options: Any) -> Solver:
    """L-BFGS of optax, `optax.lbfgs(**options)`, with sigmoids for the bounds.

    It ends on bounds that it comes near. Converged: a Gauss-Newton step promises less than `rtol` of the cost.

    Args:
        steps: number of steps before giving up.
        rtol: part of the cost.
        options: arguments of `optax.lbfgs`.

    Returns:
        the solver; the same arguments give the same object.

    Raises:
        InputError: no steps, or an invalid rtol.

    Example:
        >>> import jaxsmt as js
        >>> js.lbfgs(steps=50, memory_size=5).most
        50
    """
    import optax

    require_steps(steps, "steps")
    require_part(rtol)
    optimiser = optax.lbfgs(**options)

    def step(problem: Problem, state: State) -> State:
        cost, point = _free(problem, state.start)
        value, gradient = jax.value_and_grad(cost)(state.free)
        lines = {"value": value, "grad": gradient, "value_fn": cost}
        updates, memory = updated(optimiser, gradient, state.memory, state.free, **lines)
        free = tuple(p + u for p, u in zip(state.free, updates, strict=True))
        return _after(problem, state, free, point(free), memory, rtol, steps)

    return Solver(_init(optimiser.init), step, steps)


@cache
def optimistix_minimiser(minimiser: Any, steps: int = 256, rtol: float = 1e-6) -> Solver:
    """A minimiser of optimistix, `optimistix_minimiser(optimistix.BFGS(1e-8, 1e-8))`, with sigmoids for the bounds.

    It runs to its end in one step of this solver. Converged: as of `lbfgs`. It needs optimistix:
    `pip install optimistix`.

    Args:
        minimiser: an `optimistix.AbstractMinimiser`.
        steps: number of its iterations before giving up.
        rtol: part of the cost.

    Returns:
        the solver; the same arguments give the same object.

    Raises:
        InputError: no steps, or an invalid rtol.

    Example:
        >>> import jaxsmt as js
        >>> import optimistix
        >>> js.optimistix_minimiser(optimistix.BFGS(1e-8, 1e-8)).most
        1
    """
    import optimistix

    require_steps(steps, "steps")
    require_part(rtol)

    def step(problem: Problem, state: State) -> State:
        cost, point = _free(problem, state.start)
        solution: Any = optimistix.minimise(lambda u, _: cost(u), minimiser, state.free, max_steps=steps, throw=False)
        return _after(problem, state, solution.value, point(solution.value), (), rtol, 1)

    return Solver(_init(lambda free: ()), step, 1)


def _init(memory: Callable[[Point], Any]) -> Callable[[Point, int], State]:
    """A solver's `init`, with the memory of its minimiser."""

    def init(x0: Point, size: int) -> State:
        zero = jnp.zeros_like(x0[0])
        no = jnp.zeros(jnp.shape(zero), bool)
        free = (zero,) * size
        return State(x0, zero + jnp.inf, free, x0, memory(free), jnp.zeros(no.shape, jnp.int32), no, no)

    return init


def _after(problem: Problem, state: State, free: Point, x: Point, memory: Any, rtol: float, most: int) -> State:
    """The state after a move to x; its best point is x where the cost there is not higher."""
    x = _snapped(problem, x)
    normal = problem.normal(x)
    better = no_worse(normal.cost, state.cost)

    def keep(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

    steps = state.steps + 1
    converged = state.converged | (settled(normal, problem.room(x), rtol) & better & ~state.done)
    done = state.done | converged | (steps >= most)
    return State(keep(x, state.x), keep(normal.cost, state.cost), free, state.start, memory, steps, converged, done)


def _snapped(problem: Problem, x: Point) -> Point:
    """x, but on the bounds that it is near to."""
    for _ in range(2):  # a move may bend, so that the first of two bounds is missed by a little
        step = []
        for down, up in zip(*problem.room(x), strict=True):
            near = _NEAR * (up - down)
            step.append(jnp.where(up < near, up, jnp.where(-down < near, down, 0)))
        x = problem.move(x, tuple(step))
    return x


def _free(problem: Problem, start: Point) -> tuple[Callable[[Point], Array], Callable[[Point], Point]]:
    """The cost as a function of coordinates without bounds, 0 at the start, and the point there.

    A step within finite limits is their sigmoid range. Straight, where points have the coordinates of steps: a curve
    from the start does not reach all of the box.
    """
    down, up = problem.room(start)

    def within(u: Array, low: Array, high: Array) -> Array:
        bounded = jnp.isfinite(high - low) & (high > low)
        low, width = jnp.where(bounded, low, -1), jnp.where(bounded, high - low, 2)
        part = jnp.clip(-low / width, 1e-3, 1 - 1e-3)  # from a bound the sigmoid has no slope
        return jnp.where(bounded, low + width * jax.nn.sigmoid(u + jnp.log(part / (1 - part))), u)

    def point(u: Point) -> Point:
        step = tuple(map(within, u, down, up))
        if len(step) == len(start):
            return tuple(p + d for p, d in zip(start, step, strict=True))
        return problem.move(start, step)

    return lambda u: problem.normal(point(u)).cost, point
