"""Cylinders: water that is restricted across them and free along."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
from jax import Array

from ..acquisition.shells import Pulse
from .compartments import FREE, Compartment, Parameter, stick
from .signal import cylinder_exponent, zeppelin_legendre, zeppelin_mean


def cylinder() -> Compartment:
    """Diffusion restricted across an impermeable cylinder, see `signal.cylinder_exponent`. It needs δ and Δ.

    Returns:
        a `Compartment` with `lambda_par` along the axis and `diffusivity` across, µm²/ms, and `radius`, µm.

    Example:
        >>> import jaxsmt as js
        >>> [p.name for p in js.cylinder().parameters]
        ['lambda_par', 'radius', 'diffusivity']

    Source: van Gelderen et al. 1994, J Magn Reson B 103:255, doi:10.1006/jmrb.1994.1038.
    """
    along = stick().parameters[0]
    radius = Parameter("radius", 0.5, 10.0, 3.0, "um", smallest=0.1, largest=25.0)
    across = replace(along, name="diffusivity", lower=0.1, upper=FREE, typical=1.7, smallest=0.01)
    return Compartment("cylinder", (along, radius, across), _signal, _mean, _legendre, timed=True)


def _exponents(pulse: Pulse, lambda_par: Array, radius: Array, diffusivity: Array) -> tuple[Array, Array]:
    """bλ∥ and q: the diffusivities of a zeppelin with the same signal at b = 1."""
    q = cylinder_exponent(pulse.b, pulse.delta, pulse.Delta, radius, diffusivity)
    return pulse.b * lambda_par, q


def _signal(pulse: Pulse, x: Array, lambda_par: Array, radius: Array, diffusivity: Array) -> Array:
    along, across = _exponents(pulse, lambda_par, radius, diffusivity)
    return jnp.exp(-across - (along - across) * x * x)


def _mean(pulse: Pulse, lambda_par: Array, radius: Array, diffusivity: Array) -> Array:
    return zeppelin_mean(1.0, *_exponents(pulse, lambda_par, radius, diffusivity))


def _legendre(pulse: Pulse, lmax: int, lambda_par: Array, radius: Array, diffusivity: Array) -> Array:
    return zeppelin_legendre(1.0, *_exponents(pulse, lambda_par, radius, diffusivity), lmax)
