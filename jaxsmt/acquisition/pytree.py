"""Acquisitions as JAX sees them: pytrees of b-values, directions and timings."""

from __future__ import annotations

from typing import Any

import jax

from .acquisition import Acquisition
from .shells import GradientTable

__all__ = ["Acquisition"]


class _Structure:
    """An acquisition without its numbers: JAX compares it, and puts numbers back into it."""

    def __init__(self, acquisition: Acquisition):
        self.with_table = acquisition.with_table
        self._facts = tuple(
            getattr(acquisition, name) for name in ("groups", "b0_threshold", "spherical_mean", "axes", "shell_gap")
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)


def _flatten(acquisition: Acquisition) -> tuple[GradientTable, _Structure]:
    """The numbers, and what holds them."""
    return acquisition.table, _Structure(acquisition)


def _flatten_with_keys(acquisition: Acquisition) -> tuple[list[tuple[Any, Any]], _Structure]:
    """The numbers with their names, and what holds them."""
    named = acquisition.table._asdict().items()
    return [(jax.tree_util.GetAttrKey(name), values) for name, values in named], _Structure(acquisition)


def _unflatten(structure: _Structure, values: Any) -> Acquisition:
    """Puts numbers, or JAX's placeholders, back."""
    return structure.with_table(GradientTable(*values))


jax.tree_util.register_pytree_with_keys(Acquisition, _flatten_with_keys, _unflatten, _flatten)
