"""The one pipeline: kernels, then FODs, then both once more where the noise has a floor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.background import Background
from ..batch.corrector import Rows
from ..batch.runner import Compilation
from ..errors import InputError
from ..models.model import SphericalMeanModel
from ..status import FITTED
from .fod_results import FodFit
from .fods import FodStage, Points
from .fods import Progress as FodProgress
from .inputs import Order, Voxels
from .kernel_fits import KernelFits
from .kernels import KernelStage
from .results import Fit, FodModel
from .settings import Settings, options_of

#: `progress(stage, done, total)`: how far a stage is, in voxels. The stages are "fit" and "fit FODs". Where FODs are
#: fitted several times, with more lobes or once more, each time is a share of a voxel's work.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Result:
    """The kernels' fit, and the FODs if they were asked for."""

    fit: Fit
    fods: FodFit | None = None

    @classmethod
    def joined(cls, slabs: Iterable[tuple[slice, Result]], count: int) -> Result:
        """The results of all `count` voxels from those of slabs, without the effects on kernels, which FODs used."""
        whole: Result | None = None
        for part, result in slabs:
            fit, fods = replace(result.fit, effects=None), result.fods
            if whole is None:
                room = partial(_room, count)
                whole = cls(fit.changed(room), None if fods is None else fods.changed(room, kernels=False))
            _fill(whole.fit.arrays, fit.arrays, part)
            if fods is not None and whole.fods is not None:
                _fill(whole.fods.arrays, fods.arrays, part)
        assert whole is not None
        if whole.fods is None:
            return whole
        return cls(whole.fit, replace(whole.fods, model=replace(whole.fods.model, kernels=whole.fit)))


class Footprint(NamedTuple):
    """How many numbers a voxel has, about: while kernels are fitted, in results, and in a slab beside these."""

    kernels: int
    results: int
    slab: int


class Programs(NamedTuple):
    """What a pipeline runs, in the order in which it does; uncertainty: of standard deviations, last."""

    kernels: list[Compilation]
    fods: list[Compilation]
    uncertainty: list[Compilation]


class Pipeline:
    """Fits a model in the voxels inside a mask. Everything that can be known without the data is checked first.

    Args:
        model: of spherical means; or FODs, with a model of their kernels or with kernels that are fitted already.
        inside: (...) bool. order: in which the voxels are numbered, "C", or "F" for the order of NIfTI files.
        space: where the voxels inside are, if `inside` does not tell.
    Raises:
        InputError: invalid settings or maps, or an acquisition that cannot determine the model.
    """

    def __init__(
        self,
        model: SphericalMeanModel | FodModel,
        acquisition: Acquisition,
        settings: Settings,
        inside: np.ndarray,
        order: Order = "C",
        space: Voxels | None = None,
    ):
        acquisition = acquisition.concrete()
        self.model, self._voxels = model, Voxels(inside, order)
        self._kernel_stage: KernelStage | None = None
        self._fod_stage: FodStage | None = None
        if isinstance(model, FodModel) and isinstance(model.kernels, Fit):
            settings = _with_noise_of(model.kernels, settings)
            if model.kernels.status.shape != inside.shape:
                raise InputError(
                    f"kernels of shape {model.kernels.status.shape} for data of {inside.shape}", fix="shapes must agree"
                )
        else:
            spherical = model.spherical if isinstance(model, FodModel) else model
            self._kernel_stage = KernelStage(spherical, acquisition, settings, self._voxels, space)
        if isinstance(model, FodModel):
            self._fod_stage = FodStage(model, acquisition, settings, self._voxels)
        self.settings = settings

    @property
    def needs_volumes(self) -> bool:
        """Whether spherical means alone are not enough."""
        return self._fod_stage is not None or (self._kernel_stage is not None and self._kernel_stage.needs_volumes)

    @property
    def estimates_sigma(self) -> bool:
        """Whether σ is estimated, for which the background outside the mask is wanted."""
        return self._kernel_stage is not None and self._kernel_stage.estimates_sigma

    @property
    def footprint(self) -> Footprint:
        """How many numbers a voxel has, about."""
        results, kernels, sd = (0, 0, 0) if self._kernel_stage is None else self._kernel_stage.footprint
        of_fods, fods = (0, 0) if self._fod_stage is None else self._fod_stage.footprint
        return Footprint(kernels, results + of_fods, kernels + sd + fods)

    @property
    def lobes(self) -> int:
        """How many lobes all FODs that are tried have together."""
        return sum(self.model.counts) if isinstance(self.model, FodModel) else 0

    @property
    def integrals(self) -> bool:
        """Whether the density of a lobe is an integral, as where it has two axes."""
        return isinstance(self.model, FodModel) and self.model.family.axes == 2

    @property
    def _twice(self) -> bool:
        """Whether kernels and FODs are fitted twice, as FODs predict the noise floor best."""
        return self._kernel_stage is not None and self._fod_stage is not None and self._kernel_stage.noise.magnitudes

    @property
    def programs(self) -> Programs:
        """What can be compiled before it is needed."""
        kernels, fods = self._kernel_stage, self._fod_stage
        of_kernels = [] if kernels is None else kernels.programs(second=self._twice)
        uncertainty = [] if kernels is None else kernels.uncertainty_programs()
        if kernels is not None and fods is not None:
            uncertainty += fods.uncertainty_programs(kernels.n_effects)
        return Programs(of_kernels, [] if fods is None else fods.programs(), uncertainty)

    def run(
        self,
        means: np.ndarray | None,
        rows: Rows | None,
        progress: Progress = lambda stage, done, total: None,
        background: Background | None = None,
    ) -> Result:
        """Fit.

        Args:
            means: (shells, voxels inside) plain spherical means; None where kernels are fitted already.
            rows: `(slice or numbers) -> (voxels, volumes)` data of the voxels inside, where `needs_volumes`.
            background: of the voxels outside, where `estimates_sigma`.
        Returns:
            maps.
        """
        kernels = self.fit_kernels(means, rows, progress, background)
        [(_, result)] = self.slabs(kernels, rows, max(self._voxels.count, 1), progress)
        model = self.model
        known = model.kernels if isinstance(model, FodModel) else None
        fit = known if isinstance(known, Fit) else result.fit.changed(self._voxels.place)
        if result.fods is None:
            return Result(fit)
        fods = result.fods.changed(self._voxels.place, kernels=False)
        return Result(fit, replace(fods, model=replace(fods.model, kernels=fit)))

    def fit_kernels(
        self,
        means: np.ndarray | None,
        rows: Rows | None,
        progress: Progress = lambda stage, done, total: None,
        background: Background | None = None,
    ) -> KernelFits | None:
        """Fit the kernels of all voxels for the first time; None: they are fitted already. Arguments as of `run`."""
        if self._kernel_stage is None:
            return None
        assert means is not None
        tell = _told(progress, "fit", self._voxels.count)
        return self._kernel_stage(means, rows, tell, before_fods=self._fod_stage is not None, background=background)

    def slabs(
        self,
        kernels: KernelFits | None,
        rows: Rows | None,
        size: int,
        progress: Progress = lambda stage, done, total: None,
    ) -> Iterator[tuple[slice, Result]]:
        """The results, slab by slab, as FODs and standard deviations have many numbers in work for each voxel.

        Args:
            kernels: as of `fit_kernels`. rows: as of `run`. size: of a slab, in voxels; no result depends on it.
        Yields:
            the voxels of each slab, and its results, arrays (voxels, …).
        """
        count = self._voxels.count
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))

            def tell(share: float, part: slice = part) -> None:
                progress("fit FODs", part.start + int(share * (part.stop - part.start)), count)

            yield part, self._slab(part, kernels, None if rows is None else _shifted(rows, part), tell)

    def _slab(self, part: slice, all_kernels: KernelFits | None, rows: Rows | None, progress: FodProgress) -> Result:
        """The results of a slab. rows: of its voxels."""
        if all_kernels is None:
            assert isinstance(self.model, FodModel)
            fitted = self.model.fitted.changed(lambda values: self._voxels.take(values)[part])
            return self._with_fods(part, fitted, rows, progress)[0]
        assert self._kernel_stage is not None
        stage, kernels = self._kernel_stage.of(part), all_kernels.of(part)
        if not self._twice:
            return self._with_fods(part, stage.result(kernels), rows, progress)[0]
        fit = stage.result(kernels, final=False)
        result, points = self._with_fods(part, fit, rows, lambda share: progress(share / 2), final=False)
        # Once more: the means are corrected for the noise floor of the signals that FODs predict.
        fods = result.fods
        assert fods is not None
        assert rows is not None
        indices = np.arange(part.stop - part.start)
        chosen = np.isin(fods.status, FITTED)
        refitted = stage.refit(kernels, rows, lambda block: fods.voxels(indices[block]).predict(), chosen)
        fit = stage.result(refitted)
        return self._with_fods(part, fit, rows, lambda share: progress((1 + share) / 2), earlier=points)[0]

    def _with_fods(
        self,
        part: slice,
        fit: Fit,
        rows: Rows | None,
        progress: FodProgress,
        final: bool = True,
        earlier: Points | None = None,
    ) -> tuple[Result, Points]:
        """Kernels with their FODs, if asked for. final: there is no second time. earlier: of the first time."""
        if self._fod_stage is None:
            return Result(fit), []
        assert rows is not None
        fods, points = self._fod_stage.of(part)(fit, rows, progress, final, earlier)
        return Result(fit, fods), points


def _room(count: int, values: np.ndarray) -> np.ndarray:
    """Room for the values of all voxels."""
    return np.empty((count, *values.shape[1:]), values.dtype)


def _fill(whole: Any, values: Any, part: slice) -> None:
    """Put the arrays of a part where they belong."""
    for array, of_part in zip(jax.tree.leaves(whole), jax.tree.leaves(values), strict=True):
        array[part] = of_part


def _told(progress: Progress, stage: str, total: int) -> Callable[[int], None]:
    """Takes how many voxels are done now, and tells how many are done in all."""
    done = 0

    def tell(voxels: int) -> None:
        nonlocal done
        done += voxels
        progress(stage, done, total)

    return tell


def _shifted(rows: Rows, part: slice) -> Rows:
    """The data of a part of the voxels."""

    def of_part(index: Any) -> np.ndarray:
        if isinstance(index, slice):
            start, stop, _ = index.indices(part.stop - part.start)
            return rows(slice(part.start + start, part.start + stop))
        return rows(part.start + np.asarray(index))

    return of_part


def _with_noise_of(kernels: Fit, settings: Settings) -> Settings:
    """The settings of FODs whose kernels are fitted: noise and all that goes with it are those of the kernels' fit.

    Raises:
        InputError: options of the kernels' fit are given again.
    """
    options = options_of(Settings)
    again = [name for name in settings.changed() if not options[name][0].computing]
    if again:
        raise InputError(
            f"options of the kernels' fit are given for FODs: {', '.join(f'{name}=' for name in again)}",
            fix="give them to the kernels' fit: FODs keep them",
        )
    return kernels.settings.with_computing(settings)
