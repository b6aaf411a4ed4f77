"""The GPU, or any device: its tests, a million voxels per stage, and a file to maps, on one and on all devices.

    python -m benchmarks gpu [--voxels 1000000] [--device gpu] [--json FILE]

First `pytest -m gpu`, which compares the GPU with the CPU in double precision. Then each stage, compiled, HCP scheme:
from arrays in the host's memory to arrays there, and from device memory, where one chunk's arrays lie there already.
Then `jaxsmt fit` of a simulated series in a fresh process. Without a GPU, `--device cpu` shows that all of it runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.batch.runner import Program, find_devices
from jaxsmt.fitting.fods import FodStage
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.simulate import hcp_scheme

from . import record
from .end_to_end import decompress, fit, write_series
from .fods import simulated
from .means_to_parameters import simulated_means

FODS = (("watson", 1), ("bingham", 1), ("watson", 2))


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", voxels=1_000_000, repeats=3)
    parser.set_defaults(device="gpu")
    options = parser.parse_args(arguments)
    one = find_devices(options.device)
    every = tuple(d for d in jax.local_devices() if d.device_kind == one[0].device_kind)
    rows = [tests()]
    for devices in (one, every) if len(every) > 1 else (one,):
        for name, stage in stages(options.voxels, options.dtype, devices).items():
            rows.append(stage_row(f"{name}, {len(devices)} device(s)", stage, options))
    rows += files(options.voxels, options.device)
    settings = {"dtype": options.dtype, "voxels": options.voxels}
    record.publish("gpu", settings, rows, options.json, one[0])


def tests() -> dict[str, Any]:
    """How `pytest -m gpu` ends."""
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-n", "0", "tests/test_gpu.py"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    print(done.stdout[-3000:], file=sys.stderr)
    return {"what": "tests", "exit_code": done.returncode, "end": done.stdout.strip().splitlines()[-1][:200]}


def stages(voxels: int, dtype: str, devices: tuple[jax.Device, ...]) -> dict[str, Callable[[], Any]]:
    """Each stage as a call: from arrays in the host's memory to arrays there."""
    acquisition = hcp_scheme()
    how: dict[str, Any] = {"dtype": dtype, "device": devices}
    out: dict[str, Callable[[], Any]] = {}
    for name, preset in (("SMT", js.smt), ("mcSMT", js.mcsmt)):
        means = simulated_means(preset(), acquisition, voxels, 1 / 30)
        out[name] = partial(KernelFitter(preset(), acquisition, **how), means)
    distinct = np.asarray(simulated(acquisition, min(voxels, 20_000)), np.float32)
    rows = partial(_rows, distinct)
    data = rows(np.arange(voxels))
    kernel = js.fit(js.smt(), acquisition, data, **how)
    for density, count in FODS:
        stage = FodStage(kernel.fod_model(density, count), acquisition, kernel.settings, Voxels(np.ones(voxels, bool)))
        out[f"{count} {density}"] = partial(stage, kernel, lambda numbers: data[numbers])
    out["SMT of volumes, Rician noise"] = partial(js.fit, js.smt(), acquisition, data, noise="rician", **how)
    return out


def _rows(distinct: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    return distinct[numbers % len(distinct)]


def stage_row(what: str, stage: Callable[[], Any], options: Any) -> dict[str, Any]:
    """Speeds of a stage; of its longest program also from device memory."""
    first = record.timed(stage)
    spent = record.in_turn({"stage": stage}, options.repeats)["stage"]
    row = {"what": what, **record.speed(options.voxels, spent), "first_s": round(first.wall, 2)}
    seconds = sorted(from_device_memory(call, options.repeats) for call in chunks_of(stage))
    if seconds:
        longest, voxels = seconds[-1]
        row |= {"device_memory_chunk_s": round(longest, 5), "device_memory_voxels_per_s": round(voxels / longest)}
    return row


def chunks_of(stage: Callable[[], Any]) -> list[tuple[Program, Any, jax.Device]]:
    """The first chunk of each program that a stage runs: what it sends, and where."""
    calls: dict[int, tuple[Program, Any, jax.Device]] = {}
    run = Program._run

    def noted(program: Program, voxels: Any, device: jax.Device) -> Any:
        calls.setdefault(hash((program._function, program._static)), (program, voxels, device))
        return run(program, voxels, device)

    Program._run = noted
    try:
        stage()
    finally:
        Program._run = run
    return list(calls.values())


def from_device_memory(call: tuple[Program, Any, jax.Device], repeats: int) -> tuple[float, int]:
    """Median seconds of one chunk whose arrays are on the device already, and its voxels."""
    program, voxels, device = call
    count = len(jax.tree.leaves(voxels)[0])
    dtype = program.runner.dtype
    with jax.enable_x64(dtype == np.float64), jax.default_device(device):
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], dtype), voxels)
        compiled = program._compiled(shapes, device)
        there = jax.device_put(jax.tree.map(program._padded, voxels), device)
        shared = jax.device_put(program._shared, device)

        def compute() -> None:
            jax.block_until_ready(compiled(there, shared, np.int32(count)))

        spent = record.in_turn({"chunk": compute}, repeats)["chunk"]
    return record.median(spent).wall, count


def files(voxels: int, device: str) -> list[dict[str, Any]]:
    """From a file to maps in a fresh process, beside only decompressing it; on the device, and on all."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder) / "series.nii.gz"
        slices = max(1, voxels // (120 * 120))
        write_series(series, hcp_scheme(), (120, 120, slices), True)
        fit(series, "--device", device)  # compiles, and keeps the programs
        rows.append({"what": "decompress only", "wall_s": round(decompress(series), 2)})
        for where in (device, "all"):
            seconds, memory = fit(series, "--device", where)
            rows.append(
                {
                    "what": f"file to maps, --device {where}",
                    "wall_s": round(seconds, 2),
                    "peak_memory_MiB": round(memory),
                }
            )
    return rows
