"""Between dmipy's names, units and partial volumes of a model, and those of jaxsmt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from ... import Compartment, Link, equal, fraction, tortuosity
from ..parameters import Rule, not_covered
from ..signal_models.base import SignalModel, unit_of


@dataclass(frozen=True)
class Translation:
    """How the compartments of a model are called here and there, and which weights a partial volume sums.

    Attributes:
        members: {name of a model: its compartments, by the names that they have in jaxsmt}. A bundle has several.
    """

    members: Mapping[str, Mapping[str, SignalModel]]

    @property
    def partial_volumes(self) -> list[str]:
        """dmipy's names of the models' volume fractions; a single model has none."""
        return [f"partial_volume_{i}" for i in range(len(self.members))] if len(self.members) > 1 else []

    @property
    def signal_models(self) -> dict[str, SignalModel]:
        """All compartments by jaxsmt's name, those of bundles one by one."""
        return {name: model for models in self.members.values() for name, model in models.items()}

    def compartments(self) -> dict[str, Compartment]:
        """jaxsmt's compartments by name."""
        return {name: model.compartment() for name, model in self.signal_models.items()}

    def name(self, name: str) -> str:
        """jaxsmt's name of a parameter, `compartment.parameter`; fractions keep dmipy's name."""
        for compartment, model in self.signal_models.items():
            parameter = name.removeprefix(compartment + "_")
            if parameter != name and parameter in model.parameter_cardinality:
                return f"{compartment}.{parameter}"
        return name

    def unit(self, name: str) -> float:
        """jaxsmt's unit of a parameter, in SI: an SI value is divided by it."""
        _, dot, parameter = self.name(name).partition(".")
        return unit_of(parameter) if dot else 1.0

    @cached_property
    def fractions(self) -> dict[str, tuple[str, ...]]:
        """jaxsmt's weights of which a partial volume is the sum, or of whose sum the first has this share."""
        fractions: dict[str, tuple[str, ...]] = {}
        for i, (name, models) in enumerate(self.members.items()):
            weights = tuple(f"weight.{compartment}" for compartment in models)
            if self.partial_volumes:
                fractions[f"partial_volume_{i}"] = weights
            fractions |= {f"{name}_partial_volume_{k}": weights[k:] for k in range(len(weights) - 1)}
        return fractions

    def weight(self, fraction: str) -> str | None:
        """The one weight that a partial volume is, or None if it is a sum or a share of several."""
        weights = self.fractions[fraction]
        if fraction in self.partial_volumes:
            return weights[0] if len(weights) == 1 else None
        first_of_all = len(self.members) == 1 and fraction.endswith("partial_volume_0")
        return weights[0] if first_of_all else None

    def weights(self, values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """jaxsmt's weights of all compartments, from the partial volumes by name, each of this shape."""
        weights = {}
        for i, (name, models) in enumerate(self.members.items()):
            left = values[f"partial_volume_{i}"] if self.partial_volumes else np.ones(shape)
            for k, compartment in enumerate(models):
                last = k == len(models) - 1
                part = left if last else left * values[f"{name}_partial_volume_{k}"]
                left = left - part
                weights[f"weight.{compartment}"] = part
        return weights if len(weights) > 1 else {}

    def links(self, rules: Sequence[Rule]) -> list[Link]:
        """jaxsmt's links: what makes the partial volumes of weights, then those of the rules.

        Raises:
            NotCoveredError: a link that determines a partial volume.
        """
        links = [
            Link(name, weights, _total if name in self.partial_volumes else _share)
            for name, weights in self.fractions.items()
        ]
        return links + [self._link(rule) for rule in rules if rule.kind != "fixed"]

    def _link(self, rule: Rule) -> Link:
        """jaxsmt's link of a rule."""
        if rule.target in self.fractions:
            raise not_covered(f"links of {rule.target}, a partial volume", "fix it, or leave it free")
        target, sources = self.name(rule.target), tuple(map(self.name, rule.sources))
        if rule.kind == "equal":
            return equal(target, *sources)
        if rule.kind == "fraction":
            return fraction(target, sources[1], rule.sources[0])
        if rule.kind == "tortuosity":
            return tortuosity(target, *sources)
        return Link(target, sources, _remaining)


def _total(*weights: jax.Array) -> jax.Array:
    """The sum of weights."""
    return sum(weights[1:], start=weights[0])


def _share(first: jax.Array, *rest: jax.Array) -> jax.Array:
    """The share that the first weight has of all; 0 where all are 0."""
    total = _total(first, *rest)
    return first / jnp.where(total > 0, total, 1)


def _remaining(parallel: jax.Array, intra: jax.Array) -> jax.Array:
    """A bundle's tortuosity: (1 - intra) · parallel."""
    return parallel * (1 - intra)
