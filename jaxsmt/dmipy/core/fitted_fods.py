"""Fitted FODs in dmipy's names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ... import FodFit, FodModel
from ..orientations import directions_from_mu
from ..parameters import not_covered
from ..schemes import DmipyAcquisitionScheme
from .fitted_maps import FittedMaps
from .fod_parameters import FodParameters


class FittedMultiCompartmentModel(FittedMaps):
    """Result of a FOD fit; maps have the data's shape without its last axis and are 0 outside the mask.

    Attributes:
        model: the FOD model.
        S0: (...) mean of the b = 0 volumes, in units of the data.
        mask: (...) voxels that were fitted.
        scheme: the measurements.
        fitted_parameters: maps (...) by name, SI; μ = [θ, φ] (..., 2), in radians.
        native: jaxsmt's result.
    """

    def __init__(
        self,
        model: FodParameters,
        S0: np.ndarray,
        mask: np.ndarray,
        native: FodFit,
        parameters: dict[str, np.ndarray],
        scheme: DmipyAcquisitionScheme,
    ):
        super().__init__(S0, mask, scheme)
        self.model, self.native, self.fitted_parameters = model, native, parameters

    @property
    def fitted_and_linked_parameters(self) -> dict[str, np.ndarray]:
        """The parameters, and those of the kernel that links determine, by name, SI."""
        kernel, prefix = self.model.kernel, self.model.prefixes[0]
        fitted = kernel.fitted_parameters
        linked = {name: v for name, v in kernel.fitted_and_linked_parameters.items() if name not in fitted}
        return self.fitted_parameters | {f"{prefix}{n}": np.where(self.mask, v, 0) for n, v in linked.items()}

    @property
    def fitted_parameters_vector(self) -> np.ndarray:
        """The parameters as one array (..., n) in the order of `model.parameter_names`, SI; μ takes two places."""
        return self.model.parameters_to_parameter_vector(**self.fitted_parameters)

    def fod(self, vertices: ArrayLike, visual_odi_lower_bound: float = 0.0) -> np.ndarray:
        """FODs at points of the sphere.

        Args:
            vertices: (n, 3) unit vectors.
            visual_odi_lower_bound: distributions that are narrower are widened to this ODI, which makes them easier to
                look at.

        Returns:
            (..., n) per steradian; the integral over the sphere is 1.

        Raises:
            InputError: the bound is not in [0, 1).
        """
        return self.native.odf(vertices, odi_floor=visual_odi_lower_bound)

    def fod_sh(self, sh_order: int = 8, basis_type: str | None = None) -> np.ndarray:
        """Spherical harmonics of the FODs in DIPY's legacy basis descoteaux07.

        Args:
            sh_order: the highest order L, even.
            basis_type: "descoteaux07", or None, which is the same.

        Returns:
            (..., (L + 1)(L + 2)/2); the integral of the FOD is 1.

        Raises:
            InputError: the order is odd or negative.
            NotCoveredError: another basis.
        """
        if basis_type not in (None, "descoteaux07"):
            raise not_covered(
                f"basis_type={basis_type!r}", "give basis_type='descoteaux07'; `native.sh` has other bases"
            )
        return self.native.sh(sh_order, basis="descoteaux07_legacy")

    def peaks_spherical(self) -> np.ndarray:
        """Axes of the distributions as [θ, φ] in radians, (..., N, 2)."""
        prefixes = [self.model.distribution_prefix(i) for i in range(self.model.n_distributions)]
        return np.stack([self.fitted_parameters[f"{prefix}mu"] for prefix in prefixes], axis=-2)

    def peaks_cartesian(self) -> np.ndarray:
        """Axes of the distributions as unit vectors, (..., N, 3); 0 outside the mask."""
        return np.where(self.mask[..., None, None], directions_from_mu(self.peaks_spherical()), 0)

    def predict(
        self,
        acquisition_scheme: DmipyAcquisitionScheme | None = None,
        S0: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """Signal of all measurements from the fitted parameters.

        Args:
            acquisition_scheme: other measurements than those that were fitted.
            S0: a number or (...), instead of the fit's S0.
            mask: (...) voxels to predict; None: all that were fitted.

        Returns:
            (..., measurements) in units of S0; 0 outside the mask.
        """
        kernel = self.model.kernel.native_with(self._s0_inside(S0, mask))
        model = FodModel(kernel, self.model.distribution, self.model.n_distributions)
        return replace(self.native, model=model).predict((acquisition_scheme or self.scheme).acquisition)

    def _measured(self, data: np.ndarray) -> np.ndarray:
        """The data as they are."""
        return data
