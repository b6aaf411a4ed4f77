"""What a noise distribution must keep to so that everything can use it; run it on one of your own."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...errors import InputError
from ..noises.base import Noise

# Signals over σ at which a distribution is checked, and those at which derivatives are.
_X = np.array([0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 12.5, 30.0])
_AWKWARD = np.array([0.0, 1e-3, 1.0, 30.0, 1000.0])
_REACH = 12.0  # the density is taken for 0 at this distance from the root of E[m²]
_TOLERANCE = 1e-5
_SINGLE = 3e-4  # what single precision may differ, and the variance twice its rounding

_ONE = ("expected_magnitude", "slope_of", "variance_of", "information", "signal_of_mean")  # functions of x
_TWO = ("misfit", "expected_real")  # functions of m and x


def check_noise(noise: Noise) -> None:
    """Check a noise distribution: its record, density, moments, score, information and derivatives.

    The functions must be elementwise, pure JAX, and keep the type. For signals from 0 to 30 σ the density
    exp(base - misfit) is integrated over m, in double precision: it must have the integral 1, the mean E[m], the
    second moment x² + channels, the variance Var[m], and a score d log p/dx = E[real] - x of mean 0. The information
    must be above 0 (0 where there is no signal) and at most 1. Single precision must agree, and first and second
    derivatives must be finite, also at x = 0, m = 0 and m x = 10⁶.

    Args:
        noise: a `Noise`, such as one of your own.

    Raises:
        InputError: the first thing that is wrong, and at which values.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxsmt as js
        >>> def misfit(m, x):
        ...     return (m - x) ** 2 / 2
        >>> js.check_noise(js.Noise("mine", 1, mean=lambda x: x, misfit=misfit, base=jnp.zeros_like))
        Traceback (most recent call last):
        jaxsmt.errors.InputError: noise 'mine': the integral of exp(base - misfit) over m is 2.507, not 1, at x = 0
          fix: log p(m; x) = base(m) - misfit(m, x); base holds the constant too
    """
    _check_record(noise)
    with jax.enable_x64(True):
        _check_functions(noise)
        _check_density(noise)
        _check_score(noise)
        _check_information(noise)
        _check_derivatives(noise)
    with jax.enable_x64(False):
        _check_functions(noise)
        _check_single(noise)
        _check_derivatives(noise)


def _refuse(noise: Noise, fact: str, fix: str) -> NoReturn:
    """Raise the error that names the distribution."""
    raise InputError(f"noise {noise.name!r}: {fact}", fix=fix)


def _check_record(noise: Noise) -> None:
    """The record has a name and a number of channels, and can be a key."""
    if not noise.name:
        _refuse(noise, "it has no name", "name=, for messages and sidecars")
    if isinstance(noise.channels, bool) or not isinstance(noise.channels, int) or noise.channels < 1:
        fix = "a whole number from 1: how many real Gaussian channels a measurement is made of"
        _refuse(noise, f"channels is {noise.channels!r}", fix)
    try:
        hash(noise)
    except TypeError:
        _refuse(noise, "cannot be hashed", "plain functions, not objects with a list or an array in them")


def _nodes(noise: Noise, count: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """m and x, (signals, count) each, and weights of an integral over m, of Gauss and Legendre."""
    x = np.repeat(_X[:, None], count, axis=1)
    top = np.sqrt(x**2 + noise.channels)
    lower = top - _REACH if not noise.magnitudes else np.maximum(top - _REACH, 0)
    t, weights = np.polynomial.legendre.leggauss(count)
    half = (top + _REACH - lower) / 2
    return lower + half * (t + 1), x, half * weights


def _call(noise: Noise, name: str, function: Callable[..., Array], *args: np.ndarray) -> np.ndarray:
    """Compile and call a function of the record, in the present precision; an error of the user's is explained."""
    dtype = jnp.result_type(float)
    try:
        result = jax.jit(function)(*(jnp.asarray(a, dtype) for a in args))
    except Exception as error:  # whatever the user's functions may raise
        fix = "elementwise and pure JAX: jnp instead of np, jnp.where for if"
        _refuse(noise, f"{name} cannot be called: {str(error).splitlines()[0]}", fix)
    if result.shape != args[0].shape:
        _refuse(noise, f"{name} has shape {result.shape}, its arguments {args[0].shape}", "an elementwise function")
    if result.dtype != dtype:
        _refuse(noise, f"{name} has type {result.dtype}, its arguments {dtype}", "a function that keeps the type")
    return np.asarray(result)


def _functions(noise: Noise, m: np.ndarray, x: np.ndarray) -> dict[str, tuple[Callable[..., Array], tuple]]:
    """Every function that is used, by name, with its arguments."""
    functions: dict[str, tuple[Callable[..., Array], tuple]] = {"base": (noise.base, (m,))}
    functions |= {name: (getattr(noise, name), (m, x)) for name in _TWO}
    return functions | {name: (getattr(noise, name), (x,)) for name in _ONE}


def _check_functions(noise: Noise) -> None:
    """Functions can be compiled, keep shape and type, are finite, and treat each element alone."""
    m, x = _X[1:, None] + 0.3, np.repeat(_X[None], len(_X) - 1, axis=0)
    m = np.repeat(m, len(_X), axis=1)
    for name, (function, args) in _functions(noise, m, x).items():
        values = _call(noise, name, function, *args)
        _check_finite(noise, name, values, m, x)
        alone = _call(noise, name, function, *(a[:1, :1] for a in args))
        slack = 1e-4 if values.dtype == np.float32 else 1e-10
        if abs(alone[0, 0] - values[0, 0]) > slack * (1 + abs(values[0, 0])):
            _refuse(noise, f"{name} of one element depends on the others", "an elementwise function")


def _check_finite(noise: Noise, name: str, values: np.ndarray, m: np.ndarray, x: np.ndarray) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        i = np.unravel_index(np.argmax(wrong), wrong.shape)
        at = f"x = {x[i]:g}" if name.endswith(_ONE) else f"m = {m[i]:.4g}, x = {x[i]:g}"
        _refuse(noise, f"{name} is not finite at {at}", "jnp.where with safe arguments on both sides")


def _compare(noise: Noise, what: str, values: np.ndarray, exact: np.ndarray, fix: str, slack: float) -> None:
    """Refuse values, one of each signal, that differ from what they should be."""
    wrong = ~(np.abs(values - exact) <= slack * np.maximum(1, np.abs(exact)))
    if wrong.any():
        i = int(np.argmax(wrong))
        _refuse(noise, f"{what} is {values[i]:.4g}, not {exact[i]:.4g}, at x = {_X[i]:g}", fix)


def _check_density(noise: Noise) -> None:
    """The density of m has the integral, the mean, the second moment and the variance that the record says."""
    m, x, weights = _nodes(noise)
    misfit = _call(noise, "misfit", noise.misfit, m, x)
    density = weights * np.exp(_call(noise, "base", noise.base, m) - misfit)
    total, first, second = (np.sum(density * m**k, axis=1) for k in range(3))
    fix = "log p(m; x) = base(m) - misfit(m, x); base holds the constant too"
    _compare(noise, "the integral of exp(base - misfit) over m", total, np.ones_like(total), fix, _TOLERANCE)
    if misfit.min() < -_TOLERANCE:
        i = np.unravel_index(np.argmin(misfit), misfit.shape)
        fact = f"misfit is {misfit[i]:.4g} at m = {m[i]:.4g}, x = {x[i]:g}"
        _refuse(noise, fact, "never negative: leave terms that depend on m alone to base")
    fix = "channels= is the number of real Gaussian channels, and m and x are in units of their σ"
    _compare(noise, "E[m²]", second, _X**2 + noise.channels, fix, _TOLERANCE)
    mean = _call(noise, "expected_magnitude", noise.expected_magnitude, _X)
    _compare(noise, "mean", mean, first, "mean is E[m] of exp(base - misfit)", _TOLERANCE)
    variance = np.sum(density * (m - first[:, None]) ** 2, axis=1)
    _compare(
        noise,
        "the variance",
        _call(noise, "variance_of", noise.variance_of, _X),
        variance,
        "variance is Var[m] of exp(base - misfit); leave variance= out",
        _TOLERANCE,
    )
    slope = _call(noise, "slope_of", noise.slope_of, _X)
    h = 1e-4 * np.maximum(_X, 0.1)
    up, down = (_call(noise, "mean", noise.mean, _X + s * h) for s in (1, -1))
    _compare(noise, "the slope of the mean", slope, (up - down) / (2 * h), "leave slope= out", _TOLERANCE)


def _check_score(noise: Noise) -> None:
    """`expected_real` - x is the derivative of log p by x, and has the mean 0."""
    m, x, weights = _nodes(noise)
    misfit, real = (_call(noise, name, getattr(noise, name), m, x) for name in _TWO)
    score = real - x
    h = 1e-4 * np.maximum(x, 0.1)
    up, down = (_call(noise, "misfit", noise.misfit, m, x + s * h) for s in (1, -1))
    gap = np.abs((down - up) / (2 * h) - score) / (1 + np.abs(m) + x)
    if gap.max() > _TOLERANCE:
        i = np.unravel_index(np.argmax(gap), gap.shape)
        fact = f"expected_real is not x + d log p/dx at m = {m[i]:.4g}, x = {x[i]:g}"
        _refuse(noise, fact, "leave real= out, or check custom derivatives of misfit")
    density = weights * np.exp(_call(noise, "base", noise.base, m) - misfit)
    mean = np.sum(density * score, axis=1)
    fix = "the terms of log p that depend on x belong to misfit"
    _compare(noise, "the mean of the score d log p/dx", mean, np.zeros_like(mean), fix, _TOLERANCE)


def _check_information(noise: Noise) -> None:
    """The information is in (0, 1], and the signal is found from its mean where that tells it."""
    information = _call(noise, "information", noise.information, _X)
    wrong = ~((information > 0) | (_X == 0)) | (information < 0) | (information > 1 + _TOLERANCE)
    if wrong.any():
        i = int(np.argmax(wrong))
        fact = f"the information, slope²/variance, is {information[i]:.4g} at x = {_X[i]:g}"
        _refuse(noise, fact, "above 0 where there is signal, and at most 1: what a Gaussian channel tells")
    x = np.repeat(_X[-4:, None], 1, axis=1)
    back = _call(noise, "signal_of_mean", lambda x: noise.signal_of_mean(noise.mean(x)), x)
    if np.abs(back - x).max() > 1e-3:
        i = int(np.argmax(np.abs(back - x)))
        fact = f"the signal of the mean at x = {x[i, 0]:g} comes out as {back[i, 0]:.4g}"
        _refuse(noise, fact, "a mean that rises with x, near √(x² + channels - 1)")


def _check_single(noise: Noise) -> None:
    """Single precision differs from double by its rounding only."""
    m, x = (v.ravel() for v in np.meshgrid(_X, _X, indexing="ij"))
    m = m if not noise.magnitudes else np.maximum(m, 1e-3)
    for name, (function, args) in _functions(noise, m, x).items():
        if name == "signal_of_mean":
            continue  # where the mean tells little of the signal, rounding does too
        single = _call(noise, name, function, *(a.astype(np.float32) for a in args)).astype(float)
        with jax.enable_x64(True):
            double = _call(noise, name, function, *(a.astype(np.float32).astype(float) for a in args))
        wrong = ~(np.abs(single - double) <= _SINGLE * (1 + np.abs(double) + 1e-4 * x**2))
        if wrong.any():
            i = int(np.argmax(wrong))
            fact = f"{name} is {single[i]:.6g} in single precision and {double[i]:.6g} in double, at x = {x[i]:g}"
            _refuse(noise, fact, "differences of large numbers lose digits: expand them")


def _check_derivatives(noise: Noise) -> None:
    """First and second derivatives are finite, also without signal and for strong ones."""
    m, x = (v.ravel() for v in np.meshgrid(_AWKWARD, _AWKWARD, indexing="ij"))
    by_m_and_x = {f"the derivative of {name} by x": jax.grad(getattr(noise, name), 1) for name in _TWO}
    by_m_and_x |= {f"the derivative of {name} by m": jax.grad(getattr(noise, name), 0) for name in _TWO}
    by_m_and_x["the second derivative of misfit by x"] = jax.grad(jax.grad(noise.misfit, 1), 1)
    for name, function in by_m_and_x.items():
        _check_finite(noise, name, _call(noise, name, jax.vmap(function), m, x), m, x)
    for name in _ONE[:-1]:
        what = f"the derivative of {name}"
        slope = _call(noise, what, jax.vmap(jax.grad(getattr(noise, name))), _AWKWARD)
        _check_finite(noise, what, slope, _AWKWARD, _AWKWARD)
