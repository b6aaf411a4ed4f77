"""Fibre orientation distributions: models with a fitted kernel, their fit, and its results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np

from ..acquisition.acquisition import Acquisition
from ..batch.engine import IdealMeans, LobesFitter, predicted_means, predicted_signals
from ..batch.expectations import kernel_means, lobe_densities, lobe_harmonics
from ..batch.fits import LobeFits
from ..errors import InputError
from ..files import masks, nifti, outputs
from ..files.gradients import fsl_to_scanner
from ..models.model import SphericalMeanModel
from ..physics.signal import order_needed
from ..problems.lobes import KAPPA_MAX, Lobes
from ..sphere.harmonics import n_coefficients, to_basis
from ..status import Status
from .kernels import Conditions

if TYPE_CHECKING:
    from .fit import Fit

#: Most lobes in a voxel.
MOST = 3
#: Codes of voxels that have a fit.
FITTED = (Status.CONVERGED, Status.AT_BOUND, Status.NOT_CONVERGED)
_LARGEST = 1e6  # signal over S0; beyond it S0 is next to nothing
_FLOATS = 1 << 24  # numbers in work when harmonics or densities of many lobes are computed


@dataclass(frozen=True)
class FodModel:
    """Lobes convolved with the kernels of a fit (made by `Fit.fod_model`), or of a model that is fitted first.

    E(g, b) = Σ_j w_j ∫ψ_j(n) k(g·n; b) dn, Σ w = 1, with the kernel k of each voxel held.
    family: "watson" or "bingham". n_fibres: lobes, 1 to 3, or "auto": 0 to 3 by BIC in each voxel.
    """

    kernels: Fit | SphericalMeanModel
    family: str
    n_fibres: int | str = 1

    def __post_init__(self):
        if self.family not in ("watson", "bingham"):
            raise InputError(f"unknown FOD {self.family!r}", fix="'watson' or 'bingham'")
        if self.spherical.kernel.isotropic:
            raise InputError(
                f"the {self.spherical.name} model is isotropic",
                fix="a kernel needs a stick, a zeppelin or the like",
            )
        if self.n_fibres not in (1, 2, MOST, "auto"):
            raise InputError(f"{self.n_fibres!r} fibres", fix=f"1 to {MOST}, or 'auto'")

    @property
    def name(self) -> str:
        return self.spherical.name + self.family

    @property
    def spherical(self) -> SphericalMeanModel:
        """The model of the kernels."""
        return self.kernels if isinstance(self.kernels, SphericalMeanModel) else self.kernels.model

    @property
    def fitted(self) -> Fit:
        """The fit of the kernels."""
        assert not isinstance(self.kernels, SphericalMeanModel)
        return self.kernels

    @property
    def axial(self) -> bool:
        """Whether the lobes are Watson's."""
        return self.family == "watson"


def lobe_counts(n_fibres: int | str) -> tuple[int, ...]:
    """Numbers of lobes that are fitted, in turn."""
    return tuple(range(1, MOST + 1)) if n_fibres == "auto" else (int(n_fibres),)


@dataclass(frozen=True)
class FodFit:
    """FODs of every voxel, arrays of the data's spatial shape (...); N is the number of lobes.

    Attributes:
        parameters: "weight" (..., N), falling and summing to 1; "odi", "kappa", "beta" (..., N);
            "direction" (..., N, 3) unit vectors μ, and for Bingham "across" (..., N, 3), μ₂, both in
            the axes of the acquisition's directions. Lobes that a voxel does not have are 0.
        n_fibres: (...) uint8, lobes of each voxel; 0 is a uniform FOD (or no fit: see status).
        mse: mean squared residual over all volumes, of the signal over S0. r2: its coefficient of
            determination. status: `Status` codes, uint8.
        axes: "scanner" or "fsl", the acquisition's. device: where densities are computed.
        acquisition: of the data.
        sd: standard deviations, if the kernels' fit has them: "weight", "odi", "kappa", "beta" (..., N), and of
            "direction" (..., N) the expected angle to the true axis, √(σ₁² + σ₂²), in degrees. NaN where the FOD is not
            CONVERGED, and but for directions where the kernel is not.
    """

    model: FodModel
    parameters: dict[str, np.ndarray]
    n_fibres: np.ndarray
    mse: np.ndarray
    r2: np.ndarray
    status: np.ndarray
    axes: str = "scanner"
    device: jax.Device | None = None
    acquisition: Acquisition | None = None
    sd: dict[str, np.ndarray] | None = None

    def count(self, status: Status) -> int:
        """Number of voxels with this status."""
        return int(np.count_nonzero(self.status == status))

    def voxels(self, numbers: np.ndarray) -> FodFit:
        """The FODs of some voxels, numbered in C order: arrays (len(numbers), …)."""

        def take(values: np.ndarray) -> np.ndarray:
            return values.reshape(-1, *values.shape[self.status.ndim :])[numbers]

        return replace(
            self,
            model=replace(self.model, kernels=self.model.fitted.voxels(numbers)),
            parameters={name: take(values) for name, values in self.parameters.items()},
            n_fibres=take(self.n_fibres),
            mse=take(self.mse),
            r2=take(self.r2),
            status=take(self.status),
            sd=None if self.sd is None else {name: take(values) for name, values in self.sd.items()},
        )

    def peaks(self) -> np.ndarray:
        """(..., N, 3): lobes' directions times their weights, strongest first."""
        return self.parameters["direction"] * self.parameters["weight"][..., None]

    def odf(self, vertices, odi_floor: float = 0.0) -> np.ndarray:
        """FOD per steradian at unit vectors (n, 3): (..., n), float32; its integral is 1.

        odi_floor: lobes narrower than this are widened to it, which makes them easier to look at.
        """
        if not 0 <= odi_floor < 1:
            raise InputError(f"odi_floor is {odi_floor}", fix="0 ≤ odi_floor < 1")
        directions = np.asarray(vertices, np.float32)
        widest = 1 / np.tan(np.pi / 2 * odi_floor) if odi_floor else np.inf
        scale = np.minimum(1, widest / np.maximum(self.parameters["kappa"], 1e-6))

        def densities(*lobes):
            return lobe_densities(lobes, directions, axial=self.model.axial)

        return self._mixture(densities, len(directions), 1 / (4 * np.pi), len(directions), scale)

    def sh(self, lmax: int = 8, basis: str = "mrtrix") -> np.ndarray:
        """Spherical harmonic coefficients of the FOD: (..., (lmax+1)(lmax+2)/2), float32, unit integral.

        basis: "mrtrix" (tournier07), "descoteaux07" or "descoteaux07_legacy" (DIPY's two).
        """
        if lmax < 0 or lmax % 2:
            raise InputError(f"lmax is {lmax}", fix="an even order, 0 or more")

        def harmonics(*lobes):
            return lobe_harmonics(lobes, axial=self.model.axial, lmax=lmax)

        uniform = np.zeros(n_coefficients(lmax), np.float32)
        uniform[0] = 1 / np.sqrt(4 * np.pi)
        points = (lmax // 2 + 1) * (2 * lmax + 1)
        monomials = lmax // 2 + 1 if self.model.axial else n_coefficients(lmax // 2)
        return to_basis(self._mixture(harmonics, len(uniform), uniform, points * monomials), basis)

    def _lobes(self, scale=1.0) -> tuple[np.ndarray, list[np.ndarray]]:
        """Weights (voxels, N), and what makes a lobe (voxels, N, …): axes, and concentrations times `scale`."""
        p, n = self.parameters, self.parameters["weight"].shape[-1]
        weight = p["weight"].reshape(self.status.size, n)
        axes = [p[name].reshape(*weight.shape, 3) for name in ("direction", "across")[: 2 - self.model.axial]]
        # An absent lobe needs an axis, whichever.
        axes = [np.where(weight[..., None] > 0, axis, np.eye(3, dtype=axis.dtype)[i]) for i, axis in enumerate(axes)]
        spread = [(p[name] * scale).reshape(weight.shape) for name in ("kappa", "beta")[: 2 - self.model.axial]]
        return weight, axes + spread

    def _mixture(self, values: Callable[..., jax.Array], n: int, uniform, floats: int, scale=1.0) -> np.ndarray:
        """Σ_j w_j values(lobe j) in each voxel, (..., n); `uniform` where a fitted voxel has no lobe.

        floats: numbers that a lobe takes on the way.
        """
        out = np.zeros((self.status.size, n), np.float32)
        fitted = np.isin(self.status, FITTED).ravel()
        out[fitted & (self.n_fibres.ravel() == 0)] = uniform
        weight, parts = self._lobes(scale)
        voxel, lobe = np.nonzero(weight)
        block = min(max(64, _FLOATS // floats), 32_768)
        for i in range(0, len(voxel), block):
            at = voxel[i : i + block], lobe[i : i + block]
            chosen = [np.asarray(a[at], np.float32) for a in parts]
            short = block - len(at[0]) if len(voxel) > block else 0  # one shape, one compilation
            chosen = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in chosen]
            with jax.default_device(self.device):
                found = np.asarray(values(*chosen))[: len(at[0])]
            np.add.at(out, at[0], found * weight[at][:, None])
        return out.reshape(*self.status.shape, n)

    def predict(self, acquisition: Acquisition | None = None) -> np.ndarray:
        """Signal of every volume that kernels and FODs give, (..., volumes), in units of the data.

        acquisition: another than that of the data, in the same axes. Where nothing was fitted it is 0.
        """
        acquisition = acquisition or self.acquisition
        if acquisition is None:
            raise InputError("no acquisition to predict", fix="fods.predict(acquisition)")
        acquisition = acquisition.concrete()
        if acquisition.axes != self.axes:
            raise InputError(f"directions in {acquisition.axes} axes for FODs in {self.axes} axes", fix="use the same")
        kernels, model = self.model.fitted, self.model.spherical
        model.kernel.require(acquisition.pulses)
        shells = [shell for shell in acquisition.shells if shell is not acquisition.b0]
        values = {name: kernels.parameters[name].ravel() for name in model.kernel.names}
        weight, parts = self._lobes()
        pulses = [shell.pulse for shell in shells]
        orders = [order_needed(model.extreme_moments(pulse), 2e-6, KAPPA_MAX) for pulse in pulses]
        directions = [acquisition.bvecs[shell.volumes] for shell in shells]
        lobes = [weight, *parts]
        found = predicted_signals(
            model.kernel, pulses, directions, orders, values, lobes, axial=self.model.axial, dtype=self.mse.dtype
        )
        signal = np.zeros((self.status.size, acquisition.bvals.size), self.mse.dtype)
        uniform = predicted_means(model.kernel, acquisition.pulses, values, self.mse.dtype)
        for shell, mean in zip(acquisition.shells, uniform.T, strict=True):
            signal[:, shell.volumes] = 1.0 if shell is acquisition.b0 and kernels.exact_b0 else mean[:, None]
        some = weight.sum(axis=1) > 0
        signal[np.ix_(some, np.concatenate([shell.volumes for shell in shells]))] = found[some]
        fitted = np.isin(self.status, FITTED).reshape(-1, 1)
        return np.where(fitted, signal * kernels.s0.reshape(-1, 1), 0).reshape(*self.status.shape, -1)

    def in_scanner_axes(self, affine: np.ndarray) -> FodFit:
        """The same FODs with directions in scanner axes, given the series' voxel-to-scanner matrix."""
        if self.axes == "scanner":
            return self
        turned = {
            name: fsl_to_scanner(values, affine).astype(values.dtype)
            for name, values in self.parameters.items()
            if name in ("direction", "across")
        }
        return replace(self, parameters=self.parameters | turned, axes="scanner")

    def maps(self) -> dict[str, np.ndarray]:
        """The maps that are written, by name; vectors along the last axis of a file."""
        p = self.parameters
        return {
            "direction": p["direction"].reshape(*self.status.shape, -1),
            **{name: p[name] for name in ("weight", "odi", "kappa", "beta")},
            "fod": self.sh(),
            "mse": self.mse,
            "r2": self.r2,
            "status": self.status,
        }

    def save(self, folder, like, prefix: str | None = None) -> list[Path]:
        """Write the maps as NIfTI files with sidecars into a folder; `like`: path of the series.

        The files' directions and harmonics are in scanner axes, whichever the acquisition's were.
        """
        scanner = self.in_scanner_axes(nifti.open_image(like).affine)
        return outputs.save(
            folder, like, prefix, self.model.name, scanner.maps(), outputs.FOD_DESCRIPTIONS, {}, self.sd
        )


class FodFitter:
    """Fits a family of FODs; compiles once for each number of lobes.

    Args:
        model: that whose fits are the kernels. counts: numbers of lobes, as of `lobe_counts`.
        conditions: of the data, as for the kernels' fit. options: solver, dtype and device, as of `LobesFitter`.
    """

    def __init__(
        self,
        model: SphericalMeanModel,
        acquisition: Acquisition,
        family: str,
        counts,
        conditions: Conditions | None = None,
        **options,
    ):
        self.conditions = Conditions() if conditions is None else conditions
        acquisition.require(shells=1, model=model.name)
        self._b0, *shells = acquisition.shells
        self._volumes = np.concatenate([shell.volumes for shell in shells])
        self.acquisition = acquisition
        pulses = [shell.pulse for shell in shells]
        model.kernel.require(pulses)
        orders = tuple(order_needed(model.extreme_moments(pulse), kappa=KAPPA_MAX) for pulse in pulses)
        directions = [acquisition.bvecs[shell.volumes] for shell in shells]
        self._fitters = [
            LobesFitter(
                Lobes(family == "watson", count, orders),
                model.kernel,
                pulses,
                directions,
                rician=self.conditions.rician,
                **options,
            )
            for count in counts
        ]
        self.device, self.dtype = self._fitters[0].device, self._fitters[0].dtype
        self._ideal: Any = None
        if self.conditions.grad_dev is not None:
            kind = {"rician": self.conditions.rician, "dtype": self.dtype.name, "device": self.device}
            self._ideal = IdealMeans(model.kernel, acquisition, **kind)

    def compile(self, prior: int = 0) -> None:
        """Compile now, so that the first call does not wait for it. prior: parameters that have one."""
        k = len(self.acquisition.shells) + prior if self.conditions.uncertainty else 0
        with ThreadPoolExecutor() as pool:
            waiting = [pool.submit(fitter.compile, k) for fitter in self._fitters]
            if self._ideal is not None:
                waiting.append(pool.submit(self._ideal.compile, deviation=True))
            for one in waiting:
                one.result()

    def __call__(
        self,
        model: FodModel,
        signal: Callable[[np.ndarray], np.ndarray],
        inside: np.ndarray,
        order: Literal["C", "F"] = "C",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> FodFit:
        """Fit the voxels inside a mask.

        Args:
            signal: `(numbers) -> (voxels, volumes)` data, in the units of the kernel's S0, of the
                voxels with these numbers among those inside the mask. order: how they are numbered.
            progress: told how many voxels are done, and of how many so far.
        """
        kernels: Any = model.fitted
        within = partial(masks.take, within=inside, order=order)

        s0 = within(kernels.s0)
        values = {name: within(kernels.parameters[name]) for name in kernels.model.kernel.names}
        uncertain = self.conditions.uncertainty
        found = _Found(within(kernels.status).copy(), self._fitters[-1].lobes, self.dtype, uncertain)
        at_zero, total = self._measure(kernels, signal, found.status, s0, values)
        if self._ideal is not None:
            signal = self._nominal(signal, within(kernels.sigma), s0, values, self.conditions.deviations(inside, order))
        sigma, deviations = None, None
        if uncertain or self.conditions.rician:
            sigma = within(kernels.sigma) / np.where(s0 > 0, s0, 1)
        if uncertain:
            deviations = {name: within(kernels.deviations[name]) for name in (*values, "s0")}
            deviations["s0"] = deviations["s0"] / np.where(s0 > 0, s0, 1)[:, None]
        todo = np.flatnonzero(np.isin(found.status, FITTED))
        n = len(self._b0.volumes) + len(self._volumes)
        choose = len(self._fitters) > 1
        best = np.full(len(s0), np.inf)
        done = 0
        for fitter in self._fitters:
            if not len(todo):
                break
            expected = done + len(todo)

            def rows(part: slice, todo=todo) -> np.ndarray:
                return signal(todo[part])[:, self._volumes] / s0[todo[part]][:, None]

            def tell(voxels: int, expected=expected) -> None:
                nonlocal done
                done += voxels
                progress(done, expected)

            fits = fitter(
                rows,
                {name: v[todo] for name, v in values.items()},
                len(todo),
                tell,
                sigma=None if sigma is None else sigma[todo],
                deviations=None if deviations is None else {name: d[todo] for name, d in deviations.items()},
            )
            squared, isotropic = fits.squared

            def criterion(cost: Any, parameters: int, todo=todo) -> Any:
                """Bayesian information criterion; S0 and the kernel, the same for all, are not counted.

                Of Gaussian noise σ is not known; twice the cost is -2 log p of Rician.
                """
                fitted = cost if self.conditions.rician else n * np.log(np.maximum((cost + at_zero[todo]) / n, 1e-30))
                return fitted + parameters * np.log(n)

            if choose and fitter is self._fitters[0]:
                best[todo] = criterion(fits.isotropic, 0)
                found.squared[todo], found.status[todo] = isotropic, Status.CONVERGED
            criteria = criterion(fits.cost, fitter.lobes.size)
            better = criteria < best[todo] if choose else np.ones(len(todo), bool)
            best[todo[better]] = criteria[better]
            found.put(todo[better], fits, better, squared)
            # Two lobes are tried everywhere, as one may not pay where two do; a third where two did.
            todo = todo if fitter is self._fitters[0] else todo[better]
        return self._assemble(model, found, at_zero, total, n, inside, order)

    def _nominal(self, signal, sigma, s0, values, deviation) -> Callable[[np.ndarray], np.ndarray]:
        """The volumes as they are expected at the gradients that were meant."""

        def nominal(numbers: np.ndarray) -> np.ndarray:
            own = {name: v[numbers] for name, v in values.items()}
            found = self._ideal(
                lambda part: signal(numbers[part]),
                own,
                s0[numbers],
                sigma[numbers],
                deviation[numbers],
                len(numbers),
                magnitudes=True,
            )
            return found.magnitude

        return nominal

    def _measure(self, kernels: Fit, signal, status: np.ndarray, s0: np.ndarray, values):
        """Squared residual at b = 0 and total variation of each voxel's signal over S0.

        Voxels whose data cannot be used get their status.
        """
        zero, total = np.zeros(len(s0)), np.zeros(len(s0))
        volumes = np.concatenate([self._b0.volumes, self._volumes])
        n0 = len(self._b0.volumes)
        usable = np.flatnonzero(np.isin(status, FITTED))
        for i in range(0, len(usable), 8192):
            at = usable[i : i + 8192]
            expected = np.ones(len(at))
            if self._b0.b and not kernels.exact_b0:
                own = {name: v[at] for name, v in values.items()}
                expected = np.asarray(kernel_means(own, pulses=(self._b0.pulse,), kernel=kernels.model.kernel))[:, 0]
            with np.errstate(over="ignore", invalid="ignore"):
                y = signal(at)[:, volumes] / s0[at][:, None]
                zero[at] = np.sum((y[:, :n0] - expected[:, None]) ** 2, axis=1)
                total[at] = np.sum((y - y.mean(axis=1, keepdims=True)) ** 2, axis=1)
                status[at[np.abs(y).max(axis=1) > _LARGEST]] = Status.NO_SIGNAL
                status[at[~np.isfinite(total[at])]] = Status.NON_FINITE
        return zero, total

    def _assemble(self, model: FodModel, found: _Found, at_zero, total, n: int, inside: np.ndarray, order) -> FodFit:
        fitted = np.isin(found.status, FITTED)

        def place(values: np.ndarray) -> np.ndarray:
            keep = fitted.reshape(-1, *[1] * (values.ndim - 1))
            return masks.place(np.where(keep, values, 0), inside, order)

        squared = found.squared + at_zero
        return FodFit(
            model=model,
            parameters={name: place(values) for name, values in found.maps.items()},
            n_fibres=place(found.lobes),
            mse=place((squared / n).astype(self.dtype)),
            r2=place((1 - squared / np.where(total > 0, total, 1)).astype(self.dtype)),
            status=masks.place(found.status, inside, order),
            axes=self.acquisition.axes,
            device=self.device,
            acquisition=self.acquisition,
            sd=None if found.sd is None else {name: masks.place(v, inside, order) for name, v in found.sd.items()},
        )


class _Found:
    """Best lobes so far of the voxels inside a mask."""

    def __init__(self, status: np.ndarray, lobes: Lobes, dtype: np.dtype, uncertain: bool):
        shape = (len(status), lobes.count)
        self.maps = {name: np.zeros(shape, dtype) for name in ("weight", "odi", "kappa", "beta")}
        self.maps |= {name: np.zeros((*shape, 3), dtype) for name in ("direction", "across")[: 2 - lobes.axial]}
        self.status = status
        self.lobes, self.squared = np.zeros(len(status), np.uint8), np.zeros(len(status))
        names = ("weight", "odi", "kappa", "beta", "direction")
        self.sd = {name: np.full(shape, np.nan, dtype) for name in names} if uncertain else None

    def put(self, voxels: np.ndarray, fits: LobeFits, chosen: np.ndarray, squared: Any) -> None:
        """Take the chosen fits as those of these voxels."""
        count = fits.weight.shape[1]
        for name, values in self.maps.items():
            values[voxels] = 0
            values[voxels, :count] = getattr(fits, name)[chosen]
        if self.sd is not None and fits.sd is not None:
            for name, values in self.sd.items():
                values[voxels] = 0
                values[voxels, :count] = fits.sd[name][chosen]
        self.lobes[voxels], self.squared[voxels] = count, squared[chosen]
        self.status[voxels] = fits.status[chosen]
