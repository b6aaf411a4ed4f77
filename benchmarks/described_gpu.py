"""Compiles jaxsmt's programs for an H100 that is described, not present.

In: anything of jaxsmt that compiles a program. Out: the optimised program, its memory, and what its kernels take of
the processor. Needs what `pip install '.[gpu-programs]'` installs, and no GPU. Without a device nothing is autotuned,
and sorts are slower than they would be.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from jaxsmt.batch import runner

DESCRIPTION = Path(__file__).parent / "h100.txtpb"
ARCHITECTURE = "sm_90a"
NEEDED = ("jax_plugins.xla_cuda12", "nvidia.cuda_nvcc")


class Compiled(NamedTuple):
    """text: optimised HLO. temporary: bytes. seconds: of the compiler. usage: of kernels by name, see `usage_of`."""

    text: str
    temporary: int
    seconds: float
    usage: dict[str, Usage]


class Usage(NamedTuple):
    """What a thread of a kernel takes: registers, and bytes written to memory for want of more."""

    registers: int
    spilled: int


def missing() -> list[str]:
    """Modules that are needed and not installed."""

    def found(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    return [name for name in NEEDED if not found(name)]


@cache
def device() -> Any:
    """The described device. JAX must be told before to compute on the CPU."""
    from jax._src import xla_bridge

    # Else JAX does not know the platform, as it computes on the CPU.
    xla_bridge._discover_and_register_pjrt_plugins()
    topology = topologies.get_topology_desc(
        "h100:1x1x1", platform="cuda", target_config=DESCRIPTION.read_text(), topology="1x1x1"
    )
    return topology.devices[0]


def compiled(compile: Callable[[], Any], registers: bool = True) -> Compiled:
    """What the one program that `compile()` compiles is on the device.

    Args:
        compile: compiles a program of `batch` that was made with `device()`. registers: find `Compiled.usage`, which
            takes as long as the compiler.
    """
    asked: list[tuple[Any, Any, Any]] = []

    def ask(function: Any, static: Any, tree: Any, kinds: Any, device: Any) -> None:
        asked.append((function, static, jax.tree.unflatten(tree, [_placed(*kind) for kind in kinds])))

    with mock.patch.object(runner, "_compiled", ask):
        compile()
    ((function, static, shapes),) = asked
    with jax.default_device(device()):  # as where a program is traced to be run
        lowered = function.lower(*shapes, **dict(static))
    start = time.perf_counter()
    executable = lowered.compile(_options())
    seconds = time.perf_counter() - start
    usage = _usage(lowered) if registers else {}
    return Compiled(executable.as_text(), executable.memory_analysis().temp_size_in_bytes, seconds, usage)


def _placed(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype, sharding=SingleDeviceSharding(device()))


def _folder() -> Path:
    """Where NVIDIA's assembler is."""
    spec = importlib.util.find_spec("nvidia.cuda_nvcc")
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or [])))


def _options() -> dict[str, Any]:
    # As users have it, also where XLA_FLAGS asks for quick compilation.
    return {"xla_gpu_cuda_data_dir": str(_folder()), "xla_backend_optimization_level": 3}


def _usage(lowered: Any) -> dict[str, Usage]:
    """`Usage` of all kernels by name, as the assembler tells; of equal kernels only one is there."""
    usage: dict[str, Usage] = {}
    with tempfile.TemporaryDirectory() as folder:
        lowered.compile(_options() | {"xla_dump_to": folder})
        for path in sorted(Path(folder).glob("*.ptx")):
            command = [_folder() / "bin/ptxas", "-v", f"-arch={ARCHITECTURE}", "-o", "/dev/null", path]
            usage |= usage_of(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
    return usage


def usage_of(text: str) -> dict[str, Usage]:
    """From what the assembler says of each kernel, with -v."""
    spilled = r"(\d+) bytes spill stores, (\d+) bytes spill loads"
    found = re.findall(rf"Compiling entry function '([^']+)'.*?{spilled}.*?Used (\d+) registers", text, re.S)
    return {name: Usage(int(registers), int(out) + int(back)) for name, out, back, registers in found}
