"""From coordinates of a search, which lie in a box, to parameters: bounded, ordered, or fractions that sum to 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import InputError
from ..physics.compartments import Parameter


class Given(NamedTuple):
    """Stands in a model for a value that is handed in when it is needed: its `number` among those."""

    number: int


def get(value: Any, given: Sequence[Any]) -> Any:
    """A value, or the given one for which it stands."""
    return given[value.number] if isinstance(value, Given) else value


@dataclass(frozen=True)
class Space:
    """The free parameters of a model and what binds them.

    A free parameter is its own coordinate. Of one that is ordered, or a fraction, the coordinate is the part of
    the interval that those before it leave, so that every point of the box obeys bounds, order and Σ = 1.

    Attributes:
        parameters: every one, held ones too. held: (name, value). orderings: (smaller, larger).
        fractions: names of those that sum to 1; the last that is not held follows from the others.
    """

    parameters: tuple[Parameter, ...]
    held: tuple[tuple[str, Any], ...]
    orderings: tuple[tuple[str, str], ...]
    fractions: tuple[str, ...]

    @property
    def rest(self) -> str | None:
        """The fraction that follows from the others."""
        held = dict(self.held)
        return next((name for name in reversed(self.fractions) if name not in held), None)

    @property
    def free(self) -> tuple[Parameter, ...]:
        held = dict(self.held)
        return tuple(p for p in self.parameters if p.name not in held and p.name != self.rest)

    @property
    def _parts(self) -> set[str]:
        """Names of those whose coordinate is a part."""
        return {*self.fractions, *(name for pair in self.orderings for name in pair)}

    def box(self, given: Sequence[Any] = ()) -> tuple[tuple, tuple]:
        """Lower and upper bounds of the coordinates."""
        ends = [(0.0, 1.0) if p.name in self._parts else (get(p.lower, given), get(p.upper, given)) for p in self.free]
        return tuple(low for low, _ in ends), tuple(high for _, high in ends)

    def values(self, x: Sequence[Array], given: Sequence[Any] = ()) -> dict[str, Array]:
        """Free and held parameters by name, from coordinates."""
        coordinates = dict(zip((p.name for p in self.free), x, strict=True))

        def pick(p: Parameter, low: Any, high: Any, part: bool) -> tuple[Any, Any]:
            own = coordinates[p.name]
            return (low + own * (high - low) if part else own), own

        return self._walk(pick, given, jnp.zeros_like(x[0]) if x else jnp.zeros(()))[0]

    def begin(self, parts: Sequence[Array], given: Sequence[Any] = ()) -> tuple[Array, ...]:
        """Coordinates of a point: each parameter's `start`, or this part of its interval."""
        fractions = dict(zip((p.name for p in self.free), parts, strict=True))

        def pick(p: Parameter, low: Any, high: Any, part: bool) -> tuple[Any, Any]:
            value = low + fractions[p.name] * (high - low)
            if p.start is not None:
                value = jnp.clip(get(p.start, given) + jnp.zeros_like(value), low, high)
            width = high - low
            return value, ((value - low) / jnp.where(width > 0, width, 1) if part else value)

        x = self._walk(pick, given, jnp.zeros_like(parts[0]))[1]
        return tuple(x[p.name] for p in self.free)

    def _walk(self, pick: Callable, given: Sequence[Any], zero: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values and coordinates of the free parameters, as `pick` chooses them one after the other."""
        values = {name: get(value, given) + zero for name, value in self.held}
        x: dict[str, Any] = {}
        every = {p.name: p for p in self.parameters}
        larger = {name: [b for a, b in self.orderings if a == name] for name in every}
        smaller = {name: [a for a, b in self.orderings if b == name] for name in every}
        plain = {p.name: p for p in self.free if p.name not in self.fractions}
        for name in in_order(list(plain), larger):
            p, part = plain[name], name in self._parts
            low, high = get(p.lower, given), get(p.upper, given)
            if part:  # not below what the smaller ones are or must be, not above what the larger ones are
                low = reduce(jnp.maximum, [low + zero, *(self._floor(s, every, given, values) for s in smaller[name])])
                high = jnp.maximum(reduce(jnp.minimum, [high + zero, *(values[b] for b in larger[name])]), low)
            values[name], x[name] = pick(p, low, high, part)
        left = zero + 1
        for name in self.fractions:
            if name in values:
                left = left - values[name]
        weights = [every[name] for name in self.fractions if name not in values]
        for i, p in enumerate(weights[:-1]):
            low = high = 0.0  # what the others must and may have
            for other in weights[i + 1 :]:
                low, high = low + get(other.lower, given), high + get(other.upper, given)
            least = jnp.maximum(get(p.lower, given), left - high)
            most = jnp.maximum(jnp.minimum(get(p.upper, given), left - low), least)
            values[p.name], x[p.name] = pick(p, least, most, True)
            left = left - values[p.name]
        return values, x

    def _floor(self, name: str, every: Mapping[str, Parameter], given: Sequence[Any], values: Mapping[str, Any]) -> Any:
        """What a parameter is if it is held, or the least that it and those below it may be."""
        if name in values:
            return values[name]
        below = [self._floor(a, every, given, values) for a, b in self.orderings if b == name]
        return reduce(jnp.maximum, below, get(every[name].lower, given))

    def check(self, inside: np.ndarray | None = None) -> None:
        """Raise InputError if what is held or bounded cannot be; of maps only where `inside`, the voxels that count."""

        def seen(value: Any) -> np.ndarray:
            """NaN, which no comparison finds wrong, where it is not known."""
            if isinstance(value, np.ndarray) and value.ndim:
                return np.asarray(np.nan) if inside is None else value[inside]
            return np.asarray(value if isinstance(value, int | float | np.number) else np.nan, float)

        def refuse(wrong: Any, fact: str, fix: str) -> None:
            if np.any(wrong):
                where = f" in {np.count_nonzero(wrong)} voxels" if np.ndim(wrong) else ""
                raise InputError(f"{fact}{where}", fix=fix)

        held, every = dict(self.held), {p.name: p for p in self.parameters}
        ends = {n: (seen(held.get(n, p.lower)), seen(held.get(n, p.upper))) for n, p in every.items()}
        for name, (low, high) in ends.items():
            p = every[name]
            beyond = (low < p.smallest) | (high > p.largest)
            if name in held:
                refuse(beyond, f"{name} is fixed beyond its limits", f"{p.smallest:g} to {p.largest:g}")
            else:
                told = f"({low:g}, {high:g})" if low.ndim == high.ndim == 0 else "maps that cannot be"
                fix = f"{p.smallest:g} ≤ lower < upper ≤ {p.largest:g} is needed, finite"
                refuse(beyond | (low >= high) | np.isinf(high), f"bounds of {name} are {told}", fix)
        if self.fractions:
            least, most = (sum(ends[name][i] for name in self.fractions) for i in (0, 1))
            fact = "no volume fractions within the bounds and fixed values sum to 1"
            refuse((least > 1 + 1e-6) | (most < 1 - 1e-6), fact, "change them")
        for a, b in self.orderings:
            refuse(ends[a][0] > ends[b][1], f"{a} cannot be at most {b}", "change bounds or fixed values")


def in_order(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names such that each comes after those of them that it needs."""
    out: list[str] = []
    while len(out) < len(names):
        ready = [n for n in names if n not in out and all(s in out or s not in names for s in needs.get(n, ()))]
        if not ready:
            raise InputError(f"links in a circle: {[n for n in names if n not in out]}", fix="remove one")
        out += ready
    return out
