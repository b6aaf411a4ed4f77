"""Programs for a GPU: what a step of each solver launches, moves and computes; compiled without a GPU.

    python -m benchmarks programs [--voxels 2048] [--only PROGRAM …] [--only-compile] [--texts FOLDER] [--json FILE]

Needs `pip install '.[gpu-programs]'`. Compiles the programs that a fit runs, with a GPU's lanes, under the HCP scheme,
in single precision, for an H100 that `h100.txtpb` describes, and reads them. A step is one turn of the solver's loop:
all lanes advance once. Of a step there are

- kernels and copies that are launched, and bytes of their inputs and outputs; loops inside count as often as they turn,
  and "inner" is their part of it;
- operations, as the optimised program has them: each elementwise one of floating-point numbers, and each product and
  each sum of a matrix product; those inside a kernel that is written in Pallas are not seen;
- "largest": the kernels that move most, and which line of jaxsmt computes their results;
- the most registers and spilled bytes of a thread of any kernel, as NVIDIA's assembler tells; not where a kernel is
  written in Pallas.

"exchange" is what is done between `stride` steps, where lanes change their voxels. "trial" is the step of an easier
search that chooses among starting points. Expected real parts have no exchange: "rest" is what is done once, "sigma" a
step of the search for σ.

The steps of a voxel are those of a fit of few simulated voxels on this processor. From these follow the times that a
million voxels would take if a GPU did nothing but move the bytes, or compute, or launch the kernels of steps and
exchanges. No GPU takes less than the largest of the three, if the programs stay as they are.

`tests/test_gpu_programs.py` compiles the programs again and compares. By hand, where the packages are:

    pytest -n 0 tests/test_gpu_programs.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np

import jaxsmt as js
from jaxsmt.batch import cache as start_up_cache
from jaxsmt.batch import fitters
from jaxsmt.batch.corrector import Corrector
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.batch.search import _Voxels
from jaxsmt.fitting.fods import FodStage
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.fitting.settings import Settings
from jaxsmt.physics.noises import find
from jaxsmt.problems.corrections import STEPS
from jaxsmt.simulate import hcp_scheme

from . import described_gpu, fods, hlo, means_to_parameters, record

KERNELS = {"SMT": js.smt, "mcSMT": js.mcsmt}
FODS = {"1 Watson": ("watson", 1), "1 Bingham": ("bingham", 1), "2 Watson": ("watson", 2)}
CORRECTION = "expected real parts"
NAMES = (*KERNELS, *FODS, CORRECTION)
#: Of an H100: bytes and single-precision operations a second, and seconds to launch one kernel of a loop.
BANDWIDTH, OPERATIONS, LAUNCH = 3.35e12, 60e12, 2e-6
MILLION = 1_000_000


def fitter_of(name: str, acquisition: js.Acquisition, device: Any) -> Any:
    """What fits this row's model on a device: a `KernelFitter` or a `FodFitter`."""
    if name in KERNELS:
        return KernelFitter(KERNELS[name](), acquisition, device=device)
    model = js.FodModel(js.smt(), *FODS[name])
    (fitter,) = FodStage(model, acquisition, Settings(device=device), Voxels(np.ones(1, bool)))._fitters
    return fitter


class Program(NamedTuple):
    """What a row is made of. stride: of its search; None for corrections, which have no exchange."""

    compiled: described_gpu.Compiled
    lanes: int
    stride: int | None


def compiled(name: str, acquisition: js.Acquisition, registers: bool) -> Program:
    """A row's program."""
    device = described_gpu.device()
    if name == CORRECTION:
        corrector = Corrector(js.smt().kernel, acquisition, find("rician"), device=device)
        with mock.patch("jaxsmt.batch.corrector.adds_up", return_value=True):  # it cannot be tried
            lanes = corrector._correct().size.lanes
        [correction] = corrector.programs(correct=True)
        return Program(described_gpu.compiled(correction, registers), lanes, None)
    with mock.patch.object(fitters, "works", return_value=True):  # it cannot be tried
        fitter = fitter_of(name, acquisition, device)
        compiled = described_gpu.compiled(fitter.compile, registers)
    return Program(compiled, fitter._fits.size.lanes, fitter._estimation.search.stride)


def loops_of_steps(program: hlo.Loop, stride: int | None) -> list[tuple[hlo.Loop, hlo.Loop]]:
    """Each loop of steps with the loop around it, those that move most first.

    The solver's loop turns `stride` times within one that turns until all voxels are done. That of a correction turns
    as often as its caller says.
    """
    if stride is None:
        found = [(loop, program) for loop in program.loops if loop.trips is None]
    else:
        found = [
            (loop, around)
            for around in _all(program)
            for loop in around.loops
            if loop.trips == stride and around.trips is None
        ]
    return sorted(found, key=lambda pair: -pair[0].total(_bytes))


def _all(loop: hlo.Loop) -> list[hlo.Loop]:
    return [loop, *(each for inner in loop.loops for each in _all(inner))]


def _bytes(kernel: hlo.Kernel) -> float:
    return kernel.bytes


def _launches(kernel: hlo.Kernel) -> float:
    return kernel.opcode != "copy"


def _copies(kernel: hlo.Kernel) -> float:
    return kernel.opcode == "copy"


def _flops(kernel: hlo.Kernel) -> float:
    return kernel.flops


def figures(loop: hlo.Loop, prefix: str = "") -> dict[str, Any]:
    """What one turn of a loop launches, moves and computes."""
    return {
        f"{prefix}kernels": int(loop.total(_launches)),
        f"{prefix}copies": int(loop.total(_copies)),
        f"{prefix}megabytes": round(loop.total(_bytes) / 1e6, 2),
        f"{prefix}gigaflops": round(loop.total(_flops) / 1e9, 3),
    }


def of_inner_loops(loop: hlo.Loop) -> dict[str, Any]:
    """The part of the figures of the loops inside a step."""
    if not loop.loops:
        return {}
    return {
        "inner_loops": [0 if inner.trips is None else inner.trips for inner in loop.loops],
        "inner_kernels": int(loop.inside(_launches) + loop.inside(_copies)),
        "inner_megabytes": round(loop.inside(_bytes) / 1e6, 2),
    }


def largest(loop: hlo.Loop, count: int = 4) -> list[str]:
    """The kernels of a step that move most, and where their results are computed."""
    turns = [(loop, 1), *((inner, inner.trips or 1) for inner in loop.loops)]
    all_of_them = [(kernel, n) for each, n in turns for kernel in each.kernels]
    chosen = sorted(all_of_them, key=lambda pair: -pair[0].bytes * pair[1])[:count]
    return [f"{kernel.bytes / 1e6:.1f} MB{f' × {n}' if n > 1 else ''}: {kernel.source}" for kernel, n in chosen]


def of_processor(loop: hlo.Loop, usage: Mapping[str, described_gpu.Usage]) -> dict[str, Any]:
    """The most registers of a thread, and the most bytes that it spills, of the kernels of a step."""
    kernels = [kernel for each in _all(loop) for kernel in each.kernels]
    if any(kernel.opcode == "custom-call" for kernel in kernels):  # the assembler knows it by another name
        return {}
    names = [kernel.name.replace(".", "_") for kernel in kernels]
    found = [usage[name] for name in names if name in usage]
    if not found:
        return {}
    return {"registers": max(u.registers for u in found), "spilled_bytes": max(u.spilled for u in found)}


def seconds(turns: float, loop: hlo.Loop) -> np.ndarray:
    """Of so many turns of a loop: of the bytes, of the operations and of the launches."""
    launches = loop.total(_launches) + loop.total(_copies)
    return turns * np.array([loop.total(_bytes) / BANDWIDTH, loop.total(_flops) / OPERATIONS, launches * LAUNCH])


def without_loops(loop: hlo.Loop) -> hlo.Loop:
    return loop._replace(loops=[])


def row(program: Program, steps: Mapping[str, float]) -> dict[str, Any]:
    """Figures of a row. steps: of a voxel in all volumes, and in an easier trial; empty if they are not known."""
    compiled, lanes, stride = program
    (step, around), *others = loops_of_steps(hlo.program(compiled.text), stride)
    exchange = without_loops(around)
    out = {"lanes": lanes, **figures(step), **of_inner_loops(step), **of_processor(step, compiled.usage)}
    out["largest"] = largest(step)
    out |= figures(exchange, "exchange_" if stride else "rest_")
    if others:
        out |= figures(others[0][0], "trial_" if stride else "sigma_")
    out |= {"temporary_megabytes": round(compiled.temporary / 1e6, 1), "compile_s": round(compiled.seconds, 1)}
    if not steps:
        return out
    groups = MILLION / lanes
    spent = seconds(groups * steps["steps"], step) + seconds(groups * steps["steps"] / (stride or STEPS), exchange)
    if steps.get("easier_steps"):
        easier, between = others[0]
        turns = groups * steps["easier_steps"]
        spent = spent + seconds(turns, easier) + seconds(turns / (stride or 1), without_loops(between))
    names = ("bytes_ms", "flops_ms", "launches_ms")
    return out | dict(steps) | dict(zip(names, np.round(1e3 * spent, 2).tolist(), strict=True))


@cache
def simulated(voxels: int) -> tuple[js.Acquisition, np.ndarray, Any]:
    """The scheme, (voxels, volumes) noisy signals as of the benchmark of FODs, and a fit of their kernels."""
    acquisition = hcp_scheme()
    data = fods.simulated(acquisition, voxels)
    return acquisition, data, js.fit(js.smt(), acquisition, data)


def steps_of(name: str, voxels: int) -> dict[str, float]:
    """Mean steps of a voxel by a fit on this processor: "steps", "easier_steps"; lanes wait for the end of a stride.

    Steps from several starting points count all. A trial on all volumes counts among the steps.
    """
    if name == CORRECTION:
        return {"steps": STEPS}
    acquisition, data, kernel = simulated(voxels)
    fitter = fitter_of(name, acquisition, None)
    search = fitter._estimation.search
    if name in KERNELS:
        model = KERNELS[name]()
        fits = fitter(means_to_parameters.simulated_means(model, acquisition, voxels, 1 / 30))
        return {"steps": round(_rounded(fits.steps, search.stride), 2)}
    volumes = np.concatenate([shell.volumes for shell in acquisition.shells[1:]])
    signal = data[:, volumes] / kernel.s0[:, None]
    fits = fitter(lambda part: signal[part], kernel.parameters, voxels)
    steps = {"steps": _rounded(fits.steps, search.stride)}
    trial = None if search.n_starts == 1 else search.trial(selective=False)
    if trial is not None:
        tried = _rounded(_steps_of_trial(fitter, signal, kernel.parameters), search.stride) * search.n_starts
        kind = "steps" if trial.easier is None else "easier_steps"
        steps[kind] = steps.get(kind, 0) + tried
    return {kind: round(value, 2) for kind, value in steps.items()}


def _rounded(steps: np.ndarray, stride: int) -> float:
    return float(np.mean(np.ceil(steps / stride) * stride))


def _steps_of_trial(fitter: Any, signal: np.ndarray, kernels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Steps of the search from each starting point: as `batch.search` tries them, whose results do not tell."""
    estimation, solver, shared = fitter._estimation, fitter._solver, fitter._fits._shared
    search, count = estimation.search, len(signal)
    trial = search.trial(selective=False)

    @jax.jit
    def run(voxels: Any) -> Any:
        varying = jax.vmap(lambda voxel: estimation.prepare(voxel, shared))(voxels).varying
        fresh = _Voxels(search, solver, varying, lambda one: estimation.data(one, shared), count, 64)
        starts = tuple(values.reshape(-1) for values in fresh.each(search.starts))
        if (easier := trial.easier) is not None:
            varying = fresh.each(easier.summary)
            fresh = replace(fresh, search=easier.search, varying=varying, data_of=easier.data_of)
        return fresh.run(starts, search.n_starts, trial.steps).steps

    one = fitter._one(False)
    names = {name: np.asarray(kernels[name], np.float32) for name in one.kernel}
    return np.asarray(run(one._replace(y=np.asarray(signal, np.float32), kernel=names)))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voxels", type=int, default=2048, help="of which the steps are counted")
    parser.add_argument("--only", nargs="*", choices=NAMES, default=NAMES, metavar="PROGRAM", help="not all programs")
    parser.add_argument("--only-compile", action="store_true", help="neither steps of voxels nor registers")
    parser.add_argument("--texts", type=Path, help="folder for the optimised programs, as XLA writes them")
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args(arguments)
    if absent := described_gpu.missing():
        raise SystemExit(f"{', '.join(absent)} not installed\n  fix: pip install '.[gpu-programs]'")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the plugin finds no driver, and says so
    jax.config.update("jax_platforms", "cpu")
    start_up_cache.turn_off()  # the compiler's seconds count
    acquisition = hcp_scheme()
    rows = []
    for name in options.only:
        program = compiled(name, acquisition, not options.only_compile)
        if options.texts:
            options.texts.mkdir(exist_ok=True)
            (options.texts / f"{name.replace(' ', '_')}.txt").write_text(program.compiled.text)
        rows.append({"what": name} | row(program, {} if options.only_compile else steps_of(name, options.voxels)))
    settings = {
        "dtype": "float32",
        "scheme": "HCP",
        "gpu": "a described NVIDIA H100 80GB HBM3",
        "voxels": options.voxels,
        "bytes_per_s": BANDWIDTH,
        "flops_per_s": OPERATIONS,
        "seconds_per_launch": LAUNCH,
    }
    record.publish("programs", settings, rows, options.json)
