"""Many voxels: chunks of one fixed shape, spread over a CPU's cores or run on a GPU."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.shells import Pulse
from ..errors import InputError, ResourceError
from ..models.information import require_determined
from ..models.model import SphericalMeanModel
from ..models.priors import NormalPrior
from ..physics.compartments import Kernel
from ..physics.orientation import frame_harmonics
from ..problems import lobe_starts
from ..problems.expectation import LMAX
from ..problems.lobes import Lobes
from ..problems.shell_means import Prior, ShellMeans, are_weights
from ..solvers import Solver, levenberg_marquardt
from ..sphere.harmonics import even_harmonics, n_coefficients
from .expectations import IdealVolumes, fod_signals, ideal_volumes, kernel_means, sigmas
from .fits import LobeFits, VoxelFits, fit_lobes, fit_means
from .lanes import LANES


class Shape(NamedTuple):
    """Voxels that one compiled call holds, and how many of them advance side by side."""

    chunk: int
    lanes: int


_MEANS = {"cpu": Shape(131_072, LANES["cpu"][0]), "gpu": Shape(1_048_576, LANES["gpu"][0])}
_IDEAL = {"cpu": Shape(1_024, 64), "gpu": Shape(65_536, 65_536)}
_LOBES = {"cpu": Shape(4_096, LANES["cpu"][1]), "gpu": Shape(65_536, LANES["gpu"][1])}


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


class _Runner:
    """Runs a program on a device, chunk by chunk."""

    def __init__(self, shapes: dict[str, Shape], dtype: str, device: jax.Device | None):
        if dtype not in ("float32", "float64"):
            raise InputError(f"unknown dtype {dtype!r}", fix="'float32' or 'float64'")
        self.dtype = np.dtype(dtype)
        self.device = device if device is not None else find_device()
        self.shape = shapes["cpu" if self.device.platform == "cpu" else "gpu"]

    def _map(self, run: Callable[[slice], Any], voxels: int, progress: Callable[[int], None]) -> Any:
        """Results of `run` on parts of at most a chunk, put together.

        The parts are equal, and as many for each of a CPU's cores; small work is not divided.
        """
        workers = _cores() if self.device.platform == "cpu" else 1
        parts = max(1, -(-voxels // self.shape.chunk))
        parts = max(parts, min(-(-parts // workers) * workers, voxels // self.shape.lanes))
        edges = np.linspace(0, voxels, parts + 1).astype(int)
        slices = [slice(i, j) for i, j in itertools.pairwise(edges)]
        results = []
        with ThreadPoolExecutor(workers) as pool:
            for part, result in zip(slices, pool.map(run, slices), strict=True):
                results.append(result)
                progress(part.stop - part.start)
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """(voxels, …) values as a whole chunk of the fit's type."""
        padded = np.zeros((self.shape.chunk, *values.shape[1:]), self.dtype)
        with np.errstate(over="ignore"):  # beyond single precision: infinite, and reported as such
            padded[: len(values)] = values
        return padded

    def _call(self, program: Callable[..., Any], *arrays, count: int) -> Any:
        """Results of a compiled program for the first `count` voxels, as NumPy arrays."""
        try:
            # The setting is each thread's own.
            with jax.enable_x64(self.dtype == np.float64), jax.default_device(self.device):
                arrays = jax.tree.map(jnp.asarray, arrays)
                out = jax.block_until_ready(program(*arrays, jnp.int32(count)))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise ResourceError(
                f"the device is out of memory: {str(error).splitlines()[0]}", fix="free it, or use --device cpu"
            ) from None
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], out)


class MeansFitter(_Runner):
    """Fits one model to the spherical means of any number of voxels; compiles once.

    Args:
        fit_s0: fit S0 with the model, else fix it to the mean of the b = 0 volumes.
        weights: (shells,) weights of the squared residuals; None: inverse variances of the means.
        prior: of some of the model's parameters.
        dtype: float32 or float64. device: as `find_device` returns.
    """

    def __init__(
        self,
        model: SphericalMeanModel,
        acquisition: Acquisition,
        *,
        fit_s0: bool = True,
        weights: np.ndarray | None = None,
        prior: NormalPrior | None = None,
        solver: Solver | None = None,
        dtype: str = "float32",
        device: jax.Device | None = None,
    ):
        super().__init__(_MEANS, dtype, device)
        require_determined(model, acquisition, "fit" if fit_s0 else "mean")
        if prior is not None:
            held = dict(model.held)
            prior.require([name for name in model.names if name not in held])
            if weights is not None:
                raise InputError("a prior and weights", fix="a prior is weighed against inverse variances: give one")
        self.model, self.acquisition, self.fit_s0 = model, acquisition, fit_s0
        self.shells = len(acquisition.shells)
        static, self._numbers, self.maps = model.without_values()
        weights = 1 / acquisition.variances if weights is None else np.asarray(weights, float)
        if weights.shape != (self.shells,) or not are_weights(weights):
            raise InputError(f"weights {weights} for {self.shells} shells", fix="one each, 0 or more, b = 0 first")
        first, *others = acquisition.pulses
        pulses = (first if fit_s0 else first._replace(b=0.0), *others)  # the b = 0 mean is S0 itself
        roots = np.sqrt(weights / weights.max()).tolist()
        self.prior = prior
        self._prior = None if prior is None else Prior(*prior.rooted(self.dtype))
        names, unit = () if prior is None else prior.names, float(weights.max() ** -0.5)
        self._program = partial(
            fit_means,
            problem=ShellMeans(static, pulses, tuple(roots), fit_s0, names, unit),
            solver=solver if solver is not None else levenberg_marquardt(),
            lanes=self.shape.lanes,
        )

    def compile(self, uncertainty: bool = False, sigma: bool = False) -> None:
        """Compile now, so that the first call does not wait for it; for calls with or without these."""
        one = np.ones((self.shells, 1))
        noise = one[0] if sigma or uncertainty or self.prior is not None else None
        self(one, given=[one[0]] * len(self.maps), sigma=noise, factors=one if uncertainty else None)

    def __call__(
        self,
        means: np.ndarray,
        progress: Callable[[int], None] = lambda voxels: None,
        given: Sequence[np.ndarray] = (),
        sigma: np.ndarray | None = None,
        factors: np.ndarray | None = None,
    ) -> VoxelFits:
        """Fit (shells, voxels) spherical means; leaves of the result are NumPy arrays (voxels,).

        `progress` is told the number of voxels done, chunk by chunk. given: the model's `maps` there. sigma: (voxels,)
        of one volume's noise, which a prior needs. factors: (shells, voxels), variances of the means over σ²; with
        them the fits have uncertainties.
        """

        def run(part: slice) -> VoxelFits:
            rows = tuple(self._padded(row) for row in means[:, part])
            maps = tuple(self._padded(values[part]) for values in given)
            numbers = tuple(np.asarray(value, self.dtype) for value in self._numbers)
            noise = None if sigma is None else self._padded(sigma[part])
            spread = None if factors is None else tuple(self._padded(row) for row in factors[:, part])
            return self._call(
                self._program, rows, numbers, maps, noise, spread, self._prior, count=part.stop - part.start
            )

        return self._map(run, means.shape[1], progress)


class IdealMeans(_Runner):
    """Volumes without noise floor and gradient deviation, as a kernel fit and free harmonics expect them.

    Args:
        kernel: of the model. rician: whether the noise is; else Gaussian. dtype, device: as for `MeansFitter`.
    """

    def __init__(
        self,
        kernel: Kernel,
        acquisition: Acquisition,
        *,
        rician: bool,
        dtype: str = "float32",
        device: jax.Device | None = None,
    ):
        super().__init__(_IDEAL, dtype, device)
        shells = acquisition.shells[1:]
        self._names = kernel.names
        self._volumes = np.concatenate([shell.volumes for shell in acquisition.shells])
        self._smooth, bases = _residual_bases(acquisition)
        self._bases = tuple(b.astype(self.dtype) for b in bases)
        self._weights = acquisition.weights[:, self._volumes].astype(self.dtype)
        self._directions = tuple(acquisition.bvecs[shell.volumes].astype(self.dtype) for shell in shells)
        pulses = tuple(shell.pulse for shell in shells)
        self._how = {"rician": rician, "lanes": self.shape.lanes}
        self._program = partial(ideal_volumes, kernel=kernel, pulses=pulses, **self._how)

    def compile(self, deviation: bool) -> None:
        """Compile now, so that the first call does not wait for it."""
        one, data = np.ones(1), np.ones((1, len(self._volumes)))
        turned = np.zeros((1, 3, 3)) if deviation else None
        self(lambda part: data[part], dict.fromkeys(self._names, one), one, one, turned, 1)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of `sigma`."""
        return sum(n - k for n, k in (basis.shape for basis in self._bases))

    def sigma(self, signal: Callable[[slice], np.ndarray], voxels: int) -> np.ndarray:
        """(voxels,) σ, from what smooth functions of the direction leave of each shell."""

        def run(part: slice) -> np.ndarray:
            data = self._padded(signal(part)[:, self._smooth])
            return self._call(partial(sigmas, **self._how), data, self._bases, count=part.stop - part.start)

        return self._map(run, voxels, lambda voxels: None)

    def __call__(
        self,
        signal: Callable[[slice], np.ndarray],
        kernels: Mapping[str, Any],
        s0: Any,
        sigma: Any,
        deviation: Any,
        voxels: int,
        magnitudes: bool = False,
    ) -> IdealVolumes:
        """What `ideal_volumes` gives, for voxels whose data are `signal(slice) -> (voxels, volumes)`.

        Args:
            kernels: by name, (voxels,) each. s0, sigma: (voxels,). deviation: (voxels, 3, 3) or None.
            magnitudes: return those, in the order of the volumes; else there are none.
        """

        def run(part: slice) -> IdealVolumes:
            count = part.stop - part.start
            values = {name: self._padded(kernels[name][part]) for name in self._names}
            own = None if deviation is None else self._padded(deviation[part])
            scale = [self._padded(v[part]) for v in (sigma, s0)]
            data = self._padded(signal(part)[:, self._volumes])
            found = self._call(self._program, data, *scale, values, own, self._directions, self._weights, count=count)
            if not magnitudes:
                return found._replace(magnitude=np.zeros(count, self.dtype))
            magnitude = np.empty_like(found.magnitude)
            magnitude[:, self._volumes] = found.magnitude
            return found._replace(magnitude=magnitude)

        return self._map(run, voxels, lambda voxels: None)


def _residual_bases(acquisition: Acquisition) -> tuple[np.ndarray, list[np.ndarray]]:
    """Volumes whose noise shows as what smooth signals leave of them, and each shell's orthonormal basis of those.

    Harmonics, at most half as many as volumes; only shells for which those are enough that no signal is left, and
    b = 0, whose signal is one number.
    """
    volumes, bases = [], []
    for shell in acquisition.shells:
        n, order = len(shell.volumes), 0
        while shell is not acquisition.b0 and order < LMAX and 2 * n_coefficients(order + 2) <= n:
            order += 2
        needed = 0 if shell is acquisition.b0 else _ORDER_NEEDED[shell.b > _HIGH_B]
        if order >= needed:
            g = acquisition.bvecs[shell.volumes] if order else np.tile([0.0, 0.0, 1.0], (n, 1))
            volumes.append(shell.volumes)
            bases.append(np.linalg.qr(even_harmonics(g, order))[0])
    return np.concatenate(volumes), bases


# Orders of harmonics that leave less than a few percent of usual noise of a signal, below and above this b in ms/µm².
_ORDER_NEEDED, _HIGH_B = (4, 6), 1.6
_BLOCK = 32_768  # voxels whose signals are predicted at once


def predicted_means(
    kernel: Kernel, pulses: Sequence[Pulse], values: Mapping[str, np.ndarray], dtype: np.dtype
) -> np.ndarray:
    """Spherical means over S0, (voxels, pulses), of kernels given by name, (voxels,) each."""

    def predict(own: dict[str, jax.Array]) -> jax.Array:
        return kernel_means(own, pulses=tuple(pulses), kernel=kernel)

    return _in_blocks(predict, dict(values), dtype, _BLOCK)


def predicted_signals(
    kernel: Kernel,
    pulses: Sequence[Pulse],
    directions: Sequence[np.ndarray],
    lmax: Sequence[int],
    values: Mapping[str, np.ndarray],
    lobes: Sequence[np.ndarray],
    *,
    axial: bool,
    dtype: np.dtype,
) -> np.ndarray:
    """Signals over S0, (voxels, volumes), of kernels convolved with lobes; volumes shell by shell.

    Args:
        directions, lmax: each pulse's (n, 3), and its truncation order. values: of the kernels.
        lobes: weights (voxels, N), then what `voxelwise.lobe_harmonics` takes, (voxels, N, …).
    """
    shells = tuple(np.asarray(g, dtype) for g in directions)

    def predict(own):
        return fod_signals(*own, shells, pulses=tuple(pulses), lmax=tuple(lmax), kernel=kernel, axial=axial)

    # A direction takes as many numbers on the way as there are monomials.
    monomials = len(frame_harmonics(max(lmax), axial).powers)
    block = min(_BLOCK, max(64, (1 << 25) // (sum(map(len, shells)) * monomials)))
    return _in_blocks(predict, (dict(values), tuple(lobes)), dtype, block)


def _in_blocks(predict: Callable[[Any], jax.Array], inputs: Any, dtype: np.dtype, block: int) -> np.ndarray:
    """A function of many voxels, a block after the other: one shape, one compilation."""
    n = len(jax.tree.leaves(inputs)[0]) if jax.tree.leaves(inputs) else 0
    parts = []
    for i in range(0, max(n, 1), block):
        size = min(block, n - i)
        short = block - size if n > block else 0

        def part(leaf, i=i, size=size, short=short):
            own = np.asarray(leaf[i : i + size], dtype)
            return np.concatenate([own, np.repeat(own[-1:], short, axis=0)])

        with jax.enable_x64(np.dtype(dtype) == np.float64):
            parts.append(np.asarray(predict(jax.tree.map(part, inputs)))[:size])
    return np.concatenate(parts)


class LobesFitter(_Runner):
    """Fits lobes, convolved with each voxel's own kernel; compiles once.

    Args:
        lobes: what to fit. kernel: what they are convolved with. pulses: each shell's.
            directions: each shell's (n, 3). rician: whether the noise is; else least squares.
        dtype, device: as for `MeansFitter`.
    """

    def __init__(
        self,
        lobes: Lobes,
        kernel: Kernel,
        pulses: Sequence[Pulse],
        directions: Sequence[np.ndarray],
        *,
        rician: bool = False,
        solver: Solver | None = None,
        dtype: str = "float32",
        device: jax.Device | None = None,
    ):
        super().__init__(_LOBES, dtype, device)
        self.lobes = lobes
        self._names, self._volumes = kernel.names, sum(map(len, directions))
        constants = tuple(directions), lobe_starts.table(directions)
        self._constants = jax.tree.map(lambda a: a.astype(self.dtype), constants)
        self._program = partial(
            fit_lobes,
            lobes=lobes,
            kernel=kernel,
            pulses=tuple(pulses),
            solver=solver if solver is not None else levenberg_marquardt(),
            lanes=self.shape.lanes,
            rician=rician,
        )
        self._rician = rician

    def compile(self, uncertainty: int = 0) -> None:
        """Compile now, so that the first call does not wait for it. uncertainty: k as of `__call__`, or 0."""
        one = np.ones(1)
        deviations = {name: np.zeros((1, uncertainty)) for name in (*self._names, "s0")} if uncertainty else None
        sigma = one if self._rician or uncertainty else None
        values = dict.fromkeys(self._names, one)
        self(lambda part: np.ones((1, self._volumes)), values, 1, sigma=sigma, deviations=deviations)

    def __call__(
        self,
        signal: Callable[[slice], np.ndarray],
        values: Mapping[str, np.ndarray],
        voxels: int,
        progress: Callable[[int], None] = lambda voxels: None,
        sigma: np.ndarray | None = None,
        deviations: Mapping[str, np.ndarray] | None = None,
    ) -> LobeFits:
        """Fit voxels whose signal over S0 is `signal(slice) -> (voxels, volumes)`, volumes shell by shell.

        values: of the kernels, by name, (voxels,) each. sigma: (voxels,) over S0. deviations: (voxels, k) of each
        kernel parameter and "s0", for uncertainties. Leaves of the result are NumPy arrays.
        """

        def run(part: slice) -> LobeFits:
            kernels = {name: self._padded(values[name][part]) for name in self._names}
            y = self._padded(signal(part))
            noise = None if sigma is None else self._padded(sigma[part])
            own = None if deviations is None else {n: self._padded(d[part]) for n, d in deviations.items()}
            return self._call(self._program, y, kernels, noise, own, *self._constants, count=part.stop - part.start)

        return self._map(run, voxels, progress)
