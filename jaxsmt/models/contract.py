"""What a compartment or a solver must keep to so that everything can use it; run it on one of your own."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from ..acquisition.shells import Pulse
from ..errors import InputError
from ..physics.compartments import Compartment
from ..solvers import Solver, in_box

_B = (0.0, 0.5, 1.0, 3.0)  # ms/µm²
_TIMING = 12.0, 30.0  # ms


def check_compartment(compartment: Compartment) -> None:
    """Check a compartment's parameters, signal, derivatives, mean and Legendre moments.

    At random points within the bounds, and on them, in both precisions.

    Raises:
        InputError: the first thing that is wrong, and at which values.
    """
    _check_parameters(compartment)
    for x64, weightings in ((True, _B), (False, _B[::3])):
        with jax.enable_x64(x64):
            for pulse in (Pulse(b, *(_TIMING if compartment.timed else ())) for b in weightings):
                _check_signal(compartment, pulse)
                if x64:
                    _check_gradient(compartment, pulse)
                _check_moments(compartment, pulse)


# Residuals of two parameters, bounds, start and least cost: a curve, the same with its minimum on a bound, a valley,
# and one that leads across a corner, where a step that is cut at the bounds may go uphill.
_T = np.linspace(0, 3, 9)
_CURVE = 2 * np.exp(-1.3 * _T) + 0.05 * np.cos(7 * _T)
_PROBLEMS = (
    ("a curve", lambda x: _decay(x), (0.0, 0.0), (5.0, 5.0), (4.0, 0.8), 0.00566824),
    ("a minimum on a bound", lambda x: _decay(x), (0.0, 0.0), (1.5, 5.0), (0.2, 0.3), 0.175717),
    ("a valley", lambda x: (10 * (x[1] - x[0] ** 2), 1 - x[0]), (-3.0, -3.0), (3.0, 3.0), (-1.2, 1.0), 0.0),
    ("a minimum in a corner", lambda x: _dispersed(x), (0.0, 0.0), (3.05, 1.0), (2.6, 0.2), 0.00380724),
)


def _decay(x):
    return tuple(x[0] * jnp.exp(-x[1] * t) - y for t, y in zip(_T.tolist(), _CURVE.tolist(), strict=True))


def _dispersed(x):
    """Means of four decays of rates from f λ to λ, for x = (λ, f), less one that is faster than any in the box."""
    rates = [x[0] * (x[1] + (1 - x[1]) * part) for part in (0.01, 0.15, 0.5, 0.9)]
    return tuple(sum(jnp.exp(-b * rate) for rate in rates) / 4 - math.exp(-4 * b) for b in _B[1:])


def check_solver(solver: Solver) -> None:
    """Check that a solver keeps to the contract of `solvers.Solver`, in both precisions.

    It must stay within bounds, remember its best point, end after `most` steps and stay at its end; say that it
    converged only at a minimum, and converge where that is easy.

    Raises:
        InputError: the first thing that is wrong, and in which problem.
    """
    for x64, problems in ((True, _PROBLEMS), (False, _PROBLEMS[:1])):
        with jax.enable_x64(x64):
            for problem in problems:
                _check_search(solver, *problem)


def _check_search(solver: Solver, name: str, residual, lower, upper, start, least: float) -> None:
    def refuse(fact: str, fix: str) -> None:
        raise InputError(f"solver on {name}, {jnp.result_type(float).name}: {fact}", fix=fix)

    x0, low, high = (tuple(jnp.asarray(v, jnp.result_type(float)) for v in own) for own in (start, lower, upper))
    problem = in_box(residual, low, high)

    more = 5

    def step(state, _):
        state = solver.step(problem, state)
        return state, (state.x, state.cost, state.done, state.converged)

    try:
        found = jax.jit(lambda x0: jax.lax.scan(step, solver.init(x0, 2), length=solver.most + more)[1])(x0)
    except Exception as error:  # whatever the user's functions may raise
        fix = "init(x0, size) and step(problem, state) are pure JAX, and a step keeps shapes and types of the state"
        refuse(f"cannot run: {str(error).splitlines()[0]}", fix)
    points, cost, done, converged = jax.tree.map(np.asarray, found)
    x = np.stack(points, axis=1)
    slack = 1e-5 * (np.array(upper) - np.array(lower))
    if not (np.isfinite(x).all() and (x >= lower - slack).all() and (x <= upper + slack).all()):
        refuse("leaves the bounds", "clip steps to problem.room(x)")
    if (np.diff(cost) > 1e-6 * np.abs(cost[:-1])).any():
        refuse("the cost of x rises", "x and cost are those of the best point so far")
    ended = np.flatnonzero(done)
    end = min(ended[0] if ended.size else len(done), solver.most - 1)
    if not done[end] or not (done[1:] >= done[:-1]).all():
        refuse(f"is not done after its {solver.most} steps, or not for good", "done after most steps, and ever after")
    if not (converged[1:] >= converged[:-1]).all():
        refuse("converged changes back", "once True it stays")
    told = np.array([0.5 * sum(float(r) ** 2 for r in residual(p)) for p in x[[end]].tolist()])
    if not np.allclose(told, cost[end], rtol=1e-3, atol=1e-6):
        refuse(f"cost is {cost[end]:.4g} where it is {told[0]:.4g}", "cost is ½ Σ r² at x, as problem.normal tells")
    good = cost[end] <= 1.01 * least + 1e-5
    if least and not (converged[end] and good):
        fact = f"converged {bool(converged[end])}, cost {cost[end]:.4g}; the least is {least:.4g}"
        refuse(fact, "more steps, or a line search")
    if converged[end] and not good:
        refuse(f"converged at cost {cost[end]:.4g}; the least is {least:.4g}", "a stricter test of convergence")


def _refuse(compartment: Compartment, fact: str, fix: str) -> None:
    raise InputError(f"compartment {compartment.kind!r}: {fact}", fix=fix)


def _check_parameters(c: Compartment) -> None:
    names = [p.name for p in c.parameters]
    if len(set(names)) < len(names) or not all(name.isidentifier() for name in names):
        _refuse(c, f"parameters named {names}", "each needs a name of its own, as of a Python variable")
    for p in c.parameters:
        if not (math.isfinite(p.lower) and math.isfinite(p.upper) and p.smallest <= p.lower < p.upper <= p.largest):
            _refuse(c, f"{p.name} has bounds ({p.lower}, {p.upper})", "finite, lower < upper")
        if p.typical is not None and not p.lower <= p.typical <= p.upper:
            _refuse(c, f"the typical {p.name} is {p.typical}", "a value within its bounds")
        if not p.starts or not all(0 < part < 1 for part in p.starts):
            _refuse(c, f"searches of {p.name} start at {p.starts}", "parts of the interval, within (0, 1)")
    try:
        hash(c)
    except TypeError:
        _refuse(c, "cannot be hashed", "make its parameters a tuple")


def _points(c: Compartment) -> list[np.ndarray]:
    """Values of each parameter, (points,): random ones, then the corners of the box."""
    rng = np.random.default_rng(0)
    random = rng.uniform(0.02, 0.98, (20, len(c.parameters)))
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * len(c.parameters), indexing="ij"), axis=-1) if c.parameters else None
    parts = random if corners is None else np.concatenate([random, corners.reshape(-1, len(c.parameters))[:64]])
    return [p.lower + (p.upper - p.lower) * column for p, column in zip(c.parameters, parts.T, strict=True)]


def _where(c: Compartment, pulse: Pulse, values, i: int) -> str:
    at = ", ".join(f"{p.name} = {v[i]:.4g}" for p, v in zip(c.parameters, values, strict=True))
    return f"at b = {pulse.b:g} ms/µm²" + (f", {at}" if at else "")


def _first(wrong: np.ndarray) -> int:
    return int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1))) if wrong.ndim else 0


def _check_signal(c: Compartment, pulse: Pulse) -> None:
    values = _points(c)
    x = np.linspace(0, 1, 9)
    args = [jnp.asarray(v) for v in values]
    try:
        found = jax.jit(lambda *own: c.at(pulse, jnp.asarray(x), *own))(*args)
    except Exception as error:  # whatever the user's function may raise
        traced = isinstance(error, jax.errors.JAXTypeError) or "truth value" in str(error)
        timing = "; timed=True if it needs δ and Δ" if not c.timed else ""
        fix = (
            "pure JAX: jnp instead of np, jnp.where for if" if traced else f"attenuation(pulse, x, *parameters){timing}"
        )
        _refuse(c, f"cannot be {'traced' if traced else 'called'}: {str(error).splitlines()[0]}", fix)
    want = (*np.shape(args[0])[:1], len(x)) if args else (len(x),)
    if found.shape != want:
        _refuse(
            c, f"the attenuation has shape {found.shape}, not {want}", "an elementwise function of x and parameters"
        )
    if found.dtype != jnp.result_type(float):
        _refuse(c, f"the attenuation has type {found.dtype}", f"that of its arguments, {jnp.result_type(float)}")
    signal, slack = np.asarray(found), 1e-5
    wrong = ~(np.isfinite(signal) & (signal >= -slack) & (signal <= 1 + slack))
    if wrong.any():
        _refuse(c, f"the attenuation is not in [0, 1] {_where(c, pulse, values, _first(wrong))}", "signal over S0")
    if pulse.b == 0 and np.abs(signal - 1).max() > slack:
        at = _where(c, pulse, values, _first(np.abs(signal - 1) > slack))
        _refuse(c, f"the attenuation is not 1 {at}", "without diffusion weighting nothing is attenuated")
    if c.isotropic and np.ptp(signal, axis=-1).max() > slack:
        _refuse(c, "is called isotropic but depends on x", "isotropic=False")


def _check_gradient(c: Compartment, pulse: Pulse) -> None:
    """Derivatives of the spherical mean are finite, on the bounds too, and inside them those of differences."""
    values = _points(c)
    args = tuple(jnp.asarray(v) for v in values)

    def mean(*own):
        return c.spherical_mean(pulse, *own)

    for i, p in enumerate(c.parameters):
        tangent = tuple(jnp.ones_like(v) if i == j else jnp.zeros_like(v) for j, v in enumerate(args))
        slope = np.asarray(jax.jvp(mean, args, tangent)[1])
        if not np.isfinite(slope).all():
            at = _where(c, pulse, values, _first(~np.isfinite(slope)))
            _refuse(c, f"the derivative by {p.name} is not finite {at}", "jnp.where with safe arguments on both sides")
        inside = slice(0, 20)
        h = 1e-6 * (p.upper - p.lower)
        up, down = (mean(*(v + s * h if i == j else v for j, v in enumerate(args))) for s in (1, -1))
        difference = np.asarray(up - down)[inside] / (2 * h)
        wrong = np.abs(difference - slope[inside]) > 1e-5 * (1 / (p.upper - p.lower) + np.abs(slope[inside]))
        if wrong.any():
            at = _where(c, pulse, values, _first(wrong))
            _refuse(c, f"the derivative by {p.name} is not that of the signal {at}", "check custom derivatives")


def _check_moments(c: Compartment, pulse: Pulse) -> None:
    """Spherical mean and moments against the attenuation integrated with many nodes."""
    values = _points(c)
    args = [jnp.asarray(v) for v in values]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    nodes, weights = nodes[200:], weights[200:]
    lmax = 12
    legendre = weights[:, None] * np.polynomial.legendre.legvander(nodes, lmax)[:, ::2]
    with jax.enable_x64(True):
        exact = np.asarray(c.at(pulse, jnp.asarray(nodes), *(jnp.asarray(v) for v in values))) @ legendre
    tolerance = 1e-7 if jnp.result_type(float) == np.float64 else 2e-5
    given = {
        "spherical mean": c.spherical_mean(pulse, *args)[..., None],
        "Legendre moments": c.moments(pulse, lmax, *args),
    }
    for what, computed in given.items():
        found = np.asarray(computed)
        expected = exact[..., : found.shape[-1]]
        if found.shape != expected.shape:
            _refuse(
                c, f"the {what} has shape {found.shape}, not {expected.shape}", "(..., lmax/2 + 1) for parameters (...)"
            )
        wrong = ~(np.abs(found - expected) <= tolerance)
        if wrong.any():
            own = c.mean is not None if what == "spherical mean" else c.legendre is not None
            fix = "correct the closed form" if own else "too sharp for 32 nodes, or not even in x: give closed forms"
            _refuse(c, f"the {what} is not that of the attenuation {_where(c, pulse, values, _first(wrong))}", fix)
