"""Levenberg-Marquardt in a box: of a handful of parameters as straight-line scalar code, of more as arrays."""

from __future__ import annotations

from functools import cache, partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from .base import Normal, Point, Problem, Solver, require_part, require_steps
from .box import dot
from .linear import Matrix, Vector, diagonal, largest, matrix, packed, product, solve, vector, without

_START_DAMPING = 1e-3
_GROWTH = 10.0
_MAX_DAMPING = 1e3
# Below it a step counts as a Gauss-Newton step, whose promised gain tells the distance to go.
_GAUSS_NEWTON = 1e-2
# Times the gain of its last steps that a search may still gain: it ends fast or, where a cost hardly determines its
# parameters, creeps.
_HOPE = 10.0
# Steps after which only a lower cost counts as better, however little it can differ.
_PATIENCE = 30


class State(NamedTuple):
    """Where a search is, and its best point."""

    x: Point  # best point
    trial: Point  # where the next step evaluates
    cost: Array  # ½ Σ r² at x; inf before the first evaluation
    gradient: Vector  # Jᵀr at x
    hessian: Any  # JᵀJ at x, packed
    promise: Array  # decrease of the cost that the model expects of the trial
    damping: Array
    scale: Vector  # what damping is in units of
    steps: Array
    converged: Array
    done: Array


class _Options(NamedTuple):
    """What `levenberg_marquardt` takes."""

    max_steps: int
    rtol: float | None
    cautious: bool


@cache  # equal solvers are one object, so that they share compiled programs
def levenberg_marquardt(max_steps: int = 100, rtol: float | None = None, cautious: bool = False) -> Solver:
    """Levenberg-Marquardt with exact bounds.

    A step minimises the damped quadratic model over the free parameters. Those at a bound with the gradient pointing
    outwards are held. Those that the step would carry over a bound are put on it, and the rest is solved again (a
    projected Newton method, Bertsekas 1982, doi:10.1137/0320018). Damping scales with the diagonal of JᵀJ and shrinks
    by Nielsen's rule (Madsen, Nielsen & Tingleff 2004, Methods for non-linear least squares problems).

    Converged: an almost undamped step promises to lower the cost by less than `rtol` of it, or by less than rounding
    resolves, or no step however short lowers it.

    Args:
        max_steps: evaluations of the residual and its Jacobian before giving up.
        rtol: relative; None is 1e-6 in single and 1e-10 in double precision.
        cautious: for searches that start far off. Damping scales with the largest diagonal so far (Moré 1978,
            doi:10.1007/BFb0067700) and shrinks slowly; takes many more steps.
    Returns:
        a `Solver`; equal arguments give the same object.
    Raises:
        InputError: no steps, or an invalid rtol.

    Example:
        >>> import jaxsmt as js
        >>> js.levenberg_marquardt(max_steps=50).most
        50
    """
    require_steps(max_steps, "max_steps")
    require_part(rtol)
    options = _Options(max_steps, rtol, cautious)
    return Solver(_init, partial(_step, options), max_steps, None if cautious else _HOPE)


def _init(x0: Point, size: int) -> State:
    zero = jnp.zeros_like(x0[0])
    zeros = vector((zero,) * size)
    return State(
        x=x0,
        trial=x0,
        cost=zero + jnp.inf,
        gradient=zeros,
        hessian=packed([(zero,) * (i + 1) for i in range(size)]),
        promise=zero,
        damping=zero + _START_DAMPING,
        scale=zeros,
        steps=jnp.zeros(jnp.shape(zero), jnp.int32),
        converged=jnp.zeros(jnp.shape(zero), bool),
        done=jnp.zeros(jnp.shape(zero), bool),
    )


def _step(options: _Options, problem: Problem, state: State) -> State:
    """Evaluate the trial, keep it if it is better, and choose the next trial."""
    after = problem.scalars(partial(_after, options, problem._replace(normal=_none, hessian=_none)))
    next_state: State = after(state, problem.normal(state.trial))
    return next_state


def _none(x: Point) -> Any:
    raise AssertionError("the normal equations are known")


def _after(options: _Options, problem: Problem, state: State, at_trial: Normal) -> State:
    """The state after the trial. problem: its room and its moves."""
    better, damping = _judged(options, state, at_trial.cost)

    def keep(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)

    x, cost = keep((state.trial, at_trial.cost), (state.x, state.cost))
    gradient = keep(vector(at_trial.gradient), state.gradient)
    hessian = keep(packed(at_trial.hessian), state.hessian)
    full = matrix(hessian)
    scale = diagonal(full)
    if options.cautious:
        scale = jax.tree.map(jnp.maximum, scale, state.scale)
    move = _step_in_box(gradient, full, jax.tree.map(lambda s: damping * s, scale), *map(vector, problem.room(x)))
    gains = jax.tree.map(jnp.multiply, gradient, move)
    curvature = dot(move, product(full, move))
    promised = _total(jax.tree.map(jnp.abs, gains))
    over = _ended(options, state, cost, damping, better, promised) & ~state.done
    steps = state.steps + 1
    return State(
        x=x,
        trial=problem.move(x, tuple(move)),
        cost=cost,
        gradient=gradient,
        hessian=hessian,
        promise=-_total(gains) - 0.5 * curvature,
        damping=damping,
        scale=scale,
        steps=steps,
        converged=state.converged | (over & jnp.isfinite(cost)),
        done=state.done | over | (steps >= options.max_steps),
    )


def _total(values: Vector) -> Array:
    """The sum of a vector."""
    return jnp.asarray(sum(values)) if isinstance(values, tuple) else jnp.sum(values)


def _judged(options: _Options, state: State, cost: Array) -> tuple[Array, Array]:
    """Whether a trial of this cost is better, and the damping of the next."""
    eps = float(jnp.finfo(state.cost.dtype).eps)
    first = jnp.isinf(state.cost)
    # Near the end a good step can change the cost by less than rounding shows: let it pass, but not forever, lest
    # rounding leads in a circle.
    unseen = eps * jnp.sqrt(2 * jnp.where(first, 0, state.cost))
    unseen = jnp.where((state.damping <= _GAUSS_NEWTON) & (state.steps < _PATIENCE), unseen, 0)
    # A compiler may compute a sum anew for each use and round it otherwise, so that of two nearly equal costs each part
    # of the state would choose its own. Compilers that were tried do not do so with quotients.
    promise = jnp.where(state.promise > 0, state.promise, 1)
    gain = (state.cost - cost) / promise
    better = gain > -unseen / promise
    gain = jnp.where(first, 0.5, gain)
    shrink = jnp.clip(1 - (2 * gain - 1) ** 3, 1 / 3 if options.cautious else 1 / 9, 2)
    raised = jnp.maximum(_GROWTH * state.damping, _START_DAMPING)
    lowered = jnp.maximum(shrink * state.damping, eps)  # less is lost in rounding
    damping = jnp.where(first, state.damping, jnp.where(better, lowered, raised))
    return better, jax.lax.stop_gradient(damping)  # how the search is steered has no derivative of its own


def _ended(options: _Options, state: State, cost: Array, damping: Array, better: Array, promised: Array) -> Array:
    """Whether nothing is left to gain. promised: by how much the next step lowers the cost, to first order."""
    eps = float(jnp.finfo(state.cost.dtype).eps)
    relative = options.rtol if options.rtol is not None else (1e-6 if eps > 1e-10 else 1e-10)
    by_rounding = 2 * eps * cost + (5 * eps) ** 2
    ended = (damping <= _GAUSS_NEWTON) & (promised <= 2 * relative * cost + (5 * eps) ** 2)
    # A step rejected although it is this short.
    ended = ended | (~better & (damping > _MAX_DAMPING) & (promised <= by_rounding))
    if not options.cautious:  # rounding can lead in a circle in which damping stays; an undamped step promises this
        ended = ended | ((state.steps >= _PATIENCE) & ((1 + damping) * promised <= by_rounding))
    return ended


def promise(normal: Normal, room: tuple[Point, Point]) -> Array:
    """How much a step within the bounds may lower the cost, to first order: ½ Σ |g_i d_i| of a Gauss-Newton step d.

    Never negative, as gᵀd can be: d is clipped to the box and need not go downhill. Next to a corner d is short,
    wherever the minimum is; so it is at least what the best step of one coordinate gains.
    """
    slopes, hessian = vector(normal.gradient), matrix(normal.hessian)
    none = jax.tree.map(jnp.zeros_like, slopes)
    step = _step_in_box(slopes, hessian, none, *map(vector, room))
    gains = [0.5 * _total(jax.tree.map(lambda g, d: jnp.abs(g * d), slopes, step))]
    for g, curvature, down, up in zip(slopes, diagonal(hessian), *room, strict=True):
        alone = jnp.clip(-g / jnp.where(curvature > 0, curvature, 1), down, up)
        gains.append(-alone * (g + 0.5 * curvature * alone))
    return reduce(jnp.maximum, gains)


def no_worse(cost: Array, best: Array) -> Array:
    """Whether a point of this cost takes the place of the best one: its cost is finite, and not above `best`.

    Of equal costs the later counts: where rounding hides the last gains of a search it is nearer to the minimum.
    """
    # A quotient, so that all parts of the state choose alike, see `_judged`. NaN and infinite costs fail.
    return (best - cost) / jnp.maximum(cost, float(jnp.finfo(cost.dtype).tiny)) >= 0


def settled(normal: Normal, room: tuple[Point, Point], rtol: float) -> Array:
    """Whether a step promises less than `rtol` of the cost, or than rounding shows."""
    enough = promise(normal, room) <= rtol * normal.cost + float(jnp.finfo(normal.cost.dtype).eps) ** 2
    return enough & jnp.isfinite(normal.cost)


def _step_in_box(gradient: Vector, hessian: Matrix, damping: Vector, down: Vector, up: Vector) -> Vector:
    """Minimise gᵀd + ½dᵀ(H + diag(damping))d over the free parameters; others on their bounds."""
    # A coordinate without influence, all rounding, must not run away.
    limits = jnp.finfo(gradient[0].dtype)
    floor = (4 * float(limits.eps)) ** 2 * largest(diagonal(hessian)) + float(limits.tiny)
    damped = jax.tree.map(lambda h, d: h + d + floor, diagonal(hessian), damping)
    held = jax.tree.map(lambda g, low, high: ((high <= 0) & (g < 0)) | ((low >= 0) & (g > 0)), gradient, down, up)
    move = jax.tree.map(jnp.zeros_like, gradient)
    for _ in range(2):
        fixed = jax.tree.map(lambda h, d: jnp.where(h, d, 0), held, move)
        right = jax.tree.map(
            lambda h, d, g, by_fixed: jnp.where(h, d, -g - by_fixed), held, move, gradient, product(hessian, fixed)
        )
        free, _ = solve(without(hessian, damped, held), right)
        over = jax.tree.map(lambda d, low, high: (d < low) | (d > high), free, down, up)
        move = jax.tree.map(jnp.clip, free, down, up)
        held = jax.tree.map(jnp.logical_or, held, over)
    return move
