"""Models of a voxel's spherical means: compartments, and the links between their parameters."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .acquisition import Pulse
from .compartments import Compartment, Kernel, Parameter
from .diagram import Box, Line, draw
from .errors import InputError
from .links import Fixed, Link, Ordered, same
from .signal import ORDER_MAX, legendre_rule

Values = Mapping[str, Any]
# Most points of the grid on which searches look for their starts, and how many searches there may be.
_GRID, _STARTS = 1000, 4


class Given(NamedTuple):
    """Stands in a model for a value that differs from voxel to voxel: its `number` among those handed in."""

    number: int


@dataclass(frozen=True)
class SphericalMeanModel:
    """A sum of compartments whose spherical means are fitted, Σ_c w_c ε_c(b), under links and bounds.

    `SphericalMeanModel({"stick": stick(), "ball": ball()}, links=[equal(...), ...])`. Parameters are called
    `compartment.parameter`, volume fractions, which sum to 1, `weight.compartment`. A bare compartment
    instead of the dictionary makes a model of it alone, whose names have no prefix.

    Attributes:
        compartments: {name: compartment}, or one compartment. links: of `links`, in any order.
        name: short, as in file names. derived: links of further maps, of which no parameter is made.
        maps: names of those that files hold; empty: every parameter and derived map.
        move: `(free values, step) -> free values`, how searches go by a step, if straight lines are slow.
    Raises:
        InputError: names that do not exist, parameters determined twice, links in a circle.
    """

    compartments: Any
    links: Any = ()
    name: str = "custom"
    derived: tuple[Link, ...] = ()
    maps: tuple[str, ...] = ()
    move: Callable[[tuple, tuple], tuple] | None = None
    # Changed parameters and held ones, by `bound`, `start` and `fix`.
    changed: tuple[tuple[str, Parameter], ...] = ()
    held: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        given = self.compartments
        if isinstance(given, Compartment):
            given = {"": given}
        pairs = tuple(given.items() if isinstance(given, Mapping) else given)
        if not pairs or any(name and not name.isidentifier() for name, _ in pairs) or "weight" in dict(pairs):
            raise InputError(
                f"compartments named {list(dict(pairs))}", fix="give {name: compartment}, names as of Python"
            )
        held = {**dict(self.held), **{link.name: link.value for link in self.links if isinstance(link, Fixed)}}
        links = tuple(link for link in self.links if not isinstance(link, Fixed))
        for field, value in (("compartments", pairs), ("links", links), ("derived", tuple(self.derived))):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "held", ())
        self._check_links()
        object.__setattr__(self, "held", tuple((name, _number(value)) for name, value in held.items()))
        for name in held:
            self._named(name)
        if self.kernel.weights and set(self.kernel.weights) <= set(held):
            raise InputError("every volume fraction is fixed", fix="leave one to follow from the rest")

    # What there is.

    @property
    def kernel(self) -> Kernel:
        """The compartments alone."""
        return Kernel(self.compartments)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter that no link determines, fixed ones too; volume fractions last."""
        targets = {link.target for link in self._equations}
        own = {
            full: p for name, c in self.compartments for full, p in zip(self.kernel.of(name), c.parameters, strict=True)
        }
        new = {p.name: p for link in self._equations for p in link.introduces}
        share = Parameter("", typical=1 / len(self.compartments), starts=(0.2, 0.4, 0.6, 0.8), largest=1.0)
        every = {**own, **new, **dict.fromkeys(self.kernel.weights, share)}
        every = {name: replace(p, name=name) for name, p in every.items() if name not in targets}
        return {**every, **dict(self.changed)}

    @property
    def names(self) -> list[str]:
        """Everything that has a value: all that the signal depends on, new parameters, new quantities."""
        new = (name for link in self._equations for name in (*(p.name for p in link.introduces), link.target))
        return list(dict.fromkeys([*self.kernel.names, *new]))

    @property
    def free(self) -> tuple[Parameter, ...]:
        """The parameters that are fitted; the last volume fraction follows from the others."""
        held = dict(self.held)
        names = [name for name in self.parameters if name not in held]
        if self.kernel.weights:
            names.remove([name for name in self.kernel.weights if name not in held][-1])
        return tuple(self.parameters[name] for name in names)

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters that are fitted."""
        return [p.name for p in self.free]

    @property
    def units(self) -> dict[str, str]:
        """Units of the parameters and derived maps that have one."""
        own = {
            full: p.unit
            for name, c in self.compartments
            for full, p in zip(self.kernel.of(name), c.parameters, strict=True)
        }
        for link in (*self._equations, *self.derived):
            unit = link.unit or (own.get(link.sources[0], "") if link.function is same else "")
            own.setdefault(link.target, unit)
        return {name: unit for name, unit in own.items() if unit}

    @property
    def _equations(self) -> list[Link]:
        return [link for link in self.links if isinstance(link, Link)]

    @property
    def _larger(self) -> dict[str, str]:
        return {link.smaller: link.larger for link in self.links if isinstance(link, Ordered)}

    # Changing it.

    def fix(self, **values: Any) -> SphericalMeanModel:
        """The same model with parameters held at a number, or at a map (...) of the data's spatial shape.

        A name with a dot goes in as `model.fix(**{"stick.lambda_par": 1.7})`.
        """
        return replace(self, held=(*self.held, *((name, _number(value)) for name, value in values.items())))

    def bound(self, **bounds: tuple[Any, Any]) -> SphericalMeanModel:
        """The same model with other bounds, numbers or maps (...): `model.bound(lambda_par=(0.1, 3.0))`."""
        model = self
        for name, (lower, upper) in bounds.items():
            p = self._free(name)
            low, high = np.min(lower), np.max(upper)
            if not (np.all(np.asarray(lower) < np.asarray(upper)) and p.smallest <= low and high <= p.largest):
                raise InputError(
                    f"bounds of {name} are ({lower}, {upper})",
                    fix=f"{p.smallest:g} ≤ lower < upper ≤ {p.largest:g} is needed",
                )
            model = model._with(replace(model.parameters[name], lower=_number(lower), upper=_number(upper)))
        return model

    def start(self, **values: Any) -> SphericalMeanModel:
        """The same model with searches that start at these values, numbers or maps (...), kept within bounds."""
        model = self
        for name, value in values.items():
            model = model._with(replace(self._free(name), start=_number(value)))
        return model

    def _with(self, parameter: Parameter) -> SphericalMeanModel:
        return replace(self, changed=tuple({**dict(self.changed), parameter.name: parameter}.items()))

    def _named(self, name: str) -> Parameter:
        if name not in self.parameters:
            raise InputError(f"no free parameter {name!r}", fix=f"the free ones are {self.parameter_names}")
        return self.parameters[name]

    def _free(self, name: str) -> Parameter:
        if name in dict(self.held):
            raise InputError(f"{name} is fixed", fix=f"the free ones are {self.parameter_names}")
        return self._named(name)

    def _check_links(self) -> None:
        targets = [link.target for link in self._equations]
        for name in targets:
            if targets.count(name) > 1:
                raise InputError(f"two links determine {name}", fix="leave one")
            if name in self.kernel.weights:
                raise InputError(
                    f"a link determines {name}", fix="volume fractions sum to 1 by themselves; fix or bound them"
                )
        introduced = [p.name for link in self._equations for p in link.introduces]
        known = {*self.kernel.names, *introduced, *targets}
        used = [(str(link), name) for link in self._equations for name in link.sources]
        used += [(str(link), name) for link in self.derived for name in link.sources]
        used += [(f"{small} ≤ {large}", name) for small, large in self._larger.items() for name in (small, large)]
        for where, name in used:
            if name not in known:
                raise InputError(f"unknown name {name!r} in {where}", fix=f"one of {sorted(known)}")
        for small, large in self._larger.items():
            if not {small, large} <= set(self.parameters) - set(self.kernel.weights):
                raise InputError(f"cannot keep {small} ≤ {large}", fix="order parameters that no link determines")
        _in_order(targets, {link.target: link.sources for link in self._equations})
        _in_order(list(self._larger), {small: (large,) for small, large in self._larger.items()})

    # Maps that differ from voxel to voxel.

    def without_maps(self) -> tuple[SphericalMeanModel, tuple[np.ndarray, ...]]:
        """The model with `Given` in place of each map, which can be hashed and so selects a program; the maps."""
        maps: list[np.ndarray] = []

        def static(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                maps.append(value)
                return Given(len(maps) - 1)
            return value

        held = tuple((name, static(value)) for name, value in self.held)
        changed = tuple(
            (name, replace(p, lower=static(p.lower), upper=static(p.upper), start=static(p.start)))
            for name, p in self.changed
        )
        return replace(self, held=held, changed=changed), tuple(maps)

    # From coordinates of a search to values. `given`: one voxel's values of the maps, scalars.

    def box(self, given: Sequence[Array] = ()) -> tuple[tuple, tuple]:
        """Lower and upper bounds of a search's coordinates.

        A free parameter is its own coordinate; of an ordered one or a volume fraction the coordinate is the
        part of the interval that the values before it leave.
        """
        parts = {*self._larger, *self.kernel.weights}
        ends = [(0.0, 1.0) if p.name in parts else (_get(p.lower, given), _get(p.upper, given)) for p in self.free]
        return tuple(low for low, _ in ends), tuple(high for _, high in ends)

    def values(self, x: Sequence[Array], given: Sequence[Array] = ()) -> dict[str, Array]:
        """Everything by name, from coordinates."""
        coordinates = dict(zip(self.parameter_names, x, strict=True))

        def pick(p: Parameter, low: Any, high: Any, part: bool) -> tuple[Any, Any]:
            x = coordinates[p.name]
            return (low + x * (high - low) if part else x), x

        return self.resolve(self._walk(pick, given, jnp.zeros_like(x[0]) if x else jnp.zeros(()))[0])

    def begin(self, parts: Sequence[Array], given: Sequence[Array] = ()) -> tuple[Array, ...]:
        """Coordinates of a point: each parameter's `start`, or this part of its interval."""
        fractions = dict(zip(self.parameter_names, parts, strict=True))

        def pick(p: Parameter, low: Any, high: Any, part: bool) -> tuple[Any, Any]:
            value = low + fractions[p.name] * (high - low)
            if p.start is not None:
                value = jnp.clip(_get(p.start, given) + jnp.zeros_like(value), low, high)
            width = high - low
            return value, ((value - low) / jnp.where(width > 0, width, 1) if part else value)

        x = self._walk(pick, given, jnp.zeros_like(parts[0]))[1]
        return tuple(x[name] for name in self.parameter_names)

    def coordinates(self, values: Values, given: Sequence[Array] = ()) -> tuple[Array, ...]:
        """Coordinates of the free parameters' values."""
        started = {p.name: replace(p, start=values[p.name]) for p in self.free}
        at = replace(self, changed=tuple({**dict(self.changed), **started}.items()))
        zero = jnp.zeros_like(jnp.asarray(values[self.parameter_names[0]]))
        return at.begin([zero] * len(self.free), given)

    def _walk(self, pick: Callable, given: Sequence[Array], zero: Array) -> tuple[dict[str, Any], dict[str, Any]]:
        """Values and coordinates of the free parameters, as `pick` chooses them one after the other."""
        values = {name: _get(value, given) + zero for name, value in self.held}
        x: dict[str, Any] = {}
        plain = [p for p in self.free if p.name not in self.kernel.weights]
        larger = self._larger
        names = _in_order([p.name for p in plain], {small: (large,) for small, large in larger.items()})
        for p in sorted(plain, key=lambda p: names.index(p.name)):
            low, high, part = _get(p.lower, given), _get(p.upper, given), p.name in larger
            if part:
                high = jnp.maximum(jnp.minimum(high, values[larger[p.name]]), low)
            values[p.name], x[p.name] = pick(p, low + zero if part else low, high, part)
        left = zero + 1
        for weight in self.kernel.weights:
            if weight in values:
                left = left - values[weight]
        weights = [self.parameters[w] for w in self.kernel.weights if w not in values]
        for i, p in enumerate(weights[:-1]):
            low = high = 0.0  # what the others must and may have
            for other in weights[i + 1 :]:
                low, high = low + _get(other.lower, given), high + _get(other.upper, given)
            least = jnp.maximum(_get(p.lower, given), left - high)
            most = jnp.maximum(jnp.minimum(_get(p.upper, given), left - low), least)
            values[p.name], x[p.name] = pick(p, least, most, True)
            left = left - values[p.name]
        return values, x

    def resolve(self, values: Values) -> dict[str, Array]:
        """Everything by name, from the free and fixed parameters by name; scalars or arrays of one shape."""
        every = dict(values)
        weights = self.kernel.weights
        if weights:
            last = next(w for w in reversed(weights) if w not in dict(self.held))
            rest = 1 - sum(every[w] for w in weights if w != last)
            every[last] = jnp.where(rest < 0, 0, rest)  # by rounding; the derivative at 0 stays that of the rest
        equations = {link.target: link for link in self._equations}
        for target in _in_order(list(equations), {t: link.sources for t, link in equations.items()}):
            every[target] = equations[target].function(*(every[s] for s in equations[target].sources))
        return every

    def derive(self, values: Values) -> dict[str, Array]:
        """The derived maps, from everything by name."""
        return {link.target: link.function(*(values[s] for s in link.sources)) for link in self.derived}

    def mean(self, pulse: Pulse, values: Values) -> Array:
        """Spherical mean over S0 of one voxel, from everything by name."""
        return self.kernel.mean(pulse, values)

    def signal(self, acquisition: Any, parameters: Values) -> Array:
        """Signal over S0 of b = 0 and each shell, (..., shells), from the free parameters (...) by name.

        acquisition: an `Acquisition`, or whatever has its `pulses`.
        """
        self.kernel.require(acquisition.pulses)
        _, maps = self.without_maps()
        missing = [name for name in self.parameter_names if name not in parameters]
        if missing:
            raise InputError(f"no value of {missing}", fix=f"give {self.parameter_names}")

        values = [jnp.asarray(parameters[name]) for name in self.parameter_names]
        dtype = jnp.result_type(float, *values)
        shape = np.broadcast_shapes(*(v.shape for v in values), *(m.shape for m in maps))
        own = {**dict(zip(self.parameter_names, values, strict=True)), **dict(self.held)}
        every = self.resolve({name: jnp.broadcast_to(jnp.asarray(v, dtype), shape) for name, v in own.items()})
        return jnp.stack([self.mean(pulse, every) for pulse in acquisition.pulses], axis=-1)

    def extreme_moments(self, pulse: Pulse) -> np.ndarray:
        """Legendre moments up to `signal.ORDER_MAX` of each compartment, parameters at the ends of their intervals.

        (points, 61), in double precision: what bounds the order at which convolved signals may be cut.
        """
        model, maps = self.without_maps()
        nodes, weighted = legendre_rule(ORDER_MAX, 128)
        found = []
        with jax.enable_x64(True):
            for given in (tuple(m.min() for m in maps), tuple(m.max() for m in maps))[: 1 + bool(maps)]:
                ends = [np.array(e, float) for e in itertools.product(*zip(*model.box(given), strict=True))]
                values = model.values(tuple(jnp.asarray(np.stack(ends, axis=1))) if model.free else (), given)
                for name, c in self.compartments:
                    if not c.isotropic:
                        own = [values[p] for p in self.kernel.of(name)]
                        found.append(np.asarray(c.at(pulse, jnp.asarray(nodes), *own)) @ weighted)
        return np.concatenate([np.zeros((1, weighted.shape[1])), *found])

    def diagram(self, path: str | os.PathLike | None = None):
        """The picture of the model: compartments, and which parameters are free, fixed or linked, and how.

        Args:
            path: file to write, .svg, .png or .pdf; None: none.
        Returns:
            a matplotlib figure.
        """
        boxes = []
        for name, compartment in self.compartments:
            weight = [f"weight.{name}"] if self.kernel.weights else []
            lines = [self._line(full) for full in (*weight, *self.kernel.of(name))]
            boxes.append(Box(name, compartment.kind, lines))
        inside = {line.name for box in boxes for line in box.lines}
        lines = [self._line(name) for name in self.names if name not in inside]
        lines += [Line(small, "linked", f"≤ {large}") for small, large in self._larger.items()]
        figure = draw(f"{self.name}: {len(self.free)} free parameters and S0", boxes, lines)
        if path is not None:
            figure.savefig(path, metadata={"Date": None} if str(path).endswith((".svg", ".pdf")) else None)
        return figure

    def _line(self, name: str) -> Line:
        def told(value: Any) -> str:
            return "a map" if isinstance(value, np.ndarray) else f"{value:g}"

        links = {link.target: link for link in self._equations}
        unit = {"um2/ms": " µm²/ms", "um": " µm"}.get(self.units.get(name, ""), "")
        if name in links:
            return Line(name, "linked", str(links[name]).removeprefix(name).strip())
        if name in dict(self.held):
            return Line(name, "fixed", f"= {told(dict(self.held)[name])}{unit}")
        p = self.parameters[name]
        if name in self.parameter_names:
            start = "" if p.start is None else f", starts at {told(p.start)}"
            return Line(name, "free", f"in [{told(p.lower)}, {told(p.upper)}]{unit}{start}")
        return Line(name, "linked", "= 1 - " + " - ".join(w for w in self.kernel.weights if w != name))

    # Searches.

    def grid(self) -> np.ndarray:
        """Parts of the intervals of the free parameters from which searches start, (starts, points, free).

        A search starts at the best of the points. More than two parameters can have several optima: then one
        search starts at each of a few values of the first of them.
        """
        axes = [np.array(p.starts if p.start is None else (0.5,)) for p in self.free]
        several = len(axes) > 2 and len(axes[0]) > _STARTS
        if several:
            axes[0] = _thinned(axes[0], _STARTS)
        while np.prod([len(axis) for axis in axes]) > _GRID:
            longest = max(range(several, len(axes)), key=lambda i: len(axes[i]))
            axes[longest] = _thinned(axes[longest], len(axes[longest]) - 1)
        points = np.array(list(itertools.product(*axes)))
        return points.reshape(len(axes[0]) if several else 1, -1, len(axes))

    def step(self, x: tuple, step: tuple) -> tuple:
        """How a search goes by a step of its coordinates."""
        if self.move is None or self.held:
            return tuple(p + d for p, d in zip(x, step, strict=True))
        return self.move(x, step)


def _thinned(values: np.ndarray, n: int) -> np.ndarray:
    return values[np.round(np.linspace(0, len(values) - 1, n)).astype(int)]


def _number(value: Any) -> Any:
    """A Python float, or an array."""
    if isinstance(value, Given) or value is None:
        return value
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array


def _get(value: Any, given: Sequence[Array]) -> Any:
    return given[value.number] if isinstance(value, Given) else value


def _in_order(names: Sequence[str], needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Names such that each comes after those of them that it needs."""
    out: list[str] = []
    while len(out) < len(names):
        ready = [n for n in names if n not in out and all(s in out or s not in names for s in needs.get(n, ()))]
        if not ready:
            raise InputError(f"links in a circle: {[n for n in names if n not in out]}", fix="remove one")
        out += ready
    return out
