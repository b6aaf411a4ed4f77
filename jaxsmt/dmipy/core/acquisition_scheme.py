"""Acquisition schemes in SI units."""

from __future__ import annotations

import warnings

import numpy as np

from ...acquisition.acquisition import Acquisition
from ...errors import InputError, NotCoveredError
from .. import refuse

__all__ = ["DmipyAcquisitionScheme", "acquisition_scheme_from_bvalues", "gtab_dipy2dmipy"]
__getattr__ = refuse("acquisition_scheme", __all__)

_GYROMAGNETIC = 2.6752218744e8  # of the proton, rad/s/T


class DmipyAcquisitionScheme:
    """Measurements and their shells: b in s/m², times in s, and the same as jaxsmt sees it (`acquisition`)."""

    def __init__(self, bvalues, gradient_directions, delta, Delta, TE, min_b_shell_distance, b0_threshold):
        bvalues, directions = np.asarray(bvalues, float), np.asarray(gradient_directions, float)
        _check(bvalues, directions)
        times = {
            name: _each(name, value, bvalues.size) for name, value in (("delta", delta), ("Delta", Delta), ("TE", TE))
        }
        self.bvalues, self.gradient_directions = bvalues, directions
        self.delta, self.Delta, self.TE = times["delta"], times["Delta"], times["TE"]
        if self.TE is not None and np.ptp(self.TE) > 0:
            raise NotCoveredError(
                "jaxsmt.dmipy does not cover several echo times", fix="fit each echo time's data alone"
            )
        self.min_b_shell_distance, self.b0_threshold = min_b_shell_distance, b0_threshold
        self.acquisition = Acquisition(
            bvalues,
            directions,
            b_unit="s/m2",
            b0_threshold=b0_threshold * 1e-6,
            shell_gap=min_b_shell_distance * 1e-6,
            delta=None if self.delta is None or self.Delta is None else self.delta * 1e3,
            Delta=None if self.delta is None or self.Delta is None else self.Delta * 1e3,
        )
        shells = self.acquisition.shells
        self.number_of_measurements = bvalues.size
        self.b0_mask = bvalues <= b0_threshold
        self.number_of_b0s = int(self.b0_mask.sum())
        self.shell_indices = np.zeros(bvalues.size, int)
        for i, shell in enumerate(shells):
            self.shell_indices[shell.volumes] = i
        self.N_shells = len(shells)
        self.unique_shell_indices = np.arange(self.N_shells)
        self.shell_bvalues = self._of_shells(bvalues)
        self.shell_b0_mask = self.shell_bvalues <= b0_threshold
        self.unique_b0_indices = np.flatnonzero(self.shell_b0_mask)
        self.unique_dwi_indices = np.flatnonzero(~self.shell_b0_mask)
        self.N_b0_shells, self.N_dwi_shells = len(self.unique_b0_indices), len(self.unique_dwi_indices)
        self.shell_sh_orders = {i: shell.order for i, shell in enumerate(shells)}
        self.gradient_strengths = self.qvalues = None
        if self.delta is not None and self.Delta is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                wavenumber = np.sqrt(bvalues / (self.Delta - self.delta / 3))  # γGδ
            self.qvalues = wavenumber / (2 * np.pi)
            self.gradient_strengths = wavenumber / (_GYROMAGNETIC * self.delta)
        self.shell_delta, self.shell_Delta, self.shell_TE, self.shell_gradient_strengths, self.shell_qvalues = (
            None if value is None else self._of_shells(value)
            for value in (self.delta, self.Delta, self.TE, self.gradient_strengths, self.qvalues)
        )
        if not self.b0_mask.any():
            warnings.warn(
                "No b0 measurements were detected. Check if the b0_threshold option is high enough, "
                "or if there is a mistake in the acquisition design.",
                stacklevel=3,
            )

    def _of_shells(self, values: np.ndarray) -> np.ndarray:
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
            g = "N/A" if self.shell_gradient_strengths is None else int(1e3 * self.shell_gradient_strengths[i])
            told = ("N/A" if t is None else f"{1e3 * t[i]:g}" for t in times)
            print(row.format(i, int((self.shell_indices == i).sum()), int(self.shell_bvalues[i] / 1e6), g, *told))


def acquisition_scheme_from_bvalues(
    bvalues, gradient_directions, delta=None, Delta=None, TE=None, min_b_shell_distance=50e6, b0_threshold=10e6
) -> DmipyAcquisitionScheme:
    """Scheme from b-values (n,) in s/m² and unit vectors (n, 3); times in s, numbers or (n,)."""
    return DmipyAcquisitionScheme(bvalues, gradient_directions, delta, Delta, TE, min_b_shell_distance, b0_threshold)


def gtab_dipy2dmipy(dipy_gradient_table, min_b_shell_distance=50e6, b0_threshold=10e6) -> DmipyAcquisitionScheme:
    """Scheme from a DIPY gradient table."""
    if not all(hasattr(dipy_gradient_table, name) for name in ("bvals", "bvecs")):
        raise InputError("Input must be a dipy GradientTable object. ")
    table = dipy_gradient_table
    delta, Delta = (getattr(table, name, None) for name in ("small_delta", "big_delta"))
    if delta is None or Delta is None:
        delta = Delta = None
    return acquisition_scheme_from_bvalues(
        table.bvals * 1e6,
        table.bvecs,
        delta,
        Delta,
        min_b_shell_distance=min_b_shell_distance,
        b0_threshold=b0_threshold,
    )


def _check(b: np.ndarray, g: np.ndarray) -> None:
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


def _each(name: str, value, n: int) -> np.ndarray | None:
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
