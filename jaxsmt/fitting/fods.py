"""The FOD stage: lobes fitted under the kernels of a fit."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import decay_of, decay_of_volumes, echoes_of
from ..acquisition.shells import Pulse, Shell, pulses_of_fit
from ..batch.corrector import Corrector, Rows
from ..batch.fitters import FodFitter
from ..batch.predictions import predicted_anisotropies, predicted_means
from ..batch.programs import Fits
from ..batch.runner import Compilation
from ..errors import JaxsmtWarning
from ..models.model import SphericalMeanModel
from ..physics.compartments import LEAST_ANISOTROPY
from ..physics.convolution import ORDER_MAX, order_needed
from ..physics.densities.base import Density
from ..problems.fods import UNCERTAIN
from ..problems.lobes import Lobes
from ..status import FITTED, Status
from .best_fods import BestFods
from .fod_results import FodFit
from .inputs import Voxels, deviation_of, require_linear
from .results import Fit, FodModel
from .settings import Settings

_LARGEST = 1e6  # signal over S0; beyond it S0 is next to nothing
_BLOCK = 8192  # voxels whose signals are looked at together
_SCATTERED = 0.02  # how far b-values may be from the mean of their shell, over it

#: Where the searches ended: (voxels inside, numbers of a point) of each number of lobes; NaN where it was not tried.
Points = list[np.ndarray]

#: `progress(share)`: how much of the work is done, from 0 to 1.
Progress = Callable[[float], None]


def orders_of(model: SphericalMeanModel, density: Density, pulses: Sequence[Pulse]) -> tuple[int, ...]:
    """The order at which each shell's signal may be cut, whatever the parameters are."""
    narrowest = density.bound(ORDER_MAX)
    return tuple(order_needed(model.extreme_moments(pulse), narrowest) for pulse in pulses)


class FodStage:
    """Fits lobes in the voxels inside a mask; compiles once for each number of lobes.

    Args:
        model: its kernels are fitted already, or will be. settings: those of the kernels' fit.
    Raises:
        InputError: too few shells, or invalid settings.
    """

    def __init__(self, model: FodModel, acquisition: Acquisition, settings: Settings, voxels: Voxels):
        acquisition.require(shells=1, model=model.spherical.name)
        require_linear(acquisition, settings)
        self.model, self.acquisition, self.settings = model, acquisition, settings
        self.noise = settings.distribution
        kernel = model.spherical.kernel
        self._zeros = [shell for shell in acquisition.shells if shell.zero]
        shells = [shell for shell in acquisition.shells if not shell.zero]
        self._volumes = np.concatenate([shell.volumes for shell in shells])
        _warn_of_scattered(acquisition, shells)
        pulses = [shell.pulse for shell in shells]
        kernel.require(pulses)
        self._echoes = echoes_of(acquisition, kernel.relaxing)
        directions = [acquisition.bvecs[shell.volumes] for shell in shells]
        orders = orders_of(model.spherical, model.family, pulses)
        how: dict[str, Any] = {"dtype": settings.dtype, "device": settings.device}
        self._fitters = [
            FodFitter(
                Lobes(model.family, count, orders, self.noise),
                kernel,
                pulses,
                directions,
                decaying=bool(self._echoes),
                solver=settings.minimiser,
                **how,
            )
            for count in model.counts
        ]
        self.dtype, self.device = self._fitters[0].dtype, self._fitters[0].device
        self._deviation = deviation_of(settings, voxels)
        self._corrector = None
        if self._deviation is not None:
            self._corrector = Corrector(kernel, acquisition, self.noise, **how)

    def of(self, part: slice) -> FodStage:
        """This stage for a part of the voxels."""
        stage = copy.copy(self)
        stage._deviation = None if self._deviation is None else self._deviation[part]
        return stage

    @property
    def footprint(self) -> tuple[int, int]:
        """How many numbers a voxel has, about: in results, and while it is fitted."""
        lobes = self._fitters[-1].lobes
        results = lobes.count * (4 + 3 * lobes.density.axes + len(UNCERTAIN) * self.settings.uncertainty) + 4
        points = sum(fitter.lobes.point for fitter in self._fitters)
        return results, 3 * results + 4 * points + 16

    def programs(self) -> list[Compilation]:
        """The programs of a fit, those that take longest to compile first."""
        programs: list[Compilation] = [
            partial(fitter.compile, fitter is not self._fitters[0]) for fitter in reversed(self._fitters)
        ]
        if self._corrector is not None:
            programs += self._corrector.programs(magnitudes=True)
        return programs

    def uncertainty_programs(self, effects: int) -> list[Compilation]:
        """The programs of standard deviations, if they are asked for. effects: how many `Fit.effects` will have."""
        if not self.settings.uncertainty:
            return []
        return [partial(fitter.compile_uncertainty, effects) for fitter in reversed(self._fitters)]

    def __call__(
        self,
        kernels: Fit,
        rows: Rows,
        progress: Progress = lambda share: None,
        final: bool = True,
        earlier: Points | None = None,
    ) -> tuple[FodFit, Points]:
        """Fit.

        Args:
            kernels: of these voxels, arrays (voxels,). rows: the data, in the units of the kernels' S0.
            final: standard deviations are of use.
            earlier: points of an earlier call with nearly the same kernels, from which the searches then start.
        """
        data = _Data(self, kernels, rows)
        with_sd = final and kernels.effects is not None
        keep_points = with_sd or not final  # not final: for the second pass
        inside, stages, compares = len(data.status), len(self._fitters), len(self._fitters) > 1
        points = [np.full((inside, f.lobes.point), np.nan, self.dtype) for f in self._fitters] if keep_points else []
        best = BestFods(data.status.copy(), self._fitters[-1].lobes, self.dtype)
        todo = np.flatnonzero(np.isin(best.status, FITTED))
        for nth, fitter in enumerate(self._fitters):
            if not len(todo):
                break
            first, size = nth == 0, fitter.lobes.size
            tell = _told(progress, nth / stages, 1 / (stages * len(todo)))
            worth = None if first else data.worth(todo, best.criterion[todo], size)
            fits = data.fit(fitter, todo, tell, worth, None if earlier is None else earlier[nth][todo])
            if keep_points:
                points[nth][todo] = fits.x
            criterion = data.criterion(todo, fits.maps["cost"], size)
            if first:  # a uniform FOD is where directions have no meaning; elsewhere it competes, as no lobe does
                directed = data.directed(todo)
                if compares or not directed.all():
                    best.put_uniform(todo, data.criterion(todo, fits.maps["uniform_cost"], 0), fits, ~directed)
                better = directed & (criterion < best.criterion[todo]) if compares else directed
                further = directed  # two lobes are tried wherever one is, as one may not pay where two do
            else:
                better = further = criterion < best.criterion[todo]  # a third lobe only where a second pays
            best.put(todo[better], criterion[better], fits, better)
            todo = todo[further]
        progress(1.0)  # nothing may have been left for the last numbers of lobes
        if with_sd:
            best.sd = self._uncertainty(kernels, best, points, data)
        return self._assemble(kernels, best, data), points

    def _uncertainty(self, kernels: Fit, best: BestFods, points: Points, data: _Data) -> dict[str, np.ndarray]:
        """Standard deviations of the best lobes, NaN where there are none."""
        sd = {name: np.full(best.maps["weight"].shape, np.nan, self.dtype) for name in UNCERTAIN}
        for fitter, of_fitter in zip(self._fitters, points, strict=True):
            count = fitter.lobes.count
            for values in sd.values():
                values[best.lobes == count, count:] = 0
            chosen = np.flatnonzero((best.lobes == count) & (best.status == Status.CONVERGED))
            if len(chosen):
                of_chosen = data.uncertainty(fitter, chosen, of_fitter[chosen], kernels)
                for name, values in sd.items():
                    values[chosen, :count] = of_chosen[name]
        # A kernel that is not CONVERGED has no error that lobes could take over; a direction depends little on it.
        for name in set(sd) - {"direction"}:
            sd[name][kernels.status != Status.CONVERGED] = np.nan
        return sd

    def _assemble(self, kernels: Fit, best: BestFods, data: _Data) -> FodFit:
        fitted = np.isin(best.status, FITTED)

        def clear(values: np.ndarray) -> np.ndarray:
            return np.where(fitted.reshape(-1, *[1] * (values.ndim - 1)), values, 0)

        squares, n = best.squares + data.at_zero, data.volumes
        r2 = 1 - squares / np.where(data.total > 0, data.total, 1)
        return FodFit(
            model=FodModel(kernels, self.model.family, self.model.n_fibres),
            parameters={name: clear(values) for name, values in best.maps.items()},
            n_fibres=clear(best.lobes),
            quality={"mse": clear((squares / n).astype(self.dtype)), "r2": clear(r2.astype(self.dtype))},
            status=best.status,
            acquisition=self.acquisition,
            axes=self.acquisition.axes,
            device=self.device,
            sd=best.sd,
        )


def _warn_of_scattered(acquisition: Acquisition, shells: Sequence[Shell]) -> None:
    """Warn of shells whose b-values differ: a convolution has one b."""
    for shell in shells:
        off = np.abs(1e-3 * acquisition.bvals[shell.volumes] / shell.b - 1).max()
        if off > _SCATTERED:
            warnings.warn(
                f"b-values differ by up to {off:.1%} from the mean of their shell, b = {1000 * shell.b:.0f} s/mm²: "
                "FODs take the mean, by which concentrations can be several percent and directions a degree off",
                JaxsmtWarning,
                stacklevel=5,
            )
            return


class _Data:
    """What a FOD fit reads of the voxels inside the mask.

    Attributes:
        status: of the kernels; of voxels whose data cannot be used, why. volumes: how many there are.
        at_zero, total: squared residual at b = 0 and total variation of the signal over S0, (voxels,).
    """

    def __init__(self, stage: FodStage, kernels: Fit, rows: Rows):
        self._stage = stage
        self._measured_rows = self._rows = rows
        self._s0 = kernels.s0
        self._kernel = {name: kernels.parameters[name] for name in kernels.model.kernel.names}
        self._sigma = kernels.sigma
        self.status = kernels.status.copy()
        self.volumes = sum(len(shell.volumes) for shell in stage._zeros) + len(stage._volumes)
        self._decay = self._measured_decay()
        self.at_zero, self.total = self._measure(kernels)
        if stage._corrector is not None:
            self._rows = self._at_nominal_gradients
        self._over_s0 = np.where(self._s0 > 0, self._s0, 1)
        self._relative_sigma = None if self._sigma is None else self._sigma / self._over_s0

    def fit(
        self,
        fitter: FodFitter,
        indices: np.ndarray,
        progress: Callable[[int], None],
        worth: np.ndarray | None,
        earlier: np.ndarray | None,
    ) -> Fits:
        """Fit one number of lobes in the voxels with these indices.

        worth: costs below which they would be chosen. earlier: points of an earlier pass.
        """

        def signal(part: slice) -> np.ndarray:
            chosen = indices[part]
            return self._rows(chosen)[:, self._stage._volumes] / self._s0[chosen][:, None]

        sigma = self._relative_sigma if self._stage.noise.magnitudes else None
        return fitter(
            signal,
            _chosen(self._kernel, indices),
            len(indices),
            progress,
            sigma=None if sigma is None else sigma[indices],
            worth=worth,
            earlier=earlier,
            decay=self._decay_above_zero(indices),
        )

    def uncertainty(
        self, fitter: FodFitter, indices: np.ndarray, points: np.ndarray, kernels: Fit
    ) -> dict[str, np.ndarray]:
        """Standard deviations of converged lobes in the voxels with these indices. points: (voxels, …)."""
        assert kernels.effects is not None
        assert self._relative_sigma is not None
        effects = {name: kernels.effects[name][indices] for name in (*self._kernel, "s0")}
        effects["s0"] = effects["s0"] / self._over_s0[indices][:, None]
        kernel, sigma = _chosen(self._kernel, indices), self._relative_sigma[indices]
        return fitter.uncertainty(points, kernel, sigma, effects, self._decay_above_zero(indices))

    def directed(self, indices: np.ndarray) -> np.ndarray:
        """Whether directions have a meaning in these voxels: their kernels are not isotropic."""
        stage = self._stage
        pulses = [shell.pulse for shell in stage.acquisition.shells if not shell.zero]
        kernel = stage.model.spherical.kernel
        values = predicted_anisotropies(kernel, pulses, _chosen(self._kernel, indices), stage.dtype)
        directed: np.ndarray = values >= LEAST_ANISOTROPY
        return directed

    def criterion(self, indices: np.ndarray, cost: Any, parameters: int) -> Any:
        """Bayesian information criterion; S0 and the kernel, the same for all numbers of lobes, are not counted.

        The σ of Gaussian noise is not known; twice the cost of magnitudes is -2 log p.
        """
        n = self.volumes
        if not self._stage.noise.magnitudes:
            cost = n * np.log(np.maximum((cost + self.at_zero[indices]) / n, 1e-30))
        return cost + parameters * np.log(n)

    def worth(self, indices: np.ndarray, criterion: np.ndarray, parameters: int) -> np.ndarray:
        """The cost below which `criterion` is less than this."""
        n = self.volumes
        cost: np.ndarray = criterion - parameters * np.log(n)
        if not self._stage.noise.magnitudes:
            cost = n * np.exp(cost / n) - self.at_zero[indices]
        return cost

    def _at_nominal_gradients(self, indices: np.ndarray) -> np.ndarray:
        """The volumes as they are expected at the gradients that were meant."""
        stage = self._stage
        assert stage._corrector is not None
        assert stage._deviation is not None
        assert self._sigma is not None
        return stage._corrector.magnitudes(
            lambda part: self._measured_rows(indices[part]),
            _chosen(self._kernel, indices),
            self._s0[indices],
            self._sigma[indices],
            stage._deviation[indices],
            len(indices),
            decay=None if self._decay is None else self._decay[indices],
        )

    def _measured_decay(self) -> np.ndarray | None:
        """(voxels, shells) decay, from the data at b = 0; None where S0 is one."""
        stage = self._stage
        if not stage._echoes:
            return None
        means = np.ones((len(self._s0), len(stage._echoes)))
        zeros = [shell.volumes for shell in stage._zeros]
        for i in range(0, len(means), _BLOCK):
            block = slice(i, min(i + _BLOCK, len(means)))
            rows = self._measured_rows(block)
            means[block, : len(zeros)] = np.stack([rows[:, volumes].mean(axis=1) for volumes in zeros], axis=1)
        decay: np.ndarray = decay_of(means, stage._echoes)
        return decay

    def _decay_above_zero(self, indices: np.ndarray) -> np.ndarray | None:
        """Those of the shells that FODs are fitted to, in the voxels with these indices."""
        return None if self._decay is None else self._decay[indices, len(self._stage._zeros) :]

    def _measure(self, kernels: Fit) -> tuple[np.ndarray, np.ndarray]:
        """`at_zero` and `total`; voxels whose data cannot be used get their status."""
        stage, rows = self._stage, self._measured_rows
        pulses = pulses_of_fit(stage._zeros, kernels.settings.s0 == "fit")
        counts = [len(shell.volumes) for shell in stage._zeros]
        zero, total = np.zeros(len(self._s0)), np.zeros(len(self._s0))
        volumes = np.concatenate([*(shell.volumes for shell in stage._zeros), stage._volumes])
        usable = np.flatnonzero(np.isin(self.status, FITTED))
        # Decay between echo times is nothing that a FOD explains.
        decay = None if self._decay is None else decay_of_volumes(stage.acquisition, self._decay)
        for i in range(0, len(usable), _BLOCK):
            at = usable[i : i + _BLOCK]
            expected = np.ones((len(at), len(pulses)))
            kernel = kernels.model.kernel
            if kernel.relaxing or any(pulse.b for pulse in pulses):
                expected = predicted_means(kernel, pulses, _chosen(self._kernel, at), stage.dtype).astype(float)
            if self._decay is not None:
                expected = expected * self._decay[at, : len(pulses)]
            with np.errstate(over="ignore", invalid="ignore"):
                y = rows(at)[:, volumes] / self._s0[at][:, None]
                zero[at] = np.sum((y[:, : sum(counts)] - np.repeat(expected, counts, axis=1)) ** 2, axis=1)
                total[at] = _variation(y if decay is None else y / decay[at][:, volumes])
                self.status[at[np.abs(y).max(axis=1) > _LARGEST]] = Status.NO_SIGNAL
                self.status[at[~np.isfinite(total[at])]] = Status.NON_FINITE
        return zero, total


def _variation(values: np.ndarray) -> np.ndarray:
    """(voxels,) sums of squares of (voxels, volumes) about their means."""
    sums: np.ndarray = np.sum((values - values.mean(axis=1, keepdims=True)) ** 2, axis=1)
    return sums


def _chosen(arrays: Mapping[str, np.ndarray], indices: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[indices] for name, values in arrays.items()}


def _told(progress: Progress, share: float, each: float) -> Callable[[int], None]:
    """Takes how many voxels are done now, each of which is a share of the work, and tells how much is done."""
    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress(share + each * done)

    return tell
