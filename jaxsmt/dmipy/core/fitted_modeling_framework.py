"""Fitted models: of spherical means, and of FODs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ...fitting.fit import Fit
from ...fitting.fods import MOST, FodFit
from .. import refuse
from ..orientations import directions_from_mu
from .parameters import not_covered

if TYPE_CHECKING:
    from .acquisition_scheme import DmipyAcquisitionScheme
    from .modeling_framework import MultiCompartmentSphericalMeanModel, ParametricFodModel

__all__ = ["FittedMultiCompartmentModel", "FittedMultiCompartmentSphericalMeanModel"]
__getattr__ = refuse("fitted_modeling_framework", __all__)


class _Fitted:
    """What both have in common: `_measured(data)` and `predict` are the same quantity, seen and predicted."""

    def __init__(self, S0: np.ndarray, mask: np.ndarray, scheme: DmipyAcquisitionScheme):
        self.S0, self.mask, self.scheme = S0, mask, scheme

    def predict(self, acquisition_scheme=None, S0=None, mask=None) -> np.ndarray:
        raise NotImplementedError

    def _measured(self, data: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _scale(self, S0, mask) -> tuple[np.ndarray, np.ndarray]:
        mask = self.mask if mask is None else np.asarray(mask) > 0
        return np.where(mask, self.S0 if S0 is None else S0, 0.0), mask & self.mask

    def _errors(self, data) -> tuple[np.ndarray, np.ndarray]:
        """Data over S0, and what the prediction leaves of them; 0 outside the mask."""
        data = np.asarray(data)
        if data.shape != (*self.mask.shape, self.scheme.number_of_measurements):
            raise InputError(
                f"data of shape {data.shape} for a fit of {self.mask.shape} voxels", fix="give the data of the fit"
            )
        inside = self.mask[..., None]
        s0 = np.where(inside, self.S0[..., None], 1)
        seen = np.where(inside, self._measured(np.where(inside, data, 0)) / s0, 0)
        return seen, seen - self.predict(S0=1.0)

    def mean_squared_error(self, data) -> np.ndarray:
        """Mean squared residual of the signal over S0; 0 outside the mask."""
        return np.mean(self._errors(data)[1] ** 2, axis=-1)

    def R2_coefficient_of_determination(self, data) -> np.ndarray:
        """1 - (residual sum of squares)/(total sum of squares) of the signal over S0; 0 outside the mask."""
        seen, error = self._errors(data)
        total = np.sum((seen - seen.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
        return np.where(self.mask, 1 - np.sum(error**2, axis=-1) / np.where(total > 0, total, 1), 0)


class FittedMultiCompartmentSphericalMeanModel(_Fitted):
    """Result of a spherical mean fit; maps have the data's shape without its last axis and are 0 outside the mask.

    Attributes:
        model: as it was when fitted. S0: mean of the b = 0 volumes. mask: voxels that were fitted.
        native: jaxsmt's own result.
    """

    def __init__(self, model: MultiCompartmentSphericalMeanModel, S0: np.ndarray, mask: np.ndarray, native: Fit):
        assert model.scheme is not None
        super().__init__(S0, mask, model.scheme)
        self.model, self.native = model, native

    def _map(self, name: str) -> np.ndarray:
        return self.native.parameters[self.model._native(name)].astype(float) * self.model._unit(name)

    @property
    def fitted_parameters(self) -> dict[str, np.ndarray]:
        """Parameters by name, SI."""
        return {name: self._map(name) for name in self.model.parameter_names}

    @property
    def fitted_parameters_vector(self) -> np.ndarray:
        """(..., n) in the order of `model.parameter_names`."""
        return self.model.parameters_to_parameter_vector(**self.fitted_parameters)

    @property
    def fitted_and_linked_parameters(self) -> dict[str, np.ndarray]:
        """The parameters, and those that links determine."""
        linked = [rule.target for rule in reversed(self.model.rules)]
        return {
            **self.fitted_parameters,
            **{name: self._map(name) for name in linked if name not in self.fitted_parameters},
        }

    @property
    def nested_parameters(self) -> dict[str, np.ndarray]:
        """The parameters with each partial volume as a part of what those before it leave."""
        out, left = dict(self.fitted_parameters), np.ones(self.mask.shape)
        for name in self.model.partial_volume_names:
            out[name], left = self._map(name) / np.where(left > 0, left, 1), left - self._map(name)
        return out

    def native_with(self, S0: np.ndarray) -> Fit:
        """jaxsmt's result with another S0."""
        return replace(self.native, s0=S0.astype(self.native.s0.dtype))

    def predict(self, acquisition_scheme=None, S0=None, mask=None) -> np.ndarray:
        """Spherical means times S0 of every shell, b = 0 among them: (..., shells)."""
        scale, inside = self._scale(S0, mask)
        scheme = acquisition_scheme or self.scheme
        fit = self.native_with(np.where(inside, scale, 0) * np.ones(self.mask.shape))
        return fit.predict(scheme.acquisition)

    def _measured(self, data: np.ndarray) -> np.ndarray:
        return data @ self.scheme.acquisition.weights.T

    def return_parametric_fod_model(self, distribution: str = "watson", Ncompartments: int = 1) -> ParametricFodModel:
        """The model of N Watson or Bingham distributions of these kernels."""
        from .modeling_framework import ParametricFodModel

        if not isinstance(Ncompartments, int) or Ncompartments < 1:
            raise InputError("Ncompartments must be integer larger or equal to one.")
        if distribution not in ("watson", "bingham"):
            raise InputError(f"{distribution} is not a valid distribution choice", fix="'watson' or 'bingham'")
        if Ncompartments > MOST:
            raise not_covered(f"{Ncompartments} distributions", f"1 to {MOST}")
        return ParametricFodModel(self, distribution, Ncompartments)

    def return_spherical_harmonics_fod_model(self, sh_order: int = 8):
        """Not covered."""
        raise not_covered("spherical harmonics FOD models", "return_parametric_fod_model()")

    def return_parametric_fod_optimizer(self, *_, **__):
        """dmipy's name of old."""
        raise not_covered(
            "return_parametric_fod_optimizer", "return_parametric_fod_model(...), then .fit(scheme, data)"
        )


class FittedMultiCompartmentModel(_Fitted):
    """Result of a FOD fit; maps have the data's shape without its last axis and are 0 outside the mask.

    Attributes:
        model: the FOD model. S0: mean of the b = 0 volumes. mask: voxels that were fitted.
        fitted_parameters: by name, SI; μ = [θ, φ]. native: jaxsmt's own result.
    """

    def __init__(
        self,
        model: ParametricFodModel,
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
        """The parameters, and those of the kernel that links determine."""
        kernel, prefix = self.model.kernel, self.model.prefixes[0]
        linked = kernel.fitted_and_linked_parameters
        new = {
            f"{prefix}{n}": np.where(self.mask, v, 0) for n, v in linked.items() if n not in kernel.fitted_parameters
        }
        return {**self.fitted_parameters, **new}

    @property
    def fitted_parameters_vector(self) -> np.ndarray:
        """(..., n) in the order of `model.parameter_names`, μ as two."""
        return self.model.parameters_to_parameter_vector(**self.fitted_parameters)

    def fod(self, vertices, visual_odi_lower_bound: float = 0.0) -> np.ndarray:
        """FODs per steradian at unit vectors (n, 3): (..., n); those narrower than the bound are widened to it."""
        return self.native.odf(vertices, odi_floor=visual_odi_lower_bound)

    def fod_sh(self, sh_order: int = 8, basis_type: str | None = None) -> np.ndarray:
        """Spherical harmonics of the FODs in DIPY's descoteaux07 basis (legacy), (..., (L + 1)(L + 2)/2)."""
        if basis_type not in (None, "descoteaux07"):
            raise not_covered(f"basis_type {basis_type!r}", "None or 'descoteaux07'; jaxsmt's own FodFit.sh has more")
        return self.native.sh(sh_order, basis="descoteaux07_legacy")

    def peaks_spherical(self) -> np.ndarray:
        """[θ, φ] of each distribution's axis: (..., N, 2)."""
        return np.stack(
            [self.fitted_parameters[f"{self.model.distribution_prefix(i)}mu"] for i in range(self.model.count)], axis=-2
        )

    def peaks_cartesian(self) -> np.ndarray:
        """Each distribution's axis, a unit vector: (..., N, 3); 0 outside the mask."""
        return np.where(self.mask[..., None, None], directions_from_mu(self.peaks_spherical()), 0)

    def predict(self, acquisition_scheme=None, S0=None, mask=None) -> np.ndarray:
        """Signal times S0 of every measurement: (..., measurements)."""
        scale, inside = self._scale(S0, mask)
        kernel = self.model.kernel.native_with(np.where(inside, scale, 0) * np.ones(self.mask.shape))
        fods = replace(self.native, model=replace(self.native.model, kernels=kernel))
        return fods.predict((acquisition_scheme or self.scheme).acquisition)

    def _measured(self, data: np.ndarray) -> np.ndarray:
        return data
