"""What noise, uncertainty and gradient deviation cost, and what the noise floor's correction is worth.

    python benchmarks/noise.py [--voxels 8192] [--repeats 3] [--json FILE]

Simulates voxels of one or two Watson lobes under the HCP scheme, kernels from white matter to fluid, at SNR 30.
Times whole `js.fit` calls of the kernel, compiled, from data in memory to maps, in turn; medians, and ratios to the
plain fit. Then errors of λ∥ in µm²/ms: of Gaussian noise, and of Rician noise without and with correction, σ known
and estimated, and with the second pass that FODs allow.
"""

from __future__ import annotations

import time

import numpy as np

import jaxsmt as js
from jaxsmt.batch.runner import find_device
from jaxsmt.simulate import hcp_scheme, rician, zeppelin_signal
from record import options as shared_options
from record import publish

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


def main() -> None:
    options = shared_options(__doc__ or "", voxels=8_192, repeats=3).parse_args()
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
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for repeat in range(-1, options.repeats):  # the first compiles
        for way, how in ways.items():
            start = time.perf_counter()
            fit(magnitude, **how)
            if repeat >= 0:
                seconds[way].append(time.perf_counter() - start)
    times = {}
    for way, spent in seconds.items():
        ratios = np.array(spent) / np.array(seconds["plain"])
        median = float(np.median(spent))
        times[way] = {
            "voxels_per_s": round(options.voxels / median),
            "microseconds_per_voxel": round(1e6 * median / options.voxels, 1),
            "over_plain": round(float(np.median(ratios)), 2),
        }

    joint = js.FodModel(js.smt(), "watson")
    fits = {
        "gaussian noise, plain": fit(gaussian),
        "rician noise, plain": fit(magnitude),
        "rician": fit(magnitude, **floor, sigma=SIGMA),
        "rician, sigma estimated": fit(magnitude, **floor),
        "rician, second pass with FODs": fit(magnitude, joint, **floor, sigma=SIGMA).model.kernels,
        "rician, second pass with FODs, sigma estimated": fit(magnitude, joint, **floor).model.kernels,
    }
    errors = {}
    for way, found in fits.items():
        error = found.parameters["lambda_par"] - truth
        errors[way] = {
            "bias": round(float(np.mean(error)), 4),
            "rmse": round(float(np.sqrt(np.mean(error**2))), 4),
            "median_absolute": round(float(np.median(np.abs(error))), 4),
        }
    figures = {
        "device": f"{device.platform}: {device.device_kind}",
        "dtype": options.dtype,
        "voxels": options.voxels,
        "times": times,
        "lambda_par": errors,
        "estimated_over_true_sigma": round(float(np.median(fits["rician, sigma estimated"].sigma)) / SIGMA, 4),
    }
    publish("noise", figures, options.json)


if __name__ == "__main__":
    main()
