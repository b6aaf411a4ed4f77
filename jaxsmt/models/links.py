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

    Args:
        target: the parameter that the link determines, which is then not fitted; or a new name, which makes a new
            quantity.
        sources: names of parameters, of volume fractions, or of targets of other links.
        function: takes the values of the sources, arrays of one shape and of the units of the sources, and returns
            that of the target; pure JAX, elementwise.
        introduces: new parameters, which are fitted and may be sources.
        text: the right side of the equation for people, `{0}` is the name of the first source. Empty: the name of the
            function and its sources.
        unit: of a new quantity: "um2/ms", "um", "ms" or "". A parameter keeps its own.

    Example:
        >>> import jaxsmt as js
        >>> def half(diffusivity):
        ...     return diffusivity / 2
        >>> link = js.Link("lambda_perp", ("lambda_par",), half, text="{0} / 2")
        >>> str(link)
        'lambda_perp = lambda_par / 2'
        >>> js.SphericalMeanModel(js.zeppelin(), link).parameter_names
        ['lambda_par']
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
    """A parameter that is held at a number, or in each voxel at the value of a map."""

    name: str
    value: Any


class Ordered(NamedTuple):
    """Two parameters with smaller ≤ larger; both stay free."""

    smaller: str
    larger: str

    def __str__(self) -> str:
        return f"{self.smaller} ≤ {self.larger}"


#: Whatever `SphericalMeanModel` takes as a link.
AnyLink = Link | Fixed | Ordered


def fixed(name: str, value: Any) -> Fixed:
    """Hold a parameter at a number, or in each voxel at the value of a map.

    Args:
        name: of the parameter, or of a volume fraction.
        value: a number, or a map (...) of the spatial shape of the data, in the parameter's unit.

    Returns:
        The link.

    Example:
        >>> import jaxsmt as js
        >>> js.SphericalMeanModel(js.zeppelin(), [js.fixed("lambda_par", 1.7)]).parameter_names
        ['lambda_perp']
    """
    return Fixed(name, value)


def equal(target: str, source: str) -> Link:
    """Make two quantities equal: target = source.

    Args:
        target: the parameter that is not fitted any more; or a new name, which is then another name of the source.
        source: name of a parameter, of a volume fraction, or of the target of another link.

    Returns:
        The link.

    Example:
        >>> import jaxsmt as js
        >>> print(js.equal("ball.diffusivity", "stick.lambda_par"))
        ball.diffusivity = stick.lambda_par
    """
    return Link(target, (source,), same, text="{0}")


def fraction(target: str, of: str, name: str | None = None) -> Link:
    """Make a parameter a fraction of another: target = f · of, with a new parameter f in [0, 1].

    Args:
        target: the parameter that is not fitted any more.
        of: name of the larger parameter.
        name: of f, which is fitted instead and has no unit; None: `<target>_fraction`.

    Returns:
        The link.

    Example:
        >>> import jaxsmt as js
        >>> link = js.fraction("lambda_perp", of="lambda_par", name="f")
        >>> print(link)
        lambda_perp = f · lambda_par
        >>> js.SphericalMeanModel(js.zeppelin(), [link]).parameter_names
        ['lambda_par', 'f']
    """
    name = name or f"{target}_fraction"
    new = Parameter(name, starts=_FRACTION_STARTS, typical=0.3, largest=1.0)
    return Link(target, (name, of), _product, (new,), "{0} · {1}")


def tortuosity(target: str, parallel: str, intra: str, extra: str) -> Link:
    """Link the diffusivity across packed fibres to that along them: target = parallel · extra/(intra + extra).

    Args:
        target: the diffusivity across the fibres, outside of them, which is not fitted any more, µm²/ms.
        parallel: name of the diffusivity along the fibres, µm²/ms.
        intra: name of the volume fraction inside the fibres, no unit.
        extra: name of the volume fraction between the fibres, no unit.

    Returns:
        The link.

    Example:
        >>> import jaxsmt as js
        >>> print(js.tortuosity("z.lambda_perp", "z.lambda_par", intra="weight.s", extra="weight.z"))
        z.lambda_perp = z.lambda_par · weight.z/(weight.s + weight.z)

    Source: Szafer et al. 1995, Magn Reson Med 33:697, doi:10.1002/mrm.1910330516.
    """
    return Link(target, (parallel, intra, extra), _tortuous, text="{0} · {2}/({1} + {2})")


def ordering(smaller: str, larger: str) -> Ordered:
    """Keep smaller ≤ larger, as for two compartments of one kind, whose values could be exchanged without it.

    Args:
        smaller: name of a parameter.
        larger: name of a parameter of the same unit, which may be fixed.

    Returns:
        The link. Both parameters stay free.

    Example:
        >>> import jaxsmt as js
        >>> balls = {"slow": js.ball(), "fast": js.ball()}
        >>> model = js.SphericalMeanModel(balls, [js.ordering("slow.diffusivity", "fast.diffusivity")])
        >>> model.parameter_names
        ['slow.diffusivity', 'fast.diffusivity', 'weight.slow']
    """
    return Ordered(smaller, larger)


# Never near 1: with the mean diffusivity held, the signal of a zeppelin depends on (1 - f)², so f = 1 is a
# ridge on which a search would rest, and from the anisotropic side it converges monotonically.
_FRACTION_STARTS = tuple(0.8 * (i + 0.5) / 6 for i in range(6))


def same(value: Array) -> Array:
    """The function of `equal`."""
    return value


def _product(factor: Array, value: Array) -> Array:
    """The function of `fraction`."""
    return factor * value


def _tortuous(parallel: Array, intra: Array, extra: Array) -> Array:
    """The function of `tortuosity`; without fibres and without water between them nothing hinders diffusion."""
    total = intra + extra
    empty = total <= 0
    return parallel * jnp.where(empty, 1, extra) / jnp.where(empty, 1, total)
