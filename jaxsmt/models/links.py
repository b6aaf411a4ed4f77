"""Links: how parameters of a model depend on others. A link of your own is a `Link` with a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from ..physics.compartments import Parameter


@dataclass(frozen=True)
class Link:
    """A quantity that follows from others: target = function(*sources).

    Attributes:
        target: a parameter, which is then not fitted; or a new name, a quantity of its own.
        sources: names of parameters, volume fractions or other targets. function: pure JAX, of scalars.
        introduces: new parameters that are fitted instead, to be used as sources.
        text: the equation in words, `{0}` the first source. unit: of a new quantity.
    """

    target: str
    sources: tuple[str, ...]
    function: Callable[..., Array]
    introduces: tuple[Parameter, ...] = ()
    text: str = ""
    unit: str = ""

    def __str__(self) -> str:
        text = self.text or f"{self.function.__name__}({', '.join(self.sources)})"
        return f"{self.target} = {text.format(*self.sources)}"


class Fixed(NamedTuple):
    """A parameter held at a number, or at a map's value in each voxel."""

    name: str
    value: Any


class Ordered(NamedTuple):
    """Two parameters with smaller ≤ larger; both stay free."""

    smaller: str
    larger: str

    def __str__(self) -> str:
        return f"{self.smaller} ≤ {self.larger}"


def fixed(name: str, value: Any) -> Fixed:
    """Hold a parameter at a number or a map (...)."""
    return Fixed(name, value)


def equal(target: str, source: str) -> Link:
    """target = source. A target that is no parameter is another name for the source."""
    return Link(target, (source,), same, text="{0}")


def fraction(target: str, of: str, name: str | None = None) -> Link:
    """target = f · of; the new parameter f in [0, 1] is called `name`, or `<target>_fraction`."""
    name = name or f"{target}_fraction"
    return Link(
        target, (name, of), _product, (Parameter(name, starts=_FRACTION_STARTS, typical=0.3, largest=1.0),), "{0} · {1}"
    )


def tortuosity(target: str, parallel: str, intra: str, extra: str) -> Link:
    """Diffusivity across packed fibres: target = parallel · extra/(intra + extra), of volume fractions.

    Source: Szafer et al. 1995, Magn Reson Med 33:697, doi:10.1002/mrm.1910330516.
    """
    return Link(target, (parallel, intra, extra), _tortuous, text="{0} · {2}/({1} + {2})")


def ordering(smaller: str, larger: str) -> Ordered:
    """Keep smaller ≤ larger; `larger` may be fixed."""
    return Ordered(smaller, larger)


# Never near 1: with the mean diffusivity held, the signal of a zeppelin depends on (1 - f)², so f = 1 is a
# ridge on which a search would rest, and from the anisotropic side it converges monotonically.
_FRACTION_STARTS = tuple(0.8 * (i + 0.5) / 6 for i in range(6))


def same(value: Array) -> Array:
    return value


def _product(factor, value):
    return factor * value


def _tortuous(parallel, intra, extra):
    total = intra + extra
    empty = total <= 0
    return parallel * jnp.where(empty, 1, extra) / jnp.where(empty, 1, total)
