"""What is expected in a chunk of voxels whose parameters are known: signals, densities, volumes free of noise floor."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.shells import Pulse
from ..physics import noise
from ..physics.compartments import Kernel
from ..physics.orientation import Lobe, watson
from ..physics.signal import convolved
from ..problems.expectation import LMAX, Ideal, ideal, own_design, shared_design
from ..sphere.harmonics import even_harmonics
from .lanes import blocks


class IdealVolumes(NamedTuple):
    """What `ideal_volumes` finds: leaves (voxels, …).

    means: (shells,) of expected real parts. factors: (shells,) variances of the means over σ². sigma: from the misfit.
    magnitude: (volumes,) b = 0 first, then shell by shell.
    """

    means: Array
    factors: Array
    sigma: Array
    magnitude: Array


@partial(jax.jit, static_argnames=("rician", "lanes"))
def sigmas(data: Array, bases: tuple[Array, ...], count: ArrayLike, *, rician: bool, lanes: int) -> Array:
    """`noise.sigma_from_residuals` of (voxels, volumes) data: (voxels,)."""
    return blocks(partial(noise.sigma_from_residuals, bases=bases, rician=rician), data, count, lanes)


@partial(jax.jit, static_argnames=("kernel", "pulses", "rician", "lanes"))
def ideal_volumes(
    data: Array,
    sigma: Array,
    s0: Array,
    values: dict[str, Array],
    deviation: Array | None,
    directions: tuple[Array, ...],
    weights: Array,
    count: ArrayLike,
    *,
    kernel: Kernel,
    pulses: tuple[Pulse, ...],
    rician: bool,
    lanes: int,
) -> IdealVolumes:
    """`expectation.ideal` of a chunk of voxels.

    Args:
        data: (voxels, volumes) b = 0 first, then shell by shell. sigma, s0: (voxels,), above 0. values: of the kernels,
            by name. deviation: (voxels, 3, 3) L of the gradients (I + L)g, or None. directions, pulses: each shell's.
        weights: (shells, volumes) of their means. count: only the first `count` voxels matter.
    """
    nominal = tuple(even_harmonics(g, LMAX)[:, 1:] for g in directions)

    def one(own) -> IdealVolumes:
        data, sigma, s0, values, deviation = own
        usable = (sigma > 0) & (s0 > 0)
        sigma, s0 = jnp.where(usable, sigma, 1), jnp.where(usable, s0, 1)
        found = expect(data, sigma, s0, values, deviation)
        means = jnp.matmul(weights, found.real, precision="highest")
        squares = weights**2
        # Of one σ for all volumes of a shell; the more so, the less they tell of their signals.
        factors = jnp.sum(squares, axis=1) ** 2 / jnp.matmul(squares, found.information, precision="highest")
        zero = jnp.zeros_like(sigma)
        return IdealVolumes(
            jnp.where(usable, means, 0),
            factors,
            jnp.where(usable, found.sigma, zero),
            jnp.where(usable, found.magnitude, 0),
        )

    def expect(data, sigma, s0, values, deviation) -> Ideal:

        def moments(pulse: Pulse) -> Array:
            return kernel.legendre(pulse, LMAX, values)

        meant = shared_design(nominal, tuple(map(moments, pulses)))
        if deviation is None:
            return ideal(data, sigma, s0, meant, None, rician)
        harmonics, each = [], []
        for pulse, g in zip(pulses, directions, strict=True):
            turned = g + jnp.matmul(g, deviation.T, precision="highest")
            square = jnp.sum(turned**2, axis=1)
            harmonics.append(even_harmonics(turned / jnp.sqrt(square)[:, None], LMAX)[:, 1:])
            each.append(jax.vmap(lambda b, pulse=pulse: moments(pulse._replace(b=b)))(pulse.b * square))
        return ideal(data, sigma, s0, own_design(tuple(harmonics), tuple(each)), meant, rician)

    return blocks(one, (data, sigma, s0, values, deviation), count, lanes)


@partial(jax.jit, static_argnames=("pulses", "kernel"))
def kernel_means(values: dict[str, Array], *, pulses: tuple[Pulse, ...], kernel: Kernel) -> Array:
    """Spherical means over S0, (voxels, pulses), from everything by name, (voxels,) each."""
    return jnp.stack([kernel.mean(pulse, values) for pulse in pulses], axis=-1)


@partial(jax.jit, static_argnames=("pulses", "lmax", "kernel", "axial"))
def fod_signals(
    values: dict[str, Array],
    lobes: tuple[Array, ...],
    directions: tuple[Array, ...],
    *,
    pulses: tuple[Pulse, ...],
    lmax: tuple[int, ...],
    kernel: Kernel,
    axial: bool,
) -> Array:
    """Signals over S0 of kernels convolved with mixtures of lobes, (voxels, volumes), shell by shell.

    values: of the kernels, (voxels,). lobes: weights (voxels, N), then as of `lobe_harmonics`, (voxels, N, …).
    """

    def shell(values, parts, g, pulse, order):
        def one(weight, *parts):
            def moments(b, l):
                return jnp.broadcast_to(kernel.legendre(pulse, l, values), (*b.shape, l // 2 + 1))

            zero = jnp.zeros(len(g), g.dtype)
            return weight * convolved(g, zero, moments, _lobe(parts, axial), order)

        return jnp.sum(jax.vmap(one)(*parts), axis=0)

    def voxel(values, parts):
        each = zip(directions, pulses, lmax, strict=True)
        return jnp.concatenate([shell(values, parts, g, pulse, order) for g, pulse, order in each])

    return jax.vmap(voxel)(values, lobes)


@partial(jax.jit, static_argnames=("axial", "lmax"))
def lobe_harmonics(lobes: tuple[Array, ...], *, axial: bool, lmax: int) -> Array:
    """`Lobe.harmonics` of many lobes, (lobes, coefficients).

    lobes: axis (lobes, 3) and κ (lobes,) of Watson's, or axis, μ₂, κ and β of Bingham's.
    """
    return jax.vmap(lambda *parts: _lobe(parts, axial).harmonics(lmax))(*lobes)


@partial(jax.jit, static_argnames=("axial",))
def lobe_densities(lobes: tuple[Array, ...], directions: Array, *, axial: bool) -> Array:
    """`Lobe.density` of many lobes, as of `lobe_harmonics`, at (n, 3) unit vectors: (lobes, n)."""
    return jax.vmap(lambda *parts: _lobe(parts, axial).density(directions))(*lobes)


def _lobe(parts: tuple[Array, ...], axial: bool) -> Lobe:
    if axial:
        return watson(*parts)
    axis, across, kappa, beta = parts
    return Lobe(axis, across, kappa, beta, axial=False)
