"""What a compiled program is compiled for, and what it is given anew in each call.

JAX compiles a program for one model. Were the values in the model part of the program, each other value would need
another program, and a map, with another value in each voxel, could not be had at all. So a model can be separated into
a static model, with placeholders in place of values, and the values, which are passed at run time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..physics.compartments import Parameter

#: Options of the compiler for a program that runs once: with less optimisation it is compiled in half the time.
RUNS_ONCE: dict[str, bool | str] = {"xla_backend_optimization_level": "0"}


class Placeholder(NamedTuple):
    """Stands in a static model for a value that is passed at run time.

    Attributes:
        number: the place of the value among those that are passed.
    """

    number: int


def look_up(value: Any, runtime: Sequence[Any]) -> Any:
    """The value itself, or what is passed for it at run time if it is a placeholder."""
    return runtime[value.number] if isinstance(value, Placeholder) else value


class Changes(NamedTuple):
    """What `fix`, `bound` and `start` have changed in a model.

    Attributes:
        held: names and values of fixed parameters.
        changed: names of parameters with other bounds or starts, and the parameters as they are now.
    """

    held: tuple[tuple[str, Any], ...]
    changed: tuple[tuple[str, Parameter], ...]


class Separated(NamedTuple):
    """Changes with placeholders, and the values for which these stand.

    Attributes:
        static: the changes with placeholders: equal, and so one program, whatever the values are.
        numbers: of parameters that are fixed at numbers, then starts that are numbers.
        maps: arrays among fixed values, bounds and starts, of one value for each voxel.
    """

    static: Changes
    numbers: tuple[Any, ...]
    maps: tuple[np.ndarray, ...]


def separate(changes: Changes) -> Separated:
    """Separate the values from changes. Bounds that are numbers stay, as they decide what is computed."""
    values = [value for _, value in changes.held]
    limits = [value for _, p in changes.changed for value in (p.lower, p.upper, p.start)]
    starts = [p.start for _, p in changes.changed if p.start is not None]
    numbers = tuple(value for value in (*values, *starts) if not isinstance(value, np.ndarray))
    maps = tuple(value for value in (*values, *limits) if isinstance(value, np.ndarray))
    number_places = map(Placeholder, range(len(numbers)))
    map_places = map(Placeholder, range(len(numbers), len(numbers) + len(maps)))

    def place(value: Any, number_too: bool = True) -> Any:
        if isinstance(value, np.ndarray):
            return next(map_places)
        return next(number_places) if number_too and value is not None else value

    held = tuple((name, place(value)) for name, value in changes.held)
    changed = tuple(
        (name, replace(p, lower=place(p.lower, False), upper=place(p.upper, False), start=place(p.start)))
        for name, p in changes.changed
    )
    return Separated(Changes(held, changed), numbers, maps)
