"""FODs: voxels per second with 270 directions, once compiled.

    python -m benchmarks fods [--voxels 40000] [--json FILE]

Simulates voxels of one or two Watson lobes under the HCP scheme with Rician noise at SNR 30, fits
their kernels, then one Watson, one Bingham and two Watson lobes, and as many as BIC chooses, repeatedly, in turn, from
data in memory to maps, and prints medians.
"""

from __future__ import annotations

import operator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

import jaxsmt as js
from jaxsmt.batch.runner import find_device
from jaxsmt.fitting.fods import FodStage
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.simulate import hcp_scheme, rician, zeppelin_signal

from . import record

FITS = (("watson", 1), ("bingham", 1), ("watson", 2), ("watson", "auto"))


def simulated(acquisition: js.Acquisition, voxels: int) -> np.ndarray:
    """(voxels, volumes): half with one lobe, half with two; 1,000 different ones, each with its own noise."""
    rng = np.random.default_rng(0)
    n = 1000
    par, fraction = rng.uniform(1.0, 3.0, n), rng.uniform(0.05, 0.6, n)
    axes = rng.standard_normal((n, 2, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    second = np.where(np.arange(n) % 2, rng.uniform(0.3, 0.5, n), 0)
    signal = zeppelin_signal(
        acquisition, par, fraction * par, axes, rng.uniform(1, 40, (n, 2)), np.stack([1 - second, second], axis=1)
    )
    return rician(signal[np.arange(voxels) % n], 1 / 30, rng)


def compile_programs(stage: FodStage) -> None:
    """Compile all programs of a fit side by side."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(operator.call, stage.programs()))


def main(arguments: list[str]) -> None:
    options = record.options(__doc__ or "", voxels=40_000, repeats=5).parse_args(arguments)
    acquisition, device = hcp_scheme(), find_device(options.device)
    data = simulated(acquisition, options.voxels)
    kernel = js.fit(js.smt(), acquisition, data, dtype=options.dtype, device=device)
    voxels = Voxels(np.ones(options.voxels, bool))
    ways, compilation = {}, {}
    for density, count in FITS:
        stage = FodStage(kernel.fod_model(density, count), acquisition, kernel.settings, voxels)
        name = f"{density}, {count}"
        compilation[name] = record.timed(partial(compile_programs, stage))
        ways[name] = partial(stage, kernel, lambda numbers: data[numbers])
    spent = record.in_turn(ways, options.repeats)
    rows = []
    for name, way in ways.items():
        fods, _ = way()
        rows.append(
            {
                "what": name,
                **record.speed(options.voxels, spent[name]),
                "compile_s": round(compilation[name].wall, 2),
                **record.outcomes(fods.status),
            }
        )
    directions = int(sum(len(shell.volumes) for shell in acquisition.shells[1:]))
    settings = {"dtype": options.dtype, "voxels": options.voxels, "directions": directions}
    record.publish("fods", settings, rows, options.json, device)
