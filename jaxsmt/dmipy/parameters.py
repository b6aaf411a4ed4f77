"""Ordered parameters, and the links that dmipy's models set between them."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, NotCoveredError

Kind = Literal["fixed", "equal", "fraction", "tortuosity", "bundle tortuosity"]


class Rule(NamedTuple):
    """A link: which parameter it determines, from which others, and the number of a fixed parameter.

    Attributes:
        kind: what the link does.
        target: the parameter that it determines.
        sources: the parameters that it needs.
        value: the number of a fixed parameter, SI; None for the other kinds.
    """

    kind: Kind
    target: str
    sources: tuple[str, ...] = ()
    value: Any = None


class Parameters:
    """Parameters by name, in dmipy's order, each with its range, type and cardinality.

    Attributes:
        parameter_ranges: lower and upper bound, in units of the scale.
        parameter_scales: the scale: a bound times it is SI.
        parameter_types: "normal", "orientation" or "circular".
        parameter_cardinality: how many numbers a parameter has: 2 for orientations, else 1.
        parameter_optimization_flags: False where a parameter is fixed at a map.
        x0_parameters: fixed maps and first guesses, SI.
        rules: the links, in the order in which they were set.
        bounded: names of the parameters whose bounds the user has set.
    """

    def __init__(self) -> None:
        self.parameter_ranges: dict[str, Any] = {}
        self.parameter_scales: dict[str, Any] = {}
        self.parameter_types: dict[str, str] = {}
        self.parameter_cardinality: dict[str, int] = {}
        self.parameter_optimization_flags: dict[str, bool] = {}
        self.x0_parameters: dict[str, Any] = {}
        self.rules: list[Rule] = []
        self.bounded: set[str] = set()

    @property
    def _tables(self) -> tuple[dict[str, Any], ...]:
        """The dictionaries that have one entry for each parameter."""
        return (
            self.parameter_ranges,
            self.parameter_scales,
            self.parameter_types,
            self.parameter_cardinality,
            self.parameter_optimization_flags,
        )

    def _add(self, name: str, bounds: Any, scale: Any, kind: str, cardinality: int = 1, first: bool = False) -> None:
        """Add a free parameter behind the others, or before them."""
        for table, value in zip(self._tables, (bounds, scale, kind, cardinality, True), strict=True):
            others = dict(table)
            if first:
                table.clear()
            table[name] = value
            if first:
                table.update(others)

    def _remove(self, name: str) -> None:
        """Remove a parameter that a link determines from now on."""
        for table in (*self._tables, self.x0_parameters):
            table.pop(name, None)

    def _require(self, *names: str) -> None:
        """Raise InputError if one of these parameters does not exist."""
        for name in names:
            if name not in self.parameter_cardinality:
                raise InputError(
                    f"{name} does not exist or has already been fixed.",
                    fix=f"there are {[*self.parameter_cardinality]}",
                )

    @property
    def parameter_names(self) -> list[str]:
        """Names of the parameters that no link determines, in dmipy's order."""
        return list(self.parameter_cardinality)

    def set_fixed_parameter(self, parameter_name: str, value: float | np.ndarray) -> None:
        """Hold a parameter at a number or at a map.

        A parameter that is held at a number leaves `parameter_names`; one that is held at a map stays there.

        Args:
            parameter_name: the parameter.
            value: SI; a number, or a map (...) of the data's shape without its last axis.

        Raises:
            InputError: the parameter does not exist, the value is neither, or maps differ in shape.
        """
        self._require(parameter_name)
        if isinstance(value, np.ndarray) and value.ndim:
            for name, free in self.parameter_optimization_flags.items():
                if not free and self.x0_parameters[name].shape != value.shape:
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
        """Let the second parameter take the value of the first; the second leaves `parameter_names`.

        Args:
            parameter_name_in: the parameter that stays.
            parameter_name_out: the parameter that takes its value.

        Raises:
            InputError: one of them does not exist.
        """
        self._require(parameter_name_in, parameter_name_out)
        self._remove(parameter_name_out)
        self.rules.append(Rule("equal", parameter_name_out, (parameter_name_in,)))

    def set_initial_guess_parameter(self, parameter_name: str, value: ArrayLike) -> None:
        """Set where the search for a parameter starts.

        Args:
            parameter_name: the parameter.
            value: SI; a number, or a map (...) of the data's shape without its last axis.

        Raises:
            InputError: the parameter does not exist.
        """
        self._require(parameter_name)
        self.x0_parameters[parameter_name] = np.asarray(value, float)

    def set_parameter_optimization_bounds(self, parameter_name: str, bounds: ArrayLike) -> None:
        """Set the bounds of a parameter.

        Args:
            parameter_name: the parameter.
            bounds: (2,) lower and upper bound, SI.

        Raises:
            InputError: the parameter does not exist, or the bounds are not two rising numbers.
        """
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
        """Lower and upper bound of a parameter of one number, SI."""
        low, high = self.parameter_ranges[name]
        return low * self.parameter_scales[name], high * self.parameter_scales[name]

    def parameters_to_parameter_vector(self, **parameters: ArrayLike) -> np.ndarray:
        """Put values by name into one array.

        Args:
            **parameters: a value of each parameter, SI: numbers or arrays (...) that broadcast; orientations (..., 2).

        Returns:
            (..., n) in the order of `parameter_names`; an orientation takes two of the n places.

        Raises:
            InputError: a parameter is missing, or the shapes do not broadcast.
        """
        self._require_values(parameters)
        columns = []
        for name, n in self.parameter_cardinality.items():
            value = np.asarray(parameters[name], float)
            columns.append(value[..., None] if n == 1 else value)
        try:
            shape = np.broadcast_shapes(*(c.shape[:-1] for c in columns))
        except ValueError:
            raise InputError("parameter shapes are inconsistent.") from None
        return np.concatenate([np.broadcast_to(c, (*shape, c.shape[-1])) for c in columns], axis=-1)

    def parameter_vector_to_parameters(self, parameter_vector: ArrayLike) -> dict[str, np.ndarray]:
        """Take one array apart into values by name.

        Args:
            parameter_vector: (..., n) in the order of `parameter_names`, SI.

        Returns:
            {name: (...)}, SI; orientations are (..., 2).

        Raises:
            InputError: the vector has another length.
        """
        vector, start = np.asarray(parameter_vector, float), 0
        parameters: dict[str, np.ndarray] = {}
        total = sum(self.parameter_cardinality.values())
        if vector.shape[-1] != total:
            raise InputError(f"a vector of {vector.shape[-1]} values for {total}", fix=f"give {self.parameter_names}")
        for name, n in self.parameter_cardinality.items():
            part = vector[..., start : start + n]
            parameters[name], start = (part[..., 0] if n == 1 else part), start + n
        return parameters

    def _require_values(self, parameters: Mapping[str, Any]) -> None:
        """Raise InputError unless each parameter has a value."""
        missing = [name for name in self.parameter_names if name not in parameters]
        if missing:
            raise InputError(f"no value of {missing}", fix=f"give {self.parameter_names}")

    def _by_name(self, parameters: Mapping[str, Any] | ArrayLike) -> Mapping[str, Any]:
        """Values by name, from those or from a vector."""
        if isinstance(parameters, Mapping):
            return parameters
        return self.parameter_vector_to_parameters(parameters)


def not_covered(what: str, fix: str) -> NotCoveredError:
    """The error that says what of dmipy is not covered, and what to do instead."""
    return NotCoveredError(f"jaxsmt.dmipy does not cover {what}", fix=fix)
