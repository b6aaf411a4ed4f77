"""Fitters of many voxels: kernels and FODs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.arrays import real_array
from ..acquisition.echoes import echoes_of
from ..acquisition.shells import Pulse, pulses_of_fit
from ..errors import InputError, JaxsmtWarning
from ..models.information import require_determined
from ..models.model import SphericalMeanModel
from ..models.priors import NormalPrior
from ..physics.compartments import Kernel
from ..problems.fods import FodEstimation, FodShared, FodVoxel
from ..problems.kernels import KernelEstimation, KernelShared, KernelVoxel, Prior, Uncertainty
from ..problems.lobe_starts import harmonic_fits_of
from ..problems.lobes import Lobes
from ..problems.shell_means import ShellMeans, are_weights
from ..solvers import Solver, levenberg_marquardt
from ..status import Status
from .fused import works
from .fused_lobes import FusedNormal
from .programs import Fits, fit_voxels, uncertainties
from .runner import Devices, Program, Runner, numbers
from .sizes import size_of

# How many times a weight may be another: beyond it squares of single precision lose the smaller one.
_WIDEST = 1e6


class KernelFitter(Runner):
    """Fits one model to the spherical means of any number of voxels; compiles once.

    Args:
        fit_s0: fit S0 with the model, else fix it to the mean of the b = 0 volumes.
        weights: (shells,) of the squared residuals; None: inverse variances of the means.
        prior: of some of the model's parameters.
    Raises:
        InputError: the acquisition cannot determine the model, or the prior or weights cannot be.
    """

    def __init__(
        self,
        model: SphericalMeanModel,
        acquisition: Acquisition,
        *,
        fit_s0: bool = True,
        weights: Any = None,
        prior: NormalPrior | None = None,
        solver: Solver | None = None,
        dtype: str = "float32",
        device: Devices = None,
    ):
        super().__init__(dtype, device)
        require_determined(model, acquisition, "fit" if fit_s0 else "mean")
        self.model, self.acquisition, self.fit_s0, self.prior = model, acquisition, fit_s0, prior
        static, numbers, self.maps = model.without_values()
        weights = checked_weights(weights, acquisition, prior)
        pulses = pulses_of_fit(acquisition.shells, fit_s0)
        names = () if prior is None else prior.names
        search = ShellMeans(static, fit_s0, names, *of_scheme(model, acquisition, pulses[0].b == 0))
        if prior is not None:
            held = dict(model.held)
            prior.require([name for name in model.names if name not in held])
            for text in prior.doubts(model.parameters):
                warnings.warn(text, JaxsmtWarning, stacklevel=2)
        rooted = None if prior is None else Prior(*prior.rooted(self.dtype))
        roots, unit = tuple(np.sqrt(weights / weights.max())), weights.max() ** -0.5
        self._estimation = KernelEstimation(search)
        self._shared = KernelShared(pulses, roots, tuple(numbers), rooted, unit)
        self._solver = solver if solver is not None else levenberg_marquardt()

    @property
    def _fits(self) -> Program:
        size = size_of("kernels", self.device)
        return self.program(
            fit_voxels,
            size,
            self._shared,
            estimation=self._estimation,
            solver=self._solver,
            at_once=size.chunk,  # a few numbers per voxel
        )

    @property
    def _uncertainties(self) -> Program:
        size = size_of("kernels", self.device)
        return self.program(uncertainties, size, self._shared, estimation=self._estimation)

    def compile(self) -> None:
        """Compile now."""
        self._fits.compile(self._voxel(sigma=self.prior is not None))

    def compile_uncertainty(self) -> None:
        """Compile the program of `uncertainty` now."""
        voxel = self._voxel(sigma=True)
        self._uncertainties.compile((voxel._replace(variances=voxel.means), numbers(self._estimation.search.size)))

    def _voxel(self, sigma: bool) -> KernelVoxel:
        """The shapes of one voxel's numbers."""
        means = (numbers(),) * len(self.acquisition.shells)
        return KernelVoxel(means, (numbers(),) * len(self.maps), numbers() if sigma else None)

    def __call__(
        self,
        means: np.ndarray,
        progress: Callable[[int], None] = lambda voxels: None,
        maps: Sequence[np.ndarray] = (),
        sigma: np.ndarray | None = None,
    ) -> Fits:
        """Fit (shells, voxels) spherical means; leaves of the result are NumPy arrays (voxels, …).

        Args:
            progress: told the number of voxels done, part by part. maps: (voxels,) each, values of the model's maps.
            sigma: (voxels,) of one volume's noise, which a prior needs.
        """

        if self.prior is not None and sigma is None:
            raise InputError("a prior without sigma=", fix="give sigma=, the noise that the prior is weighed against")

        def voxels(part: slice) -> KernelVoxel:
            noise = None if self.prior is None or sigma is None else sigma[part]
            return KernelVoxel(tuple(means[:, part]), tuple(values[part] for values in maps), noise)

        fits: Fits = self._fits(voxels, means.shape[1], progress)
        return fits

    def uncertainty(
        self,
        fits: Fits,
        means: np.ndarray,
        maps: Sequence[np.ndarray],
        sigma: np.ndarray,
        variances: np.ndarray,
    ) -> Uncertainty:
        """The uncertainty of fits of these means, (voxels, …); NaN where they are not CONVERGED.

        variances: (shells, voxels) of the means over σ². The others are those of the fit.
        """

        converged = np.flatnonzero(fits.status == Status.CONVERGED)

        def fitted(part: slice) -> tuple[KernelVoxel, np.ndarray]:
            at = converged[part]
            there = tuple(values[at] for values in maps)
            return KernelVoxel(tuple(means[:, at]), there, sigma[at], tuple(variances[:, at])), fits.x[at]

        def everywhere(values: np.ndarray) -> np.ndarray:
            out = np.full((means.shape[1], *values.shape[1:]), np.nan, values.dtype)
            out[converged] = values
            return out

        uncertainty: Uncertainty = jax.tree.map(everywhere, self._uncertainties(fitted, len(converged)))
        return uncertainty


class FodFitter(Runner):
    """Fits lobes under each voxel's own kernel; compiles once.

    Args:
        lobes: what is fitted. kernel: what they are convolved with. pulses, directions (n, 3): each shell's.
        decaying: whether calls give `decay`, as of `FodVoxel`.
    """

    def __init__(
        self,
        lobes: Lobes,
        kernel: Kernel,
        pulses: Sequence[Pulse],
        directions: Sequence[np.ndarray],
        *,
        decaying: bool = False,
        solver: Solver | None = None,
        dtype: str = "float32",
        device: Devices = None,
    ):
        super().__init__(dtype, device)
        harmonics = harmonic_fits_of(directions)
        self.lobes, self._kernel = replace(lobes, determined=harmonics.order), kernel
        self._names, self._volumes = kernel.names, sum(map(len, directions))
        self._decaying = decaying
        self._shared = FodShared(tuple(directions), tuple(pulses), harmonics)
        self._solver = solver if solver is not None else levenberg_marquardt()

    @cached_property
    def _estimation(self) -> FodEstimation:
        """On a GPU with the kernel for it, if it works; that is found out when a program is made, as it takes time."""
        fused = FusedNormal()
        suits = self.platform == "gpu" and self.dtype == np.float32 and fused.suits(self.lobes)
        use = suits and works(fused, self.lobes, self.device)
        return FodEstimation(replace(self.lobes, fused=fused) if use else self.lobes, self._kernel)

    @property
    def _fits(self) -> Program:
        size = size_of("fods", self.device, self._volumes)
        return self.program(
            fit_voxels,
            size,
            self._shared,
            estimation=self._estimation,
            solver=self._solver,
            at_once=size.lanes,  # thousands of numbers per voxel
        )

    @property
    def _uncertainties(self) -> Program:
        return self.program(
            uncertainties, size_of("fods", self.device, self._volumes), self._shared, estimation=self._estimation
        )

    def compile(self, worth: bool = False) -> None:
        """Compile now, for calls with or without `worth`."""
        voxel = self._voxel(sigma=self.lobes.noise.magnitudes)
        if self.lobes.noise.magnitudes:  # see `_earlier`
            voxel = voxel._replace(earlier=numbers(self.lobes.point))
        self._fits.compile(voxel._replace(worth=numbers()) if worth else voxel)

    def compile_uncertainty(self, effects: int) -> None:
        """Compile the program of `uncertainty` now. effects: k of those that it takes."""
        changes = dict.fromkeys((*self._names, "s0"), numbers(effects))
        voxel = self._voxel(sigma=True)._replace(y=None, effects=changes)
        self._uncertainties.compile((voxel, numbers(self.lobes.point)))

    def _voxel(self, sigma: bool) -> FodVoxel:
        """The shapes of one voxel's numbers."""
        kernel = dict.fromkeys(self._names, numbers())
        decay = numbers(len(self._shared.pulses)) if self._decaying else None
        return FodVoxel(numbers(self._volumes), kernel, numbers() if sigma else None, decay=decay)

    def _earlier(self, points: np.ndarray | None, voxels: int) -> np.ndarray | None:
        """Points as the program takes them: of magnitudes always, so that both passes share one program."""
        if points is not None or not self.lobes.noise.magnitudes:
            return points
        return np.broadcast_to(np.nan, (voxels, self.lobes.point))

    def __call__(
        self,
        signal: Callable[[slice], np.ndarray],
        kernels: Mapping[str, np.ndarray],
        voxels: int,
        progress: Callable[[int], None] = lambda voxels: None,
        sigma: np.ndarray | None = None,
        worth: np.ndarray | None = None,
        earlier: np.ndarray | None = None,
        decay: np.ndarray | None = None,
    ) -> Fits:
        """Fit voxels whose signal over S0 is `signal(slice) -> (voxels, volumes)`, volumes shell by shell.

        kernels: parameters by name, (voxels,) each. sigma: (voxels,) over S0, where the noise is of magnitudes.
        worth: (voxels,) the cost below which a fit is of use; None: any is. earlier: (voxels, numbers of a point) where
        searches of nearly the same data ended, or NaN; for noise of magnitudes. decay: (voxels, shells).
        """
        earlier = self._earlier(earlier, voxels)

        def of(part: slice) -> FodVoxel:
            kernel = {name: kernels[name][part] for name in self._names}
            optional = (sigma, worth, earlier, decay)
            of_part = [None if values is None else values[part] for values in optional]
            return FodVoxel(signal(part), kernel, of_part[0], worth=of_part[1], earlier=of_part[2], decay=of_part[3])

        fits: Fits = self._fits(of, voxels, progress)
        return fits

    def uncertainty(
        self,
        points: np.ndarray,
        kernels: Mapping[str, np.ndarray],
        sigma: np.ndarray,
        effects: Mapping[str, np.ndarray],
        decay: np.ndarray | None = None,
    ) -> dict[str, np.ndarray]:
        """Standard deviations of fits that ended at these points (voxels, …): (voxels, lobes) by name.

        effects: (voxels, k) on each kernel parameter and "s0", see `FodVoxel`. The others are those of the fit.
        """

        def fitted(part: slice) -> tuple[FodVoxel, np.ndarray]:
            kernel = {name: kernels[name][part] for name in self._names}
            changes = {name: effects[name][part] for name in (*self._names, "s0")}
            of_part = None if decay is None else decay[part]
            voxels = FodVoxel(None, kernel, sigma[part], changes, decay=of_part)
            return voxels, points[part]

        sd: dict[str, np.ndarray] = self._uncertainties(fitted, len(points))
        return sd


def of_scheme(model: SphericalMeanModel, acquisition: Acquisition, zero: bool) -> tuple[bool, tuple[int, ...]]:
    """`unweighted` and `echoes` of `ShellMeans`. zero: whether b is exactly 0 at b = 0."""
    relaxing = model.kernel.relaxing
    return zero and not relaxing, echoes_of(acquisition, relaxing)


def checked_weights(weights: Any, acquisition: Acquisition, prior: NormalPrior | None) -> np.ndarray:
    """Weights of the squared residuals, (shells,); by default inverse variances.

    Raises:
        InputError: they cannot be weights, or there is a prior as well.
    """
    if weights is None:
        inverse: np.ndarray = 1 / acquisition.variances
        return inverse
    if prior is not None:
        raise InputError(
            "a prior and weights", fix="a prior is weighed against inverse variances: give prior= or weights="
        )
    shells = len(acquisition.shells)
    values = real_array(weights, "weights").astype(float)
    if values.shape != (shells,) or not are_weights(values):
        raise InputError(f"weights={values} for {shells} shells", fix="one each, 0 or more, b = 0 first")
    positive = values[values > 0]
    if positive.max() > _WIDEST * positive.min():
        raise InputError(
            f"weights={values} differ by more than a factor of {_WIDEST:g}, of which single precision tells nothing",
            fix="give 0 for means that do not count; s0='mean' holds S0 at b = 0",
        )
    return values
