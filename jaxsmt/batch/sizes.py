"""How many voxels a program takes in one call, and how many of them advance side by side: all such numbers are here."""

from __future__ import annotations

from typing import NamedTuple

import jax

from ..problems.base import Search


class BatchSize(NamedTuple):
    """Sizes of a program. chunk: voxels in one compiled call. lanes: voxels of a chunk that advance side by side."""

    chunk: int
    lanes: int


#: By what is computed and where. On a CPU the state of all lanes fits one core's cache; a GPU is filled.
SIZES = {
    "kernels": {"cpu": BatchSize(131_072, 4_096), "gpu": BatchSize(1_048_576, 131_072)},
    "fods": {"cpu": BatchSize(4_096, 64), "gpu": BatchSize(65_536, 16_384)},
    "corrections": {"cpu": BatchSize(1_024, 128), "gpu": BatchSize(32_768, 32_768)},
}


def size_of(kind: str, platform: str | None = None) -> BatchSize:
    """The sizes of a kind of work on a platform; None: that of JAX's first device."""
    platform = jax.default_backend() if platform is None else platform
    return SIZES[kind]["cpu" if platform == "cpu" else "gpu"]


def lanes_of(search: Search) -> int:
    """How many voxels of a search advance side by side on JAX's first device."""
    return size_of(search.kind).lanes
