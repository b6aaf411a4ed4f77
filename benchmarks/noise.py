"""What noise, uncertainty and gradient deviation cost, and what the noise floor's correction is worth.

    python -m benchmarks noise [--voxels 8192] [--repeats 3] [--json FILE]

Simulates voxels of one or two Watson lobes under the HCP scheme, kernels from white matter to fluid, at SNR 30.
Times whole `js.fit` calls of the kernel, compiled, from data in memory to maps, in turn, and of everything: Rician
noise, FODs of 0 to 3 Watson lobes, deviations; medians, and ratios to the plain fit. Then errors of λ∥ in µm²/ms: of
Gaussian noise, and of Rician noise without and with correction, σ known and estimated, and with the second pass that
FODs allow.
"""

from __future__ import annotations

from functools import partial

import numpy as np

import jaxsmt as js
from jaxsmt.batch.runner import find_device
from jaxsmt.simulate import hcp_scheme, rician, zeppelin_signal

from . import record

SIGMA = 1 / 30


def simulated(acquisition: js.Acquisition, voxels: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean signals (voxels, volumes) of 2,000 different voxels, repeated, and their λ∥."""
    rng = np.random.default_rng(0)
    n = 2000
    par, fraction = rng.uniform(0.8, 3.0, n), rng.uniform(0.02, 0.95, n)
    axes = rng.standard_normal((n, 2, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    second = np.where(np.arange(n) % 2, rng.uniform(0.3, 0.5, n), 0)
    weight = np.stack([1 - second, second], axis=1)
    signal = zeppelin_signal(acquisition, par, fraction * par, axes, rng.uniform(1, 40, (n, 2)), weight)
    return signal[np.arange(voxels) % n], par[np.arange(voxels) % n]


def main(arguments: list[str]) -> None:
    options = record.options(__doc__ or "", voxels=8_192, repeats=3).parse_args(arguments)
    acquisition, device = hcp_scheme(), find_device(options.device)
    clean, truth = simulated(acquisition, options.voxels)
    rng = np.random.default_rng(1)
    gaussian = clean + SIGMA * rng.standard_normal(clean.shape, dtype=np.float32)
    magnitude = rician(clean, SIGMA, rng)
    deviation = rng.uniform(-0.03, 0.03, (options.voxels, 9))

    def fit(data, model=None, **how):
        model = js.smt() if model is None else model
        return js.fit(model, acquisition, data, dtype=options.dtype, device=device, **how)

    floor = {"noise": "rician"}
    ways = {
        "plain": {},
        "uncertainty, sigma known": {"uncertainty": True, "sigma": SIGMA},
        "uncertainty": {"uncertainty": True},
        "rician, sigma known": floor | {"sigma": SIGMA},
        "rician": floor,
        "gradient deviation": {"grad_dev": deviation},
    }
    everything = js.FodModel(js.smt(), "watson", "auto")
    calls = {way: partial(fit, magnitude, **how) for way, how in ways.items()}
    calls["everything"] = partial(fit, magnitude, everything, **floor, uncertainty=True)
    spent = record.in_turn(calls, options.repeats)
    plain = np.array([one.wall for one in spent["plain"]])
    rows = [
        {
            "what": way,
            **record.speed(options.voxels, of_way),
            "over_plain": round(float(np.median([one.wall for one in of_way] / plain)), 2),
        }
        for way, of_way in spent.items()
    ]

    joint = js.FodModel(js.smt(), "watson")
    fits = {
        "gaussian noise, plain": fit(gaussian),
        "rician noise, plain": fit(magnitude),
        "rician": fit(magnitude, **floor, sigma=SIGMA),
        "rician, sigma estimated": fit(magnitude, **floor),
        "rician, second pass with FODs": fit(magnitude, joint, **floor, sigma=SIGMA).model.kernels,
        "rician, second pass with FODs, sigma estimated": fit(magnitude, joint, **floor).model.kernels,
    }
    for way, found in fits.items():
        error = found.parameters["lambda_par"] - truth
        rows.append(
            {
                "what": f"error of λ∥: {way}",
                "bias": round(float(np.mean(error)), 4),
                "rmse": round(float(np.sqrt(np.mean(error**2))), 4),
                "median_absolute": round(float(np.median(np.abs(error))), 4),
            }
        )
    ratio = np.median(fits["rician, sigma estimated"].sigma) / SIGMA
    rows.append({"what": "estimated over true σ", "median": round(float(ratio), 4)})
    settings = {"dtype": options.dtype, "voxels": options.voxels, "sigma": SIGMA}
    record.publish("noise", settings, rows, options.json, device)
