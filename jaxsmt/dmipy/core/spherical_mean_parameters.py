"""The parameters of a sum of compartments, its links, and the same model as jaxsmt's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ... import InputError, SphericalMeanModel
from ...batch.predictions import predicted_means
from ...physics.compartments import Kernel
from ..distributions.distribute_models import BundleModel, instance_names
from ..parameters import Parameters, Rule, not_covered
from ..schemes import DmipyAcquisitionScheme
from ..signal_models.base import SignalModel
from .translation import Translation


class SphericalMeanParameters(Parameters):
    """A sum of compartments and its spherical means: everything of the model but the fit.

    Attributes:
        models: the compartments and bundles.
        model_names: `<Class>_<n>` of each.
        partial_volume_names: of the models' volume fractions; a single model has none.
        translation: between dmipy's names and jaxsmt's.
    """

    def __init__(self, models: Sequence[SignalModel | BundleModel]):
        super().__init__()
        if not models:
            raise InputError("no models", fix="give a list of compartments")
        self.models = list(models)
        self.model_names = instance_names(self.models)
        self._bundle_rules: list[Rule] = []
        members: dict[str, dict[str, SignalModel]] = {}
        for name, model in zip(self.model_names, self.models, strict=True):
            members[name] = {name: model} if isinstance(model, SignalModel) else self._members_of(name, model)
            for p, n in model.parameter_cardinality.items():
                of_all = isinstance(model, BundleModel) and model.shared_parameter(p)
                if model.parameter_types[p] != "orientation" and not of_all:
                    self._add(f"{name}_{p}", model.parameter_ranges[p], model.parameter_scales[p], "normal", n)
        self.translation = Translation(members)
        self.partial_volume_names = self.translation.partial_volumes
        for name in self.partial_volume_names:
            self._add(name, (0.01, 0.99), 1.0, "normal")

    def _members_of(self, name: str, bundle: BundleModel) -> dict[str, SignalModel]:
        """The compartments of a bundle by their names in the model, whose rules it gets too."""
        for rule in bundle.rules:
            sources = tuple(f"{name}_{source}" for source in rule.sources)
            self._bundle_rules.append(rule._replace(target=f"{name}_{rule.target}", sources=sources))
        return {f"{name}_{member}": model for member, model in zip(bundle.model_names, bundle.models, strict=True)}

    @property
    def N_models(self) -> int:
        """How many compartments and bundles there are."""
        return len(self.models)

    @property
    def all_rules(self) -> list[Rule]:
        """The links of bundles, then those of the model."""
        return [*self._bundle_rules, *self.rules]

    @property
    def fixed_numbers(self) -> dict[str, float]:
        """Parameters that are fixed at a number, SI."""
        return {rule.target: rule.value for rule in self.all_rules if rule.kind == "fixed"}

    @property
    def fixed_maps(self) -> dict[str, np.ndarray]:
        """Parameters that are fixed at a map, SI."""
        return {n: self.x0_parameters[n] for n, free in self.parameter_optimization_flags.items() if not free}

    # Links.

    def set_fractional_parameter(self, parameter1_smaller_equal_than: str, parameter2: str) -> None:
        """Make the first parameter a fraction of the second, in [0, 1].

        The first leaves `parameter_names`; the fraction, `<first>_fraction`, takes the first place there.

        Args:
            parameter1_smaller_equal_than: the parameter that is to be smaller than the other, or equal.
            parameter2: the other.

        Raises:
            InputError: one of them does not exist.

        Example:
            >>> from jaxsmt.dmipy.core.modeling_framework import MultiCompartmentSphericalMeanModel
            >>> from jaxsmt.dmipy.signal_models.gaussian_models import G2Zeppelin
            >>> model = MultiCompartmentSphericalMeanModel([G2Zeppelin()])
            >>> model.set_fractional_parameter("G2Zeppelin_1_lambda_perp", "G2Zeppelin_1_lambda_par")
            >>> model.parameter_names
            ['G2Zeppelin_1_lambda_perp_fraction', 'G2Zeppelin_1_lambda_par']
        """
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
        """Let the perpendicular diffusivity follow from the others by the tortuosity of packed fibres.

        λ⊥ = (1 - f) λ∥ with f = intra/(intra + extra); λ⊥ leaves `parameter_names`.

        Args:
            lambda_perp_parameter_name: λ⊥.
            lambda_par_parameter_name: λ∥.
            volume_fraction_intra_parameter_name: the volume fraction inside the fibres.
            volume_fraction_extra_parameter_name: the volume fraction around them.
            S0_correction: not covered.

        Raises:
            InputError: one of the parameters does not exist.
            NotCoveredError: `S0_correction=True`.

        Source: Szafer et al. 1995, Magn Reson Med 33:697, doi:10.1002/mrm.1910330516.
        """
        if S0_correction:
            raise not_covered("S0_correction=True", "leave S0_correction= out")
        sources = lambda_par_parameter_name, volume_fraction_intra_parameter_name, volume_fraction_extra_parameter_name
        self._require(lambda_perp_parameter_name, *sources)
        self._remove(lambda_perp_parameter_name)
        self.rules.append(Rule("tortuosity", lambda_perp_parameter_name, sources))

    # jaxsmt's model.

    def native_model(self) -> SphericalMeanModel:
        """The same model as jaxsmt's, diffusivities in µm²/ms.

        Raises:
            NotCoveredError: a link that determines a partial volume; a bound, guess or fixed value of a partial volume
                that is not the weight of one compartment.
        """
        links = self.translation.links(self.all_rules)
        model = SphericalMeanModel(self.translation.compartments(), links, name="dmipy")
        fixed = {self._native_name(n): self._native_value(n, v) for n, v in self._fixed.items()}
        for name, value in fixed.items():
            model = model.fix(**{name: value})
        return self._with_bounds_and_starts(model, fixed)

    @property
    def _fixed(self) -> dict[str, Any]:
        """Parameters that are fixed, at numbers or at maps, SI."""
        return {**self.fixed_numbers, **self.fixed_maps}

    def _with_bounds_and_starts(self, model: SphericalMeanModel, fixed: Mapping[str, Any]) -> SphericalMeanModel:
        """jaxsmt's model with the bounds of all parameters but the fixed ones, and with the guesses."""
        for name in self.parameter_names:
            # Bounds of a sum or a share of weights cannot be set; those that nobody has asked for are left out.
            if self._is_composite(name) and name not in self.bounded and name not in self.x0_parameters:
                continue
            native = self._native_name(name)
            if native in fixed:
                continue
            low, high = (self._native_value(name, bound) for bound in self.bounds_si(name))
            model = model.bound(**{native: (low, high)})
            # The last weight follows from the others and has no start.
            if name in self.x0_parameters and native in model.parameter_names:
                model = model.start(**{native: self._native_value(name, self.x0_parameters[name])})
        return model

    def _is_composite(self, name: str) -> bool:
        """Whether a parameter is a partial volume that is not the weight of one compartment."""
        return name in self.translation.fractions and self.translation.weight(name) is None

    def _native_name(self, name: str) -> str:
        """jaxsmt's name of a parameter that can be bounded or fixed; that of a partial volume is its weight's."""
        if name not in self.translation.fractions:
            return self.translation.name(name)
        weight = self.translation.weight(name)
        if weight is None:
            raise not_covered(
                f"a bound, guess or fixed value of {name}, a nested fraction", "set that of a single compartment"
            )
        return weight

    def _native_value(self, name: str, value: Any) -> Any:
        """A parameter's value in jaxsmt's unit."""
        return value / self.translation.unit(name)

    def native_values(self, parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Everything that jaxsmt's kernel depends on, from dmipy's parameters by name.

        Args:
            parameters: {name: value}, SI, of all `parameter_names`; numbers or arrays that broadcast.

        Returns:
            {jaxsmt's name: (...)} in jaxsmt's units.

        Raises:
            InputError: a parameter is missing, or the partial volumes do not sum to 1.
        """
        self._require_values(parameters)
        values = {name: np.asarray(parameters[name], float) for name in self.parameter_names}
        values |= {name: np.asarray(value) for name, value in self.fixed_numbers.items()}
        shape = np.broadcast_shapes(*(v.shape for v in values.values()))
        values = {name: np.broadcast_to(v, shape) for name, v in values.items()}
        self._require_unit_sum(values)
        fractions = self.translation.fractions
        native = {self.translation.name(n): self._native_value(n, v) for n, v in values.items() if n not in fractions}
        native |= self.translation.weights(values, shape)
        model = self.native_model()
        with jax.enable_x64(True):
            resolved = model.resolve({name: jnp.asarray(v) for name, v in native.items()})
            return {name: np.broadcast_to(np.asarray(resolved[name]), shape) for name in model.kernel.names}

    def _require_unit_sum(self, values: Mapping[str, np.ndarray]) -> None:
        """Raise InputError unless the partial volumes sum to 1, or are all 0."""
        names = self.partial_volume_names
        total = sum(values[name] for name in names)
        if names and np.any(np.abs(total - 1) > 1e-5) and np.any(total):
            raise InputError("the partial volumes do not sum to 1", fix=f"give {names} so that they do")

    # Signals.

    def simulate_signal(
        self, acquisition_scheme: DmipyAcquisitionScheme, parameters_array_or_dict: Mapping[str, Any] | ArrayLike
    ) -> np.ndarray:
        """Spherical means over S0 of all shells; b = 0 counts as exactly 0.

        Args:
            acquisition_scheme: the measurements.
            parameters_array_or_dict: {name: (...)}, or (..., n) in the order of `parameter_names`; SI.

        Returns:
            (..., shells), b = 0 among them.

        Raises:
            InputError: a parameter is missing, or the partial volumes do not sum to 1.
        """
        values = self.native_values(self._by_name(parameters_array_or_dict))
        return self._means(self.native_model().kernel, acquisition_scheme, values)

    def signals_of_models(
        self, acquisition_scheme: DmipyAcquisitionScheme, parameters: Mapping[str, ArrayLike]
    ) -> np.ndarray:
        """Spherical means over S0 of each compartment or bundle alone.

        Args:
            acquisition_scheme: the measurements.
            parameters: {name: (...)}, SI.

        Returns:
            (..., shells, models).
        """
        values = self.native_values(parameters)
        signals = []
        for members in self.translation.members.values():
            kernel = Kernel(tuple((name, model.compartment()) for name, model in members.items()))
            of_compartments = {name: values[name] for name in kernel.names if name not in kernel.weights}
            total = sum(values[weight] for weight in kernel.weights)
            shares = {weight: values[weight] / np.where(total > 0, total, 1) for weight in kernel.weights}
            signals.append(self._means(kernel, acquisition_scheme, of_compartments | shares))
        return np.stack(signals, axis=-1)

    @staticmethod
    def _means(kernel: Kernel, scheme: DmipyAcquisitionScheme, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Spherical means over S0, (..., shells), of a kernel in jaxsmt's units; b = 0 counts as exactly 0."""
        shells = scheme.acquisition.shells
        kernel.require(shell.pulse for shell in shells)
        pulses = [
            s.pulse._replace(b=0.0) if b0 else s.pulse for s, b0 in zip(shells, scheme.shell_b0_mask, strict=True)
        ]
        shape = np.shape(next(iter(values.values()))) if values else ()
        flat = {name: v.ravel() for name, v in values.items()}
        means = predicted_means(kernel, pulses, flat, np.dtype(float))
        return means.reshape(*shape, len(shells))

    def __call__(
        self, acquisition_scheme: DmipyAcquisitionScheme, quantity: str = "signal", **parameters: ArrayLike
    ) -> np.ndarray:
        """Spherical means over S0, (..., shells), from the parameters by name; see `simulate_signal`."""
        if quantity != "signal":
            raise not_covered(f"quantity={quantity!r}", "give quantity='signal'")
        return self.simulate_signal(acquisition_scheme, parameters)

    def visualize_model_setup(
        self, view: bool = True, cleanup: bool = True, with_parameters: bool = False, im_format: str = "png"
    ) -> Any:
        """Draw the model into the file `Model Setup.<im_format>`.

        Args:
            view: makes no difference.
            cleanup: makes no difference.
            with_parameters: makes no difference.
            im_format: "png", "svg" or "pdf".

        Returns:
            the matplotlib figure.
        """
        return self.native_model().diagram(f"Model Setup.{im_format}")
