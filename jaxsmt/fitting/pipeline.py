"""The one pipeline: kernels, then FODs, then both once more where the noise has a floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..batch.corrector import Rows
from ..errors import InputError
from ..models.model import SphericalMeanModel
from ..status import FITTED
from .fod_results import FodFit
from .fods import FodStage, Points
from .inputs import Order, Voxels
from .kernels import KernelFits, KernelStage
from .results import Fit, FodModel
from .settings import Settings, options_of

#: `progress(stage, done, total)`: how far a stage is, in voxels. The stages are "fit" and "fit FODs".
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Result:
    """The kernels' fit, and the FODs if they were asked for."""

    fit: Fit
    fods: FodFit | None = None


class Pipeline:
    """Fits a model in the voxels inside a mask. Everything that can be known without the data is checked first.

    Args:
        model: of spherical means; or FODs, with a model of their kernels or with kernels that are fitted already.
        inside: (...) bool. order: in which the voxels are numbered, "C", or "F" for the order of NIfTI files.
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
    ):
        acquisition = acquisition.concrete()
        self.model, self._voxels = model, Voxels(inside, order)
        self._kernels: KernelStage | None = None
        self._fods: FodStage | None = None
        if isinstance(model, FodModel) and isinstance(model.kernels, Fit):
            settings = _with_noise_of(model.kernels, settings)
            if model.kernels.status.shape != inside.shape:
                raise InputError(
                    f"kernels of shape {model.kernels.status.shape} for data of {inside.shape}", fix="shapes must agree"
                )
        else:
            spherical = model.spherical if isinstance(model, FodModel) else model
            self._kernels = KernelStage(spherical, acquisition, settings, self._voxels)
        if isinstance(model, FodModel):
            self._fods = FodStage(model, acquisition, settings, self._voxels)
        self.settings = settings

    @property
    def needs_volumes(self) -> bool:
        """Whether spherical means alone are not enough."""
        return self._fods is not None or (self._kernels is not None and self._kernels.needs_volumes)

    @property
    def numbers(self) -> int:
        """How many numbers a voxel has while it is fitted, about: results, those of steps before, points."""
        kernels = 0 if self._kernels is None else self._kernels.numbers
        return kernels + (0 if self._fods is None else self._fods.numbers)

    @property
    def _twice(self) -> bool:
        """Whether kernels and FODs are fitted twice, as FODs predict the noise floor best."""
        return self._kernels is not None and self._fods is not None and self._kernels.noise.magnitudes

    def prepare_kernels(self) -> None:
        """Compile the programs of the kernels now."""
        if self._kernels is not None:
            self._kernels.compile(second=self._twice)

    def prepare_fods(self) -> None:
        """Compile the programs of the FODs now."""
        if self._fods is not None:
            self._fods.compile()

    def prepare_uncertainty(self) -> None:
        """Compile the programs of standard deviations now, which are run last."""
        if self._kernels is not None:
            self._kernels.compile_uncertainty()
            if self._fods is not None:
                self._fods.compile_uncertainty(self._kernels.effects)

    def run(
        self, means: np.ndarray | None, rows: Rows | None, progress: Progress = lambda stage, done, total: None
    ) -> Result:
        """Fit.

        Args:
            means: (shells, voxels inside) plain spherical means; None where kernels are fitted already.
            rows: `(slice or numbers) -> (voxels, volumes)` data of the voxels inside, where `needs_volumes`.
        """
        if self._kernels is None:
            assert isinstance(self.model, FodModel)
            return self._with_fods(self.model.fitted, rows, progress)[0]
        assert means is not None
        done, total = 0, means.shape[1]

        def tell(voxels: int) -> None:
            nonlocal done
            done += voxels
            progress("fit", done, total)

        kernels = self._kernels(means, rows, tell, before_fods=self._fods is not None)
        final = not self._twice
        result, points = self._with_fods(self._kernels.fit(kernels, final), rows, progress, final)
        return result if final else self._second_pass(kernels, result, points, rows, progress)

    def _with_fods(
        self, fit: Fit, rows: Rows | None, progress: Progress, final: bool = True, earlier: Points | None = None
    ) -> tuple[Result, Points]:
        if self._fods is None:
            return Result(fit), []
        assert rows is not None
        fods, points = self._fods(fit, rows, lambda done, total: progress("fit FODs", done, total), final, earlier)
        return Result(fit, fods), points

    def _second_pass(
        self, kernels: KernelFits, first: Result, points: Points, rows: Rows | None, progress: Progress
    ) -> Result:
        """Kernels whose means are corrected for the noise floor of the signals that FODs predict; then their FODs.

        points: of the first FODs.
        """
        fods, numbers = first.fods, self._voxels.numbers()
        assert self._kernels is not None
        assert fods is not None
        assert rows is not None
        chosen = np.isin(self._voxels.take(fods.status), FITTED)
        refitted = self._kernels.refit(kernels, rows, lambda part: fods.voxels(numbers[part]).predict(), chosen)
        return self._with_fods(self._kernels.fit(refitted), rows, progress, earlier=points)[0]


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
