"""What a compartment must keep to so that everything can use it; run it on one of your own."""

from __future__ import annotations

import math
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...acquisition.shells import Pulse
from ...errors import InputError
from ..compartments import Compartment

_B = (0.0, 0.5, 1.0, 3.0)  # ms/µm²
_TIMING = 12.0, 30.0  # ms
_ECHOES = 0.0, 60.0  # ms, of compartments that relax
_SHAPES = (-0.5, 0.0, 0.6)  # b_Δ, of compartments that hold for them
_RANDOM = 20  # points within the bounds
_SLACK = 1e-5  # of the signal over S0


def check_compartment(compartment: Compartment) -> None:
    """Check a compartment's parameters, signal, derivatives, spherical mean and Legendre moments.

    At random points within the bounds, and on the bounds, in both precisions.

    Args:
        compartment: a `Compartment`, such as one of your own.

    Raises:
        InputError: the first thing that is wrong, and at which values.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxsmt as js
        >>> js.check_compartment(js.Compartment("weak", (), lambda pulse, x: jnp.full_like(x, 0.9)))
        Traceback (most recent call last):
        jaxsmt.errors.InputError: compartment 'weak': the attenuation is not 1 at b = 0 ms/µm²
          fix: without diffusion weighting nothing is attenuated
    """
    _check_parameters(compartment)
    for x64, weightings in ((True, _B), (False, _B[::3])):
        with jax.enable_x64(x64):
            delta, Delta = _TIMING if compartment.timed else (None, None)
            echoes = _ECHOES if compartment.relaxing else (None,)
            plain = [Pulse(b, delta, Delta, te=te) for te in echoes for b in weightings]
            shapes = [p._replace(b_delta=s) for p in plain if p.b for s in _SHAPES] if compartment.shaped else []
            for pulse in (*plain, *shapes):
                _check_signal(compartment, pulse)
                if x64:
                    _check_derivatives(compartment, pulse)
                _check_moments(compartment, pulse)


def _refuse(c: Compartment, fact: str, fix: str) -> NoReturn:
    """Raise the error that names the compartment."""
    raise InputError(f"compartment {c.kind!r}: {fact}", fix=fix)


def _check_parameters(c: Compartment) -> None:
    """Names, bounds, typical values and starts make sense, and the record can be a key."""
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
    parts = rng.uniform(0.02, 0.98, (_RANDOM, len(c.parameters)))
    if c.parameters:
        corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * len(c.parameters), indexing="ij"), axis=-1)
        parts = np.concatenate([parts, corners.reshape(-1, len(c.parameters))[:64]])
    return [p.lower + (p.upper - p.lower) * column for p, column in zip(c.parameters, parts.T, strict=True)]


def _where(c: Compartment, pulse: Pulse, values: list[np.ndarray], wrong: np.ndarray) -> str:
    """The b-value and the parameters of the first point at which something is wrong. wrong: (points, ...) or (...)."""
    i = int(np.argmax(wrong.reshape(len(wrong), -1).any(axis=1))) if wrong.ndim else 0
    at = ", ".join(f"{p.name} = {v[i]:.4g}" for p, v in zip(c.parameters, values, strict=True))
    shape = "" if pulse.b_delta is None else f", b_Δ = {pulse.b_delta:g}"
    echo = "" if pulse.te is None else f", TE = {pulse.te:g} ms"
    return f"at b = {pulse.b:g} ms/µm²{shape}{echo}" + (f", {at}" if at else "")


def _attenuation(c: Compartment, pulse: Pulse, x: np.ndarray, values: list[np.ndarray]) -> Array:
    """The attenuation at cosines x, (points, cosines), compiled; an error of the user's function is explained."""
    try:
        return jax.jit(lambda *parameters: c.at(pulse, jnp.asarray(x), *parameters))(*map(jnp.asarray, values))
    except Exception as error:  # whatever the user's function may raise
        fact = str(error).splitlines()[0]
        if isinstance(error, jax.errors.JAXTypeError) or "truth value" in fact:
            _refuse(c, f"cannot be traced: {fact}", "pure JAX: jnp instead of np, jnp.where for if")
        timing = "" if c.timed else "; timed=True if it needs δ and Δ"
        timing += "" if c.relaxing else "; relaxing=True if it needs the echo time"
        _refuse(c, f"cannot be called: {fact}", f"attenuation(pulse, x, *parameters){timing}")


def _check_signal(c: Compartment, pulse: Pulse) -> None:
    """The attenuation has the right shape and type, lies in [0, 1], and is 1 without diffusion weighting."""
    values = _points(c)
    x = np.linspace(0, 1, 9)
    attenuation = _attenuation(c, pulse, x, values)
    shape = (len(values[0]), len(x)) if values else (len(x),)
    if attenuation.shape != shape:
        fix = "an elementwise function of x and parameters"
        _refuse(c, f"the attenuation has shape {attenuation.shape}, not {shape}", fix)
    if attenuation.dtype != jnp.result_type(float):
        fix = f"that of its arguments, {jnp.result_type(float)}"
        _refuse(c, f"the attenuation has type {attenuation.dtype}", fix)
    signal = np.asarray(attenuation)
    wrong = ~(np.isfinite(signal) & (signal >= -_SLACK) & (signal <= 1 + _SLACK))
    if wrong.any():
        _refuse(c, f"the attenuation is not in [0, 1] {_where(c, pulse, values, wrong)}", "signal over S0")
    wrong = np.abs(signal - 1) > _SLACK
    if pulse.b == 0 and not pulse.te and wrong.any():
        fix = "without diffusion weighting nothing is attenuated"
        _refuse(c, f"the attenuation is not 1 {_where(c, pulse, values, wrong)}", fix)
    if c.isotropic and np.ptp(signal, axis=-1).max() > _SLACK:
        _refuse(c, "is called isotropic but depends on x", "isotropic=False")


def _check_derivatives(c: Compartment, pulse: Pulse) -> None:
    """Derivatives of the spherical mean are finite, on the bounds too, and inside them those of differences."""
    values = _points(c)
    args = tuple(jnp.asarray(v) for v in values)

    def mean(*parameters: Array) -> Array:
        return c.spherical_mean(pulse, *parameters)

    for i, p in enumerate(c.parameters):
        tangent = tuple(jnp.ones_like(v) if i == j else jnp.zeros_like(v) for j, v in enumerate(args))
        slope = np.asarray(jax.jvp(mean, args, tangent)[1])
        wrong = ~np.isfinite(slope)
        if wrong.any():
            at = _where(c, pulse, values, wrong)
            _refuse(c, f"the derivative by {p.name} is not finite {at}", "jnp.where with safe arguments on both sides")
        inside = slice(0, _RANDOM)
        h = 1e-6 * (p.upper - p.lower)
        up, down = (mean(*(v + s * h if i == j else v for j, v in enumerate(args))) for s in (1, -1))
        difference = np.asarray(up - down)[inside] / (2 * h)
        wrong = np.abs(difference - slope[inside]) > 1e-5 * (1 / (p.upper - p.lower) + np.abs(slope[inside]))
        if wrong.any():
            at = _where(c, pulse, values, wrong)
            _refuse(c, f"the derivative by {p.name} is not that of the signal {at}", "check custom derivatives")


def _check_moments(c: Compartment, pulse: Pulse) -> None:
    """Spherical mean and moments are those of the attenuation, integrated with many nodes."""
    values = _points(c)
    args = [jnp.asarray(v) for v in values]
    lmax = 12
    with jax.enable_x64(True):
        exact = _many_nodes(c, pulse, lmax, values)
    tolerance = 1e-7 if jnp.result_type(float) == np.float64 else 2e-5
    mean, moments = c.spherical_mean(pulse, *args)[..., None], c.moments(pulse, lmax, *args)
    for what, closed, result in (
        ("spherical mean", c.mean is not None, np.asarray(mean)),
        ("Legendre moments", c.legendre is not None, np.asarray(moments)),
    ):
        expected = exact[..., : result.shape[-1]]
        if result.shape != expected.shape:
            fix = "(..., lmax/2 + 1) for parameters (...)"
            _refuse(c, f"the {what} has shape {result.shape}, not {expected.shape}", fix)
        wrong = ~(np.abs(result - expected) <= tolerance)
        if wrong.any():
            fix = "too sharp for 32 nodes, or not even in x: give closed forms"
            if closed:
                fix = "correct the closed form"
            _refuse(c, f"the {what} is not that of the attenuation {_where(c, pulse, values, wrong)}", fix)


def _many_nodes(c: Compartment, pulse: Pulse, lmax: int, values: list[np.ndarray]) -> np.ndarray:
    """∫₀¹ k(x) P_l(x) dx for l = 0, 2, …, lmax with 200 nodes: (..., lmax/2 + 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    nodes, weights = nodes[200:], weights[200:]
    legendre = weights[:, None] * np.polynomial.legendre.legvander(nodes, lmax)[:, ::2]
    return np.asarray(c.at(pulse, jnp.asarray(nodes), *map(jnp.asarray, values))) @ legendre
