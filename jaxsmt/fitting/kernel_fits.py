"""What the kernel stage hands on: the programs' results, and all that the FODs and a second pass need beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np

from ..batch.programs import Fits
from .misfit import Misfit, ShellResiduals


@dataclass(frozen=True)
class KernelFits:
    """Fits of the voxels inside the mask.

    means: (shells, voxels) that were fitted; variances: theirs over σ², where standard deviations are asked for.
    sigma: (voxels,) if it is known or was estimated; sigma_error: relative, sigma_from: what from, if it was estimated.
    residuals: of the means. misfit: of a model that often ends at a bound.
    """

    fits: Fits
    means: np.ndarray
    variances: np.ndarray | None
    sigma: np.ndarray | None = None
    sigma_error: float | None = None
    sigma_from: str | None = None
    residuals: ShellResiduals | None = None
    misfit: Misfit | None = None

    def of(self, part: slice) -> KernelFits:
        """Those of a part of the voxels."""
        return replace(
            self,
            fits=jax.tree.map(lambda values: values[part], self.fits),
            means=self.means[:, part],
            variances=None if self.variances is None else self.variances[:, part],
            sigma=None if self.sigma is None else self.sigma[part],
        )
