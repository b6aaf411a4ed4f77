"""Acquisitions as JAX sees them: pytrees of b-values, directions and timings."""

from __future__ import annotations

import jax

from .acquisition import Acquisition

__all__ = ["Acquisition"]


class _Frame:
    """An acquisition without its values, for JAX to compare."""

    def __init__(self, acquisition: Acquisition):
        self.bare = acquisition.bare
        self._facts = tuple(
            getattr(acquisition, name) for name in ("groups", "b0_threshold", "spherical_mean", "axes", "shell_gap")
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frame) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(self._facts)


def _flatten(acquisition: Acquisition):
    return (acquisition.bvals, acquisition.bvecs, acquisition.delta, acquisition.Delta), _Frame(acquisition)


def _flatten_with_keys(acquisition: Acquisition):
    values, frame = _flatten(acquisition)
    names = ("bvals", "bvecs", "delta", "Delta")
    return [(jax.tree_util.GetAttrKey(n), v) for n, v in zip(names, values, strict=True)], frame


def _unflatten(frame: _Frame, values) -> Acquisition:
    return frame.bare(tuple(values))


jax.tree_util.register_pytree_with_keys(Acquisition, _flatten_with_keys, _unflatten, _flatten)
