"""What a model is: compartments, links, names, units, and what is fixed or bounded."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.arrays import equal_values, is_traced, real_array
from ..display import Shown
from ..errors import InputError, JaxsmtWarning, shown
from ..files import map_table
from ..physics.compartments import Compartment, Kernel, Parameter
from .coordinates import Space
from .links import AnyLink, Fixed, Link, Ordered
from .priors import NormalPrior
from .runtime import Placeholder
from .structure import Structure
from .units import unit_doubt

# Names that parameters cannot have: maps of every fit.
_MAPS_OF_FITS = frozenset(map_table.of_fits("kernel"))

Compartments = Compartment | Mapping[str, Compartment] | Iterable[tuple[str, Compartment]]
Tissues = tuple[tuple[str, tuple[tuple[str, float], ...]], ...]  # names of tissues; of parameters, and values
Move = Callable[[tuple[Array, ...], tuple[Array, ...]], tuple[Array, ...]]


@dataclass(frozen=True, init=False)
class Definition(Shown):
    """The definition of a `SphericalMeanModel`, which describes the arguments."""

    compartments: tuple[tuple[str, Compartment], ...]
    links: tuple[Link | Ordered, ...]
    name: str
    derived: tuple[Link, ...]
    maps: tuple[str, ...]
    move: Move | None
    tissues: Tissues
    population: NormalPrior | None
    changed: tuple[tuple[str, Parameter], ...]
    held: tuple[tuple[str, Any], ...]

    def __init__(
        self,
        compartments: Compartments,
        links: AnyLink | Iterable[AnyLink] = (),
        name: str = "custom",
        derived: Iterable[Link] = (),
        maps: Iterable[str] = (),
        move: Move | None = None,
        tissues: Mapping[str, Mapping[str, float]] | Tissues = (),
        population: NormalPrior | None = None,
        changed: tuple[tuple[str, Parameter], ...] = (),
        held: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        if isinstance(compartments, Compartment):
            compartments = {"": compartments}
        pairs = compartments.items() if isinstance(compartments, Mapping) else compartments
        _require_kinds(pairs, links, name, population)
        several = (links,) if isinstance(links, AnyLink) else tuple(links)
        values = {**{link.name: link.value for link in several if isinstance(link, Fixed)}, **dict(held)}
        self.__dict__.update(
            compartments=tuple(pairs),
            links=tuple(link for link in several if not isinstance(link, Fixed)),
            name=name,
            derived=tuple(derived),
            maps=tuple(maps),
            move=move,
            tissues=tuple((tissue, tuple(dict(typical).items())) for tissue, typical in dict(tissues).items()),
            population=population,
            changed=changed,
            held=tuple((name, _number(value, name)) for name, value in values.items()),
        )
        self._check()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Definition):
            return NotImplemented
        return self is other or all(_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    # Of what it is made.

    @cached_property
    def structure(self) -> Structure:
        """The compartments and links, whatever is fixed or bounded."""
        return Structure(self.compartments, self.links)

    @cached_property
    def space(self) -> Space:
        """The free parameters, and what binds them."""
        kernel = self.structure.kernel
        return Space(tuple(self.parameters.values()), self.held, self.structure.orderings, tuple(kernel.weights))

    @property
    def kernel(self) -> Kernel:
        """The compartments alone."""
        return self.structure.kernel

    @property
    def equations(self) -> tuple[Link, ...]:
        """The links that determine something, each after those that it needs."""
        return self.structure.equations

    # What there is.

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters that no link determines, by name: with the bounds and starts of this model, fixed ones too.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().bound(lambda_par=(0.1, 2.5)).parameters["lambda_par"].upper
            2.5
        """
        return {**self.structure.parameters, **dict(self.changed)}

    @property
    def free(self) -> tuple[Parameter, ...]:
        """The parameters that are fitted; the last volume fraction follows from the others.

        Example:
            >>> import jaxsmt as js
            >>> [(p.name, p.lower, p.upper) for p in js.smt().free]
            [('lambda_par', 0.0, 3.05), ('fraction', 0.0, 1.0)]
        """
        return self.space.free

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters that are fitted.

        Example:
            >>> import jaxsmt as js
            >>> js.mcsmt().parameter_names
            ['stick.lambda_par', 'weight.stick']
        """
        return [p.name for p in self.free]

    @property
    def names(self) -> list[str]:
        """Names of all that has a value: what the signal depends on, new parameters, new quantities.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().names
            ['lambda_par', 'lambda_perp', 'fraction']
        """
        return self.structure.names

    @property
    def units(self) -> dict[str, str]:
        """Units of the parameters and derived maps that have one.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().units
            {'lambda_par': 'um2/ms', 'lambda_perp': 'um2/ms', 'md': 'um2/ms'}
        """
        return self.structure.units(self.derived)

    # Changing it.

    def fix(self, **values: ArrayLike) -> Self:
        """Hold parameters at values.

        Args:
            **values: of parameters by name, in their units: numbers, which JAX may trace, or maps (...) of the spatial
                shape of the data. A name with a dot goes in as `fix(**{"stick.lambda_par": 1.7})`.

        Returns:
            The model with these parameters fixed.

        Raises:
            InputError: no such parameter, or a value beyond its limits.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().fix(lambda_par=1.7).parameter_names
            ['fraction']
        """
        for name, value in values.items():
            if value is None:
                raise InputError(f"{name} is None", fix=f"give a number or a map as {name}=")
            self._doubt(name, "is fixed at", value)
        return replace(self, held=tuple({**dict(self.held), **values}.items()))

    def bound(self, **bounds: tuple[ArrayLike, ArrayLike]) -> Self:
        """Give free parameters other bounds.

        Args:
            **bounds: (lower, upper) of parameters by name, in their units: numbers, or maps (...) of the spatial shape
                of the data.

        Returns:
            The model with these bounds.

        Raises:
            InputError: no such free parameter, bounds that are traced, beyond the parameter's limits, or out of order.

        Example:
            >>> import jaxsmt as js
            >>> p = js.smt().bound(lambda_par=(0.1, 3.0)).free[0]
            >>> p.lower, p.upper
            (0.1, 3.0)
        """
        changed = dict(self.changed)
        for name, pair in bounds.items():
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise InputError(f"bounds of {name} are {shown(pair)}", fix=f"{name}=(lower, upper)")
        if any(is_traced(value) for pair in bounds.values() for value in pair):
            raise InputError(
                "bounds cannot be traced", fix="numbers that JAX does not follow; what is fixed may be traced"
            )
        for name, (lower, upper) in bounds.items():
            self._doubt(name, "has the upper bound", upper)
            changed[name] = replace(self._free(name), lower=_number(lower, name), upper=_number(upper, name))
        return replace(self, changed=tuple(changed.items()))

    def start(self, **values: ArrayLike) -> Self:
        """Let searches start at values, and nowhere else.

        Args:
            **values: of free parameters by name, in their units: numbers, which JAX may trace, or maps (...) of the
                spatial shape of the data. Those beyond the bounds are moved to them.

        Returns:
            The model with these starts.

        Raises:
            InputError: no such free parameter.

        Example:
            >>> import jaxsmt as js
            >>> js.smt().start(lambda_par=2.0).free[0].start
            2.0
        """
        if self.space.rest in values:
            raise InputError(f"{self.space.rest} follows from the other fractions", fix="start at theirs")
        for name, value in values.items():
            self._doubt(name, "starts at", value)
        changed = {**dict(self.changed), **{n: replace(self._free(n), start=_number(v, n)) for n, v in values.items()}}
        return replace(self, changed=tuple(changed.items()))

    # Whether it can be.

    def _doubt(self, name: str, what: str, value: Any) -> None:
        """Warn where a parameter's value seems to be in another unit; what is wrong otherwise is found later."""
        has_numbers = isinstance(value, float) or (isinstance(value, np.ndarray) and value.dtype.kind == "f")
        if name in self.parameters and has_numbers:
            doubt = unit_doubt(f"{name} {what}", value, self.parameters[name].unit)
            if doubt:
                warnings.warn(doubt, JaxsmtWarning, stacklevel=3)

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

    def _check(self) -> None:
        self.structure.check(self.derived)
        for name, _ in self.held:
            self._named(name)
        if self.kernel.weights and self.space.rest is None:
            raise InputError("every volume fraction is fixed", fix="leave one to follow from the rest")
        self.space.check()
        self._check_names()
        for tissue, typical in self.tissues:
            for name, _ in typical:
                if name not in self.parameters:
                    raise InputError(f"{tissue} has a value of {name!r}", fix=f"one of {list(self.parameters)}")
        if self.population is not None:
            self.population.require(self.names)

    def _check_names(self) -> None:
        """Names of maps differ in file names too, which have no dots and no underscores."""
        names = [*self.names, *(link.target for link in self.derived)]
        labels = [name.replace(".", "").replace("_", "") for name in names]
        bad = [n for n in names if n in _MAPS_OF_FITS]
        bad += [n for n, label in zip(names, labels, strict=True) if labels.count(label) > 1]
        if bad:
            raise InputError(f"the name {bad[0]!r} is taken, or would be in file names", fix="choose another")
        missing = [n for n in self.maps if n not in names]
        if missing:
            raise InputError(f"no map {shown(missing[0])}", fix=f"one of {names}")
        if not self.name.isalnum():
            fix = "letters and digits only: it goes into file names"
            raise InputError(f"the model is called {self.name!r}", fix=fix)


def _require_kinds(pairs: Any, links: Any, name: Any, population: Any) -> None:
    """Raise InputError unless the arguments of a model are of the kinds that they should be."""
    fix = "give {name: compartment()}, names as of Python; functions such as js.stick are called: js.stick()"
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise InputError(f"compartments= is of type {type(pairs).__name__}", fix=fix)
    for pair in tuple(pairs) if not isinstance(pairs, Iterator) else ():
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise InputError(f"compartments= has {shown(pair)}", fix=fix)
        if not isinstance(pair[1], Compartment):
            raise InputError(f"compartments= has {pair[0]!r} of type {type(pair[1]).__name__}", fix=fix)
    if isinstance(links, str) or not isinstance(links, AnyLink | Iterable):
        raise InputError(
            f"links= is {shown(links)}", fix="give js.equal(...), js.fraction(...) or the like, one or several"
        )
    if not isinstance(name, str):
        raise InputError(f"name= is {shown(name)}", fix="letters and digits only: it goes into file names")
    if not isinstance(population, NormalPrior | None):
        raise InputError(f"population= is of type {type(population).__name__}", fix="give a js.NormalPrior")


def _number(value: Any, name: str) -> Any:
    """A Python float, a NumPy array of a map, or a traced number as it is.

    Raises:
        InputError: the value of this name is no real number, NaN, or infinite; of maps their voxels are checked later.
    """
    if isinstance(value, Placeholder) or value is None or (is_traced(value) and value.ndim == 0):
        return value
    array = real_array(value, name)
    if array.ndim:
        return array
    if np.isnan(array):
        raise InputError(f"{name} is NaN", fix=f"give a number or a map as {name}=")
    return float(array)


def _equal(a: Any, b: Any) -> bool:
    """Whether two values have equal content; maps may be anywhere within. A traced number is equal only to itself."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, Parameter) and isinstance(b, Parameter):
        return all(_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Parameter))
    if a is b:
        return True
    if is_traced(a) or is_traced(b) or isinstance(a, np.ndarray) != isinstance(b, np.ndarray):
        return False
    return equal_values(a, b)
