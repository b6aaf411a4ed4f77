"""Between jaxsmt's lobes and dmipy's parameters of distributions: μ = [θ, φ], ψ, ODI, β/κ, partial volumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...fitting.fods import FodFit, FodModel
from ...status import Status
from ..orientations import directions_from_mu, frame_of, mu_from_directions

if TYPE_CHECKING:
    from .acquisition_scheme import DmipyAcquisitionScheme
    from .modeling_framework import ParametricFodModel


def parameters_from_fods(model: ParametricFodModel, fods: FodFit) -> dict[str, np.ndarray]:
    """dmipy's parameters of the fitted lobes, by name."""
    p, out = {name: values.astype(float) for name, values in fods.parameters.items()}, {}
    for i in range(model.count):
        prefix, axis = model.distribution_prefix(i), p["direction"][..., i, :]
        out[f"{prefix}mu"] = mu_from_directions(axis)
        out[f"{prefix}odi"] = p["odi"][..., i]
        if model.family == "bingham":
            y, z = frame_of(directions_from_mu(out[f"{prefix}mu"]))
            across = p["across"][..., i, :]
            out[f"{prefix}psi"] = np.arctan2(np.sum(across * z, axis=-1), np.sum(across * y, axis=-1)) % np.pi
            kappa = p["kappa"][..., i]
            out[f"{prefix}beta_fraction"] = p["beta"][..., i] / np.where(kappa > 0, kappa, 1)
    out |= {name: p["weight"][..., i] for i, name in enumerate(model.partial_volume_names)}
    return out


def fods_from_parameters(
    model: ParametricFodModel, parameters: Mapping[str, Any], scheme: DmipyAcquisitionScheme | None
) -> FodFit:
    """FODs of dmipy's parameters by name, over kernels of S0 = 1."""
    values = {name: np.asarray(parameters[name], float) for name in model.parameter_names}
    shape = np.broadcast_shapes(
        *(v.shape[:-1] if model.parameter_cardinality[name] == 2 else v.shape for name, v in values.items())
    )
    kernel = model.kernel_values(values)
    ones = np.ones(shape)
    lobes = []
    for i in range(model.count):
        prefix = model.distribution_prefix(i)
        axis, odi = directions_from_mu(values[f"{prefix}mu"]), values[f"{prefix}odi"]
        kappa = 1 / np.tan(np.pi / 2 * odi)
        beta, across = np.zeros(()), np.zeros(3)
        if model.family == "bingham":
            y, z = frame_of(axis)
            psi = values[f"{prefix}psi"][..., None]
            beta, across = kappa * values[f"{prefix}beta_fraction"], np.cos(psi) * y + np.sin(psi) * z
        weight = values[model.partial_volume_names[i]] if model.partial_volume_names else np.ones(())
        lobes.append({"weight": weight, "odi": odi, "kappa": kappa, "beta": beta, "direction": axis, "across": across})
    stacked = {
        name: np.stack(
            [np.broadcast_to(lobe[name], (*shape, 3) if vector else shape) for lobe in lobes], axis=len(shape)
        )
        for name, vector in (
            *((n, False) for n in ("weight", "odi", "kappa", "beta")),
            ("direction", True),
            ("across", True),
        )
    }
    status = np.full(shape, Status.CONVERGED, np.uint8)
    native = replace(
        model.kernel.native,
        parameters={n: np.broadcast_to(v, shape) for n, v in kernel.items()},
        s0=ones,
        status=status,
    )
    return FodFit(
        model=FodModel(native, model.family, model.count),
        parameters=stacked,
        n_fibres=np.full(shape, model.count, np.uint8),
        mse=ones,
        r2=ones,
        status=status,
        axes="scanner",
        acquisition=None if scheme is None else scheme.acquisition,
    )
