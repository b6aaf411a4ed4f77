"""Kernel fits of data as they are measured: with a noise floor, at gradients that deviate from the scheme."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from ..batch.engine import IdealMeans, MeansFitter
from ..batch.fits import VoxelFits
from ..errors import InputError, JaxsmtWarning
from ..files import masks
from ..physics.noise import expected_real, information, signal_of_mean
from ..status import Status

# Times that means are expected from a fit, and fitted again. Before FODs let them be expected better once is enough, if
# neither σ nor deviations have to settle: more often leaves no smaller error.
_PASSES, _PASSES_BEFORE_FODS = 3, 1
# Fewest voxels whose σ are drawn to their median.
_FEW_VOXELS = 30
# Part of the volumes that may be negative before magnitudes are doubted.
_NEGATIVE = 0.01
_BLOCK = 65_536  # voxels whose expectations are in memory at once
# Least degrees of freedom with which σ is estimated in every voxel.
_FREEDOM = 10

Signal = Callable[[slice], np.ndarray]
Order = Literal["C", "F"]


@dataclass(frozen=True)
class Conditions:
    """How data were measured, and what shall be known of it.

    Attributes:
        rician: magnitudes with Rician noise; else the noise is Gaussian.
        sigma: of one volume, in units of the data: a number, a map (...), or "auto", estimated where it is needed.
        grad_dev: (..., 3, 3) L of gradients (I + L)g in the axes of the directions, or None.
        uncertainty: whether standard deviations are wanted.
    """

    rician: bool = False
    sigma: Any = "auto"
    grad_dev: np.ndarray | None = None
    uncertainty: bool = False

    @property
    def ideal(self) -> bool:
        """Whether plain spherical means are what is fitted."""
        return not self.rician and self.grad_dev is None

    def needs_volumes(self, prior: bool) -> bool:
        """Whether spherical means alone are not enough."""
        return not self.ideal or (isinstance(self.sigma, str) and (self.uncertainty or prior))

    def sigmas(self, inside: np.ndarray, order: Order = "C") -> np.ndarray | None:
        """(voxels,) σ inside a mask, None if it has to be estimated.

        Raises:
            InputError: it is not finite and positive, or has another shape.
        """
        if isinstance(self.sigma, str):
            return None
        sigma = np.asarray(self.sigma, float)
        if sigma.ndim and sigma.shape != inside.shape:
            raise InputError(f"sigma of shape {sigma.shape} for data of {inside.shape}", fix="shapes must agree")
        sigma = masks.take(np.broadcast_to(sigma, inside.shape), inside, order)
        bad = np.count_nonzero(~(np.isfinite(sigma) & (sigma > 0)))
        if bad:
            raise InputError(f"sigma is not positive and finite in {bad} voxels", fix="give the noise of one volume")
        return sigma

    def deviations(self, inside: np.ndarray, order: Order = "C") -> np.ndarray | None:
        """(voxels, 3, 3) L inside a mask.

        Raises:
            InputError: wrong shape, values that are not finite or too large to be a gradient deviation.
        """
        if self.grad_dev is None:
            return None
        shape = (*inside.shape, 3, 3)
        if self.grad_dev.shape != shape:
            raise InputError(f"grad_dev of shape {self.grad_dev.shape}", fix=f"{shape}, L of gradients (I + L)g")
        own = masks.take(self.grad_dev, inside, order)
        if not np.isfinite(own).all() or np.abs(own).max(initial=0) > 0.5:
            raise InputError(
                f"grad_dev has values up to {np.abs(own).max():.3g} inside the mask", fix="L of g' = (I + L)g is small"
            )
        return own


@dataclass(frozen=True)
class Found:
    """Fits, σ (voxels,) if it is known or was estimated, its relative error, and where volumes are expected from."""

    fits: VoxelFits
    sigma: np.ndarray | None = None
    accuracy: float | None = None


def pooled(sigma: Any, freedom: int) -> tuple[np.ndarray, float]:
    """Estimates of σ in every voxel, drawn to their median as far as their spread is only that of estimates.

    log σ varies between voxels by τ² + 1/(2ν); what is left of τ² by the median absolute deviation decides.

    Returns:
        (voxels,), and their relative standard error, without bias of the method: near 1/√(2ν) where σ differs from
        voxel to voxel, near 0 where it is the same everywhere.
    """
    good = np.isfinite(sigma) & (sigma > 0)
    own, n = 1 / (2 * freedom), int(good.sum())
    if n < _FEW_VOXELS:  # too few to tell
        return np.where(good, sigma, np.nan), own**0.5
    logs = np.log(sigma[good])
    centre = np.median(logs)
    between = max((1.4826 * np.median(np.abs(logs - centre))) ** 2 - own, 0.0)
    part = between / (between + own)
    out = np.full(sigma.shape, np.exp(centre))
    out[good] = np.exp(centre + part * (logs - centre))
    of_median = np.pi / 2 * (own + between) / n
    return out, float(np.sqrt(part**2 * own + (1 - part) ** 2 * of_median + part * (1 - part) * own))


def expected_means(
    data: np.ndarray, predicted: np.ndarray, sigma: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(shells, voxels) means of expected real parts, and their variances over σ².

    Args:
        data, predicted: (voxels, volumes) magnitudes and signals. weights: (shells, volumes) of the means.
    """
    m, x = (np.asarray(np.maximum(v, 0) / sigma[:, None], np.float32) for v in (data, predicted))
    real, told = (np.asarray(values, float).T for values in _expected(m, x))
    squares = weights**2
    with np.errstate(divide="ignore"):  # magnitudes of no signal tell nothing of it
        factors = squares.sum(axis=1)[:, None] ** 2 / (squares @ told)
    return sigma * (weights @ real), factors


@jax.jit
def _expected(m: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return expected_real(m, x), information(x)


_without_floor = jax.jit(signal_of_mean)


def _shifted(signal: Signal, start: int, part: slice) -> np.ndarray:
    return signal(slice(part.start + start, part.stop + start))


class ConditionsFitter:
    """Fits a model to spherical means under conditions; compiles once.

    Args:
        fitter: of ideal means. options: dtype and device, as of `engine.IdealMeans`.
    """

    def __init__(self, fitter: MeansFitter, conditions: Conditions, **options):
        self.fitter, self.conditions = fitter, conditions
        acquisition = fitter.acquisition
        self._expect = None
        if conditions.needs_volumes(fitter.prior is not None):
            self._expect = IdealMeans(fitter.model.kernel, acquisition, rician=conditions.rician, **options)
            if isinstance(conditions.sigma, str) and self._expect.freedom < _FREEDOM:
                raise InputError(
                    f"sigma cannot be estimated: {self._expect.freedom} degrees of freedom are left by smooth signals",
                    fix="--sigma with a number or a map",
                )

    def compile(self) -> None:
        """Compile now, so that the first call does not wait for it."""
        c, acquisition = self.conditions, self.fitter.acquisition
        wanted = [c.uncertainty] if c.ideal else [False, c.uncertainty]
        for uncertainty in dict.fromkeys(wanted):
            self.fitter.compile(uncertainty, sigma=not c.ideal)
        if self._expect is None:
            return
        if isinstance(c.sigma, str):
            self._expect.sigma(lambda part: np.ones((1, acquisition.bvals.size))[part], 1)
        if not c.ideal:
            self._expect.compile(deviation=c.grad_dev is not None)

    def __call__(
        self,
        means: np.ndarray,
        signal: Signal | None,
        inside: np.ndarray,
        order: Order = "C",
        progress: Callable[[int], None] = lambda voxels: None,
        before_fods: bool = False,
    ) -> Found:
        """Fit the voxels inside a mask.

        Args:
            means: (shells, voxels) plain spherical means.
            signal: `(slice) -> (voxels, volumes)`, where conditions need it. before_fods: `again` will follow.
        Raises:
            InputError: maps in the model, σ or deviations of another shape, or that cannot be.
        """
        given = self._maps(inside, order)
        c, voxels = self.conditions, means.shape[1]
        sigma, deviation = c.sigmas(inside, order), c.deviations(inside, order)
        factors = np.broadcast_to(self.fitter.acquisition.variances[:, None], means.shape) if c.uncertainty else None
        if self._expect is None:
            if sigma is not None and not (c.uncertainty or self.fitter.prior is not None):
                warnings.warn(
                    "sigma has no effect here: noise is Gaussian, and neither uncertainties nor a prior are asked for",
                    JaxsmtWarning,
                    stacklevel=3,
                )
            needed = sigma if c.uncertainty or self.fitter.prior is not None else None
            return Found(self.fitter(means, progress, given, needed, factors), needed)
        assert signal is not None
        accuracy, estimated = None, sigma is None
        if sigma is None:
            sigma, accuracy = pooled(self._expect.sigma(signal, voxels), self._expect.freedom)
        if c.ideal:
            return Found(self.fitter(means, progress, given, sigma, factors), sigma, accuracy)
        if c.rician:
            few = signal(slice(0, min(voxels, _BLOCK)))
            with np.errstate(invalid="ignore"):
                negative = np.mean(few < 0)
            if negative > _NEGATIVE:
                warnings.warn(
                    f"{negative:.1%} of the values are negative, which magnitudes never are; --noise rician takes them "
                    "for 0",
                    JaxsmtWarning,
                    stacklevel=3,
                )
            means = sigma * np.asarray(_without_floor(np.asarray(means / sigma, np.float32)))
        first = fits = self.fitter(means, lambda voxels: None, given, sigma)
        passes = _PASSES_BEFORE_FODS if before_fods and deviation is None and not estimated else _PASSES
        for nth in range(passes):
            expected = self._expect(signal, fits.parameters, fits.s0, sigma, deviation, voxels)
            last = nth == passes - 1
            if estimated and not last:
                sigma, accuracy = pooled(expected.sigma, self._freedom)
            factors = np.ascontiguousarray(expected.factors.T) if c.uncertainty and last else None
            quiet = progress if last else (lambda voxels: None)
            fits = self.fitter(np.ascontiguousarray(expected.means.T), quiet, given, sigma, factors)
        # Of what is not finite nothing is expected.
        status = np.where(np.asarray(first.status) == Status.NON_FINITE, Status.NON_FINITE, fits.status)
        told: Any = status.astype(np.uint8)
        return Found(fits._replace(status=told), sigma, accuracy)

    def again(
        self,
        found: Found,
        signal: Signal,
        predicted: Signal,
        chosen: np.ndarray,
        inside: np.ndarray,
        order: Order = "C",
    ) -> Found:
        """A second pass under Rician noise: fit means of the real parts that `predicted` signals let expect.

        Args:
            found: of the first pass. predicted: `(slice) -> (voxels, volumes)` at the gradients that were meant, by
                FODs. chosen: (voxels,) which have one; the others stay as they are.
        """
        sigma, deviation = found.sigma, self.conditions.deviations(inside, order)
        assert self._expect is not None
        assert sigma is not None
        fits, acquisition = found.fits, self.fitter.acquisition
        means = np.zeros((len(acquisition.shells), len(sigma)))
        factors = np.ones_like(means)
        for i in range(0, len(sigma), _BLOCK):
            part = slice(i, min(i + _BLOCK, len(sigma)))
            s = sigma[part]
            if deviation is None:
                data = signal(part)
            else:
                kernels = {name: values[part] for name, values in fits.parameters.items()}
                own = partial(_shifted, signal, i)
                expected = self._expect(own, kernels, fits.s0[part], s, deviation[part], len(s), magnitudes=True)
                data = np.asarray(expected.magnitude)
            with jax.default_device(self.fitter.device):
                means[:, part], factors[:, part] = expected_means(data, predicted(part), s, acquisition.weights)
        uncertain = factors if self.conditions.uncertainty else None
        fresh = self.fitter(means, lambda voxels: None, self._maps(inside, order), sigma, uncertain)

        def choose(new: np.ndarray, old: np.ndarray) -> np.ndarray:
            return np.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return Found(jax.tree.map(choose, fresh, fits), sigma, found.accuracy)

    def _maps(self, inside: np.ndarray, order: Order) -> list[np.ndarray]:
        """The model's maps inside a mask."""
        for values in self.fitter.maps:
            if values.shape != inside.shape:
                fact = f"a map of shape {values.shape} in the model for data of {inside.shape}"
                raise InputError(fact, fix="shapes must agree")
        self.fitter.model.space.check(inside)
        return [masks.take(values, inside, order) for values in self.fitter.maps]

    @property
    def _freedom(self) -> int:
        """Degrees of freedom about a kernel and a FOD of free harmonics."""
        return max(self.fitter.acquisition.bvals.size - 30, _FREEDOM)
