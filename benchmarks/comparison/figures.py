"""Figures of what was estimated: median errors against truth, and residuals by one formula for everybody."""

from __future__ import annotations

from itertools import permutations

import numpy as np

import jaxsmt as js
from jaxsmt.acquisition.means import spherical_means

from .simulated import FODS, Maps, predicted

#: Parameters of kernels whose absolute errors are compared.
KERNEL = ("lambda_par", "lambda_perp", "intra", "diff")


def errors(estimates: Maps, truth: Maps) -> dict[str, float]:
    """Medians and 90th percentiles of absolute errors by parameter; "angle_deg" of the lobes' axes."""
    out = {name: np.abs(estimates[name] - truth[name]) for name in KERNEL if name in estimates and name in truth}
    if "direction" in estimates:
        order = _matching(estimates["direction"], truth["direction"])
        cosines = np.take_along_axis(_cosines(estimates["direction"], truth["direction"]), order[:, None], 2)
        out["angle_deg"] = np.rad2deg(np.arccos(np.clip(np.diagonal(cosines, axis1=1, axis2=2), 0, 1)))
        several = order.shape[1] > 1
        for name in ("odi", "weight") if several else ("odi",):
            out[name] = np.abs(np.take_along_axis(estimates[name], order, 1) - truth[name])
    medians = {f"{name}_error": rounded(np.nanmedian(values)) for name, values in out.items()}
    return medians | {f"{name}_error_p90": rounded(np.nanpercentile(values, 90)) for name, values in out.items()}


def _cosines(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(voxels, true lobes, found lobes)."""
    return np.abs(np.einsum("vic,vjc->vij", true, found))


def _matching(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(voxels, lobes): which found lobe belongs to each true one, so that the sum of the angles is least."""
    angles = np.arccos(np.clip(_cosines(found, true), 0, 1))
    orders = np.array(list(permutations(range(true.shape[1]))))
    sums = np.stack([angles[:, np.arange(true.shape[1]), order].sum(axis=1) for order in orders], axis=1)
    return orders[np.argmin(sums, axis=1)]


def mean_squared_residual(
    task: str, acquisition: js.Acquisition, signals: np.ndarray, estimates: Maps
) -> dict[str, float]:
    """The median over voxels, of the signal over S0, which is that of least squares for the given estimates.

    Of FODs over all volumes; of spherical means over b = 0 and the shells, weighted by their inverse variances.
    """
    if task in FODS:
        if "direction" not in estimates:
            return {}
        expected, data = predicted(task, acquisition, estimates), signals.astype(np.float64)
        weights = np.ones(data.shape[1])
    else:
        expected, data = _expected_means(task, acquisition, estimates), spherical_means(acquisition, signals).T
        weights = 1 / np.asarray(acquisition.variances)
    s0 = (weights * data * expected).sum(axis=1) / (weights * expected**2).sum(axis=1)
    residual = data / s0[:, None] - expected
    return {"mse": rounded(np.nanmedian((weights * residual**2).sum(axis=1) / weights.sum()))}


def _expected_means(task: str, acquisition: js.Acquisition, estimates: Maps) -> np.ndarray:
    if task == "mcsmt":
        model, values = js.mcsmt(), {"stick.lambda_par": estimates["diff"], "weight.stick": estimates["intra"]}
    else:
        par = np.maximum(estimates["lambda_par"], 1e-9)
        model, values = js.smt(), {"lambda_par": par, "fraction": estimates["lambda_perp"] / par}
    return np.asarray(model.signal(acquisition, values), np.float64)


def rounded(value: float) -> float:
    """Four digits are enough."""
    return float(f"{value:.4g}")
