"""Many voxels: chunks of one fixed shape, spread over a CPU's cores or run on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .acquisition import Acquisition
from .errors import InputError, ResourceError
from .models import SphericalMeanModel
from .solvers import Solver, levenberg_marquardt
from .voxelwise import VoxelFits, fit_means


class Shape(NamedTuple):
    """Voxels that one compiled call holds, and how many of them advance side by side."""

    chunk: int
    lanes: int


_CPU = Shape(chunk=131_072, lanes=4_096)  # the lanes' state fits one core's cache
_GPU = Shape(chunk=1_048_576, lanes=131_072)


def _cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find_device(name: str = "auto") -> jax.Device:
    """The device that `name` ("auto", "cpu", "gpu") asks for.

    Raises:
        ResourceError: there is none of that kind.
    """
    try:
        return jax.devices()[0] if name == "auto" else jax.devices(name)[0]
    except RuntimeError as error:
        raise ResourceError(
            f"no {name} device: {str(error).splitlines()[0]}",
            fix="install the 'cuda12' or 'cuda13' extra on a machine with an NVIDIA GPU, or use --device cpu",
        ) from None


class MeansFitter:
    """Fits one model to the spherical means of any number of voxels; compiles once.

    Args:
        fit_s0: fit S0 with the model, else fix it to the mean of the b = 0 volumes.
        weights: (shells,) weights of the squared residuals; None: inverse variances of the means.
        dtype: float32 or float64. device: as `find_device` returns.
    """

    def __init__(
        self,
        model: SphericalMeanModel,
        acquisition: Acquisition,
        *,
        fit_s0: bool = True,
        weights: np.ndarray | None = None,
        solver: Solver | None = None,
        dtype: str = "float32",
        device: jax.Device | None = None,
    ):
        if dtype not in ("float32", "float64"):
            raise InputError(f"unknown dtype {dtype!r}", fix="'float32' or 'float64'")
        acquisition.require(shells=len(model.parameters), model=model.name)
        self.model, self.dtype = model, np.dtype(dtype)
        self.device = device if device is not None else find_device()
        self.shape = _CPU if self.device.platform == "cpu" else _GPU
        self.shells = len(acquisition.shells)
        weights = 1 / acquisition.variances if weights is None else np.asarray(weights)
        self._program = partial(
            fit_means,
            b=tuple(acquisition.b.tolist()),
            weights=tuple(weights.tolist()),
            model=model,
            solver=solver if solver is not None else levenberg_marquardt(),
            fit_s0=fit_s0,
            lanes=self.shape.lanes,
        )

    def compile(self) -> None:
        """Compile now, so that the first call does not wait for it."""
        self._run(np.ones((self.shells, 1)))

    def __call__(self, means: np.ndarray, progress: Callable[[int], None] = lambda voxels: None) -> VoxelFits:
        """Fit (shells, voxels) spherical means; leaves of the result are NumPy arrays (voxels,).

        `progress` is told the number of voxels done, chunk by chunk.
        """
        workers = _cores() if self.device.platform == "cpu" else 1
        chunks = self._split(means, workers)
        fits = []
        with ThreadPoolExecutor(workers) as pool:
            for chunk, fit in zip(chunks, pool.map(self._run, chunks), strict=True):
                fits.append(fit)
                progress(chunk.shape[1])
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *fits)

    def _split(self, means: np.ndarray, workers: int) -> list[np.ndarray]:
        """Equal parts of at most a chunk, as many for each worker; small work is not divided."""
        n = means.shape[1]
        parts = max(1, -(-n // self.shape.chunk))
        parts = max(parts, min(-(-parts // workers) * workers, n // self.shape.lanes))
        return np.array_split(means, parts, axis=1)

    def _run(self, means: np.ndarray) -> VoxelFits:
        count = means.shape[1]
        padded = np.zeros((self.shells, self.shape.chunk), self.dtype)
        with np.errstate(over="ignore"):  # beyond single precision: infinite, and reported as such
            padded[:, :count] = means
        try:
            # The setting is each thread's own.
            with jax.enable_x64(self.dtype == np.float64), jax.default_device(self.device):
                fit = jax.block_until_ready(self._program(tuple(jnp.asarray(row) for row in padded), jnp.int32(count)))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise ResourceError(
                f"the device is out of memory: {str(error).splitlines()[0]}", fix="free it, or use --device cpu"
            ) from None
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], fit)
