"""Fitted kernels: what a fit of spherical means has to say of each voxel, in dmipy's names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ... import Fit, InputError
from ..schemes import DmipyAcquisitionScheme
from .fitted_maps import FittedMaps
from .spherical_mean_parameters import SphericalMeanParameters
from .tissue_fractions import tissue_fractions


class FittedKernels(FittedMaps):
    """Result of a spherical mean fit; maps have the data's shape without its last axis and are 0 outside the mask.

    Attributes:
        model: the model as it was when it was fitted.
        S0: (...) mean of the b = 0 volumes, in units of the data.
        mask: (...) voxels that were fitted.
        scheme: the measurements.
        native: jaxsmt's result.
        fitted_multi_tissue_fractions_vector: (..., models) fractions of tissues with different S0, or None.
    """

    fitted_multi_tissue_fractions_vector: np.ndarray | None = None

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

    def set_tissue_fractions(self, data: np.ndarray, responses: np.ndarray) -> None:
        """Fit the fractions of tissues whose S0 differ, with the kernels as they are.

        Args:
            data: (..., measurements).
            responses: (models,) S0 of each model's tissue, in units of the data.
        """
        inside = {name: values[self.mask] for name, values in self.fitted_parameters.items()}
        signals = self.model.signals_of_models(self.scheme, inside)
        fractions = np.zeros((*self.mask.shape, len(responses)))
        fractions[self.mask] = tissue_fractions(self._measured(data)[self.mask], signals, responses)
        self.fitted_multi_tissue_fractions_vector = fractions

    @property
    def fitted_multi_tissue_fractions(self) -> dict[str, np.ndarray]:
        """Maps (...) of the tissues' fractions by `partial_volume_<n>`, if S0_tissue_responses were given.

        Raises:
            InputError: they were not.
        """
        vector = self.fitted_multi_tissue_fractions_vector
        if vector is None:
            raise InputError("no S0_tissue_responses in the model", fix="give them when the model is made")
        return {f"partial_volume_{i}": vector[..., i] for i in range(vector.shape[-1])}

    @property
    def fitted_multi_tissue_fractions_normalized(self) -> dict[str, np.ndarray]:
        """The same over their sum.

        Raises:
            InputError: there are no S0_tissue_responses.
        """
        fractions = self.fitted_multi_tissue_fractions
        total = np.sum(list(fractions.values()), axis=0)
        return {name: values / np.where(total > 0, total, 1) for name, values in fractions.items()}

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
