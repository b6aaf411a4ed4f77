"""What dmipy's compartments have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import KeysView, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from ... import Compartment, InputError, Parameter, Pulse
from ...physics.compartments import Kernel
from ..orientations import directions_from_mu
from ..schemes import DmipyAcquisitionScheme

_DIFFUSIVITY, _LENGTH = 1e-9, 1e-6  # µm²/ms in m²/s, µm in m
#: Diffusivity of the water in axons with which dmipy restricts it, m²/s.
WATER_IN_AXONS = 1.7e-9
_RANGES = {"mu": ([0, np.pi], [-np.pi, np.pi]), "diameter": (1e-2, 20)}


def unit_of(parameter: str) -> float:
    """jaxsmt's unit of a compartment's parameter, in SI."""
    return _LENGTH if parameter == "diameter" else _DIFFUSIVITY


class SignalModel(ABC):
    """A compartment with its parameters.

    Values that the constructor gets are kept as attributes, and used where a call has none; in models all parameters
    are free.

    Attributes:
        parameter_ranges: lower and upper bound, in units of the scale.
        parameter_scales: the scale: a bound times it is SI.
        parameter_types: "normal", "orientation", or of a diameter "cylinder" or "sphere".
        parameter_cardinality: how many numbers a parameter has: 2 for orientations, else 1.
    """

    _names: tuple[str, ...] = ()

    def __init__(self, **values: ArrayLike | None):
        for name in self._names:
            setattr(self, name, values.get(name))
        self.parameter_ranges: dict[str, Any] = {n: _RANGES.get(n, (0.1, 3)) for n in self._names}
        self.parameter_scales: dict[str, Any] = {n: np.ones(2) if n == "mu" else unit_of(n) for n in self._names}
        types = {"mu": "orientation", "diameter": "cylinder" if "mu" in self._names else "sphere"}
        self.parameter_types = {n: types.get(n, "normal") for n in self._names}
        self.parameter_cardinality = {n: 2 if n == "mu" else 1 for n in self._names}

    @property
    def parameter_names(self) -> KeysView[str]:
        """Names of the parameters, in dmipy's order."""
        return self.parameter_cardinality.keys()

    def compartment(self) -> Compartment:
        """jaxsmt's compartment, its parameters under dmipy's names."""
        native = self._compartment()
        names = [n for n in self._names if n != "mu"]
        parameters = tuple(replace(p, name=n) for p, n in zip(native.parameters, names, strict=True))
        return replace(native, parameters=parameters)

    def _arguments(self, values: Mapping[str, Any]) -> tuple[Any, list[Array]]:
        """The orientation, if there is one, and the others in jaxsmt's units, from the call or the constructor."""
        arguments = {n: values.get(n, getattr(self, n)) for n in self._names}
        missing = [n for n, value in arguments.items() if value is None]
        if missing:
            raise InputError(f"no value of {missing}", fix="give it to the constructor or to the call")
        mu = arguments.pop("mu", None)
        dtype = jnp.result_type(float)
        return mu, [jnp.asarray(value / unit_of(name), dtype) for name, value in arguments.items()]

    def __call__(self, acquisition_scheme: DmipyAcquisitionScheme, **values: ArrayLike) -> np.ndarray:
        """Signal over S0 of all measurements.

        Args:
            acquisition_scheme: the measurements.
            **values: parameters by name, SI, mu = [θ, φ] in radians; those that are missing are the
                constructor's.

        Returns:
            (measurements,); 1 at b = 0.

        Raises:
            InputError: a parameter has no value, or times of the pulses are needed and unknown.
        """
        mu, diffusivities = self._arguments(values)
        acquisition, compartment = acquisition_scheme.acquisition, self._compartment_of(acquisition_scheme)
        axis = np.zeros(3) if mu is None else directions_from_mu(mu)
        signal = np.ones(acquisition.bvals.size)
        for shell in acquisition.shells:
            if shell is not acquisition.b0:
                cosine = jnp.asarray(np.abs(acquisition.bvecs[shell.volumes] @ axis), jnp.result_type(float))
                signal[shell.volumes] = compartment.attenuation(shell.pulse, cosine, *diffusivities)
        return signal

    def spherical_mean(self, acquisition_scheme: DmipyAcquisitionScheme, **values: ArrayLike) -> np.ndarray:
        """Spherical means over S0 of all shells.

        Args:
            acquisition_scheme: the measurements.
            **values: parameters by name, SI; those that are missing are the constructor's.

        Returns:
            (shells,); 1 at b = 0.

        Raises:
            InputError: a parameter has no value, or times of the pulses are needed and unknown.
        """
        _, diffusivities = self._arguments({"mu": (0.0, 0.0), **values})
        shells, compartment = acquisition_scheme.acquisition.shells, self._compartment_of(acquisition_scheme)
        means = [compartment.spherical_mean(shell.pulse, *diffusivities) for shell in shells]
        return np.where(acquisition_scheme.shell_b0_mask, 1.0, np.array(means, float))

    def _compartment_of(self, scheme: DmipyAcquisitionScheme) -> Compartment:
        """jaxsmt's compartment; raise InputError if it needs times that the scheme does not have."""
        compartment = self.compartment()
        Kernel((("", compartment),)).require(scheme.acquisition.pulses)
        return compartment

    @abstractmethod
    def _compartment(self) -> Compartment:
        """jaxsmt's compartment, with jaxsmt's names."""


def by_diameter(restricted: Compartment, diameter: Parameter, diffusivity: float) -> Compartment:
    """A compartment by its diameter, which jaxsmt has by its radius and a diffusivity, its last two parameters.

    Args:
        restricted: jaxsmt's. diameter: the parameter. diffusivity: where water is restricted, SI; it is not fitted.
    """
    of = _ByDiameter(restricted, diffusivity / unit_of("diffusivity"))
    parameters = (*restricted.parameters[:-2], diameter)
    if restricted.isotropic:
        return replace(restricted, parameters=parameters, attenuation=of.attenuation)
    return replace(restricted, parameters=parameters, attenuation=of.attenuation, mean=of.mean, legendre=of.legendre)


@dataclass(frozen=True)
class _ByDiameter:
    """The functions of a compartment by its diameter, with a known diffusivity, µm²/ms."""

    restricted: Compartment
    diffusivity: float

    def attenuation(self, pulse: Pulse, x: Array, *values: Array) -> Array:
        return self.restricted.attenuation(pulse, x, *self._by_radius(*values))

    def mean(self, pulse: Pulse, *values: Array) -> Array:
        return self.restricted.spherical_mean(pulse, *self._by_radius(*values))

    def legendre(self, pulse: Pulse, lmax: int, *values: Array) -> Array:
        return self.restricted.moments(pulse, lmax, *self._by_radius(*values))

    def _by_radius(self, *values: Array) -> tuple[Array, ...]:
        *others, diameter = values
        return (*others, diameter / 2, jnp.full_like(diameter, self.diffusivity))
