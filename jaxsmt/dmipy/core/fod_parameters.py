"""The parameters of FODs: μ = [θ, φ], ψ, ODI, β/κ, partial volumes; between them and jaxsmt's lobes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from ... import FodFit, FodModel, Status
from ...geometry.dispersion import kappa_from_odi
from ..orientations import directions_from_mu, frame_of, mu_from_directions
from ..parameters import Parameters, not_covered
from ..schemes import DmipyAcquisitionScheme
from .fitted_kernels import FittedKernels

_DISTRIBUTED = {"watson": "SD1WatsonDistributed", "bingham": "SD2BinghamDistributed"}
_DISTRIBUTION = {"watson": "SD1Watson_1_", "bingham": "SD2Bingham_1_"}


class FodParameters(Parameters):
    """N Watson or Bingham distributions of the kernel that was fitted in each voxel: its parameters.

    Attributes:
        kernel: the fitted kernels.
        distribution: "watson" or "bingham".
        n_distributions: N.
        partial_volume_names: of the distributions' volume fractions; a single distribution has none.
    """

    def __init__(self, kernel: FittedKernels, distribution: str, n_distributions: int):
        super().__init__()
        self.kernel, self.distribution, self.n_distributions = kernel, distribution, n_distributions
        names, volumes = kernel.model.parameter_names, kernel.model.partial_volume_names
        fractions = [n for n in names if n.endswith("_fraction")]
        nested = [n for n in volumes[:-1] if n in names]
        self._add_kernel([n for n in names if n not in fractions and not n.startswith("partial_volume_")])
        self._add_distribution(0)
        self._add_kernel([*nested, *fractions])
        for i in range(1, n_distributions):
            self._add_distribution(i)
        several = n_distributions > 1
        self.partial_volume_names = [f"partial_volume_{i}" for i in range(n_distributions)] if several else []
        for name in self.partial_volume_names:
            self._add(name, (0, 1), 1.0, "normal")

    @property
    def prefixes(self) -> list[str]:
        """What the names of each distribution's parameters start with; the kernel's start with the first."""
        return [f"{_DISTRIBUTED[self.distribution]}_{i + 1}_" for i in range(self.n_distributions)]

    def distribution_prefix(self, i: int) -> str:
        """What the names of the parameters of the i-th distribution alone start with."""
        return self.prefixes[i] + _DISTRIBUTION[self.distribution]

    def kernel_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """jaxsmt's parameters of the kernels, from dmipy's parameters of this model by name."""
        model, prefix = self.kernel.model, self.prefixes[0]
        parameters: dict[str, Any] = {n: values[prefix + n] for n in model.parameter_names if prefix + n in values}
        left: Any = 1.0
        # In FOD models a partial volume is a part of what those before it leave.
        for name in model.partial_volume_names[:-1]:
            fixed = model.fixed_numbers.get(name)
            volume = left * parameters[name] if fixed is None else fixed
            parameters[name], left = volume, left - volume
        if model.partial_volume_names:
            parameters[model.partial_volume_names[-1]] = left
        return model.native_values(parameters)

    def _add_kernel(self, names: list[str]) -> None:
        """Add parameters of the kernel, fixed at their fitted maps."""
        model, nested = self.kernel.model, self.kernel.nested_parameters
        for source in names:
            name = f"{self.prefixes[0]}{source}"
            self._add(name, model.parameter_ranges[source], model.parameter_scales[source], "normal")
            self.parameter_optimization_flags[name] = False
            self.x0_parameters[name] = nested[source]

    def _add_distribution(self, i: int) -> None:
        """Add the parameters of the i-th distribution."""
        prefix = self.distribution_prefix(i)
        self._add(f"{prefix}mu", ([0, np.pi], [-np.pi, np.pi]), np.ones(2), "orientation", 2)
        if self.distribution == "bingham":
            self._add(f"{prefix}psi", (0, np.pi), 1.0, "circular")
        self._add(f"{prefix}odi", (0.005, 1), 1.0, "normal")
        if self.distribution == "bingham":
            self._add(f"{prefix}beta_fraction", (0, 1), 1.0, "normal")

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        """Not covered: set links, bounds and guesses on the spherical mean model."""
        raise not_covered("links, bounds and guesses of FOD models", "set them on the spherical mean model")

    set_fixed_parameter = set_equal_parameter = set_initial_guess_parameter = _refuse
    set_parameter_optimization_bounds = set_fractional_parameter = set_tortuous_parameter = _refuse


def parameters_from_fods(model: FodParameters, fods: FodFit) -> dict[str, np.ndarray]:
    """dmipy's parameters of the fitted lobes, by name."""
    lobes = {name: values.astype(float) for name, values in fods.parameters.items()}
    parameters: dict[str, np.ndarray] = {}
    for i in range(model.n_distributions):
        prefix = model.distribution_prefix(i)
        mu = mu_from_directions(lobes["direction"][..., i, :])
        parameters[f"{prefix}mu"], parameters[f"{prefix}odi"] = mu, lobes["odi"][..., i]
        if model.distribution == "bingham":
            y, z = frame_of(directions_from_mu(mu))
            across = lobes["across"][..., i, :]
            psi = np.arctan2(np.sum(across * z, axis=-1), np.sum(across * y, axis=-1)) % np.pi
            kappa = lobes["kappa"][..., i]
            parameters[f"{prefix}psi"] = psi
            parameters[f"{prefix}beta_fraction"] = lobes["beta"][..., i] / np.where(kappa > 0, kappa, 1)
    return parameters | {name: lobes["weight"][..., i] for i, name in enumerate(model.partial_volume_names)}


def fods_from_parameters(
    model: FodParameters, parameters: Mapping[str, Any], scheme: DmipyAcquisitionScheme | None
) -> FodFit:
    """FODs of dmipy's parameters by name, over kernels of S0 = 1; without a scheme with that of the kernels' fit."""
    values = {name: np.asarray(parameters[name], float) for name in model.parameter_names}
    shape = np.broadcast_shapes(
        *(v.shape[:-1] if model.parameter_cardinality[name] == 2 else v.shape for name, v in values.items())
    )
    kernel = {name: np.broadcast_to(v, shape) for name, v in model.kernel_values(values).items()}
    ones, status = np.ones(shape), np.full(shape, Status.CONVERGED, np.uint8)
    native = replace(model.kernel.native, parameters=kernel, s0=ones, status=status)
    acquisition = model.kernel.scheme.acquisition if scheme is None else scheme.acquisition
    return FodFit(
        model=FodModel(native, model.distribution, model.n_distributions),
        parameters=_stacked([_lobe(model, values, i) for i in range(model.n_distributions)], shape),
        n_fibres=np.full(shape, model.n_distributions, np.uint8),
        quality={"mse": ones, "r2": ones},
        status=status,
        acquisition=acquisition,
        axes=acquisition.axes,
    )


def _lobe(model: FodParameters, values: Mapping[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    """jaxsmt's parameters of the i-th lobe, of shapes that broadcast."""
    prefix = model.distribution_prefix(i)
    axis, odi = directions_from_mu(values[f"{prefix}mu"]), values[f"{prefix}odi"]
    kappa = kappa_from_odi(odi)
    beta, across = np.zeros(()), np.zeros(3)
    if model.distribution == "bingham":
        y, z = frame_of(axis)
        psi = values[f"{prefix}psi"][..., None]
        beta, across = kappa * values[f"{prefix}beta_fraction"], np.cos(psi) * y + np.sin(psi) * z
    weight = values[model.partial_volume_names[i]] if model.partial_volume_names else np.ones(())
    return {"weight": weight, "odi": odi, "kappa": kappa, "beta": beta, "direction": axis, "across": across}


def _stacked(lobes: list[dict[str, np.ndarray]], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """The parameters of lobes as arrays (..., N), vectors (..., N, 3)."""
    stacked = {}
    for name in lobes[0]:
        full = (*shape, 3) if name in ("direction", "across") else shape
        stacked[name] = np.stack([np.broadcast_to(lobe[name], full) for lobe in lobes], axis=len(shape))
    return stacked
