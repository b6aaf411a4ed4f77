"""Voxels with known truth for the benchmark `peers`, by plain quadrature: neither jaxsmt's formulas nor the peers'."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxsmt import Acquisition
from jaxsmt.simulate import rician

Maps = dict[str, np.ndarray]

#: Density and number of lobes of each task; spherical means of smt and mcsmt come from one Watson lobe, too.
TASKS = {
    "smt": ("watson", 1),
    "mcsmt": ("watson", 1),
    "watson": ("watson", 1),
    "bingham": ("bingham", 1),
    "two_watson": ("watson", 2),
}
FODS = ("watson", "bingham", "two_watson")


class Case(NamedTuple):
    """Signals (voxels, volumes) over an S0 of 1000, and the parameters that made them, by name."""

    signals: np.ndarray
    truth: Maps


def make_case(task: str, acquisition: Acquisition, voxels: int, snr: float | None) -> Case:
    """Voxels of a task; snr: of S0, for Rician noise; None: no noise. The same truth with and without noise."""
    rng = np.random.default_rng(7)
    truth = _kernels(task, voxels, rng) | _lobes(*TASKS[task], voxels, rng)
    signals = predicted(task, acquisition, truth)
    if snr is not None:
        signals = rician(signals, 1 / snr, np.random.default_rng(8))
    return Case((1000 * signals).astype(np.float32), truth)


def _kernels(task: str, voxels: int, rng: np.random.Generator) -> Maps:
    """Diffusivities in µm²/ms, well inside the bounds of all peers."""
    par = rng.uniform(1.2, 2.4, voxels)
    if task == "mcsmt":
        return {"intra": rng.uniform(0.3, 0.8, voxels), "diff": par}
    return {"lambda_par": par, "lambda_perp": rng.uniform(0.1, 0.5, voxels) * par}


def _lobes(density: str, count: int, voxels: int, rng: np.random.Generator) -> Maps:
    """Lobes of ODI 0.06 to 0.3; two of them cross at 60 to 90 degrees with weights of 0.35 and more."""
    frames = np.linalg.qr(rng.standard_normal((voxels, 3, 3)))[0]
    first, second = frames[..., 0], frames[..., 1]
    angle = np.deg2rad(rng.uniform(60, 90, voxels))[:, None]
    odi = rng.uniform(0.06, 0.3, (voxels, count))
    weight = rng.uniform(0.35, 0.65, voxels)
    lobes = {
        "direction": np.stack([first, np.cos(angle) * first + np.sin(angle) * second][:count], axis=1),
        "odi": odi,
        "kappa": 1 / np.tan(odi * np.pi / 2),
        "weight": np.stack([weight, 1 - weight], axis=1) if count == 2 else np.ones((voxels, 1)),
    }
    if density == "bingham":
        lobes["across"] = second[:, None]
        lobes["beta"] = rng.uniform(0.2, 0.7, (voxels, 1)) * lobes["kappa"]
    return lobes


def predicted(task: str, acquisition: Acquisition, parameters: Maps) -> np.ndarray:
    """Signal over S0 (voxels, volumes) of kernels whose axes follow lobes ∝ exp(κ(μ·n)² + β(μ₂·n)²).

    A product rule over half a sphere about each μ: 40 Gauss-Legendre nodes in μ·n, 60 azimuths.
    """
    t, dt, ring = _half_sphere(40, 60)
    b, g = acquisition.bvals * 1e-3, acquisition.bvecs
    signals = np.zeros((len(parameters["kappa"]), len(b)))
    beta = parameters.get("beta", np.zeros_like(parameters["kappa"]))
    for i, kappas in enumerate(parameters["kappa"]):
        for j, kappa in enumerate(kappas):
            frame = _frame(
                parameters["direction"][i, j], parameters["across"][i, j] if "across" in parameters else None
            )
            density = dt * np.exp(kappa * (t * t - 1) + beta[i, j] * ring[0] ** 2)
            cosines = (g @ frame) @ ring
            kernel = _kernel(task, b[:, None], cosines**2, {name: parameters[name][i] for name in _names(task)})
            signals[i] += parameters["weight"][i, j] * (kernel @ (density / density.sum()))
    return signals


def _names(task: str) -> tuple[str, str]:
    return ("intra", "diff") if task == "mcsmt" else ("lambda_par", "lambda_perp")


def _kernel(task: str, b: np.ndarray, squares: np.ndarray, values: Maps) -> np.ndarray:
    """Attenuation for squared cosines between gradient and axis: a zeppelin, or a stick in a tortuous zeppelin."""
    if task == "mcsmt":
        intra, d = values["intra"], values["diff"]
        across = (1 - intra) * d
        return intra * np.exp(-b * d * squares) + (1 - intra) * np.exp(-b * (across + (d - across) * squares))
    par, perp = values["lambda_par"], values["lambda_perp"]
    return np.exp(-b * (perp + (par - perp) * squares))


def _half_sphere(nodes: int, azimuths: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosines to the z axis and their weights, (n,), and the unit vectors (3, n)."""
    x, w = np.polynomial.legendre.leggauss(nodes)
    t, phi = np.repeat(0.5 * (x + 1), azimuths), np.tile(2 * np.pi * (np.arange(azimuths) + 0.5) / azimuths, nodes)
    sine = np.sqrt(1 - t * t)
    return t, np.repeat(0.5 * w, azimuths), np.stack([sine * np.cos(phi), sine * np.sin(phi), t])


def _frame(direction: np.ndarray, across: np.ndarray | None) -> np.ndarray:
    """An orthonormal frame (3, 3): columns μ₂, the third axis, μ."""
    helper = np.eye(3)[np.argmin(np.abs(direction))] if across is None else across
    second = helper - (helper @ direction) * direction
    second = second / np.linalg.norm(second)
    return np.stack([second, np.cross(direction, second), direction], axis=1)
