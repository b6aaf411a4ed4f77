"""The kernel stage: a model fitted to spherical means, with a noise floor or gradient deviation corrected."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.background import Background
from ..acquisition.echoes import decay_of, decay_of_volumes, echoes_of
from ..batch.corrector import Corrector, Rows
from ..batch.fitters import KernelFitter
from ..batch.programs import Fits
from ..batch.runner import Compilation
from ..errors import JaxsmtWarning
from ..models.model import SphericalMeanModel
from ..models.priors import NormalPrior
from ..problems.corrections import L
from ..status import Status
from .inputs import Voxels, deviation_of, model_maps, require_linear, sigma_of
from .kernel_fits import KernelFits
from .misfit import misfit_of, residuals_of
from .noise_sources import NoiseSources
from .results import Fit
from .second import SecondSolution
from .settings import Settings
from .sigma import NoiseLevel, at_level, noise_or_before

# A kernel fit predicts the volumes, the volumes are corrected, and the kernel is fitted again. This is repeated so many
# times. If FODs follow, they predict the volumes better than the kernel stage does. So one correction is enough, unless
# σ or gradient deviations have to settle: more corrections do not make the error smaller.
_CORRECTIONS, _CORRECTIONS_BEFORE_FODS = 3, 1
# Many coils have a higher floor, and weak signals need more corrections: six leave a third of the bias of three.
_CORRECTIONS_OF_MANY_COILS = 6
# Part of the volumes that may be negative before a warning that they are not magnitudes.
_NEGATIVE = 0.01
_BLOCK = 16_384  # voxels whose predicted signals are in memory at once
# S0 over σ from which the misfit is found, and how often it is, where there is no earlier estimate.
_FIRST_SNR, _MISFITS = 30.0, 2


class KernelStage:
    """Fits a model to the spherical means of the voxels inside a mask; compiles once.

    Args:
        voxels: that are fitted. space: where these are, if it is not the same.
    Raises:
        InputError: invalid settings or maps, or an acquisition that cannot determine the model.
    """

    def __init__(
        self,
        model: SphericalMeanModel,
        acquisition: Acquisition,
        settings: Settings,
        voxels: Voxels,
        space: Voxels | None = None,
    ):
        self.model, self.acquisition, self.settings = model, acquisition, settings
        self.noise = settings.distribution
        require_linear(acquisition, settings)
        how: dict[str, Any] = {"dtype": settings.dtype, "device": settings.device}
        self._sigma, self._deviation = sigma_of(settings, voxels), deviation_of(settings, voxels)
        self.fitter = KernelFitter(
            model,
            acquisition,
            fit_s0=settings.s0 == "fit",
            weights=settings.weights,
            prior=NormalPrior.make(settings.prior, model),
            solver=settings.minimiser,
            **how,
        )
        self._maps = model_maps(model, self.fitter.maps, voxels)
        self._second = None
        if settings.second_solution:
            self._second = SecondSolution(model, acquisition, settings.s0 == "fit")
        self._corrector, self._sources = None, None
        if self.needs_volumes:
            self._corrector = Corrector(model.kernel, acquisition, self.noise, **how)
            if self._sigma is None:
                freedom = self._corrector.freedom, self._corrector.repeats
                self._sources = NoiseSources.make(*freedom, acquisition, settings, space or voxels)

    @property
    def corrects(self) -> bool:
        """Whether volumes are corrected, and not only their plain spherical means fitted."""
        return self.noise.magnitudes or self.settings.grad_dev is not None

    @property
    def needs_volumes(self) -> bool:
        """Whether spherical means alone are not enough."""
        return self.corrects or (self._uses_sigma and self._sigma is None)

    @property
    def footprint(self) -> tuple[int, int, int]:
        """How many numbers a voxel has, about: in results, while it is fitted, and for standard deviations."""
        shells, maps = len(self.acquisition.shells), len(self.model.names) + len(self.model.derived) + 4
        maps += 3 * (self._second is not None)
        fitted = 2 * maps + 4 * shells
        corrected = 2 * (len(L) + 2 * shells + 1) if self.corrects or self._by_misfit else 0
        return maps * (1 + self.settings.uncertainty), fitted + corrected, maps * (1 + self.n_effects)

    @property
    def _by_misfit(self) -> bool:
        """Whether σ can be estimated from nothing but the misfit of kernel and FOD."""
        return self._sources is not None and self._sources.by_misfit

    @property
    def estimates_sigma(self) -> bool:
        """Whether σ is estimated, so that it matters what is outside the mask."""
        return self._sources is not None

    @property
    def _uses_sigma(self) -> bool:
        return self.settings.uncertainty or self.fitter.prior is not None or self._second is not None

    @property
    def n_effects(self) -> int:
        """How many independent sources of error `Fit.effects` has: shells' means and the prior's means.

        0 without standard deviations.
        """
        priors = 0 if self.fitter.prior is None else len(self.fitter.prior.names)
        return len(self.acquisition.shells) + priors if self.settings.uncertainty else 0

    def of(self, part: slice) -> KernelStage:
        """This stage for a part of the voxels."""
        stage = copy.copy(self)
        stage._sigma = None if self._sigma is None else self._sigma[part]
        stage._deviation = None if self._deviation is None else self._deviation[part]
        stage._maps = [values[part] for values in self._maps]
        return stage

    def programs(self, second: bool = False) -> list[Compilation]:
        """The programs of a fit. second: `refit` will be called."""
        programs: list[Compilation] = [self.fitter.compile]
        if self._corrector is not None:
            programs += self._corrector.programs(
                sigma=self._sources is not None and self._sources.inside and not self._by_misfit,
                correct=self.corrects or self._by_misfit,
                floor=self.noise.magnitudes,
                deviation=self._deviation is not None,
                second=second,
                magnitudes=second and self._deviation is not None,
            )
        return programs

    def uncertainty_programs(self) -> list[Compilation]:
        """The program of standard deviations, if they are asked for."""
        return [self.fitter.compile_uncertainty] if self.settings.uncertainty else []

    def __call__(
        self,
        means: np.ndarray,
        rows: Rows | None,
        progress: Callable[[int], None] = lambda voxels: None,
        before_fods: bool = False,
        background: Background | None = None,
    ) -> KernelFits:
        """Fit.

        Args:
            means: (shells, voxels) plain spherical means. rows: the data, where `needs_volumes`.
            progress: told how many voxels are done. before_fods: FODs follow. background: outside the mask.
        Raises:
            InputError: σ can be estimated from nothing but a background that does not tell.
        """
        kernels = self._fit(means, rows, progress, before_fods, background)
        maps, status = kernels.fits.maps, np.asarray(kernels.fits.status)
        of_means = kernels.means if (decay := self._decay(kernels.means)) is None else kernels.means / decay.T
        residuals = residuals_of(self.model, self.acquisition, self.settings.s0 == "fit", maps, status, of_means)
        return replace(kernels, residuals=residuals, misfit=misfit_of(self.model, residuals, maps, status))

    def _fit(
        self,
        means: np.ndarray,
        rows: Rows | None,
        progress: Callable[[int], None],
        before_fods: bool,
        background: Background | None,
    ) -> KernelFits:
        """The fits, of the plain means or of those of corrected volumes."""
        given = self.acquisition.variances[:, None]
        variances = np.broadcast_to(given, means.shape) if self.settings.uncertainty else None
        if self._corrector is None:
            sigma = self._sigma
            if self.settings.sigma is not None and not self._uses_sigma:
                _warn(
                    "sigma= has no effect: the noise is Gaussian, and neither standard deviations nor a prior are "
                    "asked for"
                )
                sigma = None
            return KernelFits(self.fitter(means, progress, self._maps, sigma), means, variances, sigma)
        assert rows is not None
        noise = self._noise_of(means, rows, background)
        if self._sources is not None:
            self._sources.compare(noise, background)
        if not self.corrects:
            return KernelFits(self.fitter(means, progress, self._maps, noise.sigma), means, variances, *noise.facts)
        if self.noise.magnitudes:
            self._warn_of_negative(rows(slice(0, min(means.shape[1], _BLOCK))))
            means = self._corrector.signals_of_means(means, noise.sigma)
        return self._corrected(means, rows, noise, progress, before_fods)

    def _decay(self, means: np.ndarray) -> np.ndarray | None:
        """(voxels, shells) S0 of each shell's echo time over that of the shortest; None where S0 is one."""
        echoes = echoes_of(self.acquisition, self.model.kernel.relaxing)
        return decay_of(means.T, echoes) if echoes else None

    def _noise_of(self, means: np.ndarray, rows: Rows, background: Background | None) -> NoiseLevel:
        """σ that is given, or as it is estimated before anything is corrected."""
        assert self._corrector is not None
        sources, voxels = self._sources, means.shape[1]
        if sources is None:
            assert self._sigma is not None
            return NoiseLevel(self._sigma)
        if sources.uses(background):
            assert background is not None
            return sources.of_background(background, voxels)
        if sources.freedom:
            return sources.of_estimates(self._corrector.sigma(rows, voxels))
        noise, fod = NoiseLevel(np.where(means[0] > 0, means[0] / _FIRST_SNR, np.nan)), None
        for _ in range(_MISFITS):
            signals = self._corrector.signals_of_means(means, noise.sigma) if self.noise.magnitudes else means
            fits = self.fitter(signals, _silent, self._maps, noise.sigma)
            of = (rows, fits.maps, fits.maps["s0"], noise.sigma, self._deviation, voxels)
            corrected = self._corrector(*of, fod=fod, with_sigma=True, decay=self._decay(means))
            fod, noise = corrected.fod, sources.of_misfits(corrected.sigma)
        return noise

    def _corrected(
        self, means: np.ndarray, rows: Rows, noise: NoiseLevel, progress: Callable[[int], None], before_fods: bool
    ) -> KernelFits:
        """Correct the volumes and fit again, several times."""
        assert self._corrector is not None
        before, fod, variances, decay = noise, None, None, self._decay(means)
        sources = self._sources if self._sources is not None and self._sources.misfit_improves(noise) else None
        first = fits = self.fitter(means, _silent, self._maps, noise.sigma)
        for following in reversed(range(self._corrections(noise, before_fods))):
            last = following == 0
            corrected = self._corrector(
                rows,
                fits.maps,
                fits.maps["s0"],
                noise.sigma,
                self._deviation,
                len(noise.sigma),
                fod=fod,
                with_sigma=sources is not None and not last,
                decay=decay,
            )
            fod = corrected.fod
            if sources is not None and not last:
                misfit = at_level(corrected.sigma, before.sigma) if self._many_coils else corrected.sigma
                noise = noise_or_before(sources.of_misfits(misfit), before)
            if last and self.settings.uncertainty:
                variances = np.ascontiguousarray(corrected.variances.T)
            means = np.ascontiguousarray(corrected.means.T)
            fits = self.fitter(means, progress if last else _silent, self._maps, noise.sigma)
        # Where the data are not finite nothing is predicted: such a voxel keeps the first fit's status.
        status = np.where(np.asarray(first.status) == Status.NON_FINITE, Status.NON_FINITE, fits.status)
        return KernelFits(fits._replace(status=status.astype(np.uint8)), means, variances, *noise.facts)

    @property
    def _many_coils(self) -> bool:
        return self.noise.channels > 2

    def _corrections(self, noise: NoiseLevel, before_fods: bool) -> int:
        """How many times volumes are corrected and kernels fitted again."""
        if self._many_coils:
            return _CORRECTIONS_OF_MANY_COILS
        settled = self._deviation is None and noise.source is None
        return _CORRECTIONS_BEFORE_FODS if before_fods and settled else _CORRECTIONS

    def refit(self, kernels: KernelFits, rows: Rows, predicted: Rows, chosen: np.ndarray) -> KernelFits:
        """Fit the kernels once more, to the means of the real parts that are expected under the FODs' prediction.

        Args:
            kernels: of the first fit. predicted: `(slice) -> (voxels, volumes)`, the FODs' signals at the nominal
                gradients. chosen: (voxels,) which have a FOD; the others stay as they are.
        """
        sigma, corrector = kernels.sigma, self._corrector
        assert corrector is not None
        assert sigma is not None
        means = np.zeros((len(self.acquisition.shells), len(sigma)))
        variances = np.ones_like(means)
        for i in range(0, len(sigma), _BLOCK):
            block = slice(i, min(i + _BLOCK, len(sigma)))
            decay = self._decay(kernels.means[:, block])
            data = self._at_nominal_gradients(kernels.fits, rows, sigma, block, decay)
            signals = predicted(block)
            if decay is not None:
                signals = signals * decay_of_volumes(self.acquisition, decay)
            means[:, block], variances[:, block] = corrector.means(data, signals, sigma[block])
        fresh = self.fitter(means, _silent, self._maps, sigma)

        def choose(new: np.ndarray, old: np.ndarray) -> np.ndarray:
            return np.where(chosen.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return replace(
            kernels,
            fits=jax.tree.map(choose, fresh, kernels.fits),
            means=np.where(chosen, means, kernels.means),
            variances=None if kernels.variances is None else np.where(chosen, variances, kernels.variances),
        )

    def _at_nominal_gradients(
        self, fits: Fits, rows: Rows, sigma: np.ndarray, block: slice, decay: np.ndarray | None
    ) -> np.ndarray:
        """(voxels, volumes) magnitudes of a block, as they would be without gradient deviation."""
        if self._deviation is None:
            return rows(block)
        assert self._corrector is not None
        maps = {name: values[block] for name, values in fits.maps.items()}

        def shifted(part: slice) -> np.ndarray:
            return rows(slice(part.start + block.start, part.stop + block.start))

        voxels = block.stop - block.start
        of = (shifted, maps, maps["s0"], sigma[block], self._deviation[block], voxels)
        return self._corrector.magnitudes(*of, decay=decay)

    def result(self, kernels: KernelFits, final: bool = True) -> Fit:
        """The fits, arrays (voxels,); with standard deviations, if they are asked for and the fits are final."""
        fits = kernels.fits
        uncertainty: Any = (None, None, None)
        if final and kernels.variances is not None:
            assert kernels.sigma is not None
            uncertainty = self.fitter.uncertainty(fits, kernels.means, self._maps, kernels.sigma, kernels.variances)
        sd, shrinkage, effects = uncertainty
        second = None
        if self._second is not None and final:
            assert kernels.sigma is not None
            second = self._second(fits.maps, np.asarray(fits.status), kernels.means, kernels.sigma)
        names = (*self.model.names, *(link.target for link in self.model.derived), "s0")
        return Fit(
            model=self.model,
            acquisition=self.acquisition,
            settings=self.settings,
            parameters={name: fits.maps[name] for name in self.model.names},
            derived={link.target: fits.maps[link.target] for link in self.model.derived},
            s0=fits.maps["s0"],
            quality={name: values for name, values in fits.maps.items() if name not in names},
            status=fits.status,
            sigma=kernels.sigma,
            sigma_error=kernels.sigma_error,
            sigma_from=kernels.sigma_from,
            residuals=kernels.residuals,
            misfit=kernels.misfit,
            second=second,
            sd=sd,
            shrinkage=shrinkage,
            effects=effects,
        )

    def _warn_of_negative(self, data: np.ndarray) -> None:
        with np.errstate(invalid="ignore"):
            negative = np.mean(data < 0)
        if negative > _NEGATIVE:
            _warn(
                f"{negative:.1%} of the values are negative, which magnitudes never are; with {self.noise.name} noise "
                "they count as 0"
            )


def _silent(voxels: int) -> None:
    """Progress of a fit that is not the last."""


_warn = partial(warnings.warn, category=JaxsmtWarning, stacklevel=4)
