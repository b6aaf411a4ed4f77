"""What σ is estimated from where it is not given, and how the estimates of the voxels become σ."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.background import Background
from ..errors import InputError, JaxsmtWarning
from .inputs import Voxels
from .settings import BACKGROUND, SMOOTH, Settings
from .sigma import MISFIT, OUTSIDE, REPEATS, RESIDUALS, NoiseLevel, error_of_median, pooled
from .sigma_in_space import smoothed

#: Parameters that a kernel and a FOD of free harmonics take from the data, at most: 3 and 27.
PARAMETERS = 30
# Degrees of freedom from which on the misfit of kernel and FOD is relied on where something else tells as well.
_ENOUGH = 10
# How many times the noise inside may be that of the background, or the other way round, before that is told.
_UNLIKE = 1.5


@dataclass(frozen=True)
class NoiseSources:
    """What can tell σ.

    Attributes:
        freedom: degrees of freedom of b = 0 and smooth signals in each voxel.
        repeats: whether these are of b = 0 alone.
        of_misfit: degrees of freedom of the misfit of kernel and FOD. outside: whether there are voxels outside.
        asked: "smooth" or "background", if the user asks for that.
        space: where the voxels are, for σ that is smooth there.
    """

    freedom: int
    repeats: bool
    of_misfit: int
    outside: bool
    asked: str | None = None
    space: Voxels | None = None

    @classmethod
    def make(
        cls, freedom: int, repeats: bool, acquisition: Acquisition, settings: Settings, space: Voxels
    ) -> NoiseSources:
        """The sources that an acquisition has.

        Args:
            freedom, repeats: as the attributes. space: where the voxels are.
        Raises:
            InputError: there are none, or they cannot do what the user asks for.
        """
        volumes, outside = acquisition.bvals.size, bool(np.any(~space.inside))
        asked = settings.sigma if isinstance(settings.sigma, str) else None
        if asked == SMOOTH and space.inside.ndim not in (2, 3):
            raise InputError(
                f"sigma='smooth' for voxels of shape {space.inside.shape}, whose places are not known",
                fix="give data of shape (x, y, z, volumes)",
            )
        if asked == BACKGROUND and not outside:
            raise InputError(
                "sigma='background' without a voxel outside the mask", fix="give a mask, or another sigma="
            )
        sources = cls(
            freedom, repeats, max(volumes - PARAMETERS, 0), outside, asked, space if asked == SMOOTH else None
        )
        if max(freedom, sources.of_misfit) < 1:
            fact = (
                f"sigma cannot be estimated from {volumes} volumes: b = 0 is not repeated, no shell has enough "
                f"directions, and kernel and FOD take {PARAMETERS} parameters"
            )
            if not outside:
                raise InputError(fact, fix="give sigma= a number or a map, or add volumes at b = 0")
            if asked != BACKGROUND:
                _warn(f"{fact}; it is taken from the background outside the mask, if that is noise alone")
        return sources

    @property
    def inside(self) -> bool:
        """Whether something inside the mask may tell."""
        return self.asked != BACKGROUND and self.inside_tells

    @property
    def by_misfit(self) -> bool:
        """Whether nothing inside the mask tells but the misfit of kernel and FOD."""
        return self.inside and not self.freedom

    def uses(self, background: Background | None) -> bool:
        """Whether σ is that of the background: it is asked for, or hardly anything else tells.

        Raises:
            InputError: nothing else tells, and the background does not.
        """
        known = background is not None and background.sigma is not None
        if not self.inside:
            if not known:
                why = "is not known" if background is None else f"cannot be used: {background.why}"
                raise InputError(
                    f"sigma cannot be estimated: the background outside the mask {why}",
                    fix="give sigma= a number or a map" + (", or leave it out" if self.inside_tells else ""),
                )
            return True
        return known and not self.freedom and self.of_misfit < _ENOUGH

    @property
    def inside_tells(self) -> bool:
        """Whether something inside the mask would tell if it were asked."""
        return max(self.freedom, self.of_misfit) > 0

    def misfit_improves(self, level: NoiseLevel) -> bool:
        """Whether the misfit under a fitted kernel tells σ better than this level, which was estimated before.

        A misfit that has hardly any degrees of freedom cannot improve on what smooth signals leave.
        """
        if level.source in (RESIDUALS, REPEATS):
            return self.of_misfit >= _ENOUGH
        return level.source == MISFIT

    def of_background(self, background: Background, voxels: int) -> NoiseLevel:
        """σ of the background in all voxels. voxels: their number."""
        assert background.sigma is not None
        return NoiseLevel(np.full(voxels, background.sigma), background.error, OUTSIDE, background.error)

    def of_estimates(self, sigma: np.ndarray) -> NoiseLevel:
        """σ of the voxels from what b = 0 and smooth signals leave in each, (voxels,)."""
        return self._pooled(sigma, self.freedom, REPEATS if self.repeats else RESIDUALS)

    def of_misfits(self, sigma: np.ndarray) -> NoiseLevel:
        """σ of the voxels from the misfit in each, (voxels,).

        Structure that the free harmonics cannot follow counts as noise. Up to SNR 60 that makes σ too large by less
        than 1/√ν, which is told where no other estimate shows that it is not so.
        """
        level = self._pooled(sigma, self.of_misfit, MISFIT)
        assert level.error is not None
        error = float(np.hypot(level.error, self.of_misfit**-0.5)) if self.by_misfit else level.error
        return level._replace(error=error)

    def _pooled(self, sigma: np.ndarray, freedom: int, source: str) -> NoiseLevel:
        of_median = error_of_median(sigma, freedom)
        if self.space is None:
            return NoiseLevel(*pooled(sigma, freedom), source, of_median)
        level, error, sd = smoothed(sigma, freedom, self.space)
        return NoiseLevel(level, error, source, of_median, f", smooth over {sd:.1f} voxels")

    def compare(self, level: NoiseLevel, background: Background | None) -> None:
        """Warn where the noise inside is unlike that of a background which is noise alone.

        Args:
            level: that was estimated. background: of the series.
        """
        finite = level.sigma[np.isfinite(level.sigma)]
        if background is None or background.sigma is None or level.source in (None, OUTSIDE) or not finite.size:
            return
        middle = float(np.median(finite))
        most = _UNLIKE * (1 + 2 * background.error)
        if not 1 / most < middle / background.sigma < most:
            _warn(
                f"sigma is {middle:.3g} from {level.source}, but {background.sigma:.3g} from the background outside "
                "the mask, which is noise alone: noise differs in space where coils are combined or parallel imaging "
                "is used; else the series was filtered, or the model does not fit"
            )


def _warn(text: str) -> None:
    warnings.warn(text, JaxsmtWarning, stacklevel=5)
