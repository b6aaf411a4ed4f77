"""How near a processor's limits each stage is: operations and bytes that it must have, against what the machine does.

    python -m benchmarks limits [--voxels 16384] [--repeats 3] [--json FILE] [--picture FILE]

Measures what one core copies and multiplies (matrices in single precision, by NumPy), then each stage under the HCP
scheme, compiled, per second of all cores together. Operations: those of one step of the solver, as XLA counts them in
the program of 64 lanes, times the steps of a voxel (see `programs.py`). Bytes: a voxel's signals once and its results,
as nothing else must leave a core. What XLA counts as one operation, as an exponential, can take a core many.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from jaxsmt.simulate import hcp_scheme

from . import means_to_parameters, record
from .programs import FODS, KERNELS, fitter_of, simulated, steps_of

LANES = 64
RESULTS = 4 * 16  # bytes, about: the maps of a voxel


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", voxels=16_384, repeats=3)
    parser.add_argument("--picture", type=Path, help="draw the roofline here")
    options = parser.parse_args(arguments)
    rate, copied = multiplied(), copied_bytes()
    rows = [{"what": "machine", "gigaflops_per_s": round(rate / 1e9, 1), "gigabytes_per_s": round(copied / 1e9, 1)}]
    for name in (*KERNELS, *FODS):
        rows.append(stage(name, options.voxels, options.repeats, rate, copied))
    if options.picture:
        draw(rows, options.picture)
    record.publish("limits", {"voxels": options.voxels, "dtype": "float32"}, rows, options.json)


def multiplied(n: int = 1536) -> float:
    """Operations per second of one core: the best of several products of matrices, per second of all cores."""
    a = np.random.default_rng(0).random((n, n), np.float32)
    return max(2 * n**3 / record.timed(lambda: a @ a).cpu for _ in range(7))


def copied_bytes(size: int = 1 << 28) -> float:
    """Bytes per second that one core reads and writes."""
    a, b = np.ones(size // 4, np.float32), np.zeros(size // 4, np.float32)
    return max(2 * size / record.timed(lambda: np.copyto(b, a)).cpu for _ in range(7))


def stage(name: str, voxels: int, repeats: int, rate: float, copied: float) -> dict[str, Any]:
    """One stage: speed, and the part of each limit that it reaches."""
    fitter, call, signals = stage_of(name, voxels)
    steps = steps_of(name, min(voxels, 2048))
    operations = sum(of_step(fitter, kind == "easier_steps") * n for kind, n in steps.items())
    must = 4 * signals + RESULTS
    spent = record.in_turn({name: call}, repeats)[name]
    per_voxel = record.median(spent).cpu / voxels
    return {
        "what": name,
        **record.speed(voxels, spent),
        "operations": round(operations),
        "bytes": must,
        "operations_per_byte": round(operations / must, 1),
        "part_of_operations": round(operations / rate / per_voxel, 3),
        "part_of_bytes": round(must / copied / per_voxel, 4),
    }


def stage_of(name: str, voxels: int) -> tuple[Any, Any, int]:
    """What fits, a fit as a call, and how many signals a voxel has."""
    if name in KERNELS:
        acquisition = hcp_scheme()
        fitter = fitter_of(name, acquisition, None)
        means = means_to_parameters.simulated_means(KERNELS[name](), acquisition, voxels, 1 / 30)
        return fitter, lambda: fitter(means), len(means)
    acquisition, data, kernel = simulated(voxels)
    fitter = fitter_of(name, acquisition, None)
    volumes = np.concatenate([shell.volumes for shell in acquisition.shells[1:]])
    signal = data[:, volumes] / kernel.s0[:, None]
    return fitter, lambda: fitter(lambda part: signal[part], kernel.parameters, voxels), len(volumes)


def of_step(fitter: Any, easier: bool) -> float:
    """Operations of one voxel's step, as XLA counts them. easier: of the trial's search."""
    estimation, solver, shared = fitter._estimation, fitter._solver, fitter._fits._shared
    whole = estimation.search
    trial = whole.trial(selective=False).easier if easier else None
    search = whole if trial is None else trial.search

    def start(voxel: Any) -> tuple[Any, Any]:
        data = estimation.data(estimation.prepare(voxel, shared).varying, shared)
        x = tuple(values[0] for values in whole.starts(data))
        return x, data if trial is None else trial.data_of(trial.summary(data))

    def step(x: Any, data: Any) -> Any:
        return solver.step(search.problem_of(data), solver.init(x, search.size))

    voxels = jax.tree.map(lambda a: jnp.ones((LANES, *a.shape[1:]), jnp.float32), fitter._one(False))
    found = jax.jit(jax.vmap(step)).lower(*jax.vmap(start)(voxels)).compile().cost_analysis()
    return float((found[0] if isinstance(found, list) else found)["flops"]) / LANES


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The roofline: operations per second over operations per byte, one core."""
    machine, *stages = rows
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    x = np.geomspace(0.1, 1e5, 200)
    axes.loglog(x, np.minimum(machine["gigaflops_per_s"], machine["gigabytes_per_s"] * x), color="black")
    for row in stages:
        reached = row["operations"] * row["voxels_per_cpu_s"] / 1e9
        axes.plot(row["operations_per_byte"], reached, "o")
        axes.annotate(f" {row['what']}", (row["operations_per_byte"], reached), va="top")
    axes.set(xlabel="operations for each byte that must be moved", ylabel="10⁹ operations/s, one core", xlim=(0.1, 1e5))
    axes.set_title("What one core could do, and what each stage does")
    figure.savefig(path, dpi=120)
    plt.close(figure)
