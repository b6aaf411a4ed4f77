"""Whether a device runs the kernels that are written for it, before a fit relies on them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import JaxsmtWarning
from ..geometry.quadrature import fibonacci_sphere
from ..physics.densities import find as find_density
from ..physics.noises import find as find_noise
from ..physics.signal import zeppelin_legendre
from ..problems.lobe_kernel import FusedNormal
from ..problems.lobe_starts import Table
from ..problems.lobes import Data, Lobes
from ..solvers import Normal

_LANES, _ORDER, _TOLERANCE = 128, 6, 1e-4


@cache
def works(fused: FusedNormal, device: jax.Device) -> bool:
    """Whether a kernel gives on this device what arrays give, of voxels made up; a warning says if not.

    Args:
        fused: the kernel. device: on which both are computed, once in a process.
    """
    try:
        with jax.default_device(device):
            error = _error(fused)
        reason = "" if error < _TOLERANCE else f"it is {error:.0e} off"
    except Exception as problem:  # of any of the compilers below JAX
        reason = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
    if reason:
        message = f"the kernel for FODs does not work on {device.device_kind} ({reason}): they take longer"
        warnings.warn(message, JaxsmtWarning, stacklevel=2)
    return not reason


def _error(fused: FusedNormal) -> float:
    """The largest relative difference of normal equations of two Watson lobes."""
    rng, kind = np.random.default_rng(0), np.float32
    lobes = Lobes(find_density("watson"), 2, (_ORDER,) * 2, find_noise("gaussian"))
    directions = (fibonacci_sphere(24)[:12], fibonacci_sphere(40)[:20])
    data = Data(
        tuple(jnp.asarray(g, kind) for g in directions),
        Table((), ()),
        tuple(jnp.asarray(zeppelin_legendre(b, rng.uniform(1, 3, _LANES), 0.3, _ORDER), kind) for b in (1.0, 2.0)),
        jnp.asarray(rng.uniform(0, 1, (_LANES, 32)), kind),
    )
    axes = rng.standard_normal((2, 3, _LANES))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    x = [*axes[0], rng.uniform(0.05, 0.5, _LANES), *axes[1], rng.uniform(0.05, 0.5, _LANES), rng.uniform(0, 1, _LANES)]
    point = tuple(jnp.asarray(v, kind) for v in x)

    def normal(of: Lobes) -> Normal:
        def one(moments: tuple[jax.Array, ...], y: jax.Array, point: tuple[jax.Array, ...]) -> Normal:
            return of.problem_of(data._replace(moments=moments, y=y)).normal(point)

        found: Normal = jax.jit(jax.vmap(one))(data.moments, data.y, point)
        return found

    pairs = zip(*(jax.tree.leaves(normal(of)) for of in (lobes, replace(lobes, fused=fused))), strict=True)
    return max(float(jnp.max(jnp.abs(a - b)) / jnp.max(jnp.abs(a))) for a, b in pairs)
