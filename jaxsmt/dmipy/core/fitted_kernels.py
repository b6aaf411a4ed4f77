"""Fitted kernels: what a fit of spherical means has to say of each voxel, in dmipy's names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ... import Fit
from ..schemes import DmipyAcquisitionScheme
from .fitted_maps import FittedMaps
from .spherical_mean_parameters import SphericalMeanParameters


class FittedKernels(FittedMaps):
    """Result of a spherical mean fit; maps have the data's shape without its last axis and are 0 outside the mask.

    Attributes:
        model: the model as it was when it was fitted.
        S0: (...) mean of the b = 0 volumes, in units of the data.
        mask: (...) voxels that were fitted.
        scheme: the measurements.
        native: jaxsmt's result.
    """

    def __init__(
        self,
        model: SphericalMeanParameters,
        S0: np.ndarray,
        mask: np.ndarray,
        native: Fit,
        scheme: DmipyAcquisitionScheme,
    ):
        super().__init__(S0, mask, scheme)
        self.model, self.native = model, native

    def _map(self, name: str) -> np.ndarray:
        """The map of a parameter, fitted or linked, SI."""
        translation = self.model.translation
        return self.native.parameters[translation.name(name)].astype(float) * translation.unit(name)

    @property
    def fitted_parameters(self) -> dict[str, np.ndarray]:
        """Maps (...) of the parameters by name, SI."""
        return {name: self._map(name) for name in self.model.parameter_names}

    @property
    def fitted_parameters_vector(self) -> np.ndarray:
        """The parameters as one array (..., n) in the order of `model.parameter_names`, SI."""
        return self.model.parameters_to_parameter_vector(**self.fitted_parameters)

    @property
    def fitted_and_linked_parameters(self) -> dict[str, np.ndarray]:
        """Maps (...) of the parameters and of those that links determine, by name, SI."""
        fitted = self.fitted_parameters
        linked = [rule.target for rule in reversed(self.model.rules) if rule.target not in fitted]
        return {**fitted, **{name: self._map(name) for name in linked}}

    @property
    def nested_parameters(self) -> dict[str, np.ndarray]:
        """The parameters by name, SI, with each partial volume as a part of what those before it leave."""
        nested, left = dict(self.fitted_parameters), np.ones(self.mask.shape)
        for name in self.model.partial_volume_names:
            volume = self._map(name)
            nested[name], left = volume / np.where(left > 0, left, 1), left - volume
        return nested

    def native_with(self, S0: np.ndarray) -> Fit:
        """jaxsmt's result with another S0 (...)."""
        return replace(self.native, s0=S0.astype(self.native.s0.dtype))

    def predict(
        self,
        acquisition_scheme: DmipyAcquisitionScheme | None = None,
        S0: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> np.ndarray:
        """Spherical means of all shells from the fitted parameters.

        Args:
            acquisition_scheme: other measurements than those that were fitted.
            S0: a number or (...), instead of the fit's S0.
            mask: (...) voxels to predict; None: all that were fitted.

        Returns:
            (..., shells), b = 0 among them, in units of S0; 0 outside the mask.
        """
        scheme = acquisition_scheme or self.scheme
        return self.native_with(self._s0_inside(S0, mask)).predict(scheme.acquisition)

    def _measured(self, data: np.ndarray) -> np.ndarray:
        """The spherical means of data, (..., shells)."""
        return data @ self.scheme.acquisition.weights.T
