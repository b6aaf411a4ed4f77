"""The corrections of many voxels' volumes between two kernel fits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import echoes_of
from ..acquisition.shells import Shell
from ..geometry.harmonics import even_harmonics, n_coefficients
from ..physics.compartments import Kernel
from ..physics.noises.base import Noise
from ..problems.corrections import LMAX, STEPS_OF_SIGMA, L, steps_of
from ..problems.volume_kernel import VolumeKernel
from . import journal
from .fused import adds_up
from .programs import (
    CorrectedVolumes,
    ExpectedVoxel,
    VolumesShared,
    VolumesVoxel,
    correct_volumes,
    expected_means,
    sigmas,
    signals_of_means,
)
from .runner import Compilation, Devices, Program, Runner
from .sizes import size_of

# Orders of harmonics that leave less than a few percent of usual noise of a signal, below and above this b in ms/µm².
_ORDER_NEEDED, _HIGH_B = (4, 6), 1.6

Rows = Callable[[Any], np.ndarray]  #: (slice or numbers) -> (voxels, volumes)


class Corrector(Runner):
    """Volumes without noise floor and gradient deviation, as a kernel fit and free harmonics predict them.

    Args:
        kernel: of the model. noise: its distribution.
    """

    def __init__(
        self,
        kernel: Kernel,
        acquisition: Acquisition,
        noise: Noise,
        *,
        dtype: str = "float32",
        device: Devices = None,
    ):
        super().__init__(dtype, device)
        # All that the kernel predicts: b = 0 of the first echo time has decayed too where compartments relax.
        shells = acquisition.shells if kernel.relaxing else acquisition.shells[1:]
        self._names, self._n = kernel.names, len(acquisition.shells)
        self._volumes = np.concatenate([shell.volumes for shell in acquisition.shells])
        self._echoes = echoes_of(acquisition, kernel.relaxing)
        self._smooth, bases = residual_bases(acquisition)
        #: Degrees of freedom of `sigma`.
        self.freedom = sum(n - k for n, k in (basis.shape for basis in bases))
        #: Whether these are of b = 0 alone.
        self.repeats = all(basis.shape[1] == 1 for basis in bases)
        size = size_of("corrections", self.device, len(self._volumes))
        directions = tuple(_directions(acquisition, shell) for shell in shells)
        weighted = [g for g, shell in zip(directions, shells, strict=True) if not shell.zero]
        weights = acquisition.weights[:, self._volumes]
        pulses, steps = tuple(shell.pulse for shell in shells), steps_of(weighted)
        self._kernel, self._noise, self._size = kernel, noise, size
        self._shells, self._weights, self._steps = (directions, pulses), weights, steps
        self._sigmas = self.program(sigmas, size, tuple(bases), noise=noise)
        self._means = self.program(expected_means, size, acquisition.weights, noise=noise)
        self._signals = self.program(signals_of_means, size, (), noise=noise)

    @cached_property
    def _correct(self) -> dict[tuple[bool, bool, bool], Program]:
        """One program for both: from a uniform FOD or from that of an earlier correction, with σ or without.

        Magnitudes, all volumes of every voxel, are another's. On a GPU with the kernel for it, if it works; that is
        found out when a program is made, as it takes time.
        """
        fused = VolumeKernel()
        suits = self.platform == "gpu" and self.dtype == np.float32
        use = suits and adds_up(fused, self._noise, self.device)
        return {
            (again, with_sigma, magnitudes): self.program(
                correct_volumes,
                self._size,
                VolumesShared(*self._shells, self._weights, self._steps[again], STEPS_OF_SIGMA if with_sigma else 0),
                kernel=self._kernel,
                noise=self._noise,
                magnitudes=magnitudes,
                fused=fused if use else None,
            )
            for again, with_sigma, magnitudes in itertools.product((False, True), repeat=3)
        }

    def programs(
        self, *, sigma: bool, correct: bool, floor: bool, deviation: bool, second: bool, magnitudes: bool = False
    ) -> list[Compilation]:
        """The programs that will be used.

        Args:
            sigma: `sigma`. correct: calls of the object, with a deviation or not. floor: `signals_of_means`, if
                `correct`. second: `means`. magnitudes: calls that return them.
        """
        programs: list[Compilation] = []
        volumes = _zeros(len(self._volumes))
        decay = _zeros(self._n - 1) if self._echoes else None
        voxel = VolumesVoxel(volumes, _zeros(), _zeros(), dict.fromkeys(self._names, _zeros()), _zeros(len(L)))
        if sigma:
            programs.append(partial(self._sigmas.compile, _zeros(len(self._smooth))))
        if correct:
            turned = voxel._replace(deviation=_zeros(3, 3) if deviation else None, decay=decay)
            programs.append(partial(self._compile_correct, turned, False))
        if magnitudes:
            turned = voxel._replace(deviation=_zeros(3, 3), decay=decay)
            programs.append(partial(self._compile_correct, turned, True))
        if correct and floor:
            programs.append(partial(self._signals.compile, (_zeros(self._n), _zeros())))
        if second:
            programs.append(partial(self._means.compile, ExpectedVoxel(volumes, volumes, _zeros())))
        return programs

    def _compile_correct(self, voxel: VolumesVoxel, magnitudes: bool) -> None:
        self._correct[False, False, magnitudes].compile(voxel)

    def sigma(self, signal: Rows, voxels: int) -> np.ndarray:
        """(voxels,) σ, from what smooth functions of the direction leave of each shell."""
        sigma: np.ndarray = self._sigmas(lambda part: signal(part)[:, self._smooth], voxels)
        return sigma

    def signals_of_means(self, means: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        """(shells, voxels) means of magnitudes without their floor, as if all volumes of a shell were equal."""
        signals: np.ndarray = self._signals(lambda part: (means[:, part].T, sigma[part]), means.shape[1])
        return np.ascontiguousarray(signals.T)

    def means(self, data: np.ndarray, predicted: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(shells, voxels) means of expected real parts, and their variances over σ².

        data, predicted: (voxels, volumes) measurements, and the signals that are predicted for them.
        """

        def voxels(part: slice) -> ExpectedVoxel:
            return ExpectedVoxel(data[part], predicted[part], sigma[part])

        means, variances = self._means(voxels, len(sigma))
        return np.ascontiguousarray(means.T), np.ascontiguousarray(variances.T)

    def __call__(
        self,
        signal: Rows,
        kernels: Mapping[str, Any],
        s0: Any,
        sigma: Any,
        deviation: Any,
        voxels: int,
        magnitudes: bool = False,
        fod: np.ndarray | None = None,
        with_sigma: bool = False,
        decay: np.ndarray | None = None,
    ) -> CorrectedVolumes:
        """Corrected volumes, for voxels whose data are `signal(slice) -> (voxels, volumes)`.

        Args:
            kernels: parameters by name, (voxels,) each. s0, sigma: (voxels,). deviation: (voxels, 3, 3) or None.
            magnitudes: return those, in the order of the volumes; only with a deviation. fod: (voxels, 27) of an
                earlier correction; None: there was none. with_sigma: estimate σ from the misfit; without it, noise of
                magnitudes returns the σ given. decay: (voxels, shells) of `decay_of`, where echo times have an
                S0 of their own.
        """

        def of(part: slice) -> VolumesVoxel:
            return VolumesVoxel(
                signal(part)[:, self._volumes],
                sigma[part],
                s0[part],
                {name: kernels[name][part] for name in self._names},
                np.zeros((part.stop - part.start, len(L))) if fod is None else fod[part],
                None if deviation is None else deviation[part],
                decay[part, 1:] if self._echoes and decay is not None else None,
            )

        program = self._correct[fod is not None, with_sigma, magnitudes]
        if not magnitudes:
            of_means: CorrectedVolumes = program(of, voxels)
            return of_means
        with journal.paused():
            corrected: CorrectedVolumes = program(of, voxels)
        in_order = np.empty_like(corrected.magnitude)
        in_order[:, self._volumes] = corrected.magnitude
        return corrected._replace(magnitude=in_order)


def _directions(acquisition: Acquisition, shell: Shell) -> np.ndarray:
    """(n, 3) unit vectors; any of them at b = 0, where they mean nothing."""
    if shell.zero:
        return np.tile([0.0, 0.0, 1.0], (len(shell.volumes), 1))
    directions: np.ndarray = acquisition.bvecs[shell.volumes]
    return directions


def _zeros(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.dtype(float))


def residual_bases(acquisition: Acquisition) -> tuple[np.ndarray, list[np.ndarray]]:
    """Volumes from which σ can be estimated, and each shell's orthonormal basis of smooth signals.

    The noise is what those signals leave of the volumes. The basis has harmonics, at most half as many as the shell has
    volumes. A shell whose signal they do not fit well enough is left out; b = 0 has one signal for all its volumes.
    """
    volumes, bases = [], []
    for shell in acquisition.shells:
        n, order = len(shell.volumes), 0
        while not shell.zero and order < LMAX and 2 * n_coefficients(order + 2) <= n:
            order += 2
        needed = 0 if shell.zero else _ORDER_NEEDED[shell.b > _HIGH_B]
        if order >= needed:
            g = _directions(acquisition, shell)
            volumes.append(shell.volumes)
            bases.append(np.linalg.qr(even_harmonics(g, order))[0])
    return np.concatenate([np.empty(0, int), *volumes]), bases
