"""Does this machine compute what it should? Versions, devices, and a numeric self-test."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..batch import cache
from ..batch.runner import find_device
from ..batch.selftest import Finding, findings
from ..fitting.fit import fit
from ..geometry.quadrature import gradient_directions
from ..models import presets
from ..physics.signal import zeppelin_mean
from ..version import __version__


def examine(device: jax.Device) -> Iterator[Finding]:
    """Findings about this installation, one after another as they are made."""
    yield Finding(
        "versions",
        f"jaxsmt {__version__}, jax {jax.__version__}, jaxlib {jaxlib.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}",
    )
    yield Finding("devices", ", ".join(f"{d.platform} ({d.device_kind})" for d in jax.devices()))
    yield from findings(device)
    yield from _signal(device)
    yield from _recovery(device)
    yield _start_up(device)


def _signal(device: jax.Device) -> Iterator[Finding]:
    """The zeppelin's spherical mean compared with quadrature: prolate, spherical and oblate."""
    x, w = np.polynomial.legendre.leggauss(200)
    b, par, perp = np.meshgrid([0.0, 0.005, 1, 3, 10], [0.1, 1.0, 1.7, 3.0], [0.0, 0.1, 1.0, 3.0], indexing="ij")
    x, w = (x + 1) / 2, w / 2
    oracle = np.exp(-(b * perp)[..., None] - (b * (par - perp))[..., None] * x**2) @ w
    for dtype, limit in (("float32", 3e-6), ("float64", 1e-12)):
        with jax.enable_x64(dtype == "float64"), jax.default_device(device):
            value = jax.jit(zeppelin_mean)(*(jnp.asarray(a, dtype) for a in (b, par, perp)))
            error = float(np.max(np.abs(np.asarray(value, np.float64) / oracle - 1)))
        yield Finding(f"signal equation, {dtype}", f"largest relative error {error:.1e}", error < limit)


def _recovery(device: jax.Device) -> Iterator[Finding]:
    """Noise-free signals of known parameters, the same in all directions of a shell, fitted."""
    for dtype, limit in (("float32", 1e-3), ("float64", 1e-6)):
        error = _error_of_fit(dtype, device)
        yield Finding(f"fit of known parameters, {dtype}", f"99 % within {error:.1e} µm²/ms", error < limit)


def _error_of_fit(dtype: str, device: jax.Device) -> float:
    """Error of λ∥ that 99 % of 2,000 voxels do not exceed, µm²/ms."""
    directions = gradient_directions(30)
    acquisition = Acquisition(np.repeat([0.0, 1000, 2000, 3000], 30), np.tile(directions, (4, 1)))
    rng = np.random.default_rng(0)
    par, fraction = rng.uniform(0.5, 2.9, 2000), rng.uniform(0.02, 0.8, 2000)
    x, w = np.polynomial.legendre.leggauss(64)
    x, w = (x + 1) / 2, w / 2
    perp = par * fraction
    means = [np.exp(-b * perp[:, None] - b * (par - perp)[:, None] * x**2) @ w for b in acquisition.b]
    data = np.repeat(np.stack(means, axis=1), 30, axis=1)
    result = fit(presets.find("smt")(), acquisition, data, dtype=dtype, device=device)
    return float(np.percentile(np.abs(result.parameters["lambda_par"] - par), 99))


def _start_up(device: jax.Device) -> Finding:
    """Where the start-up cache is, and whether another process that fits the same hits it."""
    kept = cache.find()
    if kept is None:
        return Finding("start-up cache", f"none; {cache.VARIABLE} is {os.environ.get(cache.VARIABLE, 'not set')}")
    where = f"{kept.folder}, {kept.size() / 1e6:.1f} MB"
    script = f"from {__name__} import fit_again; fit_again({device.platform!r})"
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    said = run.stdout.strip() if run.returncode == 0 else "another process fails"
    return Finding("start-up cache", f"{where}; {said}")


def fit_again(platform: str) -> None:
    """Fit what the doctor fits, and say whether the start-up cache had its program."""
    start = time.perf_counter()
    _error_of_fit("float32", find_device(platform))
    how = "starts from it" if cache.hits() else "does not start from it"
    print(f"another process {how} ({time.perf_counter() - start:.1f} s for a fit)")
