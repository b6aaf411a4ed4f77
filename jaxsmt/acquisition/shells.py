"""Shells: which volumes belong together, and how their diffusion is weighted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, JaxsmtWarning
from .arrays import equal_fields, is_jax
from .weights import harmonic_weights, mean_weights

#: b-values (s/mm²) further apart than this belong to different shells: ±50 about each is one.
SHELL_GAP = 100.0
#: A run of b-values without a gap that is wider than this is not a shell.
SHELL_WIDTH = 400.0


class Pulse(NamedTuple):
    """Diffusion weighting of a measurement by two gradient pulses.

    The gradient strength G follows from γ²G² = b/(δ²(Δ - δ/3)), with γ the gyromagnetic ratio. Most compartments need
    b alone.

    Args:
        b: b-value in ms/µm², a number or an array.
        delta: duration δ of each pulse in ms, or None where it is not known.
        Delta: separation Δ of the pulses' beginnings in ms, or None.

    Example:
        >>> import jaxsmt as js
        >>> js.Pulse(1.0, delta=10.0, Delta=30.0)
        Pulse(b=1.0, delta=10.0, Delta=30.0)
    """

    b: Any
    delta: Any = None
    Delta: Any = None


@dataclass(frozen=True, eq=False)
class Shell:
    """Volumes of one b-value and timing, and the linear form a·S that estimates their spherical mean.

    Numbers are NumPy's, or JAX's where the acquisition's are.

    Attributes:
        b: ms/µm², the mean b-value under the same weights, so that jitter of b cancels to first order.
        volumes: (n,) numbers of the volumes.
        weights: (n,) a, which sum to 1.
        order: of the harmonic fit behind the weights; 0 is the plain mean.
        delta: δ in ms, or None.
        Delta: Δ in ms, or None.

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

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Shell) else NotImplemented

    @property
    def pulse(self) -> Pulse:
        """Diffusion weighting of the shell."""
        return Pulse(self.b, self.delta, self.Delta)

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
        timing = "" if self.delta is None else f", δ = {self.delta:g} ms, Δ = {self.Delta:g} ms"
        what = f"b = {1000 * self.b:.0f} s/mm²{timing}: {n} volume{'s' * (n > 1)}"
        return f"{what}, harmonic order {self.order}" if self.order else what


class Group(NamedTuple):
    """Which volumes are one shell, decided once.

    Attributes:
        volumes: their numbers.
        order: of the harmonic fit of their spherical mean; 0 is the plain mean.
        zero: whether they count as b = 0.
    """

    volumes: tuple[int, ...]
    order: int
    zero: bool = False


class Table(NamedTuple):
    """The numbers of a gradient table, of NumPy or of JAX.

    Attributes:
        bvals: (n,) s/mm².
        bvecs: (n, 3) unit vectors, 0 at b = 0.
        delta: (n,) δ in ms, or None.
        Delta: (n,) Δ in ms, or None.
    """

    bvals: Any
    bvecs: Any
    delta: Any = None
    Delta: Any = None


def find_groups(table: Table, b0_threshold: float, shell_gap: float, spherical_mean: str) -> Iterator[Group]:
    """The b = 0 volumes, if there are any, then the shells by rising b, and by timing where b is the same.

    Args:
        table: in NumPy's numbers.
        b0_threshold: s/mm². Volumes with b up to it count as b = 0.
        shell_gap: s/mm². b-values further apart than this belong to different shells.
        spherical_mean: "sh" or "arithmetic".
    Raises:
        InputError: b-values without gaps.
    """
    bvals = table.bvals
    b0 = np.flatnonzero(bvals <= b0_threshold)
    if b0.size:
        yield Group(tuple(b0.tolist()), 0, zero=True)
    rest = np.flatnonzero(bvals > b0_threshold)
    rest = rest[np.argsort(bvals[rest], kind="stable")]
    breaks = np.flatnonzero(np.diff(bvals[rest]) > shell_gap) + 1
    for volumes in np.split(rest, breaks) if rest.size else ():
        low, high = bvals[volumes[0]], bvals[volumes[-1]]
        if high - low > SHELL_WIDTH:
            raise InputError(
                f"b-values run from {low:.0f} to {high:.0f} s/mm² without a gap of {shell_gap:.0f}: "
                "these are not shells",
                fix="the spherical mean needs volumes grouped at a few b-values",
            )
        for part in _by_timing(table, np.sort(volumes)):
            order = mean_weights(table.bvecs[part])[0] if spherical_mean == "sh" else 0
            if _is_poor_cover(part.size, order, spherical_mean):
                how = f"harmonics of order {order} only" if order else "a plain mean"
                warnings.warn(
                    f"the {part.size} directions at b = {bvals[part].mean():.0f} s/mm² are too few or too uneven: "
                    f"they support {how}, and the shell's spherical mean may be biased",
                    JaxsmtWarning,
                    stacklevel=4,  # the caller of Acquisition(...)
                )
            yield Group(tuple(part.tolist()), order)


def _by_timing(table: Table, volumes: np.ndarray) -> Iterator[np.ndarray]:
    """Volumes of one b-value by δ and Δ: those of different timing are different shells."""
    if table.delta is None or table.Delta is None:
        yield volumes
        return
    timings = np.stack([table.delta, table.Delta], axis=1)[volumes]
    for timing in np.unique(timings, axis=0):
        yield volumes[np.all(timings == timing, axis=1)]


def _is_poor_cover(n: int, order: int, spherical_mean: str) -> bool:
    """Whether n directions cover the sphere so badly that the mean of their signals may be biased."""
    lowest = 2 if n < 15 else 4
    return n < 6 or (spherical_mean == "sh" and order < lowest)


def shell_of(group: Group, table: Table) -> Shell:
    """The shell that a group of volumes is, with the table's numbers."""
    volumes = np.array(group.volumes, np.int32)  # an index in either of JAX's precisions
    b = table.bvals[volumes] * 1e-3
    number = (lambda v: v) if is_jax(table.bvals) else float  # which JAX takes in any precision
    if group.order:
        weights = harmonic_weights(table.bvecs[volumes], group.order)
    else:
        weights = b.__array_namespace__().full_like(b, 1 / len(volumes))
    timing = (number(t[volumes].mean()) for t in (table.delta, table.Delta) if t is not None)
    return Shell(number((weights * b).sum()), volumes, weights, group.order, *timing)
