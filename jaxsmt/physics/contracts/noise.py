"""What a noise distribution must keep to so that everything can use it; run it on one of your own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ...errors import InputError, is_whole
from ..noises.base import Noise

# Signals over σ at which a distribution is checked, and those at which derivatives are.
_X = np.array([0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 12.5, 30.0])
_AWKWARD = np.array([0.0, 1e-3, 1.0, 30.0, 1000.0])
_REACH = 12.0  # the density is taken for 0 at this distance from the root of E[m²]
_NODES = 300  # of the integral over m
_TOLERANCE = 1e-5
_SINGLE = 3e-4  # how much single precision may differ
_STEP = 1e-5  # of differences, relative to x where it is above 1

_OF_X = ("expected_magnitude", "slope_of", "variance_of", "information")
_OF_BOTH = ("misfit", "expected_real")

Values = dict[str, np.ndarray]


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
    evaluate, differentiate = jax.jit(partial(_values, noise)), jax.jit(partial(_derivatives, noise))
    with jax.enable_x64(True):
        grid = _grid(noise)
        double = _called(noise, evaluate, grid.m, grid.x)
        _check_elements(noise, double, _called(noise, evaluate, grid.m, grid.x + 0.5 * (grid.x > 1)))
        _check_density(noise, grid, double)
        above = [_called(noise, evaluate, grid.m, grid.x + k * _step(grid)) for k in (1, 2)]
        _check_slopes(noise, grid, (double, above[0], above[1]))
        _check_information(noise, double)
        _check_finite(noise, _called(noise, differentiate, *_awkward()), *_awkward())
        rounded = _called(noise, evaluate, *(v.astype(np.float32) for v in grid[:2]))
    with jax.enable_x64(False):
        _check_single(noise, grid, _called(noise, evaluate, grid.m, grid.x), rounded)
        _check_finite(noise, _called(noise, differentiate, *_awkward()), *_awkward())


def _refuse(noise: Noise, fact: str, fix: str) -> NoReturn:
    """Raise the error that names the distribution."""
    raise InputError(f"noise {noise.name!r}: {fact}", fix=fix)


def _check_record(noise: Noise) -> None:
    """The record has a name and a number of channels, and can be a key."""
    if not noise.name:
        _refuse(noise, "it has no name", "name=, for messages and sidecars")
    if not is_whole(noise.channels, 1):
        fix = "a whole number from 1: how many real Gaussian channels a measurement is made of"
        _refuse(noise, f"channels is {noise.channels!r}", fix)
    try:
        hash(noise)
    except TypeError:
        _refuse(noise, "cannot be hashed", "plain functions, not objects with a list or an array in them")


class _Grid(NamedTuple):
    """m and x, (signals, nodes) each, and the weights of integrals over m."""

    m: np.ndarray
    x: np.ndarray
    weights: np.ndarray


def _grid(noise: Noise) -> _Grid:
    """Gauss-Legendre nodes between the least and the largest measurements of each signal."""
    x = np.repeat(_X[:, None], _NODES, axis=1)
    top = np.sqrt(x**2 + noise.channels)
    lower = np.maximum(top - _REACH, 0) if noise.magnitudes else top - _REACH - np.sqrt(noise.channels)
    t, weights = np.polynomial.legendre.leggauss(_NODES)
    half = (top + _REACH - lower) / 2
    return _Grid(lower + half * (t + 1), x, half * weights)


def _step(grid: _Grid) -> np.ndarray:
    """Small steps of x, for differences."""
    return _STEP * np.maximum(grid.x, 1)


def _awkward() -> tuple[np.ndarray, np.ndarray]:
    """m and x at which derivatives may fail, (points,) each."""
    m, x = np.meshgrid(_AWKWARD, _AWKWARD, indexing="ij")
    return m.ravel(), x.ravel()


def _values(noise: Noise, m: Array, x: Array) -> dict[str, Array]:
    """All functions of the record, by name."""
    values = {"base": noise.base(m)}
    values |= {name: getattr(noise, name)(m, x) for name in _OF_BOTH}
    values |= {name: getattr(noise, name)(x) for name in _OF_X}
    values["signal_of_mean"] = noise.signal_of_mean(noise.mean(x))
    return values


def _derivatives(noise: Noise, m: Array, x: Array) -> dict[str, Array]:
    """First derivatives of all functions, and the second of `misfit` by x."""
    values: dict[str, Array] = {}
    for name in _OF_BOTH:
        for i, by in enumerate("mx"):
            values[f"the derivative of {name} by {by}"] = jax.vmap(jax.grad(getattr(noise, name), i))(m, x)
    values["the second derivative of misfit by x"] = jax.vmap(jax.grad(jax.grad(noise.misfit, 1), 1))(m, x)
    for name in _OF_X:
        values[f"the derivative of {name}"] = jax.vmap(jax.grad(getattr(noise, name)))(x)
    return values


def _called(noise: Noise, functions: Callable[[Array, Array], dict[str, Array]], *args: np.ndarray) -> Values:
    """Their values in the present precision; an error of the user's functions is explained."""
    m, x = (jnp.asarray(a, jnp.result_type(float)) for a in args)
    _check_types(noise, m, x)
    try:
        return jax.tree.map(np.asarray, functions(m, x))
    except Exception as error:  # whatever the user's functions may raise
        _refuse(noise, f"a derivative cannot be taken: {str(error).splitlines()[0]}", "functions that JAX can derive")


def _check_types(noise: Noise, m: Array, x: Array) -> None:
    """Each function can be traced, and keeps shape and type."""
    functions: dict[str, tuple[Callable[..., Array], tuple[Array, ...]]] = {"base": (noise.base, (m,))}
    functions |= {name: (getattr(noise, name), (m, x)) for name in _OF_BOTH}
    functions |= {name: (getattr(noise, name), (x,)) for name in _OF_X}
    for name, (function, args) in functions.items():
        try:
            value = jax.eval_shape(function, *args)
        except Exception as error:  # whatever the user's functions may raise
            fix = "elementwise and pure JAX: jnp instead of np, jnp.where for if"
            _refuse(noise, f"{name} cannot be called: {str(error).splitlines()[0]}", fix)
        if value.shape != x.shape:
            _refuse(noise, f"{name} has shape {value.shape}, its arguments {x.shape}", "an elementwise function")
        if value.dtype != x.dtype:
            _refuse(noise, f"{name} has type {value.dtype}, its arguments {x.dtype}", "a function that keeps the type")


def _check_finite(noise: Noise, values: Values, m: np.ndarray, x: np.ndarray) -> None:
    """Nothing is infinite or not a number."""
    for name, value in values.items():
        wrong = ~np.isfinite(value)
        if wrong.any():
            i = np.unravel_index(np.argmax(wrong), wrong.shape)
            fact = f"{name} is not finite at m = {m[i]:.4g}, x = {x[i]:.4g}"
            _refuse(noise, fact, "jnp.where with safe arguments on both sides, or a custom derivative")


def _check_elements(noise: Noise, values: Values, others: Values) -> None:
    """What belongs to signals up to 1 does not change with the others."""
    for name in values:
        if not np.allclose(values[name][_X <= 1], others[name][_X <= 1], rtol=1e-9, atol=1e-9, equal_nan=True):
            _refuse(noise, f"{name} of one element depends on the others", "an elementwise function")


def _compare(noise: Noise, what: str, values: np.ndarray, exact: np.ndarray, fix: str) -> None:
    """Refuse values, one of each signal, that differ from what they should be."""
    wrong = ~(np.abs(values - exact) <= _TOLERANCE * np.maximum(1, np.abs(exact)))
    if wrong.any():
        i = int(np.argmax(wrong))
        _refuse(noise, f"{what} is {values[i]:.4g}, not {exact[i]:.4g}, at x = {_X[i]:g}", fix)


def _check_density(noise: Noise, grid: _Grid, values: Values) -> None:
    """The density of m has the integral, moments and mean score that the record says; misfit is not negative."""
    _check_finite(noise, values, grid.m, grid.x)
    density = grid.weights * np.exp(values["base"] - values["misfit"])
    total, mean, square = (np.sum(density * grid.m**k, axis=1) for k in range(3))
    fix = "log p(m; x) = base(m) - misfit(m, x); base holds the constant too"
    _compare(noise, "the integral of exp(base - misfit) over m", total, np.ones_like(total), fix)
    misfit = values["misfit"]
    if misfit.min() < -_TOLERANCE:
        i = np.unravel_index(np.argmin(misfit), misfit.shape)
        fact = f"misfit is {misfit[i]:.4g} at m = {grid.m[i]:.4g}, x = {grid.x[i]:g}"
        _refuse(noise, fact, "never negative: leave terms that depend on m alone to base")
    fix = "channels= is the number of real Gaussian channels, and m and x are in units of their σ"
    _compare(noise, "E[m²] of exp(base - misfit)", square, _X**2 + noise.channels, fix)
    fix = "E[m] of exp(base - misfit)"
    _compare(noise, "mean", values["expected_magnitude"][:, 0], mean, fix)
    variance = np.sum(density * (grid.m - mean[:, None]) ** 2, axis=1)
    _compare(noise, "the variance", values["variance_of"][:, 0], variance, "leave variance= out, or correct it")
    score = np.sum(density * (values["expected_real"] - grid.x), axis=1)
    fix = "expected_real is x + d log p/dx; leave real= out, or correct it"
    _compare(noise, "the mean of expected_real - x", score, np.zeros_like(score), fix)


def _check_slopes(noise: Noise, grid: _Grid, values: tuple[Values, Values, Values]) -> None:
    """Derivatives by x are those of differences. values: at x and one and two steps above it."""
    h = _step(grid)
    misfit, mean = (
        (4 * values[1][name] - 3 * values[0][name] - values[2][name]) / (2 * h)
        for name in ("misfit", "expected_magnitude")
    )
    gap = np.abs(grid.x - misfit - values[0]["expected_real"]) / (1 + np.abs(grid.m) + grid.x)
    if gap.max() > _TOLERANCE:
        i = np.unravel_index(np.argmax(gap), gap.shape)
        fact = f"expected_real is not x + d log p/dx at m = {grid.m[i]:.4g}, x = {grid.x[i]:g}"
        _refuse(noise, fact, "leave real= out, or check custom derivatives of misfit")
    fix = "leave slope= out, or check custom derivatives of mean"
    _compare(noise, "the slope of the mean", values[0]["slope_of"][:, 0], mean[:, 0], fix)


def _check_information(noise: Noise, values: Values) -> None:
    """The information is in (0, 1], and the signal is found from its mean where that tells it."""
    information = values["information"][:, 0]
    wrong = ~((information > 0) | (_X == 0)) | (information < 0) | (information > 1 + _TOLERANCE)
    if wrong.any():
        i = int(np.argmax(wrong))
        fact = f"the information, slope²/variance, is {information[i]:.4g} at x = {_X[i]:g}"
        _refuse(noise, fact, "above 0 where there is signal, and at most 1: what a Gaussian channel tells")
    back, strong = values["signal_of_mean"][:, 0], _X >= 2
    if np.abs(back - _X)[strong].max() > 1e-3:
        i = int(np.argmax(np.abs(back - _X) * strong))
        fact = f"the signal of the mean at x = {_X[i]:g} comes out as {back[i]:.4g}"
        _refuse(noise, fact, "a mean that rises with x, near √(x² + channels - 1)")


def _check_single(noise: Noise, grid: _Grid, single: Values, double: Values) -> None:
    """Single precision differs from double by its rounding only."""
    for name in set(single) - {"signal_of_mean"}:  # where the mean tells little of the signal, rounding does too
        exact = double[name]
        rounding = 1e-6 * (grid.x**2 + noise.channels) if name in ("variance_of", "information") else 0
        wrong = ~(np.abs(single[name] - exact) <= _SINGLE * (1 + np.abs(exact)) + rounding)
        if wrong.any():
            i = np.unravel_index(np.argmax(wrong), wrong.shape)
            fact = f"{name} is {single[name][i]:.6g} in single precision and {exact[i]:.6g} in double"
            fix = "differences of large numbers lose digits: expand them"
            _refuse(noise, f"{fact}, at m = {grid.m[i]:.4g}, x = {grid.x[i]:g}", fix)
