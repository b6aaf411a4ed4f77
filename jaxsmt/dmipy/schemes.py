"""The acquisition scheme in SI units, as dmipy's models see it."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike

from .. import Acquisition, InputError
from .parameters import not_covered

_GYROMAGNETIC = 2.6752218744e8  # of the proton, rad/s/T


class DmipyAcquisitionScheme:
    """Measurements and their shells in SI units; make it with `acquisition_scheme_from_bvalues`.

    Attributes:
        bvalues: (measurements,) s/m².
        gradient_directions: (measurements, 3) unit vectors.
        delta, Delta, TE: (measurements,) pulse duration, pulse separation and echo time, s; None if they are unknown.
        qvalues: (measurements,) 1/m, and gradient_strengths: (measurements,) T/m; None without delta and Delta.
        min_b_shell_distance: b-values that are further apart belong to different shells, s/m².
        b0_threshold: measurements up to this b-value count as b = 0, s/m².
        b0_mask: (measurements,) whether a measurement is at b = 0.
        shell_indices: (measurements,) the shell of each measurement.
        shell_bvalues: (shells,) mean b-value, s/m²; likewise shell_delta, shell_Delta, shell_TE,
            shell_gradient_strengths, shell_qvalues.
        shell_b0_mask: (shells,) whether a shell is b = 0.
        shell_sh_orders: {shell: highest order of the harmonics that its directions determine}.
        unique_shell_indices, unique_b0_indices, unique_dwi_indices: numbers of the shells, of those at b = 0, of the
            others; N_shells, N_b0_shells, N_dwi_shells: how many these are.
        number_of_measurements, number_of_b0s: how many measurements there are, and how many at b = 0.
        acquisition: the same as jaxsmt's.
    """

    def __init__(
        self,
        bvalues: ArrayLike,
        gradient_directions: ArrayLike,
        delta: ArrayLike | None,
        Delta: ArrayLike | None,
        TE: ArrayLike | None,
        min_b_shell_distance: float,
        b0_threshold: float,
    ):
        b, directions = np.asarray(bvalues, float), np.asarray(gradient_directions, float)
        _check(b, directions)
        self.bvalues, self.gradient_directions = b, directions
        self.delta = _for_each_measurement("delta", delta, b.size)
        self.Delta = _for_each_measurement("Delta", Delta, b.size)
        self.TE = _for_each_measurement("TE", TE, b.size)
        if self.TE is not None and np.ptp(self.TE) > 0:
            raise not_covered("several echo times", "fit each echo time's data alone")
        self.min_b_shell_distance, self.b0_threshold = min_b_shell_distance, b0_threshold
        delta_ms = Delta_ms = None  # jaxsmt has both times or none
        if self.delta is not None and self.Delta is not None:
            delta_ms, Delta_ms = self.delta * 1e3, self.Delta * 1e3
        self.acquisition = Acquisition(
            b,
            directions,
            b_unit="s/m2",
            b0_threshold=b0_threshold * 1e-6,
            shell_gap=min_b_shell_distance * 1e-6,
            delta=delta_ms,
            Delta=Delta_ms,
            axes="unknown",
        )
        self._set_gradient_strengths()
        self._set_shells()
        if not self.b0_mask.any():
            warnings.warn(
                "No b0 measurements were detected. Check if the b0_threshold option is high enough, "
                "or if there is a mistake in the acquisition design.",
                stacklevel=3,
            )

    def _set_gradient_strengths(self) -> None:
        """Set q-values and gradient strengths, if the timings are known: b = (γGδ)²(Δ - δ/3)."""
        self.gradient_strengths: np.ndarray | None = None
        self.qvalues: np.ndarray | None = None
        if self.delta is not None and self.Delta is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                wavenumber = np.sqrt(self.bvalues / (self.Delta - self.delta / 3))  # γGδ
            self.qvalues = wavenumber / (2 * np.pi)
            self.gradient_strengths = wavenumber / (_GYROMAGNETIC * self.delta)

    def _set_shells(self) -> None:
        """Set what is known of b = 0 and of each shell."""
        shells = self.acquisition.shells
        self.number_of_measurements = self.bvalues.size
        self.b0_mask = self.bvalues <= self.b0_threshold
        self.number_of_b0s = int(self.b0_mask.sum())
        self.shell_indices = np.zeros(self.bvalues.size, int)
        for i, shell in enumerate(shells):
            self.shell_indices[shell.volumes] = i
        self.N_shells = len(shells)
        self.unique_shell_indices = np.arange(self.N_shells)
        self.shell_bvalues = self._mean_of_shells(self.bvalues)
        self.shell_b0_mask = self.shell_bvalues <= self.b0_threshold
        self.unique_b0_indices = np.flatnonzero(self.shell_b0_mask)
        self.unique_dwi_indices = np.flatnonzero(~self.shell_b0_mask)
        self.N_b0_shells, self.N_dwi_shells = len(self.unique_b0_indices), len(self.unique_dwi_indices)
        self.shell_sh_orders = {i: shell.order for i, shell in enumerate(shells)}
        self.shell_delta, self.shell_Delta, self.shell_TE, self.shell_gradient_strengths, self.shell_qvalues = (
            None if values is None else self._mean_of_shells(values)
            for values in (self.delta, self.Delta, self.TE, self.gradient_strengths, self.qvalues)
        )

    def _mean_of_shells(self, values: np.ndarray) -> np.ndarray:
        """Means (shells,) of values (measurements,)."""
        return np.array([values[self.shell_indices == i].mean() for i in range(self.N_shells)])

    @property
    def print_acquisition_info(self) -> None:
        """Print the table of shells (a property, as in dmipy)."""
        print("Acquisition scheme summary\n")
        print(f"total number of measurements: {self.number_of_measurements}")
        print(f"number of b0 measurements: {self.number_of_b0s}")
        print(f"number of DWI shells: {self.N_dwi_shells}\n")
        row = "{:<12}|{:<10}|{:<16}|{:<25}|{:<11}|{:<10}|{:<5}"
        heads = (
            "shell_index",
            "# of DWIs",
            "bvalue [s/mm^2]",
            "gradient strength [mT/m]",
            "delta [ms]",
            "Delta[ms]",
            "TE[ms]",
        )
        print(row.format(*heads))
        times = (self.shell_delta, self.shell_Delta, self.shell_TE)
        for i in range(self.N_shells):
            strength = "N/A" if self.shell_gradient_strengths is None else int(1e3 * self.shell_gradient_strengths[i])
            count, b = int((self.shell_indices == i).sum()), int(self.shell_bvalues[i] / 1e6)
            in_ms = ("N/A" if time is None else f"{1e3 * time[i]:g}" for time in times)
            print(row.format(i, count, b, strength, *in_ms))


def _check(b: np.ndarray, g: np.ndarray) -> None:
    """Raise InputError, in dmipy's words, unless these are b-values and unit vectors."""
    if b.ndim != 1:
        raise InputError(f"b/q/G input must be a one-dimensional array. Currently its dimensions is {b.ndim}.")
    if len(g) != len(b):
        raise InputError(
            "b/q/G input and gradient_directions must have the same length. "
            f"Currently their lengths are {len(b)} and {len(g)}."
        )
    if g.ndim != 2 or g.shape[-1] != 3:
        raise InputError(
            f"gradient_directions n must be two dimensional array of shape [N, 3]. Currently its shape is {g.shape}."
        )
    if b.size and b.min() < 0:
        raise InputError(f"b/q/G input must be zero or positive. Minimum value found is {b.min()}.")
    norms = np.linalg.norm(g, axis=1)
    if np.any((norms > 0) & (np.abs(norms - 1) >= 1e-3)):
        raise InputError("gradient orientations n are not unit vectors. ")


def _for_each_measurement(name: str, value: ArrayLike | None, n: int) -> np.ndarray | None:
    """A time of each of n measurements, from a number or n; None stays None."""
    if value is None:
        return None
    value = np.asarray(value, float)
    if value.shape not in ((), (n,)):
        raise InputError(
            f"b/q/G input and {name} must have the same length. Currently their lengths are {n} and {value.size}."
        )
    if np.any(value < 0):
        raise InputError(f"{name} must be zero or positive. Currently its minimum value is {value.min()}.")
    return np.full(n, value) if value.ndim == 0 else value
