"""Does this machine's compiler compute what it should? A few small programs whose results are known, run before a fit.

They look for mistakes that have been met: wrong numbers of a jitted `vmap` over more than 32,768 rows, as of jax
0.10.2; matrix products in less precision than was asked for; error functions and exponentials of few digits; a search
that ends elsewhere. They run once for each machine and version, as the start-up cache remembers that they have passed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache as once
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import Array

from ..errors import ResourceError
from ..physics.signal import zeppelin_mean
from . import cache
from .fingerprint import fingerprint, of_package
from .runner import Devices, devices_of, find_devices

# Beyond 32,768 rows some versions of jaxlib fail.
_ROWS = 40_000
_PRECISION = "highest"
# b of the stored fit, ms/µm²; the start of its search; and how many steps it takes: three more than it needs.
_B, _START, _STEPS = (0.7, 1.0, 2.0, 3.0), (1.7, 0.5), 9
# Spherical means of four voxels, which no zeppelin fits exactly, and the λ∥ and λ⊥ that fit best, in µm²/ms, as
# SciPy's `least_squares` finds them in double precision.
_MEANS = (
    (0.594, 0.485, 0.296, 0.197),
    (0.573, 0.458, 0.226, 0.122),
    (0.510, 0.397, 0.168, 0.076),
    (0.586, 0.493, 0.322, 0.239),
)
_FITTED = ((2.1816, 0.2043), (1.5800, 0.4599), (1.7635, 0.6039), (2.6036, 0.1017))


@dataclass(frozen=True)
class Finding:
    """What a test has found.

    Attributes:
        what: was tested. fact: the figure. good: whether it is as it should be. fix: what to do if it is not.
    """

    what: str
    fact: str
    good: bool = True
    fix: str = ""


def findings(device: jax.Device) -> Iterator[Finding]:
    """What the tests find on a device, one after another."""
    with jax.default_device(device):
        yield _large_batch(device)
        yield _products(device)
        yield from _functions(device)
        yield _stored_fit(device)


def require_sound(device: Devices = None) -> None:
    """Refuse devices that compute wrong numbers. Where the start-up cache remembers that they do not, nothing is run.

    Args:
        device: as of `Runner`: of several, which are of one kind, the first is tested.
    Raises:
        ResourceError: a test fails, with what it found and a way around it.
    """
    first, *_ = find_devices() if device is None else devices_of(device)
    _require_sound(first)


@once
def _require_sound(device: jax.Device) -> None:
    kept = cache.find()
    stamp = f"selftest_{fingerprint(_what_decides(device))[:32]}"
    if kept is not None and kept.load(stamp) is not None:
        return
    bad = [finding for finding in findings(device) if not finding.good]
    if bad:
        raise ResourceError(
            f"this machine computes wrong numbers: {'; '.join(f'{f.what}: {f.fact}' for f in bad)} "
            f"(jax {jax.__version__}, {device.platform})",
            fix=bad[0].fix,
        )
    if kept is not None:
        kept.store(stamp, b"sound")


def _what_decides(device: jax.Device) -> tuple[Any, ...]:
    """What the numbers of the tests depend on, beside the processor, whose folder the cache is."""
    versions = (of_package(), jax.__version__, jaxlib.__version__, np.__version__)
    switches = [os.environ.get(name, "") for name in ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE")]
    return (*versions, device.platform, device.device_kind, *switches)


def _run(function: Any, device: jax.Device, *arguments: np.ndarray) -> Any:
    """What a function computes as programs of fits do: compiled for a device, with the options that they have."""
    compiled = jax.jit(function).lower(*arguments).compile(cache.compiler_options(device))
    return jax.tree.map(np.asarray, compiled(*arguments))


_ANOTHER_JAX = "install another version: pip install 'jax>=0.10,!=0.10.2,!=0.11.0' 'jaxlib>=0.10,!=0.10.2,!=0.11.0'"


def _large_batch(device: jax.Device) -> Finding:
    """A `vmap` over many rows, of a product that is squared and summed, compared with NumPy."""
    matrix = np.array([[2, 1, 0], [0, 1, 1], [1, 0, 2]], np.float32)
    rows = np.random.default_rng(0).uniform(1, 2, (_ROWS, 3)).astype(np.float32)

    def one(row: Array) -> Array:
        return jnp.sum(jnp.matmul(matrix, row, precision=_PRECISION) ** 2)

    expected = np.sum((rows.astype(float) @ matrix.T) ** 2, axis=1)
    return _compared(f"batch of {_ROWS:,} rows", _run(jax.vmap(one), device, rows), expected, 1e-5, _ANOTHER_JAX)


def _products(device: jax.Device) -> Finding:
    """A product of matrices in the precision that fits ask for: less has three digits on a GPU."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, (2, 48, 48)).astype(np.float32)
    product = _run(lambda a, b: jnp.matmul(a, b, precision=_PRECISION), device, a, b)
    fix = "unset NVIDIA_TF32_OVERRIDE and XLA_FLAGS, or compute with device='cpu'"
    return _compared("matrix products", product, a.astype(float) @ b.astype(float), 2e-6, fix)


def _functions(device: jax.Device) -> Iterator[Finding]:
    """Exponential and error function in both precisions, compared with those of the C library."""
    x = np.linspace(-8, 8, 161)
    fix = "unset XLA_FLAGS, or compute with device='cpu'"
    for dtype, limit in (("float32", 2e-6), ("float64", 1e-13)):
        with jax.enable_x64(dtype == "float64"):
            exact = x.astype(dtype).astype(float)
            values = _run(lambda x: (jnp.exp(x), jax.lax.erf(x)), device, x.astype(dtype))
        expected = np.array([np.exp(exact), [math.erf(value) for value in exact]])
        keep = exact != 0  # erf is 0 there
        yield _compared(f"exp and erf, {dtype}", np.stack(values)[:, keep], expected[:, keep], limit, fix)


def _stored_fit(device: jax.Device) -> Finding:
    """λ∥ and λ⊥ of four voxels by Gauss and Newton, compared with those that are stored."""
    b = np.asarray(_B, np.float32)

    def residual(x: Array, y: Array) -> Array:
        return zeppelin_mean(b, x[0], x[1]) - y

    def one(y: Array) -> Array:
        def step(_: Any, x: Array) -> Array:
            r, j = residual(x, y), jax.jacfwd(residual)(x, y)
            g, h = j.T @ r, jnp.matmul(j.T, j, precision=_PRECISION)
            det = h[0, 0] * h[1, 1] - h[0, 1] * h[1, 0]
            solved = jnp.stack([h[1, 1] * g[0] - h[0, 1] * g[1], h[0, 0] * g[1] - h[1, 0] * g[0]]) / det
            return jnp.clip(x - solved, 0.01, 3.5)

        return jax.lax.fori_loop(0, _STEPS, step, jnp.asarray(_START, jnp.float32))

    found = _run(jax.vmap(one), device, np.asarray(_MEANS, np.float32))
    return _compared("stored fit", found, np.asarray(_FITTED), 1e-3, _ANOTHER_JAX)


def _compared(what: str, values: np.ndarray, expected: np.ndarray, limit: float, fix: str) -> Finding:
    """A finding on the largest relative error; NaN is none of the numbers that are expected."""
    error = float(np.max(np.abs(values.astype(float) / expected - 1)))
    return Finding(what, f"largest relative error {error:.1e}", error < limit, fix)
