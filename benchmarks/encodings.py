"""What spherical encoding adds to two shells: the bound and the measured error of λ∥ and f, at equal volumes.

    python -m benchmarks encodings [--voxels 4000] [--json FILE]

Two schemes of 96 volumes, b = 0, 1000 and 2000 s/mm²: all 90 weighted volumes of linear encoding (b_Δ = 1), or a third
of each shell of spherical encoding (b_Δ = 0) instead. Voxels of one Watson lobe in any direction, Gaussian noise at
SNR 30, typical white and grey matter of SMT: the Cramér-Rao bound, and bias, root mean square and median absolute error
of the estimates of `js.fit`, in µm²/ms of λ∥. `oblate_twin` is the distance to the tensor with λ⊥ > λ∥ whose means
are the nearest, in standard deviations: the root of its -2 log likelihood ratio without noise. `second` is the part of
the voxels with a second solution within the noise, `at_bound` the part at a bound, which keeps errors smaller than they
would be.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxsmt as js
from jaxsmt.batch.runner import find_device
from jaxsmt.geometry.quadrature import gradient_directions
from jaxsmt.simulate import zeppelin_signal

from . import record

SIGMA, KAPPA = 1 / 30, 8.0
B0_VOLUMES, SHELLS, LINEAR, SPHERICAL = 6, (1000.0, 2000.0), 30, 15
NAMES = ("lambda_par", "fraction")


def schemes() -> dict[str, js.Acquisition]:
    """Linear encoding alone, and with spherical encoding, of as many volumes at the same b-values."""
    linear = [(b, LINEAR + SPHERICAL, 1.0) for b in SHELLS]
    both = [(b, n, shape) for b in SHELLS for n, shape in ((LINEAR, 1.0), (SPHERICAL, 0.0))]
    return {"linear": _scheme(linear), "linear and spherical": _scheme(both)}


def _scheme(shells: list[tuple[float, int, float]]) -> js.Acquisition:
    """A scheme of these shells: b in s/mm², volumes, b_Δ."""
    rows = [(0.0, B0_VOLUMES, 1.0), *shells]
    b, count, shape = (np.array(column) for column in zip(*rows, strict=True))
    directed = (b > 0) & (shape != 0)
    directions = [
        gradient_directions(n, seed=i) if g else np.zeros((n, 3))
        for i, (n, g) in enumerate(zip(count, directed, strict=True))
    ]
    return js.Acquisition(np.repeat(b, count), np.concatenate(directions), b_delta=np.repeat(shape, count))


def simulated(acquisition: js.Acquisition, voxels: int, par: float, fraction: float) -> np.ndarray:
    """(voxels, volumes) signals of one lobe each, with noise; spherical encoding sees the mean diffusivity."""
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((voxels, 1, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    one = np.ones((voxels, 1))
    signal = zeppelin_signal(acquisition, par * one[:, 0], fraction * par * one[:, 0], axes, KAPPA * one, one)
    md = par * (1 + 2 * fraction) / 3
    signal = np.where(acquisition.b_delta == 0, np.exp(-acquisition.bvals * 1e-3 * md), signal)
    return signal + SIGMA * rng.standard_normal(signal.shape)


def oblate_twin(acquisition: js.Acquisition, truth: dict[str, float]) -> float:
    """How far the nearest oblate tensor is, in standard deviations; S0 is fitted."""
    spread, b = SIGMA * np.sqrt(acquisition.variances), np.asarray(acquisition.b)
    linear = np.array([shell.b_delta != 0 for shell in acquisition.shells])

    def means(par: np.ndarray, perp: np.ndarray) -> np.ndarray:
        of_md = np.exp(-b * (par + 2 * perp)[:, None] / 3)
        of_axes = np.asarray(js.signal.zeppelin_mean(b, par[:, None], perp[:, None]), float)
        return np.where(linear, of_axes, of_md) / spread

    grid = np.linspace(0.0025, 3.05, 1220)
    par, perp = (values.ravel() for values in np.meshgrid(grid, grid, indexing="ij"))
    oblate = means(par[perp > par], perp[perp > par])
    y = means(np.array([truth["lambda_par"]]), np.array([truth["fraction"] * truth["lambda_par"]]))[0]
    cost = y @ y - (oblate @ y) ** 2 / np.sum(oblate**2, axis=1)
    return float(np.sqrt(max(cost.min(), 0.0)))


def row(name: str, tissue: str, acquisition: js.Acquisition, truth: dict[str, float], fit: js.Fit) -> dict[str, Any]:
    """The bound and the errors of one tissue under one scheme."""
    bound = np.sqrt(np.diag(np.asarray(js.crlb(js.smt(), acquisition, truth, SIGMA))))
    figures: dict[str, Any] = {"what": f"{tissue}, {name}", "volumes": int(acquisition.bvals.size)}
    for parameter, of_bound in zip(NAMES, bound.tolist(), strict=True):
        error = np.asarray(fit.parameters[parameter], float) - truth[parameter]
        figures |= {
            f"{parameter}_bound": round(of_bound, 4),
            f"{parameter}_rmse": round(float(np.sqrt(np.mean(error**2))), 4),
            f"{parameter}_bias": round(float(np.mean(error)), 4),
            f"{parameter}_median_absolute": round(float(np.median(np.abs(error))), 4),
        }
    assert fit.second is not None
    return {
        **figures,
        "oblate_twin": round(oblate_twin(acquisition, truth), 3),
        "second": round(float(np.mean(fit.second["second"] > 0)), 4),
        "at_bound": round(float(np.mean(fit.status == js.Status.AT_BOUND)), 4),
    }


def main(arguments: list[str]) -> None:
    options = record.options(__doc__ or "", voxels=4_000, repeats=1).parse_args(arguments)
    device, rows = find_device(options.device), []
    for tissue, pairs in js.smt().tissues:
        truth = dict(pairs)
        for name, acquisition in schemes().items():
            data = simulated(acquisition, options.voxels, truth["lambda_par"], truth["fraction"])
            fit = js.fit(
                js.smt(), acquisition, data, sigma=SIGMA, second_solution=True, dtype=options.dtype, device=device
            )
            rows.append(row(name, tissue, acquisition, truth, fit))
    settings = {"dtype": options.dtype, "voxels": options.voxels, "sigma": SIGMA}
    record.publish("encodings", settings, rows, options.json, device)
