"""Levenberg-Marquardt in a box, for a handful of parameters, as straight-line scalar code."""

from __future__ import annotations

from functools import cache, reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .base import Normal, Point, Problem, Solver
from .box import dot
from .linear import solve, square

_START_DAMPING = 1e-3
_GROWTH = 10.0
_MAX_DAMPING = 1e3
# Below it a step counts as a Gauss-Newton step, whose promised gain tells the distance to go.
_GAUSS_NEWTON = 1e-2
# Steps after which only a lower cost counts as better, however little it can differ.
_PATIENCE = 30


class State(NamedTuple):
    x: Point  # best point
    trial: Point  # where the next step evaluates
    cost: Array  # ½ Σ r² at x; inf before the first evaluation
    gradient: Point  # Jᵀr at x
    hessian: tuple[Point, ...]  # JᵀJ at x, rows of its lower triangle
    promise: Array  # decrease of the cost that the model expects of the trial
    damping: Array
    scale: Point  # what damping is in units of
    steps: Array
    converged: Array
    done: Array


@cache  # equal solvers are one object, so that they share compiled programs
def levenberg_marquardt(max_steps: int = 100, rtol: float | None = None, cautious: bool = False) -> Solver:
    """Levenberg-Marquardt with exact bounds.

    A step minimises the damped quadratic model over the free parameters: those at a bound with the
    gradient pointing outwards are held, those that the step would carry over a bound are put on it
    and the rest is solved again (a projected Newton method, Bertsekas 1982,
    doi:10.1137/0320018). Damping scales with the diagonal of JᵀJ and shrinks by Nielsen's
    rule (Madsen, Nielsen & Tingleff 2004, Methods for non-linear least squares problems).

    Converged: an almost undamped step promises to lower the cost by less than `rtol` of it, or by
    less than rounding resolves, or no step however short lowers it.

    Args:
        max_steps: evaluations of the residual and its Jacobian before giving up.
        rtol: relative; None is 1e-6 in single and 1e-10 in double precision.
        cautious: for searches that start far off. Damping scales with the largest diagonal so far (Moré 1978,
            doi:10.1007/BFb0067700) and shrinks slowly; takes many more steps.
    """

    def init(x0: Point, size: int) -> State:
        zero = jnp.zeros_like(x0[0])
        zeros = (zero,) * size
        return State(
            x=x0,
            trial=x0,
            cost=zero + jnp.inf,
            gradient=zeros,
            hessian=tuple(zeros[: i + 1] for i in range(size)),
            promise=zero,
            damping=zero + _START_DAMPING,
            scale=zeros,
            steps=jnp.zeros(jnp.shape(zero), jnp.int32),
            converged=jnp.zeros(jnp.shape(zero), bool),
            done=jnp.zeros(jnp.shape(zero), bool),
        )

    def step(problem: Problem, state: State) -> State:
        eps = float(jnp.finfo(state.cost.dtype).eps)
        relative = rtol if rtol is not None else (1e-6 if eps > 1e-10 else 1e-10)
        at_trial = problem.normal(state.trial)
        cost = at_trial.cost

        first = jnp.isinf(state.cost)
        # Near the end a good step can change the cost by less than rounding shows: let it pass, but
        # not forever, lest rounding leads in a circle.
        unseen = eps * jnp.sqrt(2 * jnp.where(first, 0, state.cost))
        better = cost < state.cost + jnp.where((state.damping <= _GAUSS_NEWTON) & (state.steps < _PATIENCE), unseen, 0)
        gain = jnp.where(first, 0.5, (state.cost - cost) / jnp.where(state.promise > 0, state.promise, 1))
        shrink = jnp.clip(1 - (2 * gain - 1) ** 3, 1 / 3 if cautious else 1 / 9, 2)
        raised = jnp.maximum(_GROWTH * state.damping, _START_DAMPING)
        lowered = jnp.maximum(shrink * state.damping, eps)  # less is lost in rounding
        # How the search is steered has no derivative of its own.
        damping = jax.lax.stop_gradient(jnp.where(first, state.damping, jnp.where(better, lowered, raised)))

        def keep(new, old):
            return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

        x = keep(state.trial, state.x)
        cost, gradient, hessian = keep(at_trial, Normal(state.cost, state.gradient, state.hessian))

        rows = square(hessian)
        scale = tuple(row[-1] for row in hessian)
        if cautious:
            scale = tuple(jnp.maximum(new, old) for new, old in zip(scale, state.scale, strict=True))
        move = _step_in_box(gradient, rows, [damping * s for s in scale], *problem.room(x))
        slope = [g * d for g, d in zip(gradient, move, strict=True)]
        curvature = dot(move, [dot(row, move) for row in rows])
        promised = jnp.asarray(sum(jnp.abs(s) for s in slope))
        settled = (damping <= _GAUSS_NEWTON) & (promised <= 2 * relative * cost + (5 * eps) ** 2)
        # A step rejected although it is this short: nothing is left to gain.
        ended = settled | (~better & (damping > _MAX_DAMPING) & (promised <= 2 * eps * cost + (5 * eps) ** 2))
        if not cautious:  # rounding can lead in a circle in which damping stays: an undamped step would promise this
            undamped = (1 + damping) * promised
            ended = ended | ((state.steps >= _PATIENCE) & (undamped <= 2 * eps * cost + (5 * eps) ** 2))
        over = ended & ~state.done
        converged = state.converged | (over & jnp.isfinite(cost))
        steps = state.steps + 1
        return State(
            x=x,
            trial=problem.move(x, tuple(move)),
            cost=cost,
            gradient=gradient,
            hessian=hessian,
            promise=-sum(slope) - 0.5 * curvature,
            damping=damping,
            scale=scale,
            steps=steps,
            converged=converged,
            done=state.done | over | (steps >= max_steps),
        )

    return Solver(init, step, max_steps)


def promise(normal: Normal, room: tuple[Point, Point]) -> Array:
    """How much a step within the bounds may lower the cost, to first order: ½ Σ |g_i d_i| of a Gauss-Newton step d.

    Never negative, as gᵀd can be: d is clipped to the box and need not go downhill. Next to a corner d is short,
    wherever the minimum is; so it is at least what the best step of one coordinate gains.
    """
    step = _step_in_box(normal.gradient, square(normal.hessian), [0 * normal.cost] * len(normal.gradient), *room)
    gains = [0.5 * dot([jnp.abs(g) for g in normal.gradient], [jnp.abs(d) for d in step])]
    for g, row, down, up in zip(normal.gradient, normal.hessian, *room, strict=True):
        alone = jnp.clip(-g / jnp.where(row[-1] > 0, row[-1], 1), down, up)
        gains.append(-alone * (g + 0.5 * row[-1] * alone))
    return reduce(jnp.maximum, gains)


def settled(normal: Normal, room: tuple[Point, Point], rtol: float) -> Array:
    """Whether a step promises less than `rtol` of the cost, or than rounding shows."""
    enough = promise(normal, room) <= rtol * normal.cost + float(jnp.finfo(normal.cost.dtype).eps) ** 2
    return enough & jnp.isfinite(normal.cost)


def _step_in_box(gradient: Point, hessian, damping: list[Array], room_down: Point, room_up: Point) -> list[Array]:
    """Minimise gᵀd + ½dᵀ(H + diag(damping))d over the free parameters; others on their bounds."""
    n = len(gradient)
    held = [
        ((up <= 0) & (g < 0)) | ((down >= 0) & (g > 0))
        for up, down, g in zip(room_up, room_down, gradient, strict=True)
    ]
    # A coordinate without influence, all rounding, must not run away.
    limits = jnp.finfo(gradient[0].dtype)
    largest = reduce(jnp.maximum, [hessian[i][i] for i in range(n)])
    floor = (4 * float(limits.eps)) ** 2 * largest + float(limits.tiny)
    diagonal = [hessian[i][i] + damping[i] + floor for i in range(n)]
    move = [jnp.zeros_like(gradient[0])] * n
    for _ in range(2):
        matrix = [
            [
                jnp.where(held[i], 1, diagonal[i]) if i == j else jnp.where(held[i] | held[j], 0, hessian[i][j])
                for j in range(n)
            ]
            for i in range(n)
        ]
        fixed = [jnp.where(h, d, 0) for h, d in zip(held, move, strict=True)]
        right = [
            jnp.where(held[i], move[i], -gradient[i] - sum(hessian[i][j] * fixed[j] for j in range(n) if j != i))
            for i in range(n)
        ]
        free, _ = solve(matrix, right)
        over = [(d < down) | (d > up) for d, down, up in zip(free, room_down, room_up, strict=True)]
        move = [jnp.clip(d, down, up) for d, down, up in zip(free, room_down, room_up, strict=True)]
        held = [h | o for h, o in zip(held, over, strict=True)]
    return move
