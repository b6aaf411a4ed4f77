"""Parametric FOD models: `fit`, `simulate_signal`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from ... import FodModel, fit
from ..parameters import not_covered
from ..schemes import DmipyAcquisitionScheme
from .fitted_fods import FittedMultiCompartmentModel
from .fod_parameters import FodParameters, fods_from_parameters, parameters_from_fods
from .voxelwise import MaskedData, VoxelwiseModel, require_voxels


class MultiCompartmentModel:
    """In dmipy a model of all measurements; here only the parametric FOD model that a fit returns.

    Raises:
        NotCoveredError: always, as models of all measurements are not covered.
    """

    def __init__(self, models: Any = None, *_: Any, **__: Any):
        raise not_covered(
            "MultiCompartmentModel(models)",
            "fit a MultiCompartmentSphericalMeanModel, then return_parametric_fod_model()",
        )


class ParametricFodModel(MultiCompartmentModel, FodParameters, VoxelwiseModel[FittedMultiCompartmentModel]):
    """N Watson or Bingham distributions of the kernel of each voxel, as a spherical mean fit has it."""

    __init__ = FodParameters.__init__

    def _fit(self, scheme: DmipyAcquisitionScheme, series: MaskedData) -> FittedMultiCompartmentModel:
        """The fit of all measurements over kernels with the S0 of these data."""
        mask = series.mask & self.kernel.mask
        kernels = self.kernel.native_with(series.s0)
        model = FodModel(kernels, self.distribution, self.n_distributions)
        native = fit(model, scheme.acquisition, series.data, require_voxels(mask))
        maps = {**self.x0_parameters, **parameters_from_fods(self, native)}
        parameters = {name: _inside(mask, maps[name]) for name in self.parameter_names}
        return FittedMultiCompartmentModel(copy.copy(self), series.s0, mask, native, parameters, scheme)

    def simulate_signal(
        self, acquisition_scheme: DmipyAcquisitionScheme, parameters_array_or_dict: Mapping[str, Any] | ArrayLike
    ) -> np.ndarray:
        """Signal over S0 of all measurements; b = 0 counts as exactly 0.

        Args:
            acquisition_scheme: the measurements.
            parameters_array_or_dict: {name: (...)}, μ (..., 2); or (..., n) in the order of `parameter_names`; SI.

        Returns:
            (..., measurements).

        Raises:
            InputError: a parameter is missing.
        """
        return fods_from_parameters(self, self._by_name(parameters_array_or_dict), acquisition_scheme).predict()

    def __call__(
        self, acquisition_scheme_or_vertices: Any, quantity: str = "signal", **parameters: ArrayLike
    ) -> np.ndarray:
        """Signal or FODs, from the parameters by name.

        Args:
            acquisition_scheme_or_vertices: the measurements; for FODs unit vectors (n, 3).
            quantity: "signal" or "FOD".
            **parameters: values of all parameters, SI.

        Returns:
            signal over S0, (..., measurements); or FODs per steradian, (..., n).

        Raises:
            InputError: a parameter is missing.
            NotCoveredError: another quantity.
        """
        if quantity == "FOD":
            return fods_from_parameters(self, parameters, None).odf(acquisition_scheme_or_vertices)
        if quantity != "signal":
            raise not_covered(f"quantity={quantity!r}", "give quantity='signal' or quantity='FOD'")
        return self.simulate_signal(acquisition_scheme_or_vertices, parameters)

    def visualize_model_setup(self, *_: Any, **__: Any) -> NoReturn:
        """Not covered: draw the spherical mean model."""
        raise not_covered("visualize_model_setup of a FOD model", "draw the spherical mean model")


def _inside(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map, of vectors too, with 0 outside the mask."""
    return np.where(mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim)), values, 0)
