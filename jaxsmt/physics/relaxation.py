"""Compartments whose signal decays with the echo time, each at its own T2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax.numpy as jnp
from jax import Array

from ..acquisition.shells import Pulse
from ..errors import InputError
from .compartments import Compartment, Parameter

# Of the interval of T2, denser where it is short.
_STARTS = 0.015, 0.04, 0.1, 0.3


@dataclass(frozen=True)
class _Decaying:
    """A function of (pulse, …, T2): another function of (pulse, …) times exp(-TE/T2).

    A record, and no closure, so that compartments made twice are equal and share compiled programs.

    Attributes:
        function: the other function. moments: whether its results have one axis more than T2.
    """

    function: Callable[..., Array]
    moments: bool = False

    def __call__(self, pulse: Pulse, *arguments: Array) -> Array:
        *others, t2 = arguments
        decay = jnp.exp(-pulse.te / t2)
        return self.function(pulse, *others) * (decay[..., None] if self.moments else decay)


def relaxing(compartment: Compartment) -> Compartment:
    """A compartment whose signal decays with the echo time too: its attenuation times exp(-TE/T2).

    S0 is then that of the echo time 0, one for all echo times, and volume fractions are those of S0. Every compartment
    of a model needs a T2 if one has it; `equal` makes them one. The scheme needs several echo times: with one alone T2
    cannot be told from S0.

    Args:
        compartment: any that does not decay with the echo time yet.

    Returns:
        a `Compartment` with the parameter `t2`, ms, after those it had.

    Raises:
        InputError: the compartment has a T2 already.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxsmt as js
        >>> stick = js.relaxing(js.stick())
        >>> [p.name for p in stick.parameters]
        ['lambda_par', 't2']
        >>> at_zero = stick.spherical_mean(js.Pulse(0.0, te=70.0), jnp.asarray(2.0), jnp.asarray(70.0))
        >>> print(f"{at_zero:.3f}")  # 1/e
        0.368

    Source: Veraart et al. 2018, NeuroImage 182:360, doi:10.1016/j.neuroimage.2017.09.030.
    """
    if compartment.relaxing:
        raise InputError(f"the {compartment.kind} has a T2 already", fix="give it as it is")
    t2 = Parameter("t2", 10.0, 2000.0, 80.0, "ms", _STARTS, smallest=1.0, largest=1e4)
    mean, legendre = compartment.mean, compartment.legendre
    return replace(
        compartment,
        kind=f"relaxing {compartment.kind}",
        parameters=(*compartment.parameters, t2),
        attenuation=_Decaying(compartment.attenuation),
        mean=None if mean is None else _Decaying(mean),
        legendre=None if legendre is None else _Decaying(legendre, moments=True),
        relaxing=True,
    )
