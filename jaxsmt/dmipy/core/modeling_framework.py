"""Models: `MultiCompartmentSphericalMeanModel`, and the parametric FOD models that its fits return."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import InputError, fit
from .. import refuse
from ..distributions.distribute_models import BundleModel
from ..parameters import not_covered
from ..schemes import DmipyAcquisitionScheme
from ..signal_models.base import SignalModel
from .fitted_modeling_framework import FittedMultiCompartmentSphericalMeanModel
from .fod_models import MultiCompartmentModel
from .spherical_mean_parameters import SphericalMeanParameters
from .voxelwise import MaskedData, VoxelwiseModel, require_voxels

__all__ = ["MultiCompartmentModel", "MultiCompartmentSphericalMeanModel"]
_NOT_COVERED = (
    "ModelProperties",
    "MultiCompartmentModelProperties",
    "MultiCompartmentSphericalHarmonicsModel",
    "homogenize_x0_to_data",
    "ReturnFixedValue",
    "GlobalBruteOptimizer",
    "Brute2FineOptimizer",
    "MixOptimizer",
    "MultiTissueConvexOptimizer",
    "CsdCvxpyOptimizer",
    "CsdTournierOptimizer",
    "FittedMultiCompartmentSphericalHarmonicsModel",
    "T1_tortuosity",
    "estimate_spherical_mean_multi_shell",
    "fractional_parameter",
    "parameter_equality",
)
__getattr__ = refuse("modeling_framework", __all__, _NOT_COVERED)


class MultiCompartmentSphericalMeanModel(
    SphericalMeanParameters, VoxelwiseModel[FittedMultiCompartmentSphericalMeanModel]
):
    """A sum of compartments, fitted to the spherical means of the shells.

    Parameters are `<Class>_<n>_<parameter>`, without orientations; several models also have
    partial_volume_0, partial_volume_1, …, which sum to 1.

    Args:
        models: compartments and bundles.
        S0_tissue_responses: S0 of each model's tissue, in units of the data. A fit then also gives fractions of the
            tissues, which weigh the models' signals by these and need not sum to 1; None: it does not.
        parameter_links: not covered; set links with the methods.

    Attributes:
        scheme: the measurements of the last fit, or None.

    Raises:
        InputError: there are no models, or not as many responses.
        NotCoveredError: an argument that is not covered.

    Example:
        >>> from jaxsmt.dmipy.signal_models.cylinder_models import C1Stick
        >>> from jaxsmt.dmipy.signal_models.gaussian_models import G1Ball
        >>> MultiCompartmentSphericalMeanModel([C1Stick(), G1Ball()]).parameter_names
        ['C1Stick_1_lambda_par', 'G1Ball_1_lambda_iso', 'partial_volume_0', 'partial_volume_1']
    """

    def __init__(
        self,
        models: Sequence[SignalModel | BundleModel],
        S0_tissue_responses: Sequence[float] | None = None,
        parameter_links: Any = None,
    ):
        if S0_tissue_responses is not None and len(S0_tissue_responses) != len(models):
            raise InputError(
                f"{len(S0_tissue_responses)} S0_tissue_responses for {len(models)} models",
                fix="give one for each model",
            )
        if parameter_links is not None:
            raise not_covered("parameter_links", "set the links with the methods of the model")
        super().__init__(models)
        self.S0_tissue_responses = S0_tissue_responses
        self.scheme: DmipyAcquisitionScheme | None = None

    def _fit(self, scheme: DmipyAcquisitionScheme, series: MaskedData) -> FittedMultiCompartmentSphericalMeanModel:
        """The fit in dmipy's objective: equal weights of the shells, S0 the mean of the b = 0 volumes."""
        self.scheme = scheme
        mask, weights = require_voxels(series.mask), np.ones(scheme.N_shells)
        native = fit(self.native_model(), scheme.acquisition, series.data, mask, s0="mean", weights=weights)
        # The result keeps the model as it is now: changing it must not change the result.
        fitted = FittedMultiCompartmentSphericalMeanModel(copy.deepcopy(self), series.s0, series.mask, native, scheme)
        if self.S0_tissue_responses is not None:
            fitted.set_tissue_fractions(series.data, np.asarray(self.S0_tissue_responses, float))
        return fitted
