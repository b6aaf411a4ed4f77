"""Spherical means to parameters: voxels per second, once compiled.

    python benchmarks/means_to_parameters.py [--model smt|mcsmt] [--voxels 1000000] [--noise 0.033] [--json FILE]

Simulates the means of random parameters under the HCP scheme with Gaussian noise of the given
standard deviation of S0 a volume, fits them repeatedly, and prints the median as JSON.
"""

from __future__ import annotations

import time

import numpy as np

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.batch.runner import find_device
from jaxsmt.simulate import hcp_scheme
from record import options as shared_options
from record import publish

MODELS = {"smt": js.smt, "mcsmt": js.mcsmt}


def simulated_means(model: js.SphericalMeanModel, acquisition: js.Acquisition, voxels: int, noise: float) -> np.ndarray:
    """(shells, voxels) means of random diffusivities in 0.5-3 and fractions in 0-1, with their sampling noise."""
    rng = np.random.default_rng(0)
    ranges = {p.name: (0.5, 3.0) if p.unit == "um2/ms" else (0.0, 1.0) for p in model.free}
    means = np.asarray(model.signal(acquisition, {name: rng.uniform(*ends, voxels) for name, ends in ranges.items()})).T
    sigma = noise * np.sqrt(acquisition.variances)
    return 1000 * (means + sigma[:, None] * rng.standard_normal(means.shape))


def main() -> None:
    parser = shared_options(__doc__ or "", voxels=1_000_000, repeats=7)
    parser.add_argument("--model", choices=list(MODELS), default="smt")
    parser.add_argument("--noise", type=float, default=1 / 30)
    options = parser.parse_args()

    acquisition, device = hcp_scheme(), find_device(options.device)
    model = MODELS[options.model]()
    means = simulated_means(model, acquisition, options.voxels, options.noise)
    fitter = KernelFitter(model, acquisition, dtype=options.dtype, device=device)
    start = time.perf_counter()
    fitter.compile()
    compilation = time.perf_counter() - start
    fitter(means)
    seconds = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        fit = fitter(means)
        seconds.append(time.perf_counter() - start)
    counts = np.bincount(fit.status, minlength=6)
    figures = {
        "device": f"{device.platform}: {device.device_kind}",
        "model": options.model,
        "dtype": options.dtype,
        "voxels": options.voxels,
        "noise": options.noise,
        "compile_s": round(compilation, 2),
        "seconds": [round(s, 3) for s in seconds],
        "voxels_per_s": {
            "median": round(options.voxels / float(np.median(seconds))),
            "best": round(options.voxels / min(seconds)),
        },
        "mean_steps": round(float(fit.steps.mean()), 2),
        "status_counts": {status.name.lower(): int(counts[status]) for status in js.Status},
    }
    publish("means_to_parameters", figures, options.json)


if __name__ == "__main__":
    main()
