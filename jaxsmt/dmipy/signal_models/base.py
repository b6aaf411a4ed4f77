"""What dmipy's compartments have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...compartments import Compartment

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

    def _compartment(self) -> Compartment:
        raise NotImplementedError
