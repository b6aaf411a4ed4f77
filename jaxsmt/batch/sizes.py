"""How many voxels the program of a fit takes in one call, and how many of them advance side by side."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax

from ..problems.base import Search


class BatchSize(NamedTuple):
    """Sizes of a program. chunk: voxels in one compiled call. lanes: voxels of a chunk that advance side by side."""

    chunk: int
    lanes: int


#: By what is computed and where: on a CPU, whose cores' caches hold the state of all lanes, and on a GPU that does not
#: tell how large it is, an H100.
SIZES = {
    "kernels": {"cpu": BatchSize(131_072, 4_096), "gpu": BatchSize(1_048_576, 131_072)},
    "fods": {"cpu": BatchSize(4_096, 64), "gpu": BatchSize(65_536, 16_384)},
    "corrections": {"cpu": BatchSize(1_024, 128), "gpu": BatchSize(32_768, 32_768)},
}


class Needs(NamedTuple):
    """What fills a GPU.

    threads: lanes of one of its processors, as many as have room for their numbers in its 65,536 registers, or half of
    them where each lane has much to do. bytes: of memory for each volume of a voxel, all told, as the compiler tells.
    """

    threads: int
    bytes: int


#: By what is computed.
NEEDS = {"kernels": Needs(1_024, 150), "fods": Needs(128, 9), "corrections": Needs(256, 250)}
#: Chunks that one GPU has at a time: while it computes one, another is copied.
IN_FLIGHT = 2
_SHARE = 0.5  # of a GPU's memory, for these
_LEAST = 128  # lanes, a block of them


def size_of(kind: str, device: Any = None, volumes: int = 1) -> BatchSize:
    """The sizes of a kind of work on a device; None: JAX's first. A GPU tells its processors and its memory.

    volumes: of a voxel; 1 where it has but a few numbers.
    """
    device = jax.local_devices()[0] if device is None else device
    if device.platform == "cpu":
        return SIZES[kind]["cpu"]
    usual, needs = SIZES[kind]["gpu"], NEEDS[kind]
    cores, memory = getattr(device, "core_count", None), memory_of(device)
    lanes = usual.lanes if cores is None else max(_LEAST, 1 << round(math.log2(cores * needs.threads)))
    chunk = lanes * (usual.chunk // usual.lanes)
    while memory is not None and chunk > _LEAST and IN_FLIGHT * chunk * volumes * needs.bytes > _SHARE * memory:
        chunk //= 2
    return BatchSize(chunk, min(lanes, chunk))


def memory_of(device: Any) -> int | None:
    """Bytes of a device's memory that JAX may take; None if it does not tell, as one that is only described."""
    try:
        return (device.memory_stats() or {}).get("bytes_limit")
    except jax.errors.JaxRuntimeError:
        return None


def lanes_of(search: Search) -> int:
    """How many voxels of a search advance side by side on JAX's first device."""
    return size_of(search.kind).lanes
