"""FODs: voxels per second with 270 directions, once compiled.

    python benchmarks/fods.py [--voxels 40000] [--json FILE]

Simulates voxels of one or two Watson lobes under the HCP scheme with Rician noise at SNR 30, fits
their kernels, then one Watson, one Bingham and two Watson lobes repeatedly, from data in memory to maps, and
prints medians as JSON.
"""

from __future__ import annotations

import time

import numpy as np

import jaxsmt as js
from jaxsmt.batch.runner import find_device
from jaxsmt.fitting.fods import FodStage
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.simulate import hcp_scheme, rician, zeppelin_signal
from record import options as shared_options
from record import publish

FITS = (("watson", 1), ("bingham", 1), ("watson", 2))


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


def main() -> None:
    parser = shared_options(__doc__ or "", voxels=40_000, repeats=5)
    options = parser.parse_args()

    acquisition, device = hcp_scheme(), find_device(options.device)
    data = simulated(acquisition, options.voxels)
    kernel = js.fit(js.smt(), acquisition, data, dtype=options.dtype, device=device)
    voxels = Voxels(np.ones(options.voxels, bool))
    results = {}
    for density, count in FITS:
        stage = FodStage(kernel.fod_model(density, count), acquisition, kernel.settings, voxels)
        start = time.perf_counter()
        stage.compile()
        compilation = time.perf_counter() - start
        seconds = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            fods, _ = stage(kernel, lambda numbers: data[numbers])
            seconds.append(time.perf_counter() - start)
        counts = np.bincount(fods.status, minlength=6)
        results[f"{count} × {density}"] = {
            "compile_s": round(compilation, 2),
            "seconds": [round(s, 3) for s in seconds],
            "voxels_per_s": {
                "median": round(options.voxels / float(np.median(seconds))),
                "best": round(options.voxels / min(seconds)),
            },
            "status_counts": {status.name.lower(): int(counts[status]) for status in js.Status},
        }
    figures = {
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": options.dtype,
        "voxels": options.voxels,
        "directions": int(sum(len(shell.volumes) for shell in acquisition.shells[1:])),
        "fits": results,
    }
    publish("fods", figures, options.json)


if __name__ == "__main__":
    main()
