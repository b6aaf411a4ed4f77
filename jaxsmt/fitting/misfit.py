"""What a model leaves of the shells' means, and whether it fits them: how often a diffusivity ends at its bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import echoes_of
from ..acquisition.shells import Pulse, pulses_of_fit
from ..batch.predictions import predicted_means
from ..models.model import SphericalMeanModel
from ..physics.compartments import Kernel
from ..problems.shell_means import AT_BOUND
from ..status import FITTED

#: Part of the fitted voxels beyond which it is told that a diffusivity is at its bound.
OFTEN = 0.2
# Fewest fitted voxels of which a part is told.
_FEW_VOXELS = 30
# Voxels whose means are predicted; more would tell no more.
_ENOUGH = 4096
# A mean residual of more than this many standard deviations between voxels, for some shell, is not noise. Of a model
# that is right it is at most 0.23, as noise that takes a diffusivity to its bound leaves little; of one zeppelin fitted
# to sticks in a zeppelin it is 0.58 or more, whether SNR is 5 or 50 and the highest b 3000 or 6000 s/mm².
_SYSTEMATIC = 0.4


@dataclass(frozen=True, eq=False)
class ShellResiduals:
    """Measured less fitted means over S0, b = 0 first, of fitted voxels: of all, or of at most 4,096 evenly spread.

    The means are those that the kernels were fitted to; with magnitudes and FODs, which correct the means once more,
    those of the first time. Nothing is predicted before it is asked for.

    Attributes:
        kernel, pulses: of the fit. values: parameters of the kernel by name, (n,).
        measured: (shells, n) means over S0. s0s: how many S0 there are, fitted or taken from b = 0.
    """

    kernel: Kernel = field(repr=False)
    pulses: tuple[Pulse, ...]
    values: Mapping[str, np.ndarray] = field(repr=False)
    measured: np.ndarray = field(repr=False)
    s0s: int = 1

    @cached_property
    def left(self) -> np.ndarray:
        """(shells, n) of each voxel."""
        dtype = next(iter(self.values.values())).dtype
        return self.measured - predicted_means(self.kernel, self.pulses, self.values, dtype).T

    @property
    def mean(self) -> tuple[float, ...]:
        """(shells,) means over the voxels."""
        return tuple(self.left.mean(axis=1).tolist())

    @property
    def scatter(self) -> tuple[float, ...]:
        """(shells,) standard deviations between the voxels."""
        return tuple(self.left.std(axis=1).tolist())


def residuals_of(
    model: SphericalMeanModel,
    acquisition: Acquisition,
    s0_fitted: bool,
    maps: dict[str, Float[np.ndarray, " voxels"]],
    status: np.ndarray,
    means: Float[np.ndarray, "shells voxels"],
) -> ShellResiduals | None:
    """What a fit leaves of the means.

    Args:
        model, acquisition: of the fit. s0_fitted: whether S0 is fitted with the model.
        maps: of parameters and S0, by name. status: (voxels,) codes. means: that were fitted.
    Returns:
        the residuals; None where no voxel has a fit.
    """
    at = np.flatnonzero(np.isin(status, FITTED))
    if not at.size:
        return None
    at = at[:: -(-at.size // _ENOUGH)]
    return ShellResiduals(
        model.kernel,
        pulses_of_fit(acquisition.shells, s0_fitted),
        {parameter: maps[parameter][at] for parameter in model.kernel.names},
        means[:, at] / maps["s0"][at],
        max(echoes_of(acquisition, model.kernel.relaxing), default=0) + 1,
    )


@dataclass(frozen=True)
class Misfit:
    """What is left of the shells' means by a model whose diffusivity is often at its bound.

    Attributes:
        parameter: its name. share: part of the fitted voxels in which it is at its bound.
        residuals: (shells,) mean of measured less fitted means over S0, b = 0 first, of all fitted voxels.
        scatter: (shells,) standard deviation of the same between voxels.
        spare: how many means there are beyond the numbers that are fitted to them.
    """

    parameter: str
    share: float
    residuals: tuple[float, ...]
    scatter: tuple[float, ...]
    spare: int

    @property
    def systematic(self) -> bool:
        """Whether the residuals are alike in the voxels, as those of a model that does not fit."""
        each = zip(self.residuals, self.scatter, strict=True)
        return any(abs(residual) > _SYSTEMATIC * scatter for residual, scatter in each)


def misfit_of(
    model: SphericalMeanModel,
    residuals: ShellResiduals | None,
    maps: dict[str, Float[np.ndarray, " voxels"]],
    status: np.ndarray,
) -> Misfit | None:
    """The misfit of a fit, if a diffusivity is at its bound in more than a fifth of the fitted voxels.

    Args:
        model: of the fit. residuals: of its means.
        maps: of parameters and S0, by name. status: (voxels,) codes.
    Returns:
        that of the diffusivity which is at its bound most often; None: none is often, or voxels are few. Bounds that
        are maps do not count.
    """
    fitted = np.isin(status, FITTED)
    if residuals is None or np.count_nonzero(fitted) < _FEW_VOXELS:
        return None
    often, name = OFTEN, ""
    for p in model.free:
        if p.unit == "um2/ms" and np.ndim(p.lower) == np.ndim(p.upper) == 0:
            room = np.minimum(maps[p.name] - p.lower, p.upper - maps[p.name])
            there = fitted & (room <= AT_BOUND * (p.upper - p.lower))
            share = int(np.count_nonzero(there)) / int(np.count_nonzero(fitted))
            if share > often:
                often, name = share, p.name
    if not name:
        return None
    return Misfit(
        parameter=name,
        share=often,
        residuals=residuals.mean,
        scatter=residuals.scatter,
        spare=len(residuals.pulses) - len(model.free) - residuals.s0s,
    )
