"""Brain-like phantoms: a volume on any grid, and coronal slices of the same anatomy."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.arguments import require_acquisition
from ..acquisition.arrays import equal_fields
from ..errors import InputError, is_whole, shown
from ..geometry.dispersion import odi_from_kappa
from . import anatomy
from .schemes import hcp_scheme
from .signals import rician, zeppelin_signal

# Voxels of coronal slices along x and z, and their size in mm.
_SLICE, _VOXEL_SIZE = (124, 103), 1.25
# Along an axis, at most: smaller voxels than 0.2 mm would be a slip.
_MOST_VOXELS = 1000
# Values of each voxel in the maps of a phantom's truth; the slice has the kernels' only.
_KERNEL_MAPS = {"lambda_par": 1, "lambda_perp": 1, "fraction": 1, "s0": 1}
_FOD_MAPS = {"nfibres": 1, "direction": 9, "weight": 3, "odi": 3}
# λ⊥/λ∥ is at most 0.58 in tissue.
_LARGEST_FRACTION_FACTOR = 1.7


@dataclass(frozen=True, eq=False)
class Phantom:
    """A simulated series and what it was made from. Two phantoms are equal if all their values are.

    Args:
        data: (..., volumes) float32, with noise.
        mask: (...) booleans.
        acquisition: its scheme; directions in scanner axes.
        truth: maps (...) or (..., values) by parameter name; diffusivities in µm²/ms, directions in scanner axes.
        sigma: standard deviation of the noise in each channel, in units of the data.
        affine: (4, 4) voxel indices to scanner mm.

    Example:
        >>> import numpy as np
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
        >>> phantom = js.simulate.Phantom(
        ...     data=np.ones((2, 1, 1, 7), np.float32),
        ...     mask=np.ones((2, 1, 1), bool),
        ...     acquisition=acquisition,
        ...     truth={"s0": np.ones((2, 1, 1), np.float32)},
        ...     sigma=0.0,
        ...     affine=np.eye(4),
        ... )
        >>> phantom.data.shape
        (2, 1, 1, 7)
    """

    data: np.ndarray
    mask: np.ndarray
    acquisition: Acquisition
    truth: dict[str, np.ndarray]
    sigma: float
    affine: np.ndarray

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Phantom) else NotImplemented


def phantom(
    shape: tuple[int, int, int] = (24, 28, 20),
    snr: float = 50.0,
    seed: int = 0,
    acquisition: Acquisition | None = None,
    factors: Mapping[str, float] | None = None,
) -> Phantom:
    """A brain-like volume: white matter of one to three crossing bundles, folded cortex, deep grey matter, fluid.

    Its middle is the anatomy of `coronal_slice`. A voxel has the tissue of its centre, with one kernel, so that the
    truth of a kernel fit is exact; the voxels' size is the field of view over `shape`. Beside the series and its truth
    memory holds one coronal plane.

    Args:
        shape: voxels along x, y, z. The field of view is 155 × 183.75 × 128.75 mm, whatever the grid.
        snr: 1000, about the S0 of white matter, over the Rician noise's σ; `math.inf`: no noise.
        seed: of the noise.
        acquisition: what measures the brain; None: `hcp_scheme()`.
        factors: for brains that differ, factors of "lambda_par" and "fraction" in white and grey matter, and of "s0"
            everywhere; 1 where not given.

    Returns:
        A phantom of this shape. Its truth has the maps "lambda_par" and "lambda_perp" (µm²/ms), "fraction" (λ⊥/λ∥) and
        "s0", and of the FODs, sums of Watson densities, as a FOD fit has them: "nfibres" (x, y, z) from 0 (fluid) to
        3, and, the heaviest lobe first and 0 for absent ones, "direction" (x, y, z, 9) with three unit vectors in
        scanner axes, "weight" (x, y, z, 3) with sum 1, and "odi" (x, y, z, 3).

    Raises:
        InputError: an invalid value, or a grid of which no voxel is in the brain.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
        >>> phantom = js.simulate.phantom((8, 9, 7), snr=40, acquisition=acquisition)
        >>> phantom.data.shape, phantom.truth["direction"].shape
        ((8, 9, 7, 7), (8, 9, 7, 9))
    """
    factors = {} if factors is None else factors
    _check(shape, snr, seed, factors, acquisition)
    voxel_sizes = [size / n for size, n in zip(anatomy.FIELD_OF_VIEW, shape, strict=True)]
    made = _sampled(tuple(shape), voxel_sizes, snr, seed, acquisition, factors, _KERNEL_MAPS | _FOD_MAPS)
    if not made.mask.any():
        raise InputError(f"none of {tuple(shape)} voxels lies in the brain", fix="give shape= more of them")
    return made


def _check(
    shape: Sequence[int], snr: float, seed: int, factors: Mapping[str, float], acquisition: Acquisition | None
) -> None:
    """Raise InputError unless these can be arguments of a phantom."""
    three = isinstance(shape, Sequence | np.ndarray) and len(shape) == 3
    if not three or not all(is_whole(n, 1, _MOST_VOXELS) for n in shape):
        raise InputError(f"shape= is {shown(shape)}", fix=f"shape= takes three whole numbers from 1 to {_MOST_VOXELS}")
    if not isinstance(snr, Real) or not (0 < snr <= sys.float_info.max or snr == math.inf):
        raise InputError(f"snr={shown(snr)} is not valid", fix="snr= takes a number above 0")
    if acquisition is not None:
        require_acquisition(acquisition)
    if not is_whole(seed):
        raise InputError(f"seed={shown(seed)} is not valid", fix="seed= takes a whole number from 0")
    odd = [name for name in factors if name not in ("lambda_par", "fraction", "s0")]
    if odd:
        raise InputError(f"there is no factor of {shown(odd[0])}", fix="factors are of lambda_par, fraction and s0")
    for name, factor in factors.items():
        if not 0 < factor <= sys.float_info.max:
            raise InputError(f"the factor of {name} is {shown(factor)}", fix="factors are numbers above 0")
    if factors.get("fraction", 1) > _LARGEST_FRACTION_FACTOR:
        raise InputError(
            f"the factor of fraction is {factors['fraction']}, which makes λ⊥ larger than λ∥",
            fix=f"at most {_LARGEST_FRACTION_FACTOR}",
        )


def coronal_slice(snr: float = 50.0, seed: int = 0, acquisition: Acquisition | None = None) -> Phantom:
    """A brain-like coronal slice: folded cortex, white matter with crossings, ventricles.

    Corpus callosum (left-right), corona radiata (up-down) and an association bundle (front-back) cross above the
    ventricles; grey matter is nearly isotropic in orientation; the fluid is a ball. Kernels vary smoothly, and each
    voxel has one kernel, so that the truth of a kernel fit is exact.

    Args:
        snr: S0 of white matter (1000) over the Rician noise's σ.
        seed: of the noise.
        acquisition: what measures the slice; None: `hcp_scheme()`.

    Returns:
        A phantom of shape (124, 1, 103), with about 8,200 voxels of 1.25 mm in the mask. Its truth has the maps
        "lambda_par" and "lambda_perp" (µm²/ms), "fraction" (λ⊥/λ∥) and "s0".

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
        >>> phantom = js.simulate.coronal_slice(snr=40, acquisition=acquisition)
        >>> phantom.data.shape, phantom.sigma
        ((124, 1, 103, 7), 25.0)
    """
    return coronal_slab(1, snr, seed, acquisition)


def coronal_slab(slices: int = 3, snr: float = 50.0, seed: int = 0, acquisition: Acquisition | None = None) -> Phantom:
    """Neighbouring coronal slices, `coronal_slice` in their middle: a volume for programs that expect one.

    Args:
        slices: how many; an odd number has the anatomy of `coronal_slice` in the middle.
        snr: as of `coronal_slice`.
        seed: of the noise.
        acquisition: what measures the slab; None: `hcp_scheme()`.

    Returns:
        A phantom of shape (124, slices, 103), of 1.25 mm voxels, with the maps of `coronal_slice`.

    Raises:
        InputError: an invalid value.

    Example:
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
        >>> js.simulate.coronal_slab(acquisition=acquisition).data.shape
        (124, 3, 103, 7)
    """
    if not is_whole(slices, 1, _MOST_VOXELS):
        raise InputError(f"slices={shown(slices)} is not valid", fix=f"slices= takes 1 to {_MOST_VOXELS}")
    shape = (_SLICE[0], slices, _SLICE[1])
    _check(shape, snr, seed, {}, acquisition)
    return _sampled(shape, (_VOXEL_SIZE,) * 3, snr, seed, acquisition, {}, _KERNEL_MAPS)


def _sampled(
    shape: Sequence[int],
    voxel_sizes: Sequence[float],
    snr: float,
    seed: int,
    acquisition: Acquisition | None,
    factors: Mapping[str, float],
    maps: Mapping[str, int],
) -> Phantom:
    """The anatomy on a grid, measured; truth: the values of `maps`, by name. One coronal plane after another."""
    acquisition = acquisition if acquisition is not None else hcp_scheme()
    x, y, z = map(anatomy.coordinates, range(3), shape, voxel_sizes)
    x, z = np.meshgrid(x, z, indexing="ij")
    sigma, rng = float(anatomy.WHITE_S0 / snr), np.random.default_rng(seed)
    data = np.zeros((*shape, acquisition.bvals.size), np.float32)
    mask = np.zeros(shape, bool)
    truth = {name: np.zeros((*shape, n) if n > 1 else shape, np.float32) for name, n in maps.items()}
    for j, depth in enumerate(y):
        plane = anatomy.plane(x, float(depth), z)
        mask[:, j] = plane.brain
        values, signal = _measured(acquisition, plane.inside(), factors)
        data[:, j][plane.brain] = signal
        for name, map_ in truth.items():
            map_[:, j][plane.brain] = values[name]
        data[:, j] = rician(data[:, j], sigma, rng)
    affine = np.diag([*voxel_sizes, 1.0])
    affine[:3, 3] = [size * (1 - n) / 2 for size, n in zip(voxel_sizes, shape, strict=True)]
    return Phantom(data=data, mask=mask, acquisition=acquisition, truth=truth, sigma=sigma, affine=affine)


def _measured(
    acquisition: Acquisition, voxels: anatomy.Plane, factors: Mapping[str, float]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Truth of voxels by name, (voxels,) or (voxels, values), and their signal without noise, (voxels, volumes)."""
    lambda_par, fraction, s0 = anatomy.kernels(voxels, factors)
    lambda_perp = fraction * lambda_par
    axes, mix = anatomy.bundles(voxels)
    kappa = np.repeat(anatomy.concentrations(voxels)[:, None], 3, axis=1)
    signal = s0[:, None] * zeppelin_signal(acquisition, lambda_par, lambda_perp, axes, kappa, mix)
    truth = {"lambda_par": lambda_par, "lambda_perp": lambda_perp, "fraction": fraction, "s0": s0}
    return truth | _fods(axes, kappa, mix), signal


def _fods(axes: np.ndarray, kappa: np.ndarray, mix: np.ndarray) -> dict[str, np.ndarray]:
    """The lobes as a FOD fit has them: the heaviest first, 0 where there is none. A uniform density is no lobe."""
    weight = np.where(kappa > 0, mix, 0)
    order = np.argsort(-weight, axis=1, kind="stable")
    weight, kappa = (np.take_along_axis(values, order, axis=1) for values in (weight, kappa))
    present = weight > 0
    direction = np.where(present[..., None], np.take_along_axis(axes, order[..., None], axis=1), 0)
    odi = np.where(present, odi_from_kappa(kappa), 0)
    return {
        "nfibres": present.sum(axis=1),
        "direction": direction.reshape(-1, 9),
        "weight": weight,
        "odi": odi,
    }
