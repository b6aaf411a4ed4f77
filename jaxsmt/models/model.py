"""Models of a voxel's spherical means: compartments, and the links between their parameters."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..acquisition import pytree as schemes  # noqa: F401  acquisitions are pytrees wherever there are models
from ..acquisition.shells import Pulse
from ..errors import InputError
from ..physics.compartments import Compartment, Kernel, Parameter
from ..physics.signal import ORDER_MAX, legendre_rule
from .coordinates import Given, Space, get, in_order
from .diagram import Box, Line, draw
from .links import Fixed, Link, Ordered, same

Values = Mapping[str, Any]
# Most points of the grid on which searches look for their starts, and how many searches there may be.
_GRID, _STARTS = 1000, 4
# Maps of every fit.
_TAKEN = {"s0", "mse", "r2", "status"}


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
        move: `(coordinates, step) -> coordinates`, how searches go by a step, if straight lines are slow.
    Raises:
        InputError: names that do not exist, parameters determined twice, links in a circle, values that
            cannot be.
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
        links = tuple(self.links) if isinstance(self.links, list | tuple) else (self.links,)
        held = {**{link.name: link.value for link in links if isinstance(link, Fixed)}, **dict(self.held)}
        links = tuple(link for link in links if not isinstance(link, Fixed))
        for field, value in (("compartments", pairs), ("links", links), ("derived", tuple(self.derived))):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "held", tuple((name, _number(value)) for name, value in held.items()))
        self._check_compartments()
        self._check_links()
        for name in held:
            self._named(name)
        if self.kernel.weights and self.space.rest is None:
            raise InputError("every volume fraction is fixed", fix="leave one to follow from the rest")
        self.space.check()
        self._check_names()

    # What there is.

    @property
    def kernel(self) -> Kernel:
        """The compartments alone."""
        return Kernel(self.compartments)

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter that no link determines, fixed ones too; volume fractions last."""
        targets = {link.target for link in self.equations}
        new = {p.name: p for link in self.equations for p in link.introduces}
        share = Parameter("", typical=1 / len(self.compartments), starts=(0.2, 0.4, 0.6, 0.8), largest=1.0)
        every = {**self._own, **new, **dict.fromkeys(self.kernel.weights, share)}
        every = {name: replace(p, name=name) for name, p in every.items() if name not in targets}
        return {**every, **dict(self.changed)}

    @property
    def _own(self) -> dict[str, Parameter]:
        """The compartments' parameters by full name."""
        pairs = ((self.kernel.of(name), c.parameters) for name, c in self.compartments)
        return {full: p for names, parameters in pairs for full, p in zip(names, parameters, strict=True)}

    @cached_property
    def space(self) -> Space:
        """The free parameters, and what binds them."""
        orderings = tuple((link.smaller, link.larger) for link in self.links if isinstance(link, Ordered))
        return Space(tuple(self.parameters.values()), self.held, orderings, tuple(self.kernel.weights))

    @property
    def free(self) -> tuple[Parameter, ...]:
        """The parameters that are fitted; the last volume fraction follows from the others."""
        return self.space.free

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters that are fitted."""
        return [p.name for p in self.free]

    @property
    def names(self) -> list[str]:
        """Everything that has a value: all that the signal depends on, new parameters, new quantities."""
        new = (name for link in self.equations for name in (*(p.name for p in link.introduces), link.target))
        return list(dict.fromkeys([*self.kernel.names, *new]))

    @property
    def units(self) -> dict[str, str]:
        """Units of the parameters and derived maps that have one."""
        units = {name: p.unit for name, p in {**self._own, **self.parameters}.items()}
        for link in (*self.equations, *self.derived):
            units.setdefault(
                link.target, link.unit or (units.get(link.sources[0], "") if link.function is same else "")
            )
        return {name: unit for name, unit in units.items() if unit}

    @cached_property
    def equations(self) -> tuple[Link, ...]:
        """The links that determine something, each after those that it needs."""
        links = {link.target: link for link in self.links if isinstance(link, Link)}
        return tuple(links[t] for t in in_order(list(links), {t: link.sources for t, link in links.items()}))

    # Changing it.

    def fix(self, **values: Any) -> SphericalMeanModel:
        """The same model with parameters held at a number, or at a map (...) of the data's spatial shape.

        A name with a dot goes in as `model.fix(**{"stick.lambda_par": 1.7})`.
        """
        return replace(self, held=tuple({**dict(self.held), **values}.items()))

    def bound(self, **bounds: tuple[Any, Any]) -> SphericalMeanModel:
        """The same model with other bounds, numbers or maps (...): `model.bound(lambda_par=(0.1, 3.0))`."""
        changed = dict(self.changed)
        if any(isinstance(value, jax.core.Tracer) for pair in bounds.values() for value in pair):
            raise InputError(
                "bounds cannot be traced", fix="numbers that JAX does not follow; what is fixed may be traced"
            )
        for name, (lower, upper) in bounds.items():
            changed[name] = replace(self._free(name), lower=_number(lower), upper=_number(upper))
        return replace(self, changed=tuple(changed.items()))

    def start(self, **values: Any) -> SphericalMeanModel:
        """The same model with searches that start at these values, numbers or maps (...), kept within bounds."""
        if self.space.rest in values:
            raise InputError(f"{self.space.rest} follows from the other fractions", fix="start at theirs")
        changed = {**dict(self.changed), **{n: replace(self._free(n), start=_number(v)) for n, v in values.items()}}
        return replace(self, changed=tuple(changed.items()))

    def _named(self, name: str) -> Parameter:
        if name not in self.parameters:
            linked = any(link.target == name for link in self.equations)
            fact = f"a link determines {name}" if linked else f"no parameter {name!r}"
            raise InputError(fact, fix=f"the free ones are {self.parameter_names}")
        return self.parameters[name]

    def _free(self, name: str) -> Parameter:
        if name in dict(self.held):
            raise InputError(f"{name} is fixed", fix=f"the free ones are {self.parameter_names}")
        return self._named(name)

    # Whether it can be.

    def _check_compartments(self) -> None:
        names = [name for name, _ in self.compartments]
        odd = any(not name.isidentifier() for name in names) and names != [""]
        if not names or odd or "weight" in names or not all(isinstance(c, Compartment) for _, c in self.compartments):
            raise InputError(f"compartments {names}", fix="give {name: compartment()}, names as of Python")

    def _check_links(self) -> None:
        odd = [link for link in self.links if not isinstance(link, Link | Ordered)]
        if odd:
            raise InputError(f"{odd[0]!r} is no link", fix="equal, fraction, tortuosity, ordering, fixed, or Link(...)")
        links = [link for link in self.links if isinstance(link, Link)]
        targets = [link.target for link in links]
        own, fixed = set(self._own), set(self.kernel.weights)
        for name in targets:
            if targets.count(name) > 1:
                raise InputError(f"two links determine {name}", fix="leave one")
            if name in fixed:
                raise InputError(f"a link determines {name}", fix="fractions sum to 1 by themselves; fix or bound them")
            if name not in own and ("." in name or self.compartments[0][0] == ""):
                raise InputError(f"a link to an unknown parameter {name!r}", fix=f"one of {sorted(own)}")
        introduced = [p.name for link in links for p in link.introduces]
        twice = [n for n in introduced if n in own | fixed | set(targets) or introduced.count(n) > 1]
        if twice:
            raise InputError(
                f"a link introduces {twice[0]!r}, which exists", fix="give the new parameter a name of its own"
            )
        known = {*self.kernel.names, *introduced, *targets}
        used = [(str(link), name) for link in (*links, *self.derived) for name in link.sources]
        used += [(str(link), name) for link in self.links if isinstance(link, Ordered) for name in link]
        for where, name in used:
            if name not in known:
                raise InputError(f"unknown name {name!r} in {where}", fix=f"one of {sorted(known)}")
        larger: dict[str, list[str]] = {}
        for link in self.links:
            if isinstance(link, Ordered):
                larger.setdefault(link.smaller, []).append(link.larger)
                if not set(link) <= set(self.parameters) - fixed:
                    raise InputError(f"cannot keep {link}", fix="order parameters that no link determines")
        in_order([*larger], larger)

    def _check_names(self) -> None:
        every = [*self.names, *(link.target for link in self.derived)]
        labels = [name.replace(".", "").replace("_", "") for name in every]
        bad = [n for n in every if n in _TAKEN] + [
            n for n, label in zip(every, labels, strict=True) if labels.count(label) > 1
        ]
        if bad:
            raise InputError(f"the name {bad[0]!r} is taken, or would be in file names", fix="choose another")
        missing = [n for n in self.maps if n not in every]
        if missing or not self.name.isalnum():
            fact = f"no map {missing[0]!r}" if missing else f"the model is called {self.name!r}"
            raise InputError(
                fact, fix=f"one of {every}" if missing else "letters and digits only: it goes into file names"
            )

    # What is handed in.

    def without_values(self) -> tuple[SphericalMeanModel, tuple[Any, ...], tuple[np.ndarray, ...]]:
        """The model with `Given` in place of values that programs need not be compiled for; the numbers; the maps.

        What is `given` to the functions below is the numbers, then one voxel's values of the maps.
        """
        settings = [value for _, value in self.held]
        settings += [value for _, p in self.changed for value in (p.lower, p.upper, p.start)]
        maps = [v for v in settings if isinstance(v, np.ndarray)]
        numbers = [v for _, v in self.held if not isinstance(v, np.ndarray)]
        numbers += [p.start for _, p in self.changed if p.start is not None and not isinstance(p.start, np.ndarray)]
        places = {id(v): Given(i + len(numbers)) for i, v in enumerate(maps)}
        order = itertools.count()

        def static(value: Any, number: bool) -> Any:
            if isinstance(value, np.ndarray):
                return places[id(value)]
            return Given(next(order)) if number and value is not None else value

        held = tuple((name, static(value, True)) for name, value in self.held)
        changed = tuple(
            (n, replace(p, lower=static(p.lower, False), upper=static(p.upper, False), start=static(p.start, True)))
            for n, p in self.changed
        )
        return replace(self, held=held, changed=changed), tuple(numbers), tuple(maps)

    def values(self, x: Sequence[Array], given: Sequence[Any] = ()) -> dict[str, Array]:
        """Everything by name, from coordinates of a search."""
        return self.resolve(self.space.values(x, given))

    def resolve(self, values: Values) -> dict[str, Array]:
        """Everything by name, from the free and fixed parameters by name; scalars or arrays of one shape."""
        every = dict(values)
        rest = self.space.rest
        if rest is not None:
            left = 1 - sum(every[w] for w in self.kernel.weights if w != rest)
            every[rest] = jnp.where(left < 0, 0, left)  # by rounding; the derivative at 0 stays that of the rest
        for link in self.equations:
            every[link.target] = link.function(*(every[s] for s in link.sources))
        return every

    def derive(self, values: Values) -> dict[str, Array]:
        """The derived maps, from everything by name."""
        return {link.target: link.function(*(values[s] for s in link.sources)) for link in self.derived}

    def mean(self, pulse: Pulse, values: Values) -> Array:
        """Spherical mean over S0, (...), from everything by name, each (...)."""
        return self.kernel.mean(pulse, values)

    def signal(self, acquisition: Any, parameters: Values, given: Sequence[Any] | None = None) -> Array:
        """Signal over S0 of b = 0 and each shell, (..., shells), from the free parameters (...) by name.

        acquisition: an `Acquisition`, or whatever has its `pulses`. given: as of `without_values`, if the model is so.
        """
        self.kernel.require(acquisition.pulses)
        missing = [name for name in self.parameter_names if name not in parameters]
        odd = [name for name in parameters if name not in self.parameter_names]
        if missing or odd:
            fact = f"no value of {missing}" if missing else f"values of {odd}, which are not free"
            raise InputError(fact, fix=f"give {self.parameter_names}")
        held = {name: value if given is None else get(value, given) for name, value in self.held}
        values = {name: jnp.asarray(v) for name, v in {**parameters, **held}.items()}
        floating = [values[name] for name in parameters if jnp.issubdtype(values[name].dtype, jnp.floating)]
        dtype = jnp.result_type(float, *floating)
        shape = np.broadcast_shapes(*(v.shape for v in values.values()))
        every = self.resolve({name: jnp.broadcast_to(v.astype(dtype), shape) for name, v in values.items()})
        return jnp.stack([self.mean(pulse, every) for pulse in acquisition.pulses], axis=-1)

    def extreme_moments(self, pulse: Pulse) -> np.ndarray:
        """Legendre moments up to `signal.ORDER_MAX` of each compartment over the box of its parameters.

        (points, 61), in double precision, at the corners and at random points: what tells the order at which
        convolved signals may be cut.
        """
        model, numbers, maps = self.without_values()
        nodes, weighted = legendre_rule(ORDER_MAX, 128)
        bare = replace(model, changed=tuple((name, replace(p, start=None)) for name, p in model.changed))
        n = len(model.free) + len(maps)
        corners = np.array(list(itertools.islice(itertools.product((0.0, 1.0), repeat=n), 512))).reshape(-1, n)
        parts = np.concatenate([corners, np.random.default_rng(0).uniform(size=(64, n))]).T
        found = [np.zeros((1, weighted.shape[1]))]
        with jax.enable_x64(True):
            every = [jnp.asarray(part) for part in parts]
            ends = [(np.nanmin(m), np.nanmax(m)) for m in maps]
            drawn = [
                low + (high - low) * part for (low, high), part in zip(ends, every[len(model.free) :], strict=True)
            ]
            given = (*numbers, *drawn)
            values = bare.values(bare.space.begin(every[: len(model.free)], given), given)
            for name, c in self.compartments:
                if not c.isotropic:
                    own = [values[p] for p in self.kernel.of(name)]
                    found.append(np.asarray(c.at(pulse, jnp.asarray(nodes), *own)) @ weighted)
        return np.concatenate(found)

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
        lines += [Line(small, "linked", f"≤ {large}") for small, large in self.space.orderings]
        figure = draw(f"{self.name}: {len(self.free)} free parameters and S0", boxes, lines)
        if path is not None:
            figure.savefig(path, metadata={"Date": None} if str(path).endswith((".svg", ".pdf")) else None)
        return figure

    def _line(self, name: str) -> Line:
        def told(value: Any) -> str:
            return "a map" if isinstance(value, np.ndarray) else f"{value:g}"

        links = {link.target: link for link in self.equations}
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
        if self.move is None or self.held or self.space.orderings:
            return tuple(p + d for p, d in zip(x, step, strict=True))
        return self.move(x, step)


def _thinned(values: np.ndarray, n: int) -> np.ndarray:
    return values[np.round(np.linspace(0, len(values) - 1, n)).astype(int)]


def _number(value: Any) -> Any:
    """A Python float, a NumPy array of a map, or a traced number as it is."""
    if isinstance(value, Given) or value is None or (isinstance(value, jax.core.Tracer) and value.ndim == 0):
        return value
    array = np.asarray(value)
    return float(array) if array.ndim == 0 else array
