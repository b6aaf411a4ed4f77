"""Whether a series can be what its gradient table says: tests of a sample of its voxels. NumPy only.

Each test looks for a trace that a common mistake leaves, and says what it has found and what the cause may be. A test
that finds nothing proves nothing. The thresholds leave alone measured brains and simulated ones of SNR 15 to 60.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..geometry.harmonics import even_harmonics, n_coefficients
from .acquisition import Acquisition
from .shells import Shell

# Part of the values of a volume at the largest number of its type, and part that is negative.
_SATURATED, _NEGATIVE = 0.005, 0.01
# Brightness of b = 0 volumes: largest over smallest, and change over the series.
_SPREAD, _DRIFT = 0.10, 0.05
# How much a shell may be brighter than the one before; and the rate at which the signal falls, over that before: at
# most, and at least (up to a b in ms/µm², and where the signal is so many times the noise).
_RISES, _FALLS_FASTER, _STALLS, _STALLS_TO, _ABOVE_NOISE = 1.01, 1.0, 0.45, 3.3, 4.0
# Apparent diffusivities of living brains in µm²/ms, up to a b in ms/µm² and beyond; and the b where they are looked at.
_SLOWEST, _SLOWEST_BEYOND, _FASTEST = 0.5, 0.2, 1.4
_FROM_B, _BEYOND = 0.3, 3.3
# Voxels with less than this part of the others' signal are background; how many of them a mask may have.
_DIM, _BACKGROUND = 0.15, 0.15
# How many voxels outside may be as bright as those inside, over the number inside.
_LEFT_OUT = 1.0
_LEAST_SNR, _SIGMA_FACTOR = 5.0, 3.0
_FEW = 30  # voxels that are too few for any test
# Order of harmonics that signals of a shell follow, fewest directions for it, and the least F ratio.
_ORDER, _DIRECTIONS, _LEAST_F = 2, 20, 4.0
_NAMED = 5  # volumes that a text names


@dataclass(frozen=True)
class Sample:
    """Some voxels of a series.

    Args:
        inside: (volumes, voxels) data of voxels inside the mask. outside: (volumes, voxels) of voxels outside.
        ratio: how many voxels are outside for each one inside, in the whole series.
        stored: type of the numbers in the file. ceiling: the largest number of an integer type, scaled as the data.
    """

    inside: np.ndarray
    outside: np.ndarray
    ratio: float
    stored: np.dtype
    ceiling: float

    @cached_property
    def usable(self) -> np.ndarray:
        """(volumes, voxels) of voxels whose data are finite and not constant."""
        good = np.isfinite(self.inside).all(axis=0) & (np.ptp(self.inside, axis=0) > 0)
        return np.asarray(self.inside[:, good], float)


@dataclass(frozen=True)
class _Series:
    """A sample and what is said of it; see `doubts_of`."""

    sample: Sample
    acquisition: Acquisition
    sigma: np.ndarray | float | None = None

    @cached_property
    def b0(self) -> np.ndarray:
        """(b = 0 volumes, voxels)."""
        assert self.acquisition.b0 is not None
        return self.sample.usable[self.acquisition.b0.volumes]

    @cached_property
    def brightness(self) -> np.ndarray:
        """(b = 0 volumes,) of each, over that of them all."""
        mean = self.b0.mean(axis=0)
        good = mean > 0
        return np.median(self.b0[:, good] / mean[good], axis=1)

    @cached_property
    def noise(self) -> float:
        """σ over S0 at b = 0, of the median voxel; NaN with fewer than four b = 0 volumes."""
        if len(self.b0) < 4:
            return np.nan
        mean = self.b0.mean(axis=0)
        good = mean > _DIM * np.percentile(mean, 90)
        level = self.b0[:, good] / self.brightness[:, None]
        return float(np.median(level.std(axis=0, ddof=1) / mean[good]))

    @cached_property
    def attenuation(self) -> np.ndarray:
        """(shells above b = 0,) medians of the mean signals over S0."""
        mean = self.b0.mean(axis=0)
        good = mean > _DIM * np.percentile(mean, 90)
        shells = self.acquisition.shells[1:]
        return np.array([np.median(self.sample.usable[s.volumes].mean(axis=0)[good] / mean[good]) for s in shells])


def doubts_of(sample: Sample, acquisition: Acquisition, sigma: np.ndarray | float | None = None) -> list[str]:
    """What speaks against a series, in sentences; empty if nothing does.

    Args:
        sample: of its voxels. acquisition: the table that is said to belong to it.
        sigma: the noise of one volume that the user gives, a number or one for each voxel.
    """
    series = _Series(sample, acquisition, sigma)
    settings = {(shell.delta, shell.Delta, shell.te, shell.b_delta) for shell in acquisition.shells}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of means of nothing
        if series.acquisition.b0 is None or series.sample.usable.shape[1] < _FEW:
            return []
        return [text for test in _TESTS if len(settings) == 1 or test in _OF_ANY_SETTING for text in test(series)]


def _empty(series: _Series) -> Iterator[str]:
    inside = series.sample.inside
    empty = np.flatnonzero(np.ptp(inside, axis=1) == 0)
    if empty.size:
        yield f"{_volumes(empty)} the same value everywhere: are they empty?"


def _copies(series: _Series) -> Iterator[str]:
    """Equal volumes, but those of b = 0 where all of them are equal, as without noise."""
    shells = series.acquisition.shells
    weighted, b0 = (
        np.concatenate([shell.volumes for shell in shells if shell.zero == zero] or [np.empty(0, int)])
        for zero in (False, True)
    )
    values = series.sample.usable
    for volumes in (weighted, b0):
        first: dict[bytes, int] = {}
        same = [(first.setdefault(values[v].tobytes(), int(v)), int(v)) for v in volumes]
        copies = [(a, b) for a, b in same if a != b and not _alike(series.acquisition, a, b)]
        if copies and (volumes is weighted or len(first) > 1):
            a, b = copies[0]
            more = f", and {len(copies) - 1} more like it" if len(copies) > 1 else ""
            yield f"volume {b} is a copy of volume {a}{more}: was the series put together twice?"


def _alike(acquisition: Acquisition, a: int, b: int) -> bool:
    """Whether two weighted volumes have the same direction, or none has one: data without noise may be equal."""
    g = acquisition.bvecs
    same = abs(g[a] @ g[b]) > 0.999 or not (g[a].any() or g[b].any())
    return bool(acquisition.bvals[a] > acquisition.b0_threshold and same)


def _saturated(series: _Series) -> Iterator[str]:
    sample = series.sample
    if sample.stored.kind not in "iu":
        return
    part = np.mean(sample.inside == sample.ceiling, axis=1)
    if part.max() > _SATURATED:
        yield (
            f"{_volumes(np.flatnonzero(part > _SATURATED))} up to {part.max():.1%} of their values at the largest "
            f"number that {sample.stored.name} has: the signal was cut off"
        )
    negative = np.mean(sample.usable < 0, axis=1).max()
    if sample.stored.kind == "i" and negative > _NEGATIVE:
        yield (
            f"up to {negative:.1%} of the values of a volume are negative: were larger numbers wrapped around in "
            f"{sample.stored.name}?"
        )


def _bright(series: _Series) -> Iterator[str]:
    """b = 0 volumes of unequal brightness."""
    f = series.brightness
    if len(f) < 2:
        return
    at = series.acquisition.shells[0].volumes
    line = np.polyfit(at, f, 1)
    about = f - np.polyval(line, at)
    change = line[0] * (len(series.acquisition.bvals) - 1) if len(f) >= 4 else 0.0
    spread = f.max() / f.min() - 1
    if abs(change) > _DRIFT and np.ptp(about) < abs(change) / 2:
        yield (
            f"the signal at b = 0 {'rises' if change > 0 else 'falls'} by {abs(change):.0%} over the series: correct "
            "this drift before fitting"
        )
    elif not spread < _SPREAD:
        yield (
            f"the b = 0 volumes differ by {spread:.0%} in brightness: is the gradient table in the order of the "
            "volumes, and were all of them acquired with one gain?"
        )


def _falling(series: _Series) -> Iterator[str]:
    """The mean signal falls with b, and ever more slowly: so does every sum of decaying exponentials."""
    b = np.array([shell.b for shell in series.acquisition.shells])
    signal = np.concatenate([[1.0], series.attenuation])
    for i in range(1, len(b)):
        if signal[i] > _RISES * signal[i - 1]:
            yield (
                f"the mean signal rises from {_b(b[i - 1])} to {_b(b[i])} s/mm² ({signal[i - 1]:.2f} to "
                f"{signal[i]:.2f} of S0): are b-values exchanged, or were the shells acquired with another gain?"
            )
            return
    rate = -np.diff(np.log(np.maximum(signal, 1e-6))) / np.diff(b)
    for i in range(1, len(rate)):
        clear = b[1] >= 0.5 and b[i + 1] <= _STALLS_TO and signal[i + 1] > _ABOVE_NOISE * np.nan_to_num(series.noise)
        if clear and rate[i] < _STALLS * rate[i - 1]:
            yield (
                f"the mean signal hardly falls from {_b(b[i])} to {_b(b[i + 1])} s/mm² ({signal[i]:.2f} to "
                f"{signal[i + 1]:.2f} of S0): were the shells acquired with another gain?"
            )
            return
        if rate[i] > _FALLS_FASTER * rate[i - 1]:
            yield (
                f"the mean signal falls faster above b = {_b(b[i])} s/mm² than below ({rate[i]:.2f} and "
                f"{rate[i - 1]:.2f} µm²/ms), which no tissue does: is a gain, an offset or a b-value wrong?"
            )
            return


def _b(b: float) -> str:
    return f"{1000 * b:.0f}"


def _diffusing(series: _Series) -> Iterator[str]:
    """The apparent diffusivity of the lowest shell is a living brain's."""
    first = series.acquisition.shells[1]
    if first.b < _FROM_B:
        return  # blood moves too
    rate = -np.log(max(series.attenuation[0], 1e-6)) / first.b
    slowest = _SLOWEST if first.b < _BEYOND else _SLOWEST_BEYOND
    if not slowest <= rate <= _FASTEST:
        kind = "slower" if rate < slowest else "faster"
        yield (
            f"water diffuses {kind} than in a living brain: {rate:.2g} µm²/ms at {_b(first.b)} s/mm², where 0.6 to 1.2 "
            "are usual: are the b-values right (b_unit=), or is this no living tissue?"
        )


def _masked(series: _Series) -> Iterator[str]:
    inside = series.b0.mean(axis=0)
    bright = np.percentile(inside, 90)
    dim = np.mean(inside < _DIM * bright)
    if dim > _BACKGROUND:
        yield f"{dim:.0%} of the voxels in the mask have next to no signal at b = 0: does the mask take in background?"
    outside = series.sample.outside
    if outside.shape[1] >= _FEW:
        level = np.nan_to_num(outside[series.acquisition.shells[0].volumes]).mean(axis=0)
        left = np.mean(level > 0.5 * np.median(inside)) * series.sample.ratio
        if left > _LEFT_OUT:
            yield (
                f"for each voxel in the mask {left:.1f} outside are as bright at b = 0: is it the mask of this series?"
            )


def _noisy(series: _Series) -> Iterator[str]:
    if not np.isfinite(series.noise) or series.noise == 0:
        return
    snr = 1 / series.noise
    if snr < _LEAST_SNR:
        yield f"the SNR at b = 0 is {snr:.1f}: estimates in single voxels mean little"
    if series.sigma is None:
        return
    expected = series.noise * np.median(series.b0.mean(axis=0))
    factor = np.median(series.sigma) / expected
    if not 1 / _SIGMA_FACTOR < factor < _SIGMA_FACTOR:
        yield (
            f"sigma= is {np.median(series.sigma):.3g}, but the b = 0 volumes scatter by {expected:.3g}: is it in the "
            "units of the series?"
        )


def _ordered(series: _Series) -> Iterator[str]:
    """The signals of a shell follow smooth functions of direction, where they depend on it at all."""
    for shell in series.acquisition.shells[1:]:
        f = _f_ratio(series, shell)
        if f is not None and f < _LEAST_F:
            yield (
                f"the signals at b = {_b(shell.b)} s/mm² do not follow the directions (F = {f:.2f}, where chance gives "
                "1): are the directions in the order of the volumes?"
            )
            return


def _f_ratio(series: _Series, shell: Shell) -> float | None:
    """Variance that low harmonics explain over what they leave, by degree of freedom; None if there is only noise."""
    n, k = len(shell.volumes), n_coefficients(_ORDER)
    if n < _DIRECTIONS or not series.noise > 0:
        return None
    mean = series.b0.mean(axis=0)
    y = series.sample.usable[shell.volumes] / mean
    y = y[:, (mean > _DIM * np.percentile(mean, 90)) & np.isfinite(y).all(axis=0)]
    y = y - y.mean(axis=0)
    variance = (y**2).sum(axis=0) / (n - 1)
    y = y[:, variance >= np.percentile(variance, 75)]  # fibres
    if variance.max(initial=0) == 0 or np.percentile(variance, 75) < 2 * series.noise**2:
        return None  # hardly a voxel knows of a direction
    basis = np.linalg.qr(even_harmonics(series.acquisition.bvecs[shell.volumes], _ORDER))[0]
    explained = ((basis.T @ y) ** 2).sum()
    return float((explained / (k - 1)) / (((y**2).sum() - explained) / (n - k)))


def _volumes(numbers: np.ndarray) -> str:
    """Names of volumes as the subject of a sentence, and the verb "have"."""
    if len(numbers) == 1:
        return f"volume {numbers[0]} has"
    named = ", ".join(map(str, numbers[:_NAMED])) + (", …" if len(numbers) > _NAMED else "")
    return f"{len(numbers)} volumes ({named}) have"


# The others compare shells, which must differ in b alone.
_OF_ANY_SETTING = (_empty, _copies, _saturated)
_TESTS: tuple[Callable[[_Series], Iterator[str]], ...] = (
    _empty,
    _copies,
    _saturated,
    _bright,
    _falling,
    _diffusing,
    _masked,
    _noisy,
    _ordered,
)
