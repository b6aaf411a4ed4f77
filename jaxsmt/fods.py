"""Fibre orientation distributions: models with a fitted kernel, their fit, and its results."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import jax
import numpy as np

from . import outputs
from .acquisition import Acquisition
from .engine import LobesFitter
from .errors import InputError
from .harmonics import n_coefficients, to_basis
from .orientation import kappa_from_odi
from .solvers import Status
from .voxelwise import LobeFits, lobe_densities, lobe_harmonics

if TYPE_CHECKING:
    from .fitting import Fit

#: Most lobes in a voxel.
MOST = 3
_FITTED = (Status.CONVERGED, Status.AT_BOUND, Status.NOT_CONVERGED)
_LOBE_MAPS = ("weight", "odi", "kappa", "beta", "direction", "across")
_BLOCK = 65_536  # lobes whose harmonics or densities are computed at once


@dataclass(frozen=True)
class FodModel:
    """Lobes convolved with the kernels of a fit; made by `Fit.fod_model`.

    E(g, b) = Σ_j w_j ∫ψ_j(n) k(g·n; b) dn, Σ w = 1, with the kernel k of each voxel held.
    family: "watson" or "bingham". n_fibres: lobes, 1 to 3, or "auto": 0 to 3 by BIC in each voxel.
    """

    kernel: Fit
    family: str
    n_fibres: int | str

    def __post_init__(self):
        if self.family not in ("watson", "bingham"):
            raise InputError(f"unknown FOD {self.family!r}", fix="'watson' or 'bingham'")
        if self.n_fibres not in (1, 2, MOST, "auto"):
            raise InputError(f"{self.n_fibres!r} fibres", fix=f"1 to {MOST}, or 'auto'")

    @property
    def name(self) -> str:
        return self.kernel.model.name + self.family

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of lobes that are fitted, in turn."""
        return tuple(range(1, MOST + 1)) if self.n_fibres == "auto" else (int(self.n_fibres),)


@dataclass(frozen=True)
class FodFit:
    """FODs of every voxel, arrays of the data's spatial shape (...); N is the number of lobes.

    Attributes:
        parameters: "weight" (..., N), falling and summing to 1; "odi", "kappa", "beta" (..., N);
            "direction" (..., N, 3) unit vectors μ, in the axes of the acquisition's directions;
            "across" (..., N, 3), Bingham's μ₂. Lobes that a voxel does not have are 0.
        n_fibres: (...) uint8, lobes of each voxel; 0 is a uniform FOD (or no fit: see status).
        mse: mean squared residual over all volumes, of the signal over S0. r2: its coefficient of
            determination. status: `Status` codes, uint8.
    """

    model: FodModel
    parameters: dict[str, np.ndarray]
    n_fibres: np.ndarray
    mse: np.ndarray
    r2: np.ndarray
    status: np.ndarray

    def count(self, status: Status) -> int:
        """Number of voxels with this status."""
        return int(np.count_nonzero(self.status == status))

    def voxels(self, numbers: np.ndarray) -> FodFit:
        """The FODs of some voxels, numbered in C order: arrays (len(numbers), …)."""

        def take(values: np.ndarray) -> np.ndarray:
            return values.reshape(-1, *values.shape[self.status.ndim :])[numbers]

        parameters = {name: take(values) for name, values in self.parameters.items()}
        return FodFit(self.model, parameters, take(self.n_fibres), take(self.mse), take(self.r2), take(self.status))

    def peaks(self) -> np.ndarray:
        """(..., N, 3): lobes' directions times their weights, strongest first."""
        return self.parameters["direction"] * self.parameters["weight"][..., None]

    def odf(self, vertices, odi_floor: float = 0.0) -> np.ndarray:
        """FOD per steradian at unit vectors (n, 3): (..., n), float32; its integral is 1.

        odi_floor: lobes narrower than this are widened to it, which makes them easier to look at.
        """
        directions = np.asarray(vertices, np.float32)
        kappa = self.parameters["kappa"]
        scale = 1.0
        if odi_floor > 0:
            widest = float(kappa_from_odi(odi_floor))
            scale = np.minimum(1, widest / np.maximum(kappa, 1e-6))
        axial = self.model.family == "watson"

        def densities(*lobes):
            return lobe_densities(*lobes, directions, axial=axial)

        return self._mixture(densities, len(directions), 1 / (4 * np.pi), scale)

    def sh(self, lmax: int = 8, basis: str = "mrtrix") -> np.ndarray:
        """Spherical harmonic coefficients of the FOD: (..., (lmax+1)(lmax+2)/2), float32, unit integral.

        basis: "mrtrix" (tournier07), "descoteaux07" or "descoteaux07_legacy" (DIPY's two).
        """
        if lmax < 0 or lmax % 2:
            raise InputError(f"lmax is {lmax}", fix="an even order, 0 or more")
        axial = self.model.family == "watson"

        def harmonics(*lobes):
            return lobe_harmonics(*lobes, axial=axial, lmax=lmax)

        uniform = np.zeros(n_coefficients(lmax), np.float32)
        uniform[0] = 1 / np.sqrt(4 * np.pi)
        return to_basis(self._mixture(harmonics, len(uniform), uniform), basis)

    def _mixture(
        self, values: Callable[..., jax.Array], n: int, uniform, scale: np.ndarray | float = 1.0
    ) -> np.ndarray:
        """Σ_j w_j values(lobe j) in each voxel, (..., n); `uniform` where a fitted voxel has no lobe."""
        p = self.parameters
        out = np.zeros((self.status.size, n), np.float32)
        fitted = np.isin(self.status, _FITTED).ravel()
        out[fitted & (self.n_fibres.ravel() == 0)] = uniform
        weight = p["weight"].reshape(len(out), -1)
        voxel, lobe = np.nonzero(weight)
        across = p.get("across", _any_across(p["direction"]))
        parts = [p["direction"], across, p["kappa"] * scale, p["beta"] * scale]
        parts = [a.reshape(*weight.shape, *a.shape[p["weight"].ndim :]) for a in parts]
        for i in range(0, len(voxel), _BLOCK):
            at = voxel[i : i + _BLOCK], lobe[i : i + _BLOCK]
            chosen = [np.asarray(a[at], np.float32) for a in parts]
            short = _BLOCK - len(at[0]) if len(voxel) > _BLOCK else 0  # one shape, one compilation
            chosen = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in chosen]
            found = np.asarray(values(*chosen))[: len(at[0])]
            np.add.at(out, at[0], found * weight[at][:, None])
        return out.reshape(*self.status.shape, n)

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

    def save(self, folder, like, prefix: str | None = None) -> list:
        """Write the maps as NIfTI files with sidecars into a folder; `like`: path of the series.

        Directions must be in scanner axes: read the gradients with `Acquisition.from_fsl(affine=…)` or
        `from_mrtrix`.
        """
        return outputs.save(folder, like, prefix, self.model.name, self.maps(), outputs.FOD_DESCRIPTIONS, {})


def _any_across(direction: np.ndarray) -> np.ndarray:
    """A unit vector across each direction, for lobes to which it does not matter."""
    helper = np.eye(3, dtype=direction.dtype)[np.argmin(np.abs(direction), axis=-1)]
    across = np.cross(direction, helper)
    norm = np.linalg.norm(across, axis=-1, keepdims=True)
    return across / np.where(norm > 0, norm, 1)


class FodFitter:
    """Fits a family of FODs; compiles once for each number of lobes.

    Args: as of `LobesFitter`; counts: numbers of lobes, as of `FodModel.counts`.
    """

    def __init__(self, kernel, acquisition: Acquisition, family: str, counts: tuple[int, ...], **options):
        self._b0 = acquisition.shells[0]
        self._fitters = [LobesFitter(kernel, acquisition, family, count, **options) for count in counts]
        self.kernel, self.family, self.counts = kernel, family, counts
        self.device = self._fitters[0].device

    def compile(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(LobesFitter.compile, self._fitters))

    def __call__(
        self,
        model: FodModel,
        signal: Callable[[slice | np.ndarray], np.ndarray],
        inside: np.ndarray,
        order: Literal["C", "F"] = "C",
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> FodFit:
        """Fit the voxels inside a mask.

        Args:
            signal: `(index) -> (voxels, volumes)` data, in the units of the kernel's S0, of the
                voxels with these numbers among those inside the mask. order: how they are numbered.
            progress: told how many voxels are done, and of how many so far.
        """
        kernel = model.kernel

        def within(values: np.ndarray) -> np.ndarray:
            return values.ravel(order=order)[inside.ravel(order=order)]

        status = within(kernel.status).copy()
        s0 = within(kernel.s0)
        parameters = [within(kernel.parameters[name]) for name in self.kernel.parameter_names]
        usable = np.flatnonzero(np.isin(status, _FITTED))
        found = _Found.empty(len(status), self.counts[-1])
        at_zero, mean, total, n = self._moments(signal, usable, s0, parameters)
        ok = np.isfinite(total)
        status[usable[~ok]] = Status.NON_FINITE
        todo = usable[ok]
        at_zero, mean, total = (np.bincount(usable, v, len(status)) for v in (at_zero, mean, np.where(ok, total, 0)))
        best = np.full(len(status), np.inf)
        done = 0
        for fitter in self._fitters:
            expected = done + len(todo)

            def rows(part: slice, todo=todo, fitter=fitter) -> np.ndarray:
                index = todo[part]
                with np.errstate(over="ignore"):
                    return signal(index)[:, fitter.volumes] / s0[index][:, None]

            def tell(voxels: int, expected=expected) -> None:
                nonlocal done
                done += voxels
                progress(done, expected)

            if not len(todo):
                break
            fits = fitter(rows, [p[todo] for p in parameters], len(todo), tell)
            if fitter is self._fitters[0] and len(self._fitters) > 1:
                best[todo] = n * np.log((fits.isotropic + at_zero[todo]) / n + 1e-300)
                found.cost[todo], status[todo] = fits.isotropic, Status.CONVERGED
            # Bayesian information criterion; S0 and the kernel are not counted, being the same for all.
            bic = n * np.log((fits.cost + at_zero[todo]) / n + 1e-300) + fitter.lobes.size * np.log(n)
            better = (bic < best[todo]) if len(self._fitters) > 1 else np.ones(len(todo), bool)
            better |= ~np.isfinite(best[todo])
            won = todo[better]
            found.put(won, fits, better, fitter.lobes.count)
            status[won], best[won] = fits.status[better], bic[better]
            # A further lobe is tried where the last one paid; or, to see a girdle of fibres, at first.
            todo = todo if fitter is self._fitters[0] else won
        return self._assemble(model, found, status, usable, at_zero, total, n, inside, order)

    def _moments(self, signal, usable: np.ndarray, s0: np.ndarray, parameters):
        """Squared residual at b = 0, mean and total variation of the signal over S0; number of volumes."""
        zero, mean, total = (np.zeros(len(usable)) for _ in range(3))
        volumes = np.concatenate([self._b0.volumes, self._fitters[0].volumes])
        expected = _mean_signal(self.kernel, self._b0.b, parameters)
        for i in range(0, len(usable), 8192):
            index = usable[i : i + 8192]
            with np.errstate(over="ignore", invalid="ignore"):
                y = signal(index)[:, volumes] / s0[index][:, None]
                part = slice(i, i + len(index))
                zero[part] = np.sum((y[:, : len(self._b0.volumes)] - expected[index][:, None]) ** 2, axis=1)
                mean[part] = y.mean(axis=1)
                total[part] = np.sum((y - mean[part][:, None]) ** 2, axis=1)
        return zero, mean, total, len(volumes)

    def _assemble(self, model, found, status, usable, at_zero, total, n, inside, order) -> FodFit:
        index = np.flatnonzero(inside.ravel(order=order))
        fitted = np.isin(status, _FITTED)

        def place(values: np.ndarray) -> np.ndarray:
            values = np.where(fitted.reshape(-1, *[1] * (values.ndim - 1)), values, 0)
            flat = np.zeros((inside.size, *values.shape[1:]), values.dtype)
            flat[index] = values
            if order == "C":
                return flat.reshape(*inside.shape, *values.shape[1:])
            axes = (*range(inside.ndim - 1, -1, -1), *range(inside.ndim, inside.ndim + values.ndim - 1))
            return flat.reshape(*inside.shape[::-1], *values.shape[1:]).transpose(axes)

        squared = found.cost + at_zero
        maps = dict(found.maps)
        if model.family == "watson":
            del maps["across"]
        status_map = np.zeros(inside.size, np.uint8)
        status_map[index] = status
        return FodFit(
            model=model,
            parameters={name: place(values) for name, values in maps.items()},
            n_fibres=place(found.lobes),
            mse=place((squared / n).astype(np.float32)),
            r2=place((1 - squared / np.where(total > 0, total, 1)).astype(np.float32)),
            status=status_map.reshape(inside.shape, order=order),
        )


@dataclass
class _Found:
    """Best lobes so far of the voxels inside a mask."""

    maps: dict[str, np.ndarray]
    lobes: np.ndarray
    cost: np.ndarray

    @classmethod
    def empty(cls, voxels: int, lobes: int) -> _Found:
        maps = {
            name: np.zeros((voxels, lobes, 3) if name in ("direction", "across") else (voxels, lobes), np.float32)
            for name in _LOBE_MAPS
        }
        return cls(maps, np.zeros(voxels, np.uint8), np.zeros(voxels))

    def put(self, index: np.ndarray, fits: LobeFits, chosen: np.ndarray, lobes: int) -> None:
        for name, values in self.maps.items():
            values[index] = 0
            values[index, :lobes] = getattr(fits, name)[chosen]
        self.lobes[index], self.cost[index] = lobes, fits.cost[chosen]


def _mean_signal(kernel, b: float, parameters) -> np.ndarray:
    """Spherical mean of each voxel's kernel at one b."""
    return np.asarray(kernel.mean(b, *parameters)) if b else np.ones(len(parameters[0]))
