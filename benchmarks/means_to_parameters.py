"""Spherical means to parameters: voxels per second, once compiled.

    python -m benchmarks means_to_parameters [--voxels 1000000] [--noise 0.033] [--json FILE]

Simulates the means of random parameters of SMT and mcSMT under the HCP scheme with Gaussian noise of the given
standard deviation of S0 a volume, fits them repeatedly, in turn, and prints medians.
"""

from __future__ import annotations

from functools import partial

import numpy as np

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.batch.runner import find_device
from jaxsmt.simulate import hcp_scheme

from . import record

MODELS = {"smt": js.smt, "mcsmt": js.mcsmt}


def simulated_means(model: js.SphericalMeanModel, acquisition: js.Acquisition, voxels: int, noise: float) -> np.ndarray:
    """(shells, voxels) means of random diffusivities in 0.5-3 and fractions in 0-1, with their sampling noise."""
    rng = np.random.default_rng(0)
    ranges = {p.name: (0.5, 3.0) if p.unit == "um2/ms" else (0.0, 1.0) for p in model.free}
    means = np.asarray(model.signal(acquisition, {name: rng.uniform(*ends, voxels) for name, ends in ranges.items()})).T
    sigma = noise * np.sqrt(acquisition.variances)
    return 1000 * (means + sigma[:, None] * rng.standard_normal(means.shape))


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", voxels=1_000_000, repeats=7)
    parser.add_argument("--noise", type=float, default=1 / 30)
    options = parser.parse_args(arguments)

    acquisition, device = hcp_scheme(), find_device(options.device)
    ways, means, compilation = {}, {}, {}
    for name, preset in MODELS.items():
        model = preset()
        fitter = KernelFitter(model, acquisition, dtype=options.dtype, device=device)
        compilation[name] = record.timed(fitter.compile)
        means[name] = simulated_means(model, acquisition, options.voxels, options.noise)
        ways[name] = partial(fitter, means[name])
    spent = record.in_turn(ways, options.repeats)
    rows = []
    for name, way in ways.items():
        fit = way()
        rows.append(
            {
                "what": name,
                **record.speed(options.voxels, spent[name]),
                "compile_s": round(compilation[name].wall, 2),
                "mean_steps": round(float(fit.steps.mean()), 2),
                **record.outcomes(fit.status),
            }
        )
    settings = {"dtype": options.dtype, "voxels": options.voxels, "noise": options.noise}
    record.publish("means_to_parameters", settings, rows, options.json, device)
