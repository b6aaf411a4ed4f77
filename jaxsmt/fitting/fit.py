"""`fit`: data and mask in, maps out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, overload

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.means import spherical_means
from ..batch.engine import MeansFitter, predicted_means
from ..errors import InputError
from ..files import masks, outputs
from ..models.model import SphericalMeanModel
from ..models.priors import NormalPrior
from ..solvers import Solver
from ..status import Status
from .fods import FITTED, FodFit, FodFitter, FodModel, lobe_counts
from .kernels import Conditions, ConditionsFitter, Found


@dataclass(frozen=True)
class Fit:
    """Maps of a fitted model; every array has the data's spatial shape (...).

    Attributes:
        model: what was fitted.
        parameters: free and dependent parameters by name, diffusivities in µm²/ms.
        derived: further maps by name. s0: in units of the data.
        mse: mean squared residual over b = 0 and the shells' means, of the signal over S0.
        r2: coefficient of determination of the same. status: `Status` codes, uint8.
        exact_b0: whether S0 is the b = 0 volumes' mean, their b-values counting as exactly 0.
        acquisition: of the data.
        conditions: under which they were fitted.
        sigma: noise of one volume that was given or estimated, in units of the data; sigma_error: its relative standard
            error if it was estimated. None where it was not needed.
        sd: with `uncertainty`, standard deviations of all parameters, derived maps and "s0", by name; NaN where the
            status is not CONVERGED (a bound says nothing of how far off an estimate is), inf where not determined.
        shrinkage: with a prior and `uncertainty`, how far each of its parameters is drawn to the prior's mean, 0 to 1.
        deviations: (..., k) what k independent changes of unit variance, the noise of the means, make of each name.
    Where status is not CONVERGED, AT_BOUND or NOT_CONVERGED, all maps are 0.
    """

    model: SphericalMeanModel
    parameters: dict[str, np.ndarray]
    derived: dict[str, np.ndarray]
    s0: np.ndarray
    mse: np.ndarray
    r2: np.ndarray
    status: np.ndarray
    exact_b0: bool = False
    acquisition: Acquisition | None = None
    conditions: Conditions = field(default_factory=Conditions)
    sigma: np.ndarray | None = None
    sigma_error: float | None = None
    sd: dict[str, np.ndarray] | None = None
    shrinkage: dict[str, np.ndarray] | None = None
    deviations: dict[str, np.ndarray] | None = None

    def count(self, status: Status) -> int:
        """Number of voxels with this status."""
        return int(np.count_nonzero(self.status == status))

    def voxels(self, numbers: np.ndarray) -> Fit:
        """The fits of some voxels, numbered in C order, without their uncertainties: arrays (len(numbers),)."""

        def take(values: np.ndarray) -> np.ndarray:
            return values.reshape(-1)[numbers]

        return replace(
            self,
            parameters={name: take(values) for name, values in self.parameters.items()},
            derived={name: take(values) for name, values in self.derived.items()},
            s0=take(self.s0),
            mse=take(self.mse),
            r2=take(self.r2),
            status=take(self.status),
            sigma=None if self.sigma is None else take(self.sigma),
            sd=None,
            shrinkage=None,
            deviations=None,
        )

    def predict(self, acquisition: Acquisition | None = None) -> np.ndarray:
        """Spherical means of b = 0 and each shell that the fitted parameters give, (..., shells), in units of the data.

        acquisition: another than that of the data. Where nothing was fitted they are 0.
        """
        acquisition = acquisition or self.acquisition
        if acquisition is None:
            raise InputError("no acquisition to predict", fix="fit.predict(acquisition)")
        acquisition = acquisition.concrete()
        self.model.kernel.require(acquisition.pulses)
        exact = acquisition.b0 if self.exact_b0 else None  # as in the fit
        pulses = [s.pulse._replace(b=0.0) if s is exact else s.pulse for s in acquisition.shells]
        values = {name: self.parameters[name].ravel() for name in self.model.kernel.names}
        means = predicted_means(self.model.kernel, pulses, values, self.s0.dtype)
        fitted = np.isin(self.status, FITTED)[..., None]
        return np.where(fitted, self.s0[..., None] * means.reshape(*self.status.shape, len(pulses)), 0)

    def fod_model(self, family: str, n_fibres: int | str = 1) -> FodModel:
        """Watson or Bingham lobes convolved with these kernels, to be fitted with `fit`.

        Args:
            family: "watson" or "bingham". n_fibres: 1 to 3, or "auto" (0 to 3 by BIC in each voxel).
        """
        return FodModel(self, family, n_fibres)

    def maps(self) -> dict[str, np.ndarray]:
        """The maps that are written, by name."""
        every = {**self.parameters, **self.derived}
        return {
            **{name: every[name] for name in self.model.maps or every},
            "s0": self.s0,
            "mse": self.mse,
            "r2": self.r2,
            "status": self.status,
        }

    @property
    def units(self) -> dict[str, str]:
        """Units of the maps that have one."""
        return self.model.units

    def save(self, folder, like, prefix: str | None = None) -> list:
        """Write the maps as NIfTI files with sidecars into a folder; `like`: path of the series."""
        return outputs.save(
            folder, like, prefix, self.model.name, self.maps(), outputs.KERNEL_DESCRIPTIONS, self.units, self.sd
        )


@overload
def fit(
    model: SphericalMeanModel,
    acquisition: Acquisition,
    data,
    mask=None,
    *,
    noise: str = "gaussian",
    sigma=None,
    uncertainty: bool = False,
    grad_dev=None,
    prior=None,
    s0: str = "fit",
    weights=None,
    solver: Solver | None = None,
    dtype: str = "float32",
    device=None,
) -> Fit: ...


@overload
def fit(
    model: FodModel,
    acquisition: Acquisition,
    data,
    mask=None,
    *,
    solver: Solver | None = None,
    dtype: str = "float32",
    device=None,
) -> FodFit: ...


def fit(
    model: SphericalMeanModel | FodModel,
    acquisition: Acquisition,
    data,
    mask=None,
    *,
    noise: str = "gaussian",
    sigma=None,
    uncertainty: bool = False,
    grad_dev=None,
    prior=None,
    s0: str = "fit",
    weights=None,
    solver: Solver | None = None,
    dtype: str = "float32",
    device=None,
) -> Fit | FodFit:
    """Fit a model in every voxel: of the spherical means, or FODs with the kernels of such a fit.

    Args:
        model: `smt()`, or what `Fit.fod_model` returns; FODs are fitted where their kernel was. The kernel of
            `FodModel(smt(), ...)` is fitted first, with all these options.
        data: (..., volumes), NumPy or JAX array or memory map, any real type.
        mask: (...), voxels to fit: integers above 0, floats above 0.5; None: all.
        noise: "gaussian", or "rician" for magnitudes whose noise floor shall not bias the fit. The means are then those
            of expected real parts, as the fit itself and a FOD of free harmonics predict them, and the fit is repeated;
            FODs maximise the Rician likelihood. With `FodModel(model, ...)` kernels and FODs are fitted twice, the
            second time with the real parts that the FODs predict.
        sigma: noise of one volume in units of the data, a number or a map (...); None: estimated in every voxel, if it
            is needed, from the residuals of smooth signals.
        uncertainty: also standard deviations, `Fit.sd` and `FodFit.sd`.
        grad_dev: (..., 9) or (..., 3, 3) deviations L of the gradients g' = (I + L)g, b' = b|g'|², in the axes of the
            acquisition's directions; nine numbers column by column, as in the HCP's grad_dev files.
        prior: of the model's parameters: {name: (mean, standard deviation)}, a `NormalPrior`, or "population".
        s0: "fit" estimates S0 with the model, "mean" fixes it to the mean of the b = 0 volumes. FODs
            keep the kernel's S0.
        weights: (shells,) of the squared residuals of b = 0 and the shells' means; None: inverse variances.
        solver: None is `levenberg_marquardt()`. dtype: "float32" or "float64".
        device: a JAX device; None is the first that JAX finds.
    Raises:
        InputError: shapes that do not match, an empty mask, too few shells for the model.
    """
    if s0 not in ("fit", "mean"):
        raise InputError(f"unknown s0 {s0!r}", fix="'fit' or 'mean'")
    acquisition = acquisition.concrete()
    data = data if isinstance(data, np.ndarray) else np.asarray(data)
    if data.ndim == 0 or not (np.issubdtype(data.dtype, np.integer) or np.issubdtype(data.dtype, np.floating)):
        raise InputError(f"data of shape {data.shape} and type {data.dtype}", fix="give a real array (..., volumes)")
    space = data.shape[:-1]
    inside = np.ones(space, bool) if mask is None else np.asarray(mask)
    if inside.shape != space:
        raise InputError(f"mask of shape {inside.shape} for data of shape {data.shape}", fix="shapes must agree")
    inside = masks.inside(inside)
    acquisition.require_volumes(data.shape[-1])
    if isinstance(model, FodModel) and inside.ndim == 0:
        raise InputError(f"data of shape {data.shape} for a FOD fit", fix="give (voxels, volumes), of one voxel too")
    if isinstance(model, FodModel) and not isinstance(model.kernels, SphericalMeanModel):
        of_kernels = [sigma, grad_dev, prior, weights, uncertainty or None]
        if (noise, s0) != ("gaussian", "fit") or any(option is not None for option in of_kernels):
            raise InputError(
                "options of the kernels' fit are given for FODs", fix="give them to that fit: its FODs keep them"
            )
        return _fit_fods(model, acquisition, data, inside, solver=solver, dtype=dtype, device=device)
    spherical = model.spherical if isinstance(model, FodModel) else model
    fitter = MeansFitter(
        spherical,
        acquisition,
        fit_s0=s0 == "fit",
        weights=weights,
        prior=NormalPrior.make(prior, spherical.name),
        solver=solver,
        dtype=dtype,
        device=device,
    )
    under = ConditionsFitter(fitter, make_conditions(noise, sigma, uncertainty, grad_dev), dtype=dtype, device=device)
    means = spherical_means(acquisition, data)[:, inside.ravel()]
    rows = _rows(data, inside)
    found = under(means, rows, inside, before_fods=isinstance(model, FodModel))
    kernels = assemble(under, found, inside)
    if not isinstance(model, FodModel):
        return kernels

    def fods(kernels: Fit) -> FodFit:
        own = replace(model, kernels=kernels)
        return _fit_fods(own, acquisition, data, inside, solver=solver, dtype=dtype, device=device)

    first = fods(kernels)
    return fods(second_pass(under, found, first, rows, inside)) if noise == "rician" else first


def second_pass(
    under: ConditionsFitter,
    found: Found,
    fods: FodFit,
    rows: Callable[[Any], np.ndarray],
    inside: np.ndarray,
    order: Literal["C", "F"] = "C",
) -> Fit:
    """Fit the kernels again, their means corrected for the noise floor of the signals that FODs predict.

    rows: `(slice) -> (voxels, volumes)` data of the voxels inside.
    """
    chosen = np.isin(masks.take(fods.status, inside, order), FITTED)
    numbers = masks.take(np.arange(inside.size).reshape(inside.shape), inside, order)

    def predicted(part: slice) -> np.ndarray:
        return fods.voxels(numbers[part]).predict()

    again = under.again(found, rows, predicted, chosen, inside, order)
    return assemble(under, again, inside, order)


def _rows(data: np.ndarray, inside: np.ndarray, order: Literal["C", "F"] = "C") -> Callable[[Any], np.ndarray]:
    """`(numbers or slice) -> (voxels, volumes)` of the voxels inside a mask."""
    if inside.ndim == 0:
        return lambda numbers: data[None][numbers]
    voxels = np.unravel_index(np.flatnonzero(inside.ravel(order=order)), inside.shape, order=order)
    return lambda numbers: data[tuple(axis[numbers] for axis in voxels)]


def make_conditions(noise: str, sigma, uncertainty: bool, grad_dev) -> Conditions:
    """`Conditions` of the arguments of `fit`."""
    if noise not in ("gaussian", "rician"):
        raise InputError(f"unknown noise {noise!r}", fix="'gaussian' or 'rician'")
    if grad_dev is not None:
        grad_dev = np.asarray(grad_dev, float)
        if grad_dev.shape[-1:] == (9,):  # column by column
            grad_dev = np.swapaxes(grad_dev.reshape(*grad_dev.shape[:-1], 3, 3), -1, -2)
    return Conditions(noise == "rician", "auto" if sigma is None else sigma, grad_dev, uncertainty)


def _fit_fods(model: FodModel, acquisition: Acquisition, data: np.ndarray, inside: np.ndarray, **options) -> FodFit:
    if model.fitted.status.shape != inside.shape:
        raise InputError(
            f"kernels of shape {model.fitted.status.shape} for data of shape {data.shape}", fix="shapes must agree"
        )
    conditions = model.fitted.conditions
    fitter = FodFitter(model.spherical, acquisition, model.family, lobe_counts(model.n_fibres), conditions, **options)
    # In the order in which voxels lie in memory, so that a memory map is read in long pieces.
    order: Literal["C", "F"] = "F" if data.strides[0] < data.strides[inside.ndim - 1] else "C"
    return fitter(model, _rows(data, inside, order), inside, order)


def assemble(under: ConditionsFitter, found: Found, inside: np.ndarray, order: Literal["C", "F"] = "C") -> Fit:
    """Put the fits of the voxels inside a mask, in `order` ("C" or "F"), into maps of its shape."""
    place = partial(masks.place, within=inside, order=order)

    def each(values: Mapping[str, Any] | None) -> dict[str, np.ndarray] | None:
        return None if values is None else {name: place(v) for name, v in values.items()}

    fitter, fits = under.fitter, found.fits
    sd, shrinkage, deviations = (None,) * 3 if fits.uncertainty is None else map(each, fits.uncertainty)
    return Fit(
        model=fitter.model,
        parameters={name: place(fits.parameters[name]) for name in fitter.model.names},
        derived={link.target: place(fits.derived[link.target]) for link in fitter.model.derived},
        s0=place(fits.s0),
        mse=place(fits.mse),
        r2=place(fits.r2),
        status=place(fits.status),
        exact_b0=not fitter.fit_s0,
        acquisition=fitter.acquisition,
        conditions=under.conditions,
        sigma=None if found.sigma is None else place(found.sigma),
        sigma_error=found.accuracy,
        sd=sd,
        shrinkage=shrinkage,
        deviations=deviations,
    )
