"""What a diagram of a model shows: which of its quantities are free, fixed or linked, and how."""

from __future__ import annotations

from typing import Any

import numpy as np

from .coordinates import Space
from .diagram import Box, Line
from .structure import Structure
from .units import unit_text


def boxes_of(structure: Structure, space: Space) -> list[Box]:
    """A box for each compartment, with its volume fraction and its parameters."""
    boxes = []
    for name, compartment in structure.compartments:
        weight = [f"weight.{name}"] if structure.kernel.weights else []
        lines = [line_of(full, structure, space) for full in (*weight, *structure.kernel.of(name))]
        boxes.append(Box(name, compartment.kind, lines))
    return boxes


def lines_beside(structure: Structure, space: Space) -> list[Line]:
    """Lines for the quantities that are in no compartment, and for the orderings."""
    inside = set(structure.kernel.names)
    lines = [line_of(name, structure, space) for name in structure.names if name not in inside]
    return [*lines, *(Line(smaller, "linked", f"≤ {larger}") for smaller, larger in structure.orderings)]


def line_of(name: str, structure: Structure, space: Space) -> Line:
    """What is said of a quantity: its interval, the value at which it is fixed, or its equation."""
    links = {link.target: link for link in structure.equations}
    if name in links:
        return Line(name, "linked", str(links[name]).removeprefix(name).strip())
    unit = unit_text(structure.units(()).get(name, ""))
    held = dict(space.held)
    if name in held:
        return Line(name, "fixed", f"= {_written(held[name])}{unit}")
    if name == space.rest:
        return Line(name, "linked", "= 1 - " + " - ".join(w for w in space.fractions if w != name))
    p = next(p for p in space.free if p.name == name)
    start = "" if p.start is None else f", starts at {_written(p.start)}"
    return Line(name, "free", f"in [{_written(p.lower)}, {_written(p.upper)}]{unit}{start}")


def _written(value: Any) -> str:
    return "a map" if isinstance(value, np.ndarray) else f"{value:g}"
