"""From coordinates of a search, which lie in a box, to parameters: bounded, ordered, or fractions that sum to 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import InputError
from ..physics.compartments import Parameter
from .order import in_order
from .runtime import look_up

# Chooses a parameter's value and coordinate: (parameter, least value, largest value, whether the coordinate is a part).
_Pick = Callable[[Parameter, Any, Any, bool], tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Space:
    """The free parameters of a model and what binds them.

    A free parameter is its own coordinate. The coordinate of one that is ordered, or a volume fraction, is a part of
    the interval that is left by those before it, so that every point of the box obeys bounds, order and Σ = 1.

    Methods that take `runtime` take the values of which `SphericalMeanModel.without_values` tells.

    Attributes:
        parameters: those that no link determines, fixed ones too.
        held: names and values of the fixed ones.
        orderings: names (smaller, larger).
        fractions: names of those that sum to 1; the last that is not fixed follows from the others.
    """

    parameters: tuple[Parameter, ...]
    held: tuple[tuple[str, Any], ...]
    orderings: tuple[tuple[str, str], ...]
    fractions: tuple[str, ...]

    @property
    def rest(self) -> str | None:
        """The volume fraction that follows from the others."""
        held = dict(self.held)
        return next((name for name in reversed(self.fractions) if name not in held), None)

    @property
    def free(self) -> tuple[Parameter, ...]:
        """The parameters that have a coordinate."""
        held = dict(self.held)
        return tuple(p for p in self.parameters if p.name not in held and p.name != self.rest)

    @property
    def _parts(self) -> set[str]:
        """Names of those whose coordinate is a part of an interval."""
        return {*self.fractions, *(name for pair in self.orderings for name in pair)}

    def without_starts(self) -> Space:
        """The same space with searches that may start anywhere."""
        return replace(self, parameters=tuple(replace(p, start=None) for p in self.parameters))

    def box(self, runtime: Sequence[Any] = ()) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Lower and upper bounds of the coordinates."""
        parts = self._parts
        ends = [
            (0.0, 1.0) if p.name in parts else (look_up(p.lower, runtime), look_up(p.upper, runtime)) for p in self.free
        ]
        return tuple(low for low, _ in ends), tuple(high for _, high in ends)

    def values(self, x: Sequence[Array], runtime: Sequence[Any] = ()) -> dict[str, Array]:
        """Free and fixed parameters by name, from coordinates."""
        coordinates = dict(zip((p.name for p in self.free), x, strict=True))

        def pick(p: Parameter, low: Any, high: Any, part: bool) -> tuple[Any, Any]:
            coordinate = coordinates[p.name]
            return (low + coordinate * (high - low) if part else coordinate), coordinate

        return self._walk(pick, runtime, jnp.zeros_like(x[0]) if x else jnp.zeros(()))[0]

    def begin(self, parts: Sequence[Array], runtime: Sequence[Any] = ()) -> tuple[Array, ...]:
        """Coordinates of a point: each parameter is at its `start`, or at this part of its interval."""
        fractions = dict(zip((p.name for p in self.free), parts, strict=True))

        def pick(p: Parameter, low: Any, high: Any, part: bool) -> tuple[Any, Any]:
            value = low + fractions[p.name] * (high - low)
            if p.start is not None:
                value = jnp.clip(look_up(p.start, runtime) + jnp.zeros_like(value), low, high)
            width = high - low
            return value, ((value - low) / jnp.where(width > 0, width, 1) if part else value)

        x = self._walk(pick, runtime, jnp.zeros_like(parts[0]))[1]
        return tuple(x[p.name] for p in self.free)

    def _walk(self, pick: _Pick, runtime: Sequence[Any], zero: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values and coordinates of the free parameters, as `pick` chooses them one after the other."""
        values = {name: look_up(value, runtime) + zero for name, value in self.held}
        x: dict[str, Any] = {}
        self._walk_intervals(pick, runtime, zero, values, x)
        self._walk_fractions(pick, runtime, zero, values, x)
        return values, x

    def _walk_intervals(
        self, pick: _Pick, runtime: Sequence[Any], zero: Array, values: dict[str, Any], x: dict[str, Any]
    ) -> None:
        """Add the parameters that are no fractions, larger ones before smaller ones."""
        by_name = {p.name: p for p in self.parameters}
        larger = {name: [b for a, b in self.orderings if a == name] for name in by_name}
        smaller = {name: [a for a, b in self.orderings if b == name] for name in by_name}
        free = {p.name: p for p in self.free if p.name not in self.fractions}
        parts = self._parts
        for name in in_order({name: larger[name] for name in free}):
            p, part = free[name], name in parts
            low, high = look_up(p.lower, runtime), look_up(p.upper, runtime)
            if part:  # not below what the smaller ones are or must be, not above what the larger ones are
                floors = (self._floor(s, by_name, runtime, values) for s in smaller[name])
                low = reduce(jnp.maximum, [low + zero, *floors])
                high = jnp.maximum(reduce(jnp.minimum, [high + zero, *(values[b] for b in larger[name])]), low)
            values[name], x[name] = pick(p, low, high, part)

    def _walk_fractions(
        self, pick: _Pick, runtime: Sequence[Any], zero: Array, values: dict[str, Any], x: dict[str, Any]
    ) -> None:
        """Add the volume fractions, each within what those before it leave and those after it must and may have."""
        by_name = {p.name: p for p in self.parameters}
        left = zero + 1
        for name in self.fractions:
            if name in values:
                left = left - values[name]
        weights = [by_name[name] for name in self.fractions if name not in values]
        for i, p in enumerate(weights[:-1]):
            low = high = 0.0  # what the others must and may have
            for other in weights[i + 1 :]:
                low, high = low + look_up(other.lower, runtime), high + look_up(other.upper, runtime)
            least = jnp.maximum(look_up(p.lower, runtime), left - high)
            most = jnp.maximum(jnp.minimum(look_up(p.upper, runtime), left - low), least)
            values[p.name], x[p.name] = pick(p, least, most, True)
            left = left - values[p.name]

    def _floor(
        self, name: str, by_name: Mapping[str, Parameter], runtime: Sequence[Any], values: Mapping[str, Any]
    ) -> Any:
        """What a parameter is if it is known, or the least that it and those below it may be."""
        if name in values:
            return values[name]
        below = [self._floor(a, by_name, runtime, values) for a, b in self.orderings if b == name]
        return reduce(jnp.maximum, below, look_up(by_name[name].lower, runtime))

    # Whether it can be.

    def check(self, inside: np.ndarray | None = None) -> None:
        """Check that fixed values and bounds are possible.

        Args:
            inside: (...) boolean, the voxels of maps that count; None: maps are not checked.

        Raises:
            InputError: a value that has no meaning, an empty interval, fractions that cannot sum to 1, or parameters
                that cannot be in order; says of maps in how many voxels.
        """
        held = dict(self.held)
        ends = {}
        for p in self.parameters:
            low, high = (_numbers(held.get(p.name, end), inside) for end in (p.lower, p.upper))
            if inside is not None:
                _check_finite(p, held, inside)
            ends[p.name] = low, high
            _check_interval(p, low, high, p.name in held)
        if self.fractions:
            least, most = (sum(ends[name][i] for name in self.fractions) for i in (0, 1))
            fact = "no volume fractions within the bounds and fixed values sum to 1"
            _refuse((least > 1 + 1e-6) | (most < 1 - 1e-6), fact, "change them")
        for a, b in self.orderings:
            _refuse(ends[a][0] > ends[b][1], f"{a} cannot be at most {b}", "change bounds or fixed values")


def _numbers(value: Any, inside: np.ndarray | None) -> np.ndarray:
    """A value as numbers that can be compared; NaN, which no comparison finds wrong, where it is not known."""
    if isinstance(value, np.ndarray) and value.ndim:
        return np.asarray(np.nan) if inside is None else value[inside]
    return np.asarray(value if isinstance(value, int | float | np.number) else np.nan, float)


def _check_finite(p: Parameter, held: Mapping[str, Any], inside: np.ndarray) -> None:
    """Check that maps of a parameter have numbers inside the mask; a fixed value may be NaN in some: status tells."""
    value, fix = held.get(p.name), "give numbers inside the mask"
    if isinstance(value, np.ndarray) and value.ndim:
        _refuse(np.isinf(value[inside]), f"the value of {p.name} is infinite", fix)
        _refuse(np.isnan(value[inside]).all(), f"the value of {p.name} is NaN in all voxels", fix)
    if p.name not in held:
        for what, limit in (("lower bound", p.lower), ("upper bound", p.upper), ("start", p.start)):
            if isinstance(limit, np.ndarray) and limit.ndim:
                _refuse(~np.isfinite(limit[inside]), f"the {what} of {p.name} is NaN or infinite", fix)


def _check_interval(p: Parameter, low: np.ndarray, high: np.ndarray, held: bool) -> None:
    """Check the bounds of a parameter, or the value at which it is held."""
    beyond = (low < p.smallest) | (high > p.largest)
    if held:
        _refuse(beyond | np.isinf(low), f"{p.name} is fixed beyond its limits", f"{p.smallest:g} to {p.largest:g}")
        return
    bounds = f"({low:g}, {high:g})" if low.ndim == high.ndim == 0 else "maps that is not valid"
    fix = f"{p.smallest:g} ≤ lower < upper ≤ {p.largest:g} is needed, finite"
    _refuse(beyond | (low >= high) | np.isinf(high), f"bounds of {p.name} are {bounds}", fix)


def _refuse(wrong: Any, fact: str, fix: str) -> None:
    """Raise InputError if anything is wrong, and tell in how many voxels."""
    if np.any(wrong):
        where = f" in {np.count_nonzero(wrong)} voxels" if np.ndim(wrong) else ""
        raise InputError(f"{fact}{where}", fix=fix)
