"""Shells: which volumes belong together, and how their diffusion is weighted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import JaxsmtWarning
from .arrays import equal_fields, is_jax
from .levels import levels_of, require_levels
from .weights import harmonic_weights, mean_weights


class Pulse(NamedTuple):
    """Diffusion weighting of a measurement.

    Of two gradient pulses the strength G follows from γ²G² = b/(δ²(Δ - δ/3)), with γ the gyromagnetic ratio. Most
    compartments need b alone. An encoding in several directions is told by the shape b_Δ of its axially symmetric
    b-tensor, whose axis is the measurement's direction.

    Args:
        b: b-value in ms/µm², a number or an array.
        delta: duration δ of each pulse in ms, or None where it is not known.
        Delta: separation Δ of the pulses' beginnings in ms, or None.
        b_delta: b_Δ in [-1/2, 1], no unit: 1 is linear, 0 spherical, -1/2 planar. None: 1.
        te: echo time TE in ms, or None where it is not known. Only relaxing compartments read it.

    Example:
        >>> import jaxsmt as js
        >>> js.Pulse(1.0, delta=10.0, Delta=30.0)
        Pulse(b=1.0, delta=10.0, Delta=30.0, b_delta=None, te=None)

    Source: Westin et al. 2016, NeuroImage 135:345, doi:10.1016/j.neuroimage.2016.02.039.
    """

    b: Any
    delta: Any = None
    Delta: Any = None
    b_delta: Any = None
    te: Any = None


@dataclass(frozen=True, eq=False)
class Shell:
    """Volumes of one b-value and setting, and the linear form a·S that estimates their spherical mean.

    Numbers are NumPy's, or JAX's where the acquisition's are.

    Attributes:
        b: ms/µm², the mean b-value under the same weights, so that jitter of b cancels to first order.
        volumes: (n,) numbers of the volumes.
        weights: (n,) a, which sum to 1.
        order: of the harmonic fit behind the weights; 0 is the plain mean.
        delta: δ in ms, or None.
        Delta: Δ in ms, or None.
        b_delta: shape b_Δ of the encoding, or None: linear.
        te: echo time in ms, or None.
        zero: whether the volumes count as b = 0.

    Example:
        >>> import jaxsmt as js
        >>> print(js.simulate.hcp_scheme(n_b0=2, n_directions=30).shells[1])
        b = 1000 s/mm²: 30 volumes, harmonic order 6
    """

    b: Any
    volumes: np.ndarray
    weights: Any
    order: int
    delta: Any = None
    Delta: Any = None
    b_delta: Any = None
    te: Any = None
    zero: bool = False

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Shell) else NotImplemented

    @property
    def pulse(self) -> Pulse:
        """Diffusion weighting of the shell."""
        return Pulse(self.b, self.delta, self.Delta, self.b_delta, self.te)

    @property
    def variance(self) -> Any:
        """Variance of the mean over that of one volume: Σ a²."""
        return (self.weights**2).sum()

    @property
    def amplification(self) -> float:
        """Noise of the mean over that of the plain mean: √(n Σ a²) ≥ 1."""
        return math.sqrt(len(self.volumes) * self.variance)

    def __str__(self) -> str:
        n = len(self.volumes)
        setting = "" if self.delta is None else f", δ = {self.delta:g} ms, Δ = {self.Delta:g} ms"
        if self.te is not None:
            setting += f", TE = {self.te:g} ms"
        if self.b_delta is not None and self.b_delta != 1:
            setting += f", b_Δ = {self.b_delta:.2g}"
        what = f"b = {1000 * self.b:.0f} s/mm²{setting}: {n} volume{'s' * (n > 1)}"
        return f"{what}, harmonic order {self.order}" if self.order else what


def pulses_of_fit(shells: Sequence[Shell], s0_fitted: bool) -> tuple[Pulse, ...]:
    """Diffusion weighting of each shell as a fit has it.

    Where S0 is not fitted it is the b = 0 mean itself: the b of that mean is exactly 0, at each echo time.

    Args:
        shells: of an acquisition.
        s0_fitted: whether S0 is fitted with the model.
    Returns:
        (shells,) in the same order.
    """
    return tuple(shell.pulse._replace(b=0.0) if shell.zero and not s0_fitted else shell.pulse for shell in shells)


class VolumeGroup(NamedTuple):
    """Which volumes are one shell, decided once.

    Attributes:
        volumes: their numbers.
        order: of the harmonic fit of their spherical mean; 0 is the plain mean.
        zero: whether they count as b = 0.
        echo: number of their echo time, the shortest first.
    """

    volumes: tuple[int, ...]
    order: int
    zero: bool = False
    echo: int = 0


class GradientTable(NamedTuple):
    """The numbers of a gradient table, of NumPy or of JAX.

    Attributes:
        bvals: (n,) s/mm².
        bvecs: (n, 3) unit vectors, 0 at b = 0.
        delta: (n,) δ in ms, or None.
        Delta: (n,) Δ in ms, or None.
        b_delta: (n,) shapes b_Δ of the encoding, or None: all are linear.
        te: (n,) echo times in ms, or None.
    """

    bvals: Any
    bvecs: Any
    delta: Any = None
    Delta: Any = None
    b_delta: Any = None
    te: Any = None

    @property
    def settings(self) -> tuple[Any, ...]:
        """What b-values and directions do not tell: δ, Δ, b_Δ, TE."""
        return self[2:]

    def changed(self, change: Callable[[Any], Any]) -> GradientTable:
        """The table with each of its arrays changed."""
        return GradientTable(*(None if values is None else change(values) for values in self))


def find_groups(
    table: GradientTable, b0_threshold: float, shell_gap: float | None, spherical_mean: str
) -> Iterator[VolumeGroup]:
    """The b = 0 volumes, if there are any, of each echo time; then the shells by rising b, and by setting.

    Args:
        table: in NumPy's numbers.
        b0_threshold: s/mm². Volumes with b up to it count as b = 0.
        shell_gap: s/mm². b-values further apart than this belong to different shells. None: see `levels_of`.
        spherical_mean: "sh" or "arithmetic".
    Raises:
        InputError: b-values without gaps, or a grid.
    """
    yield from _unweighted(table, b0_threshold)
    poor = []
    for volumes in _shells(table, np.flatnonzero(table.bvals > b0_threshold), shell_gap):
        round_one = table.b_delta is not None and not table.b_delta[volumes].any()  # the same in all directions
        order = mean_weights(table.bvecs[volumes])[0] if spherical_mean == "sh" and not round_one else 0
        if not round_one and _is_poor_cover(volumes.size, order, spherical_mean):
            poor.append((volumes, order))
        yield VolumeGroup(tuple(volumes.tolist()), order, echo=_echo_of(table, volumes))
    if poor:
        warnings.warn(_poor_cover(table.bvals, poor), JaxsmtWarning, stacklevel=4)  # the caller of Acquisition(...)


def _unweighted(table: GradientTable, b0_threshold: float) -> Iterator[VolumeGroup]:
    """The b = 0 volumes of each echo time, the shortest first."""
    b0 = np.flatnonzero(table.bvals <= b0_threshold)
    echoes = np.zeros(b0.size) if table.te is None else table.te[b0]
    for echo in np.unique(echoes):
        volumes = b0[echoes == echo]
        yield VolumeGroup(tuple(volumes.tolist()), 0, zero=True, echo=_echo_of(table, volumes))


def _echo_of(table: GradientTable, volumes: np.ndarray) -> int:
    """The number of the echo time of volumes that have the same one."""
    return 0 if table.te is None else int(np.searchsorted(np.unique(table.te), table.te[volumes[0]]))


def _shells(table: GradientTable, weighted: np.ndarray, gap: float | None) -> list[np.ndarray]:
    """The volumes of each shell."""
    bvals, bvecs = table.bvals[weighted], table.bvecs[weighted]
    levels = levels_of(bvals, gap)
    if levels is not None:
        require_levels(bvals, bvecs, gap, levels)
        return [part for level in levels for part in _by_setting(table, weighted[level])]
    # Settings may have b-values of their own, and those of all together no gaps.
    shells: list[np.ndarray] = []
    for of_setting in _by_setting(table, weighted):
        alike = table.b_delta is not None and not table.b_delta[of_setting].any()
        bvals, bvecs = table.bvals[of_setting], table.bvecs[of_setting]
        levels = levels_of(bvals, gap, *[1] * alike)  # one volume is a shell where directions mean nothing
        require_levels(bvals, bvecs, gap, levels)
        shells += [of_setting[level] for level in levels or ()]
    return sorted(shells, key=lambda volumes: float(table.bvals[volumes].mean()))


def _by_setting(table: GradientTable, volumes: np.ndarray) -> Iterator[np.ndarray]:
    """Volumes of one b-value by setting: those of different settings are different shells."""
    delta, Delta, b_delta, te = table.settings
    # Shapes are computed from waveforms, and differ in their last digits; linear ones come first.
    columns = (delta, Delta, te, None if b_delta is None else -np.round(b_delta, 2))
    known = [column[volumes] for column in columns if column is not None]
    if not known:
        yield volumes
        return
    settings = np.stack(known, axis=1)
    for setting in np.unique(settings, axis=0):
        yield volumes[np.all(settings == setting, axis=1)]


def _poor_cover(bvals: np.ndarray, poor: list[tuple[np.ndarray, int]]) -> str:
    """The warning of shells whose directions cover the sphere badly."""
    if len(poor) == 1:
        [(volumes, order)] = poor
        how = f"harmonics of order {order} only" if order else "a plain mean"
        return (
            f"the {volumes.size} directions at b = {bvals[volumes].mean():.0f} s/mm² are too few or too uneven: "
            f"they support {how}, and the shell's spherical mean may be biased"
        )
    which = ", ".join(f"{volumes.size} at b = {bvals[volumes].mean():.0f} s/mm²" for volumes, _ in poor[:4])
    more = f" and {len(poor) - 4} more" if len(poor) > 4 else ""
    return (
        f"the directions of {len(poor)} shells are too few or too uneven, so that their spherical means may be "
        f"biased: {which}{more}"
    )


def _is_poor_cover(n: int, order: int, spherical_mean: str) -> bool:
    """Whether n directions cover the sphere so badly that the mean of their signals may be biased."""
    lowest = 2 if n < 15 else 4
    return n < 6 or (spherical_mean == "sh" and order < lowest)


def shell_of(group: VolumeGroup, table: GradientTable) -> Shell:
    """The shell that a group of volumes is, with the table's numbers."""
    volumes = np.array(group.volumes, np.int32)  # an index in either of JAX's precisions
    b = table.bvals[volumes] * 1e-3
    number = (lambda v: v) if is_jax(table.bvals) else float  # which JAX takes in any precision
    if group.order:
        weights = harmonic_weights(table.bvecs[volumes], group.order)
    else:
        weights = b.__array_namespace__().full_like(b, 1 / len(volumes))
    delta, Delta, b_delta, te = (None if v is None else number(v[volumes].mean()) for v in table.settings)
    return Shell(number((weights * b).sum()), volumes, weights, group.order, delta, Delta, b_delta, te, group.zero)
