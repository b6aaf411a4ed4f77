"""What dmipy's compartments have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...errors import InputError
from ...physics.compartments import Compartment
from ..orientations import directions_from_mu

DIFFUSIVITY = 1e-9  # m²/s in µm²/ms
_RANGES = {"mu": ([0, np.pi], [-np.pi, np.pi])}


class SignalModel:
    """A compartment: ordered parameters with ranges, scales, types and cardinalities, as dmipy tells them.

    Values given to the constructor are kept as attributes; in models every parameter is free.
    """

    _names: tuple[str, ...] = ()

    def __init__(self, **values: Any):
        for name in self._names:
            setattr(self, name, values.get(name))
        self.parameter_ranges = {n: _RANGES.get(n, (0.1, 3)) for n in self._names}
        self.parameter_scales = {n: np.ones(2) if n == "mu" else DIFFUSIVITY for n in self._names}
        self.parameter_types = {n: "orientation" if n == "mu" else "normal" for n in self._names}
        self.parameter_cardinality = {n: 2 if n == "mu" else 1 for n in self._names}

    @property
    def parameter_names(self):
        return self.parameter_cardinality.keys()

    def compartment(self) -> Compartment:
        """jaxsmt's compartment, its parameters under dmipy's names."""
        native = self._compartment()
        names = [n for n in self._names if n != "mu"]
        parameters = tuple(replace(p, name=n) for p, n in zip(native.parameters, names, strict=True))
        return replace(native, parameters=parameters)

    def _arguments(self, values: dict[str, Any]) -> tuple[Any, list[Any]]:
        given = {n: values.get(n, getattr(self, n)) for n in self._names}
        missing = [n for n, value in given.items() if value is None]
        if missing:
            raise InputError(f"no value of {missing}", fix="give it to the constructor or to the call")
        mu = given.pop("mu", None)
        return mu, [jnp.asarray(value / DIFFUSIVITY, jnp.result_type(float)) for value in given.values()]

    def __call__(self, acquisition_scheme, **values) -> np.ndarray:
        """Signal over S0 of every measurement."""
        mu, own = self._arguments(values)
        acquisition, compartment = acquisition_scheme.acquisition, self.compartment()
        axis = np.zeros(3) if mu is None else directions_from_mu(mu)
        signal = np.ones(acquisition.bvals.size)
        for shell in acquisition.shells:
            if shell is not acquisition.b0:
                cosine = jnp.asarray(np.abs(acquisition.bvecs[shell.volumes] @ axis), jnp.result_type(float))
                signal[shell.volumes] = compartment.attenuation(shell.pulse, cosine, *own)
        return signal

    def spherical_mean(self, acquisition_scheme, **values) -> np.ndarray:
        """Spherical mean over S0 of every shell, 1 at b = 0."""
        _, own = self._arguments({"mu": (0.0, 0.0), **values})
        shells = acquisition_scheme.acquisition.shells
        means = [self.compartment().spherical_mean(shell.pulse, *own) for shell in shells]
        return np.where(acquisition_scheme.shell_b0_mask, 1.0, np.array(means, float))

    def _compartment(self) -> Compartment:
        raise NotImplementedError
