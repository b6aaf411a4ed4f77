"""Models: `MultiCompartmentSphericalMeanModel`, and the parametric FOD models that its fits return."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...acquisition.shells import Pulse
from ...batch.engine import predicted_means
from ...errors import InputError
from ...fitting import fit as fitting
from ...models.links import Link, equal, fraction, tortuosity
from ...models.model import SphericalMeanModel
from .. import refuse
from ..distributions.distribute_models import BundleModel, instance_names
from ..signal_models.base import DIFFUSIVITY
from .acquisition_scheme import DmipyAcquisitionScheme
from .fitted_modeling_framework import FittedMultiCompartmentModel, FittedMultiCompartmentSphericalMeanModel
from .fod_parameters import fods_from_parameters, parameters_from_fods
from .parameters import Parameters, Rule, not_covered

__all__ = ["MultiCompartmentModel", "MultiCompartmentSphericalMeanModel"]
__getattr__ = refuse("modeling_framework", __all__)

_SOLVERS = ("brute2fine", "mix")


class FittedByVoxel(Parameters):
    """A model with dmipy's `fit`; `_fit` has what differs between models."""

    def fit(
        self,
        acquisition_scheme: DmipyAcquisitionScheme,
        data,
        mask=None,
        solver: str = "brute2fine",
        Ns: int = 5,
        maxiter: int = 300,
        N_sphere_samples: int = 30,
        use_parallel_processing: bool = True,
        number_of_processors: int | None = None,
    ) -> Any:
        """Fit in every voxel of the mask whose first volume is positive, and that has a kernel if FODs are fitted.

        data: (..., measurements).
        """
        data, mask, s0 = prepare(acquisition_scheme, data, mask, solver)
        for name, free in self.parameter_optimization_flags.items():
            if not free and self.x0_parameters[name].shape != mask.shape:
                raise InputError(
                    "data and x0 both N-dimensional but have different shapes. "
                    f"Current shapes are {mask.shape} and {self.x0_parameters[name].shape}."
                )
        start = time.perf_counter()
        fitted = self._fit(acquisition_scheme, data, mask, s0)
        tell(fitted.mask, start)
        return fitted

    def _fit(self, scheme: DmipyAcquisitionScheme, data: np.ndarray, mask: np.ndarray, s0: np.ndarray) -> Any:
        raise NotImplementedError


class MultiCompartmentSphericalMeanModel(FittedByVoxel):
    """A sum of compartments, fitted to the spherical means of the shells.

    Parameters are `<Class>_<n>_<parameter>`, without orientations; several models also have
    partial_volume_0, partial_volume_1, …, which sum to 1.
    """

    def __init__(self, models, S0_tissue_responses=None, parameter_links=None):
        super().__init__()
        if S0_tissue_responses is not None:
            raise not_covered("S0_tissue_responses", "fit signal fractions")
        if parameter_links is not None:
            raise not_covered("parameter_links", "set the links with the methods of the model")
        if not models:
            raise InputError("no models", fix="give a list of compartments")
        self.models = list(models)
        self.model_names = instance_names(self.models)
        # jaxsmt's compartments: the members of bundles count one by one.
        self._leaves: dict[str, list[tuple[str, Any]]] = {}
        self._inner: list[Rule] = []
        for name, model in zip(self.model_names, self.models, strict=True):
            if isinstance(model, BundleModel):
                members = zip(model.model_names, model.models, strict=True)
                self._leaves[name] = [(f"{name}_{member}", own) for member, own in members]
                self._inner += [
                    r._replace(target=f"{name}_{r.target}", sources=tuple(f"{name}_{s}" for s in r.sources))
                    for r in model.rules
                ]
            else:
                self._leaves[name] = [(name, model)]
            for p, n in model.parameter_cardinality.items():
                if model.parameter_types[p] != "orientation":
                    self._add(f"{name}_{p}", model.parameter_ranges[p], model.parameter_scales[p], "normal", n)
        self.partial_volume_names = []
        if len(self.models) > 1:
            self.partial_volume_names = [f"partial_volume_{i}" for i in range(len(self.models))]
            for name in self.partial_volume_names:
                self._add(name, (0.01, 0.99), 1.0, "normal")
        self.scheme: DmipyAcquisitionScheme | None = None

    @property
    def N_models(self) -> int:
        return len(self.models)

    @property
    def held(self) -> dict[str, float]:
        """Parameters fixed at a number, SI."""
        return {rule.target: rule.value for rule in (*self._inner, *self.rules) if rule.kind == "fixed"}

    # Links.

    def set_fractional_parameter(self, parameter1_smaller_equal_than: str, parameter2: str) -> None:
        """The first parameter becomes a fraction in [0, 1], a new parameter `<first>_fraction`, of the second."""
        self._require(parameter1_smaller_equal_than, parameter2)
        self._remove(parameter1_smaller_equal_than)
        name = f"{parameter1_smaller_equal_than}_fraction"
        self._add(name, (0.0, 1.0), 1.0, "normal", first=True)
        self.rules.append(Rule("fraction", parameter1_smaller_equal_than, (name, parameter2)))

    def set_tortuous_parameter(
        self,
        lambda_perp_parameter_name: str,
        lambda_par_parameter_name: str,
        volume_fraction_intra_parameter_name: str,
        volume_fraction_extra_parameter_name: str,
        S0_correction: bool = False,
    ) -> None:
        """lambda_perp = (1 - f) lambda_par with f = intra/(intra + extra); lambda_perp leaves `parameter_names`."""
        if S0_correction:
            raise not_covered("S0_correction", "leave it out")
        sources = lambda_par_parameter_name, volume_fraction_intra_parameter_name, volume_fraction_extra_parameter_name
        self._require(lambda_perp_parameter_name, *sources)
        self._remove(lambda_perp_parameter_name)
        self.rules.append(Rule("tortuosity", lambda_perp_parameter_name, sources))

    # jaxsmt's model.

    def _native(self, name: str) -> str:
        """jaxsmt's name of a parameter: `compartment.parameter`; fractions keep dmipy's."""
        for leaves in self._leaves.values():
            for leaf, model in leaves:
                own = name.removeprefix(leaf + "_")
                if own != name and own in model.parameter_cardinality:
                    return f"{leaf}.{own}"
        return name

    def _unit(self, name: str) -> float:
        """SI over jaxsmt's unit."""
        return DIFFUSIVITY if "." in self._native(name) else 1.0

    def _fractions(self) -> dict[str, list[str]]:
        """Weights of jaxsmt's compartments that make a partial volume: their sum, or the share of the first."""
        out = {}
        for i, (name, leaves) in enumerate(self._leaves.items()):
            weights = [f"weight.{leaf}" for leaf, _ in leaves]
            if self.partial_volume_names:
                out[f"partial_volume_{i}"] = weights
            out |= {f"{name}_partial_volume_{k}": weights[k:] for k in range(len(weights) - 1)}
        return out

    def _weight(self, name: str) -> str:
        """The one weight that a partial volume is."""
        weights, single = self._fractions()[name], len(self.models) == 1
        if not name.startswith("partial_volume_"):
            if single and name.endswith("partial_volume_0"):
                return weights[0]
        elif len(weights) == 1:
            return weights[0]
        raise not_covered(
            f"a bound, guess or fixed value of {name}, a nested fraction", "set that of a single compartment"
        )

    def native_model(self) -> SphericalMeanModel:
        """The same model as jaxsmt's."""
        fractions = self._fractions()
        links: list[Any] = []
        for name, weights in fractions.items():
            links.append(Link(name, tuple(weights), _total if name.startswith("partial_volume_") else _share))
        for rule in (*self._inner, *self.rules):
            target, sources = self._native(rule.target), tuple(map(self._native, rule.sources))
            if rule.kind != "fixed" and rule.target in fractions:
                raise not_covered(f"links of {rule.target}, a partial volume", "fix it, or leave it free")
            if rule.kind == "equal":
                links.append(equal(target, *sources))
            elif rule.kind == "fraction":
                links.append(fraction(target, sources[1], rule.sources[0]))
            elif rule.kind == "tortuosity":
                links.append(tortuosity(target, *sources))
            elif rule.kind == "bundle tortuosity":
                links.append(Link(target, sources, _remaining))
        compartments = {leaf: model.compartment() for leaves in self._leaves.values() for leaf, model in leaves}
        model = SphericalMeanModel(compartments, links, name="dmipy")
        held = dict(self.held)
        held |= {n: self.x0_parameters[n] for n, free in self.parameter_optimization_flags.items() if not free}
        single = len(model.kernel.weights) == 0
        for name, value in held.items():
            if name in fractions and single:
                continue
            model = model.fix(
                **{self._weight(name) if name in fractions else self._native(name): value / self._unit(name)}
            )
        for name in self.parameter_names:
            native = self._native(name)
            if name in fractions:
                try:
                    native = self._weight(name)
                except NotImplementedError:
                    if name in self.bounded or name in self.x0_parameters:
                        raise
                    continue
            if native in dict(model.held):
                continue
            low, high = self.bounds_si(name)
            model = model.bound(**{native: (low / self._unit(name), high / self._unit(name))})
            if name in self.x0_parameters and native != model.space.rest:
                model = model.start(**{native: self.x0_parameters[name] / self._unit(name)})
        return model

    def native_values(self, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Everything that jaxsmt's kernel depends on, from dmipy's parameters by name; arrays of one shape."""
        missing = [name for name in self.parameter_names if name not in parameters]
        if missing:
            raise InputError(f"no value of {missing}", fix=f"give {self.parameter_names}")
        model, fractions = self.native_model(), self._fractions()
        given = {name: np.asarray(parameters[name], float) for name in self.parameter_names}
        given |= {name: np.asarray(value) for name, value in self.held.items()}
        shape = np.broadcast_shapes(*(v.shape for v in given.values()))
        given = {name: np.broadcast_to(v, shape) for name, v in given.items()}
        values = {self._native(n): v / self._unit(n) for n, v in given.items() if n not in fractions}
        for i, (name, leaves) in enumerate(self._leaves.items()):
            left = given[f"partial_volume_{i}"] if self.partial_volume_names else np.ones(shape)
            for k, (leaf, _) in enumerate(leaves):
                part = left * given[f"{name}_partial_volume_{k}"] if k < len(leaves) - 1 else left
                left = left - part
                if model.kernel.weights:
                    values[f"weight.{leaf}"] = part
        total = sum(given[name] for name in self.partial_volume_names)
        if self.partial_volume_names and np.any(np.abs(total - 1) > 1e-5) and np.any(total):
            raise InputError(
                "the partial volumes do not sum to 1", fix=f"give {self.partial_volume_names} so that they do"
            )
        with jax.enable_x64(True):
            every = model.resolve({name: jnp.asarray(v) for name, v in values.items()})
            return {name: np.broadcast_to(np.asarray(every[name]), shape) for name in model.kernel.names}

    # Signals and fits.

    def simulate_signal(self, acquisition_scheme: DmipyAcquisitionScheme, parameters_array_or_dict) -> np.ndarray:
        """Spherical means over S0 of every shell, b = 0 among them, (..., shells); b = 0 counts as exactly 0."""
        values = self.native_values(self._by_name(parameters_array_or_dict))
        shells = acquisition_scheme.acquisition.shells
        pulses = [Pulse(0.0) if b0 else s.pulse for s, b0 in zip(shells, acquisition_scheme.shell_b0_mask, strict=True)]
        shape = np.shape(next(iter(values.values()))) if values else ()
        flat = {name: v.ravel() for name, v in values.items()}
        means = predicted_means(self.native_model().kernel, pulses, flat, np.dtype(float))
        return means.reshape(*shape, len(shells))

    def __call__(
        self, acquisition_scheme: DmipyAcquisitionScheme, quantity: str = "signal", **parameters
    ) -> np.ndarray:
        if quantity != "signal":
            raise not_covered(f"quantity {quantity!r}", "quantity='signal'")
        return self.simulate_signal(acquisition_scheme, parameters)

    def _fit(self, scheme, data, mask, s0) -> FittedMultiCompartmentSphericalMeanModel:
        self.scheme = scheme
        weights = np.ones(scheme.N_shells)
        native = fitting.fit(self.native_model(), scheme.acquisition, data, some(mask), s0="mean", weights=weights)
        return FittedMultiCompartmentSphericalMeanModel(copy.deepcopy(self), s0, mask, native)

    def visualize_model_setup(self, view=True, cleanup=True, with_parameters=False, im_format="png"):
        """Draw the model into 'Model Setup.<im_format>'; returns the matplotlib figure."""
        return self.native_model().diagram(f"Model Setup.{im_format}")


class MultiCompartmentModel:
    """In dmipy a model of every measurement; here only as the parametric FOD model that a fit returns."""

    def __init__(self, models=None, *_: Any, **__: Any):
        raise not_covered(
            "MultiCompartmentModel(models)",
            "fit a MultiCompartmentSphericalMeanModel, then return_parametric_fod_model()",
        )


class ParametricFodModel(MultiCompartmentModel, FittedByVoxel):
    """N Watson or Bingham distributions of the kernel that a spherical mean fit found in each voxel."""

    def __init__(self, kernel: FittedMultiCompartmentSphericalMeanModel, distribution: str, Ncompartments: int):
        Parameters.__init__(self)
        self.kernel, self.family, self.count = kernel, distribution, Ncompartments
        own, prefixes = kernel.model, self.prefixes
        plain = [n for n in own.parameter_names if not n.endswith("_fraction") and not n.startswith("partial_volume_")]
        fractions = [n for n in own.parameter_names if n.endswith("_fraction")]
        nested = [n for n in own.partial_volume_names[:-1] if n in own.parameter_names]
        for name in plain:
            self._hold(f"{prefixes[0]}{name}", own, name)
        self._add_distribution(0)
        for name in (*nested, *fractions):
            self._hold(f"{prefixes[0]}{name}", own, name)
        for i in range(1, Ncompartments):
            self._add_distribution(i)
        self.partial_volume_names = [f"partial_volume_{i}" for i in range(Ncompartments)] if Ncompartments > 1 else []
        for name in self.partial_volume_names:
            self._add(name, (0, 1), 1.0, "normal")

    @property
    def prefixes(self) -> list[str]:
        kind = {"watson": "SD1WatsonDistributed", "bingham": "SD2BinghamDistributed"}[self.family]
        return [f"{kind}_{i + 1}_" for i in range(self.count)]

    def distribution_prefix(self, i: int) -> str:
        return self.prefixes[i] + {"watson": "SD1Watson_1_", "bingham": "SD2Bingham_1_"}[self.family]

    def kernel_values(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """jaxsmt's parameters of the kernels, from dmipy's parameters of this model by name."""
        own = self.kernel.model
        given: dict[str, Any] = {
            name: values[self.prefixes[0] + name] for name in own.parameter_names if self.prefixes[0] + name in values
        }
        left: Any = 1.0
        for name in own.partial_volume_names[:-1]:  # nested here
            part = own.held[name] if name in own.held else left * given[name]
            given[name], left = part, left - part
        if own.partial_volume_names:
            given[own.partial_volume_names[-1]] = left
        return own.native_values(given)

    def _hold(self, name: str, own: Parameters, source: str) -> None:
        values = self.kernel.nested_parameters[source]
        self._add(name, own.parameter_ranges[source], own.parameter_scales[source], "normal")
        self.parameter_optimization_flags[name] = False
        self.x0_parameters[name] = values

    def _add_distribution(self, i: int) -> None:
        prefix = self.distribution_prefix(i)
        self._add(f"{prefix}mu", ([0, np.pi], [-np.pi, np.pi]), np.ones(2), "orientation", 2)
        if self.family == "bingham":
            self._add(f"{prefix}psi", (0, np.pi), 1.0, "circular")
        self._add(f"{prefix}odi", (0.005, 1), 1.0, "normal")
        if self.family == "bingham":
            self._add(f"{prefix}beta_fraction", (0, 1), 1.0, "normal")

    def _refuse(self, *_: Any, **__: Any) -> None:
        raise not_covered("links, bounds and guesses of FOD models", "set them on the spherical mean model")

    set_fixed_parameter = set_equal_parameter = set_initial_guess_parameter = _refuse
    set_parameter_optimization_bounds = set_fractional_parameter = set_tortuous_parameter = _refuse

    def _fit(self, scheme, data, mask, s0) -> FittedMultiCompartmentModel:
        mask = mask & self.kernel.mask
        model = self.kernel.native_with(s0).fod_model(self.family, self.count)
        native = fitting.fit(model, scheme.acquisition, data, some(mask))
        every = {**self.x0_parameters, **parameters_from_fods(self, native)}
        parameters = {name: np.where(_like(mask, every[name]), every[name], 0) for name in self.parameter_names}
        return FittedMultiCompartmentModel(copy.copy(self), s0, mask, native, parameters, scheme)

    def simulate_signal(self, acquisition_scheme: DmipyAcquisitionScheme, parameters_array_or_dict) -> np.ndarray:
        """Signal over S0 of every measurement, (..., measurements); b = 0 counts as exactly 0."""
        return fods_from_parameters(self, self._by_name(parameters_array_or_dict), acquisition_scheme).predict()

    def __call__(self, acquisition_scheme_or_vertices, quantity: str = "signal", **parameters) -> np.ndarray:
        if quantity == "FOD":
            return fods_from_parameters(self, parameters, None).odf(acquisition_scheme_or_vertices)
        if quantity != "signal":
            raise not_covered(f"quantity {quantity!r}", "'signal' or 'FOD'")
        return self.simulate_signal(acquisition_scheme_or_vertices, parameters)

    def visualize_model_setup(self, *_: Any, **__: Any):
        raise not_covered("visualize_model_setup of a FOD model", "draw the spherical mean model")


def prepare(scheme: DmipyAcquisitionScheme, data, mask, solver: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data of at least two dimensions, voxels to fit, and S0, as dmipy has them."""
    if solver not in _SOLVERS:
        raise InputError(f"Unknown solver name {solver}", fix="'brute2fine'")
    if solver == "mix":
        raise not_covered("solver='mix'", "solver='brute2fine'; jaxsmt's own solver is used")
    if not scheme.b0_mask.any():
        raise InputError("acquisition scheme must have b0-measurements for signal-attenuation-based model fitting.")
    data = np.atleast_2d(np.asarray(data))
    scheme.acquisition.require_volumes(data.shape[-1])
    inside = data[..., 0] > 0
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape not in (inside.shape, inside.shape[1:] if inside.shape[:1] == (1,) else inside.shape):
            raise InputError(f"a mask of shape {mask.shape} for data of shape {data.shape}", fix="shapes must agree")
        inside = inside & (np.broadcast_to(mask, inside.shape) > 0)
    return data, inside, data[..., scheme.b0_mask].mean(axis=-1)


def some(mask: np.ndarray) -> np.ndarray:
    if not mask.any():
        raise InputError(
            "no voxel to fit: the mask is empty, or the first volume is nowhere positive", fix="check both"
        )
    return mask


def tell(mask: np.ndarray, start: float) -> None:
    voxels, seconds = int(mask.sum()), time.perf_counter() - start
    print(f"Fitting of {voxels} voxels complete in {seconds} seconds.")
    print(f"Average of {seconds / voxels} seconds per voxel.")


def _like(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    return mask.reshape(*mask.shape, *[1] * (values.ndim - mask.ndim))


def _total(*weights):
    return sum(weights[1:], start=weights[0])


def _share(first, *rest):
    total = _total(first, *rest)
    return first / jnp.where(total > 0, total, 1)


def _remaining(parallel, intra):
    return parallel * (1 - intra)
