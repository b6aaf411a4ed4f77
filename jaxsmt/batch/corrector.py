"""The corrections of many voxels' volumes between two kernel fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import echoes_of
from ..acquisition.shells import Shell
from ..geometry.harmonics import even_harmonics, n_coefficients
from ..physics.compartments import Kernel
from ..physics.noises.base import Noise
from ..problems.corrections import LMAX, STEPS_OF_SIGMA, L, steps_of
from . import journal
from .fused import adds_up
from .fused_volumes import FusedSums
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
from .runner import Compilation, Devices, Program, Runner, numbers
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
    def _fused(self) -> FusedSums | None:
        """What adds up over volumes on a GPU, if it works; that is found out when it is needed, as it takes time."""
        fused = FusedSums()
        suits = self.platform == "gpu" and self.dtype == np.float32
        return fused if suits and adds_up(fused, self._noise, self.device) else None

    def _correct(self, again: bool = False, with_sigma: bool = False, magnitudes: bool = False) -> Program:
        """The program of a correction. Only `magnitudes` makes it another one, the others are numbers that it takes.

        again: FODs start at those of an earlier correction. with_sigma: σ is estimated.
        """
        return self.program(
            correct_volumes,
            self._size,
            VolumesShared(*self._shells, self._weights, self._steps[again], STEPS_OF_SIGMA if with_sigma else 0),
            kernel=self._kernel,
            noise=self._noise,
            magnitudes=magnitudes,
            fused=self._fused,
        )

    def programs(
        self,
        *,
        sigma: bool = False,
        correct: bool = False,
        floor: bool = False,
        deviation: bool = False,
        second: bool = False,
        magnitudes: bool = False,
    ) -> list[Compilation]:
        """The programs that will be used.

        Args:
            sigma: `sigma`. correct: calls of the object, with a deviation or not. floor: `signals_of_means`, if
                `correct`. second: `means`. magnitudes: `magnitudes`.
        """
        programs: list[Compilation] = []
        volumes = numbers(len(self._volumes))
        decay = numbers(self._n - 1) if self._echoes else None
        voxel = VolumesVoxel(volumes, numbers(), numbers(), dict.fromkeys(self._names, numbers()), numbers(len(L)))
        if sigma:
            programs.append(partial(self._sigmas.compile, numbers(len(self._smooth))))
        if correct:
            turned = voxel._replace(deviation=numbers(3, 3) if deviation else None, decay=decay)
            programs.append(partial(self._compile_correct, turned, False))
        if magnitudes:
            turned = voxel._replace(deviation=numbers(3, 3), decay=decay)
            programs.append(partial(self._compile_correct, turned, True))
        if correct and floor:
            programs.append(partial(self._signals.compile, (numbers(self._n), numbers())))
        if second:
            programs.append(partial(self._means.compile, ExpectedVoxel(volumes, volumes, numbers())))
        return programs

    def _compile_correct(self, voxel: VolumesVoxel, magnitudes: bool) -> None:
        self._correct(magnitudes=magnitudes).compile(voxel)

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
        fod: np.ndarray | None = None,
        with_sigma: bool = False,
        decay: np.ndarray | None = None,
    ) -> CorrectedVolumes:
        """Corrected volumes, for voxels whose data are `signal(slice) -> (voxels, volumes)`.

        Args:
            kernels: parameters by name, (voxels,) each. s0, sigma: (voxels,). deviation: (voxels, 3, 3) or None.
            fod: (voxels, 27) of an earlier correction; None: there was none. with_sigma: estimate σ from the misfit;
                without it, noise of magnitudes returns the σ given. decay: (voxels, shells) of `decay_of`, where echo
                times have an S0 of their own.
        """
        of = self._voxels(signal, kernels, s0, sigma, deviation, decay, fod)
        corrected: CorrectedVolumes = self._correct(fod is not None, with_sigma)(of, voxels)
        return corrected

    def magnitudes(
        self,
        signal: Rows,
        kernels: Mapping[str, Any],
        s0: Any,
        sigma: Any,
        deviation: Any,
        voxels: int,
        decay: np.ndarray | None = None,
    ) -> np.ndarray:
        """(voxels, volumes) magnitudes as they would be at the nominal gradients; arguments as of a call.

        They are as many numbers as the data, so that no journal keeps them.
        """
        of = self._voxels(signal, kernels, s0, sigma, deviation, decay)
        with journal.paused():
            magnitude = self._correct(magnitudes=True)(of, voxels).magnitude
        in_order = np.empty_like(magnitude)
        in_order[:, self._volumes] = magnitude
        return in_order

    def _voxels(
        self,
        signal: Rows,
        kernels: Mapping[str, Any],
        s0: Any,
        sigma: Any,
        deviation: Any,
        decay: np.ndarray | None,
        fod: np.ndarray | None = None,
    ) -> Callable[[slice], VolumesVoxel]:
        """What programs read of a part of the voxels."""

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

        return of


def _directions(acquisition: Acquisition, shell: Shell) -> np.ndarray:
    """(n, 3) unit vectors; any of them at b = 0, where they mean nothing."""
    if shell.zero:
        return np.tile([0.0, 0.0, 1.0], (len(shell.volumes), 1))
    directions: np.ndarray = acquisition.bvecs[shell.volumes]
    return directions


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
