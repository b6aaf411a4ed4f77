"""What compartments and links say together: which quantities a model has, and how they follow from each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import jax.numpy as jnp
from jax import Array

from ..errors import InputError
from ..physics.compartments import Compartment, Kernel, Parameter
from .links import Link, Ordered, same
from .order import in_order


@dataclass(frozen=True)
class Structure:
    """Compartments and links, whatever is fixed or bounded.

    Attributes:
        compartments: names and compartments.
        links: equations and orderings.
    """

    compartments: tuple[tuple[str, Compartment], ...]
    links: tuple[Link | Ordered, ...]

    @cached_property
    def kernel(self) -> Kernel:
        """The compartments alone."""
        return Kernel(self.compartments)

    @cached_property
    def compartment_parameters(self) -> dict[str, Parameter]:
        """The parameters of the compartments by full name, linked ones too."""
        pairs = ((self.kernel.of(name), c.parameters) for name, c in self.compartments)
        return {full: p for names, parameters in pairs for full, p in zip(names, parameters, strict=True)}

    @cached_property
    def equations(self) -> tuple[Link, ...]:
        """The links that determine something, each after those that it needs."""
        links = {link.target: link for link in self.links if isinstance(link, Link)}
        return tuple(links[target] for target in in_order({t: link.sources for t, link in links.items()}))

    @property
    def orderings(self) -> tuple[tuple[str, str], ...]:
        """Names (smaller, larger) of the parameters that are in order."""
        return tuple((link.smaller, link.larger) for link in self.links if isinstance(link, Ordered))

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters that no link determines, by name; volume fractions last."""
        targets = {link.target for link in self.equations}
        new = {p.name: p for link in self.equations for p in link.introduces}
        share = Parameter("", typical=1 / len(self.compartments), starts=(0.2, 0.4, 0.6, 0.8), largest=1.0)
        named = {**self.compartment_parameters, **new, **dict.fromkeys(self.kernel.weights, share)}
        return {name: replace(p, name=name) for name, p in named.items() if name not in targets}

    @property
    def names(self) -> list[str]:
        """Names of all that has a value: what the signal depends on, new parameters, new quantities."""
        new = (name for link in self.equations for name in (*(p.name for p in link.introduces), link.target))
        return list(dict.fromkeys([*self.kernel.names, *new]))

    def units(self, derived: Sequence[Link]) -> dict[str, str]:
        """Units of the quantities, and of derived maps, that have one."""
        units = {name: p.unit for name, p in {**self.compartment_parameters, **self.parameters}.items()}
        for link in (*self.equations, *derived):
            unit = units.get(link.sources[0], "") if link.function is same else ""
            units.setdefault(link.target, link.unit or unit)
        return {name: unit for name, unit in units.items() if unit}

    def resolve(self, values: Mapping[str, Array], rest: str | None) -> dict[str, Array]:
        """All quantities by name, from the free and fixed parameters; `rest` is the fraction that follows from them."""
        resolved = dict(values)
        if rest is not None:
            left = 1 - sum(resolved[w] for w in self.kernel.weights if w != rest)
            resolved[rest] = jnp.where(left < 0, 0, left)  # by rounding; the derivative at 0 stays that of the rest
        for link in self.equations:
            resolved[link.target] = link.function(*(resolved[s] for s in link.sources))
        return resolved

    # Whether it can be.

    def check(self, derived: Sequence[Link]) -> None:
        """Check that compartments and links fit together, and that derived maps follow from what there is.

        Raises:
            InputError: the first thing that does not.
        """
        self._check_compartments()
        odd = [link for link in self.links if not isinstance(link, Link | Ordered)]
        if odd:
            raise InputError(
                f"links= has {odd[0]!r}, which is no link",
                fix="equal, fraction, tortuosity, ordering, fixed, or Link(...)",
            )
        self._check_targets()
        self._check_introduced()
        self._check_sources(derived)
        self._check_orderings()

    def _check_compartments(self) -> None:
        names = [name for name, _ in self.compartments]
        odd = any(not name.isidentifier() for name in names) and names != [""]
        if not names or odd or "weight" in names or not all(isinstance(c, Compartment) for _, c in self.compartments):
            raise InputError(f"compartments {names}", fix="give {name: compartment()}, names as of Python")

    @property
    def _links(self) -> list[Link]:
        """The equations as they were given."""
        return [link for link in self.links if isinstance(link, Link)]

    def _check_targets(self) -> None:
        """Each quantity is determined once, and none is called like a parameter that does not exist."""
        count = Counter(link.target for link in self._links)
        for name in count:
            if count[name] > 1:
                raise InputError(f"two links determine {name}", fix="leave one")
            if name in self.kernel.weights:
                raise InputError(f"a link determines {name}", fix="fractions sum to 1 by themselves; fix or bound them")
            known = self.compartment_parameters
            if name not in known and ("." in name or self.compartments[0][0] == ""):
                raise InputError(f"a link to an unknown parameter {name!r}", fix=f"one of {sorted(known)}")

    def _check_introduced(self) -> None:
        """New parameters have new names."""
        introduced = [p.name for link in self._links for p in link.introduces]
        taken = {*self.compartment_parameters, *self.kernel.weights, *(link.target for link in self._links)}
        twice = [n for n in introduced if n in taken or introduced.count(n) > 1]
        if twice:
            raise InputError(
                f"a link introduces {twice[0]!r}, which exists", fix="give the new parameter a name of its own"
            )

    def _check_sources(self, derived: Sequence[Link]) -> None:
        """Links use names that exist."""
        links = self._links
        known = {*self.kernel.names, *(p.name for link in links for p in link.introduces), *(k.target for k in links)}
        used = [(str(link), name) for link in (*links, *derived) for name in link.sources]
        used += [(str(link), name) for link in self.links if isinstance(link, Ordered) for name in link]
        for where, name in used:
            if name not in known:
                raise InputError(f"unknown name {name!r} in {where}", fix=f"one of {sorted(known)}")

    def _check_orderings(self) -> None:
        """Orderings are of parameters that no link determines, and do not go in a circle."""
        larger: dict[str, list[str]] = {}
        for link in self.links:
            if isinstance(link, Ordered):
                larger.setdefault(link.smaller, []).append(link.larger)
                if not set(link) <= set(self.parameters) - set(self.kernel.weights):
                    raise InputError(f"cannot keep {link}", fix="order parameters that no link determines")
        in_order(larger)
