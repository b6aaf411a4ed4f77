"""Whether a device runs the kernels that are written for it, before a fit relies on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..errors import JaxsmtWarning
from ..geometry.harmonics import even_harmonics
from ..geometry.quadrature import fibonacci_sphere
from ..physics.noises import find as find_noise
from ..physics.noises.base import Noise
from ..physics.signal import zeppelin_legendre
from ..problems.corrections import LMAX, STEPS, FodSearch, L, free_fod, shell_design
from ..problems.lobe_starts import harmonic_fits_of
from ..problems.lobes import Data, Lobes
from ..solvers import Normal, levenberg_marquardt
from .fused_lobes import FusedNormal
from .fused_volumes import FusedSums

_LANES, _VOLUMES = 128, 20
# Of normal equations, and of a solver's step, which solves them.
_TOLERANCE, _TOLERANCE_OF_STEP = 1e-4, 1e-2


def works(fused: FusedNormal, lobes: Lobes, device: jax.Device) -> bool:
    """Whether kernels give for these lobes on this device what arrays give; a warning says if not.

    Args:
        fused: the kernels. lobes: of what density, how many, of what orders. device: computes both, once in a process.
    """
    reason = _reason(_errors, device, fused, replace(lobes, noise=find_noise("gaussian"), fused=None))
    return _accepted("FODs", reason, device)


def adds_up(fused: FusedSums, noise: Noise, device: jax.Device) -> bool:
    """Whether the kernel gives for volumes of this noise on this device what arrays give; a warning says if not.

    Args:
        fused: the kernel. noise: of the volumes. device: computes both, once in a process.
    """
    return _accepted("corrections", _reason(_errors_of_volumes, device, fused, noise), device)


def _accepted(what: str, reason: str, device: jax.Device) -> bool:
    """Whether there is no reason why the kernel for this cannot be used."""
    if reason:
        message = f"the kernel for {what} does not work on {device.device_kind} ({reason}): they take longer"
        warnings.warn(message, JaxsmtWarning, stacklevel=3)
    return not reason


@cache
def _reason(errors: Callable[..., tuple[float, float]], device: jax.Device, *arguments: Any) -> str:
    """Why a kernel cannot be used; empty if it can."""
    try:
        with jax.enable_x64(False), jax.default_device(device):
            error, of_step = errors(*arguments)
    except Exception as problem:  # of any of the compilers below JAX
        return f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
    if not error < _TOLERANCE:
        return f"it is {error:.0e} off"
    return "" if of_step < _TOLERANCE_OF_STEP else f"a step is {of_step:.0e} off"


def _errors_of_volumes(fused: FusedSums, noise: Noise) -> tuple[float, float]:
    """The largest relative differences of sums over volumes made up, and of the FODs that they lead to.

    NaN if one of their numbers is.
    """
    rng, kind = np.random.default_rng(0), np.float32
    directions = fibonacci_sphere(2 * _VOLUMES)[:_VOLUMES]
    harmonics = (jnp.asarray(even_harmonics(directions, LMAX)[:, 1:], kind),)
    parallel, amplitude = (jnp.asarray(rng.uniform(*of, _LANES), kind) for of in ((1, 3), (5, 30)))
    m = jnp.asarray(rng.uniform(0, 20, (_LANES, _VOLUMES + 1)), kind)
    start = jnp.asarray(rng.uniform(-0.1, 0.1, (_LANES, len(L))), kind)

    def computed(fused: FusedSums | None) -> tuple[Any, Array]:
        def one(parallel: Array, amplitude: Array, m: Array, start: Array) -> tuple[Any, Array]:
            moments = zeppelin_legendre(kind(2), parallel, kind(0.3), LMAX)
            design = shell_design(harmonics, (moments,), fused)
            sums = design.sums(lambda s0, e, m: (noise.expected_real(m, s0 * e), e * e), start, amplitude, m)
            search = FodSearch(start, jnp.int32(STEPS), jnp.int32(0))
            return (sums, design.squares(start)[0]), free_fod(design, design, m, amplitude, noise, search)

        found: tuple[Any, Array] = jax.jit(jax.vmap(one))(parallel, amplitude, m, start)
        return found

    sums, fods = map(_largest, computed(None), computed(fused))
    return sums, fods


def _largest(expected: Any, found: Any) -> float:
    """The largest difference, over the largest number of each array."""
    pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True)
    return float(np.max([jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(a)) for a, b in pairs]))


def _errors(fused: FusedNormal, lobes: Lobes) -> tuple[float, float]:
    """The largest relative differences of normal equations, and of steps by the same ones, of voxels made up.

    NaN if one of their numbers is.
    """
    solver = levenberg_marquardt()
    rng, kind = np.random.default_rng(0), np.float32
    directions = (fibonacci_sphere(2 * _VOLUMES)[:_VOLUMES],) * len(lobes.orders)
    moments = [
        zeppelin_legendre(kind(1 + i), rng.uniform(1, 3, _LANES).astype(kind), kind(0.3), order)
        for i, order in enumerate(lobes.orders)
    ]
    y = rng.uniform(0, 1, (_LANES, _VOLUMES * len(lobes.orders)))
    harmonics = jax.tree.map(lambda a: jnp.asarray(a, kind), harmonic_fits_of(directions))
    data = Data(tuple(jnp.asarray(g, kind) for g in directions), harmonics, tuple(moments), jnp.asarray(y, kind))
    step = tuple(jnp.asarray(v, kind) for v in rng.uniform(-0.1, 0.1, (lobes.size, _LANES)))

    def computed(of: Lobes) -> tuple[Normal, Any]:
        def one(moments: tuple[jax.Array, ...], y: jax.Array, step: tuple[jax.Array, ...]) -> tuple[Normal, Any]:
            voxel = data._replace(moments=moments, y=y)
            x = lobes.move(tuple(values[0] for values in lobes.starts(voxel)), step)
            problem = of.problem_of(voxel)
            of_arrays = problem._replace(normal=lobes.problem_of(voxel).normal)
            state = solver.step(of_arrays, solver.init(x, lobes.size))
            return problem.normal(x), (state.trial, state.promise)

        found: tuple[Normal, Any] = jax.jit(jax.vmap(one))(data.moments, data.y, step)
        return found

    normal, of_step = map(_largest, computed(lobes), computed(replace(lobes, fused=fused)))
    return normal, of_step
