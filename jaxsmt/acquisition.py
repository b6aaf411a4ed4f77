"""From b-values and directions to shells and the weights of their spherical means. NumPy only."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .errors import InputError, JaxsmtWarning
from .harmonics import even_harmonics, n_coefficients
from .io import gradients
from .units import B_TO_MS_PER_UM2

#: b-values (s/mm²) further apart than this belong to different shells: ±50 about each is one.
SHELL_GAP = 100.0
#: A run of b-values without a gap that is wider than this is not a shell.
SHELL_WIDTH = 400.0
#: Highest order tried for a shell's harmonic fit; the signal has nothing above it at b ≤ 10.
MAX_ORDER = 16
#: Largest factor by which a shell's weights may raise the noise of its mean over the plain mean.
MAX_AMPLIFICATION = 1.05


class Pulse(NamedTuple):
    """Diffusion weighting of a measurement: b in ms/µm², the pulses' duration δ and separation Δ in ms.

    γ²G² = b/(δ²(Δ - δ/3)). δ and Δ are None where they are not known; most compartments need b alone.
    """

    b: Any
    delta: Any = None
    Delta: Any = None


@dataclass(frozen=True)
class Shell:
    """Volumes of one b-value and timing, and the linear form a·S that estimates their spherical mean.

    Attributes:
        b: ms/µm², the mean b-value under the same weights (so b-value jitter cancels to first
            order). volumes: (n,) volume numbers. weights: (n,), sum 1. order: of the harmonic
            fit behind the weights; 0 is the plain mean. delta, Delta: ms, or None.
    """

    b: float
    volumes: np.ndarray
    weights: np.ndarray
    order: int
    delta: float | None = None
    Delta: float | None = None

    @property
    def pulse(self) -> Pulse:
        return Pulse(self.b, self.delta, self.Delta)

    @property
    def variance(self) -> float:
        """Variance of the mean over that of one volume: Σ a²."""
        return float(np.sum(self.weights**2))

    @property
    def amplification(self) -> float:
        """Noise of the mean over that of the plain mean: √(n Σ a²) ≥ 1."""
        return math.sqrt(len(self.volumes) * self.variance)

    def __str__(self) -> str:
        n = len(self.volumes)
        timing = "" if self.delta is None else f", δ = {self.delta:g} ms, Δ = {self.Delta:g} ms"
        what = f"b = {1000 * self.b:.0f} s/mm²{timing}: {n} volume{'s' * (n > 1)}"
        return f"{what}, harmonic order {self.order}" if self.order else what


@dataclass(frozen=True)
class Acquisition:
    """A multi-shell scheme: b = 0 volumes and shells of directions.

    Args:
        bvals: (n,) s/mm² (or `b_unit`). bvecs: (n, 3) unit vectors; rows at b = 0 are ignored.
        b0_threshold: s/mm²; volumes up to it count as b = 0.
        spherical_mean: "sh" (harmonic least squares, order by what the directions support) or
            "arithmetic" (plain mean of the volumes).
        b_unit: "s/mm2", "ms/um2" or "s/m2".
        shell_gap: s/mm²; b-values further apart than this belong to different shells.
        axes: of the directions: "scanner", or "fsl" (image axes with x as FSL writes it).
        delta, Delta: duration δ and separation Δ of the gradient pulses, ms: a number or (n,), or
            None. Compartments of restricted diffusion need them; a shell has one δ and one Δ.
    Raises:
        InputError: values that cannot be a multi-shell scheme; says which and what to do.
    """

    bvals: np.ndarray
    bvecs: np.ndarray
    b0_threshold: float = 50.0
    spherical_mean: str = "sh"
    b_unit: str = "s/mm2"
    axes: str = "scanner"
    shell_gap: float = SHELL_GAP
    delta: float | np.ndarray | None = None
    Delta: float | np.ndarray | None = None
    shells: tuple[Shell, ...] = field(init=False, repr=False)

    def __post_init__(self):
        bvals, bvecs = np.asarray(self.bvals, float), np.asarray(self.bvecs, float)
        if self.b_unit not in B_TO_MS_PER_UM2:
            raise InputError(f"unknown b unit {self.b_unit!r}", fix=f"one of {', '.join(B_TO_MS_PER_UM2)}")
        if self.axes not in ("scanner", "fsl"):
            raise InputError(f"unknown axes {self.axes!r}", fix="'scanner' or 'fsl'")
        if self.spherical_mean not in ("sh", "arithmetic"):
            raise InputError(f"unknown spherical mean {self.spherical_mean!r}", fix="'sh' or 'arithmetic'")
        if bvals.ndim != 1 or bvecs.shape != (bvals.size, 3):
            raise InputError(
                f"b-values of shape {bvals.shape} and directions of shape {bvecs.shape} do not match",
                fix="give (n,) b-values and (n, 3) directions",
            )
        bvals = bvals * (B_TO_MS_PER_UM2[self.b_unit] / B_TO_MS_PER_UM2["s/mm2"])
        _check_bvals(bvals, self.b_unit)
        bvecs = _unit_directions(bvals, bvecs, self.b0_threshold)
        delta, Delta = _timing(self.delta, self.Delta, bvals > self.b0_threshold)
        known = ("bvals", bvals), ("bvecs", bvecs), ("b_unit", "s/mm2"), ("delta", delta), ("Delta", Delta)
        for name, value in known:
            object.__setattr__(self, name, value)
        object.__setattr__(self, "shells", tuple(self._find_shells()))

    @classmethod
    def from_fsl(cls, bval, bvec, affine: np.ndarray | None = None, **options) -> Acquisition:
        """Read FSL `bval` and `bvec` files in any of their layouts.

        Args:
            affine: (4, 4) voxel-to-scanner matrix of the image; with it directions are turned
                into scanner axes (FSL's are image axes with x negated where det(affine) > 0),
                without it they stay as written.
        """
        bvals, bvecs = gradients.read_fsl(bval, bvec)
        if affine is not None:
            bvecs = gradients.fsl_to_scanner(bvecs, affine)
        return cls(bvals, bvecs, axes="fsl" if affine is None else "scanner", **options)

    @classmethod
    def from_mrtrix(cls, grad: str | os.PathLike, **options) -> Acquisition:
        """Read an MRtrix `.b` table: rows `x y z b`, scanner axes, b in s/mm²."""
        return cls(*gradients.read_mrtrix(grad), **options)

    def _find_shells(self):
        b0 = np.flatnonzero(self.bvals <= self.b0_threshold)
        if b0.size:
            b_mean = float(self.bvals[b0].mean()) * 1e-3
            known = [t for t in (self.delta, self.Delta) if t is not None]
            timing = (float(np.mean(np.asarray(t)[b0])) for t in known)
            yield Shell(b_mean, b0, np.full(b0.size, 1 / b0.size), 0, *timing)
        rest = np.flatnonzero(self.bvals > self.b0_threshold)
        rest = rest[np.argsort(self.bvals[rest], kind="stable")]
        breaks = np.flatnonzero(np.diff(self.bvals[rest]) > self.shell_gap) + 1
        for volumes in np.split(rest, breaks) if rest.size else ():
            low, high = self.bvals[volumes[0]], self.bvals[volumes[-1]]
            if high - low > SHELL_WIDTH:
                raise InputError(
                    f"b-values run from {low:.0f} to {high:.0f} s/mm² without a gap of {self.shell_gap:.0f}: "
                    "these are not shells",
                    fix="the spherical mean needs volumes grouped at a few b-values",
                )
            for part, timing in self._by_timing(np.sort(volumes)):
                order, weights = 0, np.full(part.size, 1 / part.size)
                if self.spherical_mean == "sh":
                    order, weights = mean_weights(self.bvecs[part])
                self._warn_of_poor_cover(part, order)
                yield Shell(float(weights @ self.bvals[part]) * 1e-3, part, weights, order, *timing)

    def _by_timing(self, volumes: np.ndarray):
        """Volumes of one b-value by δ and Δ: those of different timing are different shells."""
        if self.delta is None or self.Delta is None:
            yield volumes, ()
            return
        timings = np.stack([self.delta, self.Delta], axis=1)[volumes]  # type: ignore[list-item]
        for timing in np.unique(timings, axis=0):
            yield volumes[np.all(timings == timing, axis=1)], timing.tolist()

    def _warn_of_poor_cover(self, volumes: np.ndarray, order: int) -> None:
        n, low = volumes.size, 2 if volumes.size < 15 else 4
        if n < 6 or (self.spherical_mean == "sh" and order < low):
            how = f"harmonics of order {order} only" if order else "a plain mean"
            warnings.warn(
                f"the {n} directions at b = {self.bvals[volumes].mean():.0f} s/mm² are too few or too uneven: "
                f"they support {how}, and the shell's spherical mean may be biased",
                JaxsmtWarning,
                stacklevel=5,
            )

    @property
    def b0(self) -> Shell | None:
        """The b = 0 volumes, or None."""
        first = self.shells[0] if self.shells else None
        return first if first is not None and first.b * 1000 <= self.b0_threshold else None

    @property
    def b(self) -> np.ndarray:
        """(shells,) b-values in ms/µm², rising, b = 0 among them."""
        return np.array([shell.b for shell in self.shells])

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Weighting of each shell, as `b`."""
        return tuple(shell.pulse for shell in self.shells)

    @property
    def variances(self) -> np.ndarray:
        """(shells,) variance of each shell's mean over that of one volume."""
        return np.array([shell.variance for shell in self.shells])

    @property
    def weights(self) -> np.ndarray:
        """(shells, volumes): spherical means = weights @ signal."""
        matrix = np.zeros((len(self.shells), self.bvals.size))
        for row, shell in zip(matrix, self.shells, strict=True):
            row[shell.volumes] = shell.weights
        return matrix

    def require_volumes(self, volumes: int) -> None:
        """Raise InputError unless data with this many volumes belong to the scheme."""
        if volumes != self.bvals.size:
            raise InputError(
                f"{volumes} volumes in the data (last axis) but {self.bvals.size} b-values",
                fix="both need one entry for each volume",
            )

    def require(self, shells: int, model: str) -> None:
        """Raise InputError unless there are b = 0 volumes and `shells` shells above them."""
        found = "; ".join(map(str, self.shells)) or "no volumes"
        if self.b0 is None:
            raise InputError(
                f"no b = 0 volume (b ≤ {self.b0_threshold:.0f} s/mm²); found {found}",
                fix="add a b = 0 volume, or raise --b0-threshold if the lowest b-values are meant as b = 0",
            )
        if len(self.shells) - 1 < shells:
            raise InputError(
                f"the {model} model needs at least {shells} shells with b > 0; found {found}",
                fix="use a multi-shell acquisition",
            )


def mean_weights(directions: np.ndarray) -> tuple[int, np.ndarray]:
    """Weights a with Σ a_i S(g_i) = spherical mean of S, from harmonic least squares.

    The l = 0 row of the pseudo-inverse of the even harmonics at the directions. The order is the
    highest with no more coefficients than directions, full rank, and noise √(n Σa²) at most
    `MAX_AMPLIFICATION` times that of the plain mean.

    Args:
        directions: (n, 3) unit vectors.
    Returns:
        order (0: plain mean) and (n,) weights that sum to 1.
    """
    n = len(directions)
    for order in range(MAX_ORDER, 0, -2):
        if n_coefficients(order) > n:
            continue
        basis = even_harmonics(directions, order)
        inverse, singular = np.linalg.pinv(basis), np.linalg.svd(basis, compute_uv=False)
        weights = inverse[0] / math.sqrt(4 * math.pi)
        well_posed = singular[-1] > 1e-6 * singular[0]
        if well_posed and math.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION:
            return order, weights
    return 0, np.full(n, 1 / n)


def _timing(delta, Delta, weighted: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """δ and Δ of each volume; those of b = 0 volumes without pulses are the others' mean."""
    n = weighted.size
    if delta is None and Delta is None:
        return None, None
    if delta is None or Delta is None:
        raise InputError("one of delta and Delta is given", fix="give both, or neither")
    delta, Delta = (np.asarray(value, float) for value in (delta, Delta))
    if any(value.shape not in ((), (n,)) for value in (delta, Delta)):
        raise InputError(
            f"delta of shape {delta.shape} and Delta of shape {Delta.shape}", fix=f"give numbers, or {n} each"
        )
    delta, Delta = np.array(np.broadcast_to(delta, n)), np.array(np.broadcast_to(Delta, n))
    good = (delta > 0) & (Delta >= delta) & (Delta < 1e4)
    if np.any(weighted & ~good):
        i = np.flatnonzero(weighted & ~good)[0]
        raise InputError(f"volume {i} has δ = {delta[i]:g} ms and Δ = {Delta[i]:g} ms", fix="0 < δ ≤ Δ, both in ms")
    for times in (delta, Delta):
        times[~good] = times[weighted].mean() if weighted.any() else np.nan
    return delta, Delta


def _check_bvals(bvals: np.ndarray, unit: str) -> None:
    bad = np.flatnonzero(~np.isfinite(bvals) | (bvals < 0))
    if bad.size:
        raise InputError(
            f"b-value of volume {bad[0]} is {bvals[bad[0]]:g}; {bad.size} like it",
            fix="b-values are finite and not negative",
        )
    largest = bvals.max(initial=0.0)
    if 0 < largest < 50 or largest > 1e5:
        other = "ms/um2" if largest < 50 else "s/m2"
        fix = f"if these are {other}, say so: --b-unit {other}" if unit == "s/mm2" else f"are the b-values in {unit}?"
        raise InputError(f"the largest b-value is {largest:g} s/mm²", fix=fix)


def _unit_directions(bvals: np.ndarray, bvecs: np.ndarray, threshold: float) -> np.ndarray:
    weighted = bvals > threshold
    norms = np.linalg.norm(bvecs, axis=1)
    bad = np.flatnonzero(weighted & ~(np.abs(norms - 1) <= 0.02))
    if bad.size:
        i = bad[0]
        kind = "is not finite" if not np.isfinite(norms[i]) else f"has length {norms[i]:.3g}, not 1"
        hint = "directions must be unit vectors"
        shell_max = bvals.max()
        if np.allclose(norms[weighted], np.sqrt(bvals[weighted] / shell_max), atol=0.02):
            hint += "; these are scaled by √b: divide them by their lengths and give each volume its own b-value"
        raise InputError(f"the direction of volume {i} (b = {bvals[i]:.0f} s/mm²) {kind}; {bad.size} like it", fix=hint)
    # At b = 0 the direction means nothing, and files hold zeros or NaN there.
    return np.where(weighted[:, None], bvecs, 0) / np.where(weighted, norms, 1)[:, None]
