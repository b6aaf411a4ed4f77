"""What a kernel fit gives, and the FOD models that its kernels make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from .. import display
from ..acquisition.acquisition import Acquisition
from ..acquisition.arguments import require_acquisition
from ..acquisition.shells import pulses_of_fit
from ..batch.predictions import predicted_means
from ..errors import InputError, is_whole, shown
from ..files import outputs
from ..models.model import SphericalMeanModel
from ..models.priors import NormalPrior
from ..physics import densities
from ..physics.densities.base import Density
from ..status import FITTED, Status
from .misfit import Misfit, ShellResiduals
from .settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Most lobes in a voxel.
MOST_LOBES = 3

Maps = dict[str, np.ndarray]  #: by name, each (...)


class WithStatus(display.Shown):
    """What all results have: the status of each voxel, and how good its fit is."""

    quality: Maps
    status: np.ndarray

    @property
    def mse(self) -> np.ndarray:
        """Mean squared residual of the signal over S0, (...); over which data, see `quality`."""
        return self.quality["mse"]

    @property
    def r2(self) -> np.ndarray:
        """Coefficient of determination of the same data, (...)."""
        return self.quality["r2"]

    def count(self, status: Status) -> int:
        """Number of voxels with this status.

        Args:
            status: a code, such as `js.Status.AT_BOUND`.
        Returns:
            the number.
        Raises:
            InputError: it is no code.
        """
        if not is_whole(status):
            raise InputError(f"status= is {shown(status)}", fix="give a code, such as js.Status.AT_BOUND")
        return int(np.count_nonzero(self.status == status))


@dataclass(frozen=True, eq=False)
class Fit(WithStatus):
    """Maps of a fitted model. Every array has the data's spatial shape (...). Where a voxel has no fit all maps are 0.

    Attributes:
        model: the `SphericalMeanModel`. acquisition: of the data. settings: how the model was fitted.
        parameters: parameters by name, free ones and those that depend on them; diffusivities in µm²/ms.
        derived: maps that follow from them, such as "fa". s0: S0, in units of the data.
        quality: how good the fit is: "mse", the mean squared residual of b = 0 and the shells' means, of the signal
            over S0, and "r2", its coefficient of determination. `fit.mse` and `fit.r2` are these.
        status: `Status` codes, uint8.
        sigma: the noise of one volume, in units of the data, where the fit used or estimated it; else None.
        sigma_error: relative standard error of an estimated sigma; else None. sigma_from: what it was estimated from:
            "residuals of smooth signals", "repeats of b = 0", "misfit of kernel and FOD" or "background outside the
            mask", and "…, smooth over N voxels".
        residuals: what the model leaves of the shells' means; None where no voxel has a fit.
        misfit: where a diffusivity is at its bound in more than a fifth of the voxels: which, how often, and what the
            model leaves of each shell's mean; else None.
        second: with `second_solution`: "second" is 1 where an anisotropic solution is within the noise of a nearly
            isotropic estimate (likelihood ratio below 95 %), and "second_lambda_par", "second_fraction" are that with
            the least λ⊥/λ∥.
        sd: standard deviations of parameters, derived maps and "s0" by name, if `uncertainty` was asked for. NaN where
            the status is not CONVERGED, as a bound says nothing about the error; inf where data determine nothing.
        shrinkage: with a prior and `uncertainty`: how far the prior draws each parameter to its mean, from 0 to 1.
        effects: with `uncertainty`: (..., k) by name, what k independent changes of unit variance of the means change.

    Example:
        >>> import numpy as np
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=12)
        >>> means = np.asarray(js.smt().signal(acquisition, {"lambda_par": 2.0, "fraction": 0.2}))
        >>> data = means[None, np.argmax(acquisition.weights != 0, axis=0)]  # one voxel, alike in all directions
        >>> fit = js.fit(js.smt(), acquisition, data)
        >>> print(fit.parameters["lambda_par"].round(3), fit.status)
        [2.] [1]
    """

    model: SphericalMeanModel
    acquisition: Acquisition
    settings: Settings
    parameters: Maps
    derived: Maps
    s0: np.ndarray
    quality: Maps
    status: np.ndarray
    sigma: np.ndarray | None = None
    sigma_error: float | None = None
    sigma_from: str | None = None
    residuals: ShellResiduals | None = field(default=None, repr=False)
    misfit: Misfit | None = None
    second: Maps | None = None
    sd: Maps | None = None
    shrinkage: Maps | None = None
    effects: Maps | None = field(default=None, repr=False)

    def voxels(self, indices: np.ndarray) -> Fit:
        """The fits of some voxels, without their standard deviations.

        Args:
            indices: (n,) of the voxels in C order.
        Returns:
            a `Fit` with arrays (n,).
        """

        without = replace(self, second=None, sd=None, shrinkage=None, effects=None)
        return without.changed(lambda values: values.reshape(-1)[indices])

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> Fit:
        """The fits with all their arrays changed, as from the voxels of an image to maps.

        Args:
            change: array (..., further axes) -> array.
        Returns:
            a `Fit` of the changed arrays.
        """
        return replace(self, **jax.tree.map(change, self.arrays))

    @property
    def arrays(self) -> dict[str, Any]:
        """All that has a value for each voxel, by field."""
        fields = ("parameters", "derived", "s0", "quality", "status", "sigma", "second", "sd", "shrinkage", "effects")
        return {name: getattr(self, name) for name in fields}

    def predict(self, acquisition: Acquisition | None = None) -> np.ndarray:
        """Spherical means that the fitted parameters give.

        Args:
            acquisition: another than that of the data; None: that of the data.
        Returns:
            (..., shells) of b = 0 and each shell, in units of the data; 0 where a voxel has no fit. Of several echo
            times, all are as at the shortest, if no compartment has a T2.
        Raises:
            InputError: the model needs pulse timings that the acquisition does not have.
        """
        acquisition = self.acquisition if acquisition is None else acquisition
        require_acquisition(acquisition)
        acquisition = acquisition.concrete()
        self.model.kernel.require(acquisition.pulses)
        pulses = pulses_of_fit(acquisition.shells, self.settings.s0 == "fit")
        values = {name: self.parameters[name].ravel() for name in self.model.kernel.names}
        means = predicted_means(self.model.kernel, pulses, values, self.s0.dtype)
        fitted = np.isin(self.status, FITTED)[..., None]
        return np.where(fitted, self.s0[..., None] * means.reshape(*self.status.shape, len(pulses)), 0)

    def fod_model(self, density: str | Density, n_fibres: int | str = 1) -> FodModel:
        """Lobes convolved with these kernels, to be fitted with `fit`.

        Args:
            density: "watson", "bingham" or a density of your own, see `axial_density`.
            n_fibres: lobes in each voxel, 1 to 3, or "auto": 0 to 3, chosen by BIC.
        Returns:
            a `FodModel`.
        """
        return FodModel(self, density, n_fibres)

    def maps(self) -> Maps:
        """The maps that are written.

        Returns:
            arrays (...) by name: parameters and derived maps, s0, an estimated sigma, second solutions, quality,
            status.
        """
        available = {**self.parameters, **self.derived}
        chosen = {name: available[name] for name in self.model.maps or available}
        estimated = {} if self.sigma is None or self.sigma_error is None else {"sigma": self.sigma}
        return {**chosen, "s0": self.s0, **estimated, **(self.second or {}), **self.quality, "status": self.status}

    @property
    def units(self) -> dict[str, str]:
        """Units of the maps that have one, by name."""
        more = {} if self.second is None else {"second_lambda_par": "um2/ms"}
        return {**self.model.units, **more}

    def facts(self, sigma_from: str = "given") -> dict[str, Any]:
        """What sidecars and run.json say of the options: of those that are arrays, what a few numbers tell.

        Args:
            sigma_from: where σ comes from, if it was not estimated.
        Returns:
            values by the options' names, as JSON has them.
        """
        facts, settings = self.settings.facts(), self.settings
        if self.sigma is not None:
            facts["sigma"] = {"from": self.sigma_from or sigma_from, "median": _median(self.sigma, 6)}
            if self.sigma_error is not None:
                facts["sigma"]["relative_error"] = _digits(self.sigma_error, 3)
        if settings.grad_dev is not None:
            inside = settings.grad_dev[self.status != Status.OUTSIDE]  # elsewhere it may be anything, NaN too
            lengths = np.linalg.svd(np.eye(3) + inside, compute_uv=False)  # of (I + L)g, g in any direction
            facts["grad_dev"] = {"largest_b_change": _digits(np.abs(lengths**2 - 1).max(initial=0), 3)}
        if settings.weights is not None:
            facts["weights"] = np.asarray(settings.weights, float).tolist()
        prior = NormalPrior.make(settings.prior, self.model)
        if prior is not None:
            facts["prior"] = prior.facts()
            converged = self.status == Status.CONVERGED
            if self.shrinkage is not None and converged.any():  # 0: as without the prior, 1: the prior alone
                facts["prior"]["median_shrinkage"] = {
                    name: _median(values[converged], 3) for name, values in self.shrinkage.items()
                }
        return facts

    def plot(self, names: Sequence[str] = (), mask: ArrayLike | None = None, affine: ArrayLike | None = None) -> Figure:
        """Draw maps, each with a bar of its colours, in the slice that has most voxels; as many rows as are needed.

        Args:
            names: of the maps, as `maps` gives them; none: those that matter most.
            mask: (x, y, z), 0 where nothing is shown; None: that of the fit.
            affine: (4, 4) voxel-to-scanner matrix of the series: the slice is axial, or one of a slab, with the
                subject's left to the left and front or head up. None: it is one of the last axis, or of a slab, its
                first axis to the right and its second up.
        Returns:
            a Matplotlib figure, which notebooks show and `figure.savefig` writes.
        Raises:
            InputError: there is no such map, or the fit is not of an image (x, y, z) or (x, y).
        Example:
            >>> import numpy as np
            >>> import jaxsmt as js
            >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=12)
            >>> means = np.asarray(js.smt().signal(acquisition, {"lambda_par": 2.0, "fraction": 0.2}))
            >>> data = means[None, None, np.argmax(acquisition.weights != 0, axis=0)]  # an image of one voxel
            >>> figure = js.fit(js.smt(), acquisition, data).plot(["fa", "r2"])
            >>> [axes.get_title() for axes in figure.axes]
            ['microscopic FA', 'R²']
        """
        figure: Figure = display.module("pictures").draw_fit(self, names, mask, affine)
        return figure

    def save(self, folder: str | PathLike[str], like: str | PathLike[str], prefix: str | None = None) -> list[Path]:
        """Write the maps as NIfTI files with sidecars.

        Args:
            folder: of the files; it is made if it is missing. like: path of the series that was fitted.
            prefix: of the file names; None: from the name of the series.
        Returns:
            paths of the maps.
        Raises:
            InputError: the series has another grid. OutputError: the folder cannot be written.
        """
        facts = {"options": self.facts()}
        return outputs.save(folder, like, prefix, self.model.name, self.maps(), self.units, self.sd, facts)


@dataclass(frozen=True, eq=False)
class FodModel:
    """Lobes convolved with the kernels of a fit, or of a model that is fitted first.

    E(g, b) = Σ_j w_j ∫ψ_j(n) k(g·n; b) dn, Σ w = 1, with the kernel k of each voxel held.

    Args:
        kernels: a `Fit`, or a `SphericalMeanModel`: `fit` then fits it first, with all its options.
        density: "watson", "bingham" or a `Density`, see `axial_density`.
        n_fibres: lobes in each voxel, 1 to 3, or "auto": 0 to 3, chosen by BIC.
    Raises:
        InputError: an unknown density, another number of lobes, or an isotropic model.

    Example:
        >>> import jaxsmt as js
        >>> js.FodModel(js.smt(), "watson", "auto").name
        'smtwatson'
    """

    kernels: Fit | SphericalMeanModel
    density: str | Density
    n_fibres: int | str = 1

    def __post_init__(self) -> None:
        if not isinstance(self.kernels, Fit | SphericalMeanModel):
            fix = "give a js.Fit or a js.SphericalMeanModel"
            name = getattr(self.kernels, "__name__", "")
            raise InputError(
                f"kernels= is of type {type(self.kernels).__name__}", fix=f"call it: {name}()" if name else fix
            )
        if self.spherical.kernel.isotropic:
            raise InputError(
                f"the {self.spherical.name} model is isotropic", fix="a kernel needs a stick, a zeppelin or the like"
            )
        if not isinstance(self.n_fibres, str) or self.n_fibres != "auto":
            if not is_whole(self.n_fibres, 1, MOST_LOBES):
                raise InputError(f"n_fibres={shown(self.n_fibres)} is not valid", fix=f"1 to {MOST_LOBES}, or 'auto'")
            object.__setattr__(self, "n_fibres", int(self.n_fibres))
        if not isinstance(self.density, Density):
            object.__setattr__(self, "density", densities.find(self.density))

    @property
    def name(self) -> str:
        """As in file names: the model's name, then the density's."""
        return self.spherical.name + self.family.name

    @property
    def family(self) -> Density:
        """The density as a record."""
        assert isinstance(self.density, Density)
        return self.density

    @property
    def spherical(self) -> SphericalMeanModel:
        """The model of the kernels."""
        return self.kernels if isinstance(self.kernels, SphericalMeanModel) else self.kernels.model

    @property
    def fitted(self) -> Fit:
        """The fit of the kernels."""
        assert isinstance(self.kernels, Fit)
        return self.kernels

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of lobes that are fitted, one after the other."""
        return tuple(range(1, MOST_LOBES + 1)) if self.n_fibres == "auto" else (int(self.n_fibres),)


def _median(values: np.ndarray, digits: int) -> float | None:
    """Median of the finite values, rounded; None if there are none."""
    finite = values[np.isfinite(values)]
    return _digits(np.median(finite), digits) if finite.size else None


def _digits(value: Any, n: int) -> float:
    """A number rounded to n digits."""
    return float(f"{value:.{n}g}")
