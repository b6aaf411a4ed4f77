"""What a FOD fit gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from .. import display
from ..acquisition.acquisition import Acquisition
from ..acquisition.arguments import require_acquisition
from ..acquisition.arrays import real_array, real_number
from ..acquisition.shells import pulses_of_fit
from ..batch.predictions import mixture_densities, mixture_harmonics, predicted_means, predicted_signals
from ..batch.programs import LobeArrays
from ..errors import InputError, is_whole, shown
from ..files import map_table, nifti, outputs
from ..files.gradients import fsl_to_scanner
from ..geometry.dispersion import kappa_from_odi
from ..geometry.harmonics import BASES, n_coefficients, to_basis
from ..physics.convolution import ORDER_MAX, order_needed
from ..status import FITTED
from .results import FodModel, Maps, WithStatus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of S0: what predicted signals may leave out.
_TOLERANCE = 2e-6
# Highest order of harmonics: 2,145 coefficients of each voxel.
_MOST_ORDER = 64


@dataclass(frozen=True, eq=False)
class FodFit(WithStatus):
    """FODs of every voxel. Arrays have the data's spatial shape (...); N is the number of lobes.

    Attributes:
        model: the `FodModel`; `model.kernels` is the fit of the kernels.
        parameters: "weight" (..., N), falling and summing to 1; "odi", "kappa", "beta" (..., N); "direction"
            (..., N, 3), unit vectors μ, and for densities with a second axis "across" (..., N, 3), μ₂, both in the axes
            of the acquisition's directions. Lobes that a voxel does not have are 0.
        n_fibres: (...) uint8, lobes of each voxel; 0 is a uniform FOD, or no fit (see status). The FOD is uniform and
            the status AT_BOUND where the kernel is isotropic within 5 %, so that directions have no meaning.
        quality: "mse", the mean squared residual over all volumes, of the signal over S0, and "r2", its coefficient of
            determination. `fods.mse` and `fods.r2` are these.
        status: `Status` codes, uint8.
        acquisition: of the data. axes: of the directions, as of the acquisition. device: where densities are computed.
        sd: standard deviations, if the kernels' fit has them: "weight", "odi", "kappa", "beta" (..., N); of "direction"
            (..., N) the expected angle to the true axis, √(σ₁² + σ₂²), in degrees. NaN where the FOD is not CONVERGED,
            and but for directions where the kernel is not.

    Example:
        >>> import jaxsmt as js
        >>> [name for name in js.FodFit.__dataclass_fields__][:3]
        ['model', 'parameters', 'n_fibres']
    """

    model: FodModel
    parameters: Maps
    n_fibres: np.ndarray
    quality: Maps
    status: np.ndarray
    acquisition: Acquisition
    axes: str = "scanner"
    device: jax.Device | None = None
    sd: Maps | None = None

    def voxels(self, indices: np.ndarray) -> FodFit:
        """The FODs of some voxels.

        Args:
            indices: (n,) of the voxels in C order.
        Returns:
            a `FodFit` with arrays (n, ...).
        """

        def take(values: np.ndarray) -> np.ndarray:
            return values.reshape(-1, *values.shape[self.status.ndim :])[indices]

        chosen = self.changed(take, kernels=False)
        return replace(chosen, model=replace(self.model, kernels=self.model.fitted.voxels(indices)))

    def changed(self, change: Callable[[np.ndarray], np.ndarray], kernels: bool = True) -> FodFit:
        """The FODs with all their arrays changed, as from the voxels of an image to maps.

        Args:
            change: array (..., further axes) -> array. kernels: change those of `model.kernels` too.
        Returns:
            a `FodFit` of the changed arrays.
        """
        model = replace(self.model, kernels=self.model.fitted.changed(change)) if kernels else self.model
        return replace(self, model=model, **jax.tree.map(change, self.arrays))

    @property
    def arrays(self) -> dict[str, Any]:
        """All that has a value for each voxel, by field; without the kernels."""
        return {name: getattr(self, name) for name in ("parameters", "n_fibres", "quality", "status", "sd")}

    def peaks(self) -> np.ndarray:
        """Directions times weights.

        Returns:
            (..., N, 3), the heaviest lobe first.
        """
        return self.parameters["direction"] * self.parameters["weight"][..., None]

    def odf(self, vertices: ArrayLike, odi_floor: float = 0.0) -> np.ndarray:
        """FOD per steradian; its integral over the sphere is 1.

        Args:
            vertices: (n, 3) unit vectors. odi_floor: in [0, 1); narrower lobes are widened to it, which makes them
                easier to look at.
        Returns:
            (..., n), float32; 0 where a voxel has no fit.
        Raises:
            InputError: vertices that are no unit vectors, or an odi_floor outside [0, 1).
        """
        odi_floor = real_number(odi_floor, "odi_floor", "a number from 0 to below 1", 0, np.nextafter(1, 0))
        directions = real_array(vertices, "vertices").astype(np.float32)
        shape = directions.shape
        if len(shape) != 2 or shape[1] != 3 or not np.allclose((directions**2).sum(axis=1), 1, atol=0.01):
            raise InputError(f"vertices= of shape {shape} are no unit vectors", fix="give (n, 3) vectors of length 1")
        widest = float(kappa_from_odi(np.asarray(odi_floor)))
        scale = np.minimum(1, widest / np.maximum(self.parameters["kappa"], 1e-6))
        weights, lobes = self._lobes(scale)
        family, device = self.model.family, self.device
        mixture = mixture_densities(weights, lobes, directions, family=family, device=device)
        return self._with_uniform(mixture, np.full(len(directions), 1 / (4 * np.pi)))

    def sh(self, lmax: int = 8, basis: str = "mrtrix", ripple: float = 0.0) -> np.ndarray:
        """Spherical harmonic coefficients of the FOD, of unit integral.

        Args:
            lmax: even order. basis: "mrtrix" (tournier07), "descoteaux07" or "descoteaux07_legacy" (DIPY's two).
            ripple: 0: exact up to lmax, so that narrow lobes ring. Else in (0, 0.1]: lobes that are too narrow for lmax
                are widened until their ripples are about this part of their peak; the map `fod` has 0.003.
        Returns:
            (..., (lmax+1)(lmax+2)/2), float32; 0 where a voxel has no fit.
        Raises:
            InputError: an odd or negative order or one above 64, an unknown basis, or an invalid ripple.
        """
        if not is_whole(lmax, 0, _MOST_ORDER) or lmax % 2:
            raise InputError(f"lmax={shown(lmax)} is not valid", fix=f"an even order from 0 to {_MOST_ORDER}")
        if basis not in BASES:
            raise InputError(f"basis={shown(basis)} is unknown", fix=f"basis= is one of {', '.join(BASES)}")
        ripple = real_number(ripple, "ripple", "a number from 0 to 0.1", 0, 0.1)
        weights, lobes = self._lobes()
        how: dict[str, Any] = {"family": self.model.family, "device": self.device, "ripple": ripple}
        mixture = mixture_harmonics(weights, lobes, lmax, **how)
        uniform = np.zeros(n_coefficients(lmax), np.float32)
        uniform[0] = 1 / np.sqrt(4 * np.pi)
        return to_basis(self._with_uniform(mixture, uniform), basis)

    def _lobes(self, scale: Any = 1.0) -> tuple[np.ndarray, LobeArrays]:
        """Weights (voxels, N) and lobes, their concentrations times `scale`."""
        p = self.parameters
        weight = p["weight"].reshape(self.status.size, p["weight"].shape[-1])

        def axis(name: str, i: int) -> np.ndarray:
            # An absent lobe needs an axis, whichever.
            values = p[name].reshape(*weight.shape, 3)
            return np.where(weight[..., None] > 0, values, np.eye(3, dtype=values.dtype)[i])

        kappa, beta = ((p[name] * scale).reshape(weight.shape) for name in ("kappa", "beta"))
        direction = axis("direction", 0)
        if self.model.family.axes == 2:
            return weight, LobeArrays(direction, axis("across", 1), (kappa, kappa - beta))
        return weight, LobeArrays(direction, None, (kappa,))

    def _with_uniform(self, mixture: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """(voxels, n) values as maps; `uniform` where a fitted voxel has no lobe."""
        fitted = np.isin(self.status, FITTED).ravel()
        mixture[fitted & (self.n_fibres.ravel() == 0)] = uniform
        return mixture.reshape(*self.status.shape, mixture.shape[1])

    def predict(self, acquisition: Acquisition | None = None) -> np.ndarray:
        """Signal of every volume that kernels and FODs give.

        Args:
            acquisition: another than that of the data, in the same axes; None: that of the data.
        Returns:
            (..., volumes), in units of the data; 0 where a voxel has no fit.
        Raises:
            InputError: the acquisition is in other axes, or lacks pulse timings that the model needs.
        """
        acquisition = self.acquisition if acquisition is None else acquisition
        require_acquisition(acquisition)
        acquisition = acquisition.concrete()
        if acquisition.axes != self.axes:
            raise InputError(f"directions in {acquisition.axes} axes for FODs in {self.axes} axes", fix="use the same")
        kernels, model, family = self.model.fitted, self.model.spherical, self.model.family
        model.kernel.require(acquisition.pulses)
        shells = [shell for shell in acquisition.shells if not shell.zero]
        values = {name: kernels.parameters[name].ravel() for name in model.kernel.names}
        signal = np.zeros((self.status.size, acquisition.bvals.size), self.mse.dtype)
        of_fit = pulses_of_fit(acquisition.shells, kernels.settings.s0 == "fit")
        uniform = predicted_means(model.kernel, of_fit, values, self.mse.dtype)
        for shell, mean in zip(acquisition.shells, uniform.T, strict=True):
            signal[:, shell.volumes] = mean[:, None]
        if shells:
            weight, lobes = self._lobes()
            pulses, narrowest = [shell.pulse for shell in shells], family.bound(ORDER_MAX)
            mixed = predicted_signals(
                model.kernel,
                pulses,
                [acquisition.bvecs[shell.volumes] for shell in shells],
                [order_needed(model.extreme_moments(pulse), narrowest, _TOLERANCE) for pulse in pulses],
                values,
                weight,
                lobes,
                family=family,
                dtype=self.mse.dtype,
            )
            some = weight.sum(axis=1) > 0
            signal[np.ix_(some, np.concatenate([shell.volumes for shell in shells]))] = mixed[some]
        fitted = np.isin(self.status, FITTED).reshape(-1, 1)
        return np.where(fitted, signal * kernels.s0.reshape(-1, 1), 0).reshape(*self.status.shape, -1)

    def in_scanner_axes(self, affine: np.ndarray) -> FodFit:
        """The same FODs with directions in scanner axes.

        Args:
            affine: (4, 4) voxel-to-scanner matrix of the series.
        Returns:
            a `FodFit`; this one if its directions are in scanner axes already.
        Raises:
            InputError: the axes are unknown.
        """
        if self.axes == "scanner":
            return self
        if self.axes == "unknown":
            raise InputError(
                "the axes of the gradient table, in which the directions are, are unknown",
                fix="dataclasses.replace(fods, axes='fsl'), if the table is FSL's; or axes='scanner'",
            )
        turned = {
            name: fsl_to_scanner(values, affine).astype(values.dtype)
            for name, values in self.parameters.items()
            if name in ("direction", "across")
        }
        return replace(self, parameters=self.parameters | turned, axes="scanner")

    def maps(self) -> Maps:
        """The maps that are written.

        Returns:
            arrays by name; the vectors of all lobes and the harmonics along the last axis.
        """
        p, shape = self.parameters, self.status.shape
        vectors = [name for name in ("direction", "across") if name in p]
        return {
            **{name: p[name].reshape(*shape, -1) for name in vectors},
            **{name: p[name] for name in ("weight", "odi", "kappa", "beta")},
            "nfibres": self.n_fibres,
            "fod": self.sh(map_table.FOD_ORDER, ripple=map_table.FOD_RIPPLE),
            **self.quality,
            "status": self.status,
        }

    def plot(
        self, background: ArrayLike | None = None, affine: ArrayLike | None = None, mask: ArrayLike | None = None
    ) -> Figure:
        """Draw the directions of a slice as colours, and beside it the FODs of a patch of the slice as glyphs.

        Colours are those of the field: red left-right, green front-back, blue up-down.

        Args:
            background: (x, y, z) map behind the glyphs; None: one of the kernels' maps, such as λ⊥.
            affine: (4, 4) voxel-to-scanner matrix of the series, by which the slice is turned as `Fit.plot` has it;
                None: voxels are along the scanner's axes.
            mask: (x, y, z), 0 where nothing is shown; None: that of the fit.
        Returns:
            a Matplotlib figure, which notebooks show and `figure.savefig` writes.
        Raises:
            InputError: the fit is not of an image (x, y, z) or (x, y).
        """
        figure: Figure = display.module("pictures").draw_fods(self, background, affine, mask)
        return figure

    def plot_glyphs(
        self,
        background: ArrayLike | None = None,
        affine: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        corner: tuple[int, int] | None = None,
        size: tuple[int, int] = (18, 12),
        odi_floor: float = 0.1,
    ) -> Figure:
        """Draw the FODs of a patch of a slice as glyphs, coloured by their directions.

        Args:
            background, affine, mask: as of `plot`.
            corner: first voxel of the patch, to the right and up in the picture; None: where the fibres are best seen.
            size: voxels of the patch, across and up.
            odi_floor: in [0, 1); narrower lobes are widened to it, see `odf`.
        Returns:
            a Matplotlib figure.
        Raises:
            InputError: the fit is not of an image (x, y, z) or (x, y).
        """
        how = {"corner": corner, "size": size, "odi_floor": odi_floor}
        figure: Figure = display.module("pictures").draw_fod_glyphs(self, background, affine, mask, **how)
        return figure

    def save(self, folder: str | PathLike[str], like: str | PathLike[str], prefix: str | None = None) -> list[Path]:
        """Write the maps as NIfTI files with sidecars.

        Directions and harmonics of the files are in scanner axes, whichever the acquisition's were.

        Args:
            folder: of the files; it is made if it is missing. like: path of the series that was fitted.
            prefix: of the file names; None: from the name of the series.
        Returns:
            paths of the maps.
        Raises:
            InputError: the series has another grid, or the axes of the directions are unknown. OutputError: the folder
                cannot be written.
        """
        scanner = self.in_scanner_axes(nifti.open_image(like).affine)
        facts = {"options": self.model.fitted.facts()}
        return outputs.save(folder, like, prefix, self.model.name, scanner.maps(), {}, self.sd, facts)
