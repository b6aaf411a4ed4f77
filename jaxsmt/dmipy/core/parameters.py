"""Ordered parameters, and the links that dmipy's models set between them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ...errors import InputError, NotCoveredError


class Rule(NamedTuple):
    """A link: what it determines, from what, and the value of a fixed parameter."""

    kind: str  # "fixed", "equal", "fraction", "tortuosity" or "bundle tortuosity"
    target: str
    sources: tuple[str, ...] = ()
    value: Any = None


class Parameters:
    """Parameters by name, in dmipy's order, each with its range (times its scale: SI), type and cardinality.

    Attributes:
        rules: links in the order in which they were set. x0_parameters: fixed maps and first guesses, SI.
    """

    def __init__(self) -> None:
        self.parameter_ranges: dict[str, Any] = {}
        self.parameter_scales: dict[str, Any] = {}
        self.parameter_types: dict[str, str] = {}
        self.parameter_cardinality: dict[str, int] = {}
        self.parameter_optimization_flags: dict[str, bool] = {}
        self.x0_parameters: dict[str, Any] = {}
        self.rules: list[Rule] = []
        self.bounded: set[str] = set()  # by the user

    @property
    def _tables(self) -> tuple[dict[str, Any], ...]:
        return (
            self.parameter_ranges,
            self.parameter_scales,
            self.parameter_types,
            self.parameter_cardinality,
            self.parameter_optimization_flags,
        )

    def _add(self, name: str, bounds, scale, kind: str, cardinality: int = 1, first: bool = False) -> None:
        for table, value in zip(self._tables, (bounds, scale, kind, cardinality, True), strict=True):
            if first:
                rest = dict(table)
                table.clear()
                table[name] = value
                table.update(rest)
            else:
                table[name] = value

    def _remove(self, name: str) -> None:
        for table in (*self._tables, self.x0_parameters):
            table.pop(name, None)

    def _require(self, *names: str) -> None:
        for name in names:
            if name not in self.parameter_cardinality:
                raise InputError(
                    f"{name} does not exist or has already been fixed.",
                    fix=f"there are {[*self.parameter_cardinality]}",
                )

    @property
    def parameter_names(self) -> list[str]:
        return list(self.parameter_cardinality)

    def set_fixed_parameter(self, parameter_name: str, value) -> None:
        """Hold a parameter at a number (it leaves `parameter_names`) or at a map of the data's shape (it stays). SI."""
        self._require(parameter_name)
        if isinstance(value, np.ndarray) and value.ndim:
            for name, flag in self.parameter_optimization_flags.items():
                if not flag and self.x0_parameters[name].shape != value.shape:
                    raise InputError(
                        f"{parameter_name} does not have the same shape as the previously fixed parameters."
                    )
            self.parameter_optimization_flags[parameter_name] = False
            self.x0_parameters[parameter_name] = value.astype(float)
        elif isinstance(value, Real):
            self._remove(parameter_name)
            self.rules.append(Rule("fixed", parameter_name, (), float(value)))
        else:
            raise InputError(f"fixed value for {parameter_name} must be number or np.array, currently {type(value)}")

    def set_equal_parameter(self, parameter_name_in: str, parameter_name_out: str) -> None:
        """The second parameter takes the value of the first, and leaves `parameter_names`."""
        self._require(parameter_name_in, parameter_name_out)
        self._remove(parameter_name_out)
        self.rules.append(Rule("equal", parameter_name_out, (parameter_name_in,)))

    def set_initial_guess_parameter(self, parameter_name: str, value) -> None:
        """Where the search for a parameter starts: a number or a map. SI."""
        self._require(parameter_name)
        self.x0_parameters[parameter_name] = np.asarray(value, float)

    def set_parameter_optimization_bounds(self, parameter_name: str, bounds) -> None:
        """(lower, upper) of a parameter. SI."""
        if parameter_name not in self.parameter_cardinality:
            raise InputError(f"{parameter_name} not in model parameters", fix=f"there are {self.parameter_names}")
        bounds = np.asarray(bounds, float)
        if bounds.shape != (2,):
            raise InputError(f"{parameter_name} bounds must be of shape (1, 2), currently {bounds.shape}.")
        if not bounds[0] < bounds[1]:
            raise InputError(
                f"given optimization bounds for {parameter_name} are invalid: "
                f"lower bound {bounds[0]} is higher than upper bound {bounds[1]}."
            )
        self.parameter_scales[parameter_name] = bounds.max()
        self.parameter_ranges[parameter_name] = tuple(bounds / bounds.max())
        self.bounded.add(parameter_name)

    def bounds_si(self, name: str) -> tuple[float, float]:
        low, high = self.parameter_ranges[name]
        return low * self.parameter_scales[name], high * self.parameter_scales[name]

    def parameters_to_parameter_vector(self, **parameters) -> np.ndarray:
        """(..., n) in the order of `parameter_names` from values by name, which broadcast."""
        missing = [name for name in self.parameter_names if name not in parameters]
        if missing:
            raise InputError(f"no value of {missing}", fix=f"give {self.parameter_names}")
        columns = []
        for name, n in self.parameter_cardinality.items():
            value = np.asarray(parameters[name], float)
            columns.append(value[..., None] if n == 1 else value)
        try:
            shape = np.broadcast_shapes(*(c.shape[:-1] for c in columns))
        except ValueError:
            raise InputError("parameter shapes are inconsistent.") from None
        return np.concatenate([np.broadcast_to(c, (*shape, c.shape[-1])) for c in columns], axis=-1)

    def parameter_vector_to_parameters(self, parameter_vector) -> dict[str, np.ndarray]:
        """Values by name from (..., n)."""
        vector, out, start = np.asarray(parameter_vector, float), {}, 0
        total = sum(self.parameter_cardinality.values())
        if vector.shape[-1] != total:
            raise InputError(f"a vector of {vector.shape[-1]} values for {total}", fix=f"give {self.parameter_names}")
        for name, n in self.parameter_cardinality.items():
            part = vector[..., start : start + n]
            out[name], start = (part[..., 0] if n == 1 else part), start + n
        return out

    def _by_name(self, parameters) -> Mapping[str, Any]:
        if isinstance(parameters, Mapping):
            return parameters
        return self.parameter_vector_to_parameters(parameters)


def not_covered(what: str, fix: str) -> NotCoveredError:
    return NotCoveredError(f"jaxsmt.dmipy does not cover {what}", fix=fix)
