"""Simulated data with known truth: schemes, a brain-like slice, noise. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .acquisition.acquisition import Acquisition
from .acquisition.arrays import equal_fields
from .geometry.quadrature import gradient_directions

__all__ = ["Phantom", "coronal_slice", "hcp_scheme", "rician", "zeppelin_signal"]

#: Voxels of the coronal slice along x and z, and their size in mm.
_NX, _NZ, _VOXEL_SIZE = 124, 103, 1.25
#: S0 of white matter in the coronal slice: its noise is relative to this.
_WHITE_S0 = 1000.0


def hcp_scheme(
    n_b0: int = 18, n_directions: int = 90, shells: Sequence[float] = (1000.0, 2000.0, 3000.0)
) -> Acquisition:
    """A scheme like that of the HCP Wu-Minn project: b = 0 volumes spread among mixed shells.

    The directions are not those of the project: they are made here, each shell its own set.

    Args:
        n_b0: number of b = 0 volumes.
        n_directions: number of directions of each shell.
        shells: b-values of the shells in s/mm².

    Returns:
        An acquisition of n_b0 + len(shells) · n_directions volumes, without timings.

    Example:
        >>> import jaxsmt as js
        >>> for shell in js.simulate.hcp_scheme(n_b0=6, n_directions=30).shells:
        ...     print(shell)
        b = 0 s/mm²: 6 volumes
        b = 1000 s/mm²: 30 volumes, harmonic order 6
        b = 2000 s/mm²: 30 volumes, harmonic order 6
        b = 3000 s/mm²: 30 volumes, harmonic order 6
    """
    b = np.concatenate([np.full(n_directions, value) for value in shells])
    g = np.concatenate([gradient_directions(n_directions, seed=i) for i in range(len(shells))])
    order = np.random.default_rng(0).permutation(b.size)
    where = np.linspace(0, b.size, n_b0, endpoint=False).astype(int)
    return Acquisition(np.insert(b[order], where, 0.0), np.insert(g[order], where, 0.0, axis=0))


@dataclass(frozen=True, eq=False)
class Phantom:
    """A simulated series and what it was made from. Two phantoms are equal if all their values are.

    Args:
        data: (..., volumes) float32, with noise.
        mask: (...) booleans.
        acquisition: its scheme; directions in scanner axes.
        truth: maps (...) by parameter name; diffusivities in µm²/ms.
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


def rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of a signal with complex Gaussian noise: M = |S + σ(ε₁ + i ε₂)|, with standard normal ε.

    Args:
        signal: S, of any shape.
        sigma: σ, standard deviation of the noise in the real and the imaginary channel, in units of the signal.
        rng: source of the noise.

    Returns:
        M, of the signal's shape.

    Example:
        >>> import numpy as np
        >>> import jaxsmt as js
        >>> noisy = js.simulate.rician(np.zeros(100_000, np.float32), 2.0, np.random.default_rng(0))
        >>> round(float(np.mean(noisy**2)))  # 2σ²
        8
    """
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def zeppelin_signal(
    acquisition: Acquisition,
    lambda_par: ArrayLike,
    lambda_perp: ArrayLike,
    axes: ArrayLike,
    kappa: ArrayLike,
    weight: ArrayLike,
) -> np.ndarray:
    """Signal over S0 of zeppelins whose axes follow a sum of Watson densities.

    E(g, b) = Σ_j w_j ∫ W(n; μ_j, κ_j) exp(-b λ⊥ - b (λ∥ - λ⊥)(g·n)²) dn, W ∝ exp(κ (μ·n)²), by a
    product rule about each μ: 16 Gauss-Legendre nodes in μ·n over half the sphere, 16 azimuths.

    Args:
        acquisition: its b-values and directions.
        lambda_par: λ∥, (voxels,) µm²/ms.
        lambda_perp: λ⊥, (voxels,) µm²/ms.
        axes: μ, (voxels, lobes, 3) unit vectors.
        kappa: κ, (voxels, lobes).
        weight: w, (voxels, lobes), with sum 1 over the lobes.

    Returns:
        E, (voxels, volumes) float32.

    Example:
        >>> import numpy as np
        >>> import jaxsmt as js
        >>> acquisition = js.simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
        >>> axes, one = np.array([[[0.0, 0.0, 1.0]]]), np.ones((1, 1))
        >>> signal = js.simulate.zeppelin_signal(acquisition, np.array([1.0]), np.array([1.0]), axes, 5 * one, one)
        >>> signal.round(4)  # without anisotropy, exp(-b λ) in each direction
        array([[1.    , 0.3679, 0.3679, 0.3679, 0.3679, 0.3679, 0.3679]],
              dtype=float32)
    """
    lambda_par, lambda_perp, axes, kappa, weight = map(np.asarray, (lambda_par, lambda_perp, axes, kappa, weight))
    t, dt, ring = _half_sphere()
    b, g = acquisition.bvals * 1e-3, acquisition.bvecs
    out = np.empty((len(lambda_par), b.size), np.float32)
    frames = np.empty((*axes.shape, 3))
    frames[weight > 0] = _frames(axes[weight > 0])
    for i in range(len(out)):
        out[i] = 0
        decay, contrast = -b * lambda_perp[i], (-b * (lambda_par[i] - lambda_perp[i])).astype(np.float32)
        for frame, k, w in zip(frames[i], kappa[i], weight[i], strict=True):
            if w > 0:
                density = dt * np.exp(k * (t * t - 1))
                density = np.repeat(density / density.sum() / 16, 16).astype(np.float32)
                x = (g @ (frame @ ring)).astype(np.float32)
                out[i] += w * (np.exp(contrast[:, None] * x * x) @ density)
        out[i] *= np.exp(decay)
    return out


def _half_sphere() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A product rule about z: cosines (16,), their weights (16,), and unit vectors (3, 256), azimuths fastest."""
    nodes, node_weights = np.polynomial.legendre.leggauss(16)
    t, dt = 0.5 * (nodes + 1), 0.5 * node_weights
    phi = 2 * np.pi * (np.arange(16) + 0.5) / 16
    ring = np.stack(
        [
            np.outer(np.sqrt(1 - t * t), np.cos(phi)).ravel(),
            np.outer(np.sqrt(1 - t * t), np.sin(phi)).ravel(),
            np.repeat(t, 16),
        ]
    )
    return t, dt, ring


def _frames(axes: np.ndarray) -> np.ndarray:
    """Orthonormal frames (n, 3, 3) whose third columns are axes (n, 3)."""
    helpers = np.eye(3)[np.argmin(np.abs(axes), axis=1)]
    u = np.cross(axes, helpers)
    u /= np.array([np.linalg.norm(row) for row in u]).reshape(-1, 1)
    return np.stack([u, np.cross(axes, u), axes], axis=2)


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
    acquisition = acquisition if acquisition is not None else hcp_scheme()
    anatomy = _anatomy()
    lambda_par, fraction, s0 = _kernels(anatomy)
    sigma = _WHITE_S0 / snr
    signal = _signal(acquisition, anatomy, lambda_par, fraction, s0)
    truth = {"lambda_par": lambda_par, "lambda_perp": fraction * lambda_par, "fraction": fraction, "s0": s0}
    affine = np.diag([_VOXEL_SIZE, _VOXEL_SIZE, _VOXEL_SIZE, 1.0])
    affine[:3, 3] = -_VOXEL_SIZE * (_NX - 1) / 2, 0, -_VOXEL_SIZE * (_NZ - 1) / 2
    return Phantom(
        data=rician(signal, sigma, np.random.default_rng(seed)),
        mask=anatomy.brain[:, None],
        acquisition=acquisition,
        truth={name: values[:, None].astype(np.float32) for name, values in truth.items()},
        sigma=sigma,
        affine=affine,
    )


class _Anatomy(NamedTuple):
    """Which tissue is where: coordinates (x, z) from -1 to 1 about, and masks, all of shape (124, 103).

    `callosum` is part of `white`; `white`, `grey` and `fluid` do not overlap, and fill `brain`; `deep` is grey.
    """

    x: np.ndarray
    z: np.ndarray
    brain: np.ndarray
    white: np.ndarray
    callosum: np.ndarray
    grey: np.ndarray
    deep: np.ndarray
    fluid: np.ndarray

    @property
    def side(self) -> np.ndarray:
        """Distance from the midline."""
        return np.abs(self.x)

    @property
    def wave(self) -> np.ndarray:
        """The slow variation of all parameters across the slice."""
        return np.sin(5 * self.x + 1) * np.cos(4 * self.z)


def _anatomy() -> _Anatomy:
    """The outline with a cleft at the midline, the folds of the cortex, the ventricles and the deep grey matter."""
    x, z = np.meshgrid((np.arange(_NX) - (_NX - 1) / 2) / 59, (np.arange(_NZ) - (_NZ - 1) / 2) / 48.5, indexing="ij")
    side, angle = np.abs(x), np.arctan2(z, np.abs(x))
    radius = np.hypot(x / 0.98, z / np.where(z > 0, 0.98, 0.94))
    cleft = 0.035 * np.exp(-(((z - 0.95) / 0.5) ** 2)) + 0.012
    brain = (radius < 1) & ((side > cleft) | (np.abs(z - 0.1) < 0.16))
    # Folds are waves along the outline.
    folds = 0.055 * np.sin(22 * angle + 3 * np.sin(5 * angle)) + 0.03 * np.sin(9 * angle + 1)
    depth = np.minimum(1 - radius, np.where(z > 0.3, side - cleft, 1))
    callosum = brain & (np.abs(z - (0.22 + 0.35 * side**2)) < 0.07) & (side < 0.55)
    white = (brain & (depth > 0.17 + folds)) | callosum
    ventricle = brain & (((side - 0.13 - 0.1 * (z - 0.05)) / 0.085) ** 2 + ((z - 0.02) / 0.15) ** 2 < 1)
    deep = brain & (((side - 0.36) / 0.13) ** 2 + ((z + 0.12) / 0.2) ** 2 < 1)
    sulcus = brain & ~white & (depth < 0.035)
    fluid = (ventricle & ~callosum) | sulcus
    white &= ~deep & ~fluid
    grey = brain & ~white & ~fluid
    return _Anatomy(x, z, brain, white, callosum, grey, deep, fluid)


def _kernels(anatomy: _Anatomy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """λ∥ in µm²/ms, λ⊥/λ∥ and S0 of each voxel, (124, 103); 0 outside the brain."""
    _, _, _, white, callosum, grey, deep, fluid = anatomy
    wave = anatomy.wave
    lambda_par = np.select([fluid, white, deep, grey], [2.9, 2.1 + wave / 4, 1.6 + wave / 10, 1.35 + wave / 7], 0)
    fraction = np.select(
        [fluid, callosum, white, deep, grey], [1, 0.12 + 0.03 * wave, 0.2 + 0.06 * wave, 0.35, 0.5 + 0.08 * wave], 0
    )
    s0 = np.select([fluid, white, deep, grey], [2600, _WHITE_S0 + 60 * wave, 1150, 1300 + 60 * wave], 0)
    return lambda_par, fraction, s0


def _bundles(anatomy: _Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Axes (124, 103, 3, 3) and weights (124, 103, 3) of three bundles, which each voxel mixes by where it lies.

    Callosal fibres bend up to the cortex, projection fibres fan out, the third bundle runs through the slice.
    """
    x, z, side, callosum = anatomy.x, anatomy.z, anatomy.side, anatomy.callosum
    sign = np.where(x < 0, -1.0, 1.0)
    bend = np.clip((side - 0.25) / 0.6, 0, 1) * np.pi / 3
    zero = np.zeros_like(x)
    callosal = np.stack([sign * np.cos(bend), zero, np.sin(bend)], axis=-1)
    fan = 0.9 * x * np.clip(z + 0.3, 0, 1)
    projection = np.stack([np.sin(fan), zero, np.cos(fan)], axis=-1)
    through = np.stack([zero, zero + 1, zero], axis=-1)
    mix = np.stack(
        [
            np.exp(-(((z - 0.35) / 0.3) ** 2)) * np.exp(-((side / 0.6) ** 2)) + 3.0 * callosum,
            np.exp(-(((side - 0.42) / 0.25) ** 2)) * ~callosum,
            0.9 * np.exp(-(((side - 0.62) / 0.14) ** 2 + ((z - 0.2) / 0.25) ** 2)) * ~callosum + 0.02,
        ],
        axis=-1,
    )
    mix /= mix.sum(axis=-1, keepdims=True)
    mix = np.where(mix < 0.15, 0, mix)
    mix /= mix.sum(axis=-1, keepdims=True)
    return np.stack([callosal, projection, through], axis=2), mix


def _signal(
    acquisition: Acquisition, anatomy: _Anatomy, lambda_par: np.ndarray, fraction: np.ndarray, s0: np.ndarray
) -> np.ndarray:
    """The slice's series without noise, (124, 1, 103, volumes) float32."""
    axes, mix = _bundles(anatomy)
    kappa = np.select([anatomy.fluid, anatomy.white, anatomy.grey], [0.0, 14 + 3 * anatomy.wave, 1.5], 0.0)
    at = anatomy.brain.nonzero()
    kappas = np.repeat(kappa[at][:, None], 3, 1)
    signal = zeppelin_signal(acquisition, lambda_par[at], (fraction * lambda_par)[at], axes[at], kappas, mix[at])
    data = np.zeros((_NX, 1, _NZ, acquisition.bvals.size), np.float32)
    data[at[0], 0, at[1]] = s0[at][:, None] * signal
    return data
