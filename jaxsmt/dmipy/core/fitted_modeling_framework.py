"""Fitted models: of spherical means, and of FODs."""

from __future__ import annotations

from typing import Any, NoReturn

from ... import InputError
from ...fitting.results import MOST_LOBES
from .. import refuse
from ..parameters import not_covered
from .fitted_fods import FittedMultiCompartmentModel
from .fitted_kernels import FittedKernels
from .fod_models import ParametricFodModel

__all__ = ["FittedMultiCompartmentModel", "FittedMultiCompartmentSphericalMeanModel"]
_NOT_COVERED = (
    "FittedMultiCompartmentSphericalHarmonicsModel",
    "T1_tortuosity",
    "cart2mu",
    "estimate_spherical_mean_multi_shell",
    "fractional_parameter",
    "unitsphere2cart_Nd",
)
__getattr__ = refuse("fitted_modeling_framework", __all__, _NOT_COVERED)


class FittedMultiCompartmentSphericalMeanModel(FittedKernels):
    """Result of a spherical mean fit, from which FOD models are made; the maps are described in `FittedKernels`."""

    def return_parametric_fod_model(self, distribution: str = "watson", Ncompartments: int = 1) -> ParametricFodModel:
        """The model of N Watson or Bingham distributions of these kernels.

        Args:
            distribution: "watson" or "bingham".
            Ncompartments: N, 1 to 3.

        Returns:
            the model, to be fitted with `fit(acquisition_scheme, data)`.

        Raises:
            InputError: another distribution, or N is not a whole number of at least 1.
            NotCoveredError: N is larger than 3.
        """
        if not isinstance(Ncompartments, int) or Ncompartments < 1:
            raise InputError("Ncompartments must be integer larger or equal to one.")
        if distribution not in ("watson", "bingham"):
            raise InputError(
                f"{distribution} is not a valid distribution choice",
                fix="give distribution='watson' or distribution='bingham'",
            )
        if Ncompartments > MOST_LOBES:
            raise not_covered(f"Ncompartments={Ncompartments}", f"give Ncompartments= from 1 to {MOST_LOBES}")
        return ParametricFodModel(self, distribution, Ncompartments)

    def return_spherical_harmonics_fod_model(self, sh_order: int = 8) -> NoReturn:
        """Not covered: use `return_parametric_fod_model`."""
        raise not_covered("spherical harmonics FOD models", "return_parametric_fod_model()")

    def return_parametric_fod_optimizer(self, *_: Any, **__: Any) -> NoReturn:
        """An earlier name of dmipy, not covered: use `return_parametric_fod_model`."""
        raise not_covered(
            "return_parametric_fod_optimizer", "return_parametric_fod_model(...), then .fit(scheme, data)"
        )
