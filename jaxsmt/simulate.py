"""Simulated data with known truth: schemes, a brain-like slice, noise. NumPy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .acquisition.acquisition import Acquisition
from .sphere.quadrature import gradient_directions


def hcp_scheme(n_b0: int = 18, n_directions: int = 90, shells=(1000.0, 2000.0, 3000.0)) -> Acquisition:
    """A scheme like that of the HCP Wu-Minn project: b = 0 volumes spread among mixed shells.

    Directions are generated here, each shell its own set.
    """
    b = np.concatenate([np.full(n_directions, value) for value in shells])
    g = np.concatenate([gradient_directions(n_directions, seed=i) for i in range(len(shells))])
    order = np.random.default_rng(0).permutation(b.size)
    where = np.linspace(0, b.size, n_b0, endpoint=False).astype(int)
    return Acquisition(np.insert(b[order], where, 0.0), np.insert(g[order], where, 0.0, axis=0))


@dataclass(frozen=True)
class Phantom:
    """A simulated series and what it was made from.

    Attributes:
        data: (..., volumes) float32. mask: (...). acquisition: its scheme, scanner axes.
        truth: maps by parameter name, diffusivities in µm²/ms. sigma: of the noise.
        affine: (4, 4) voxel indices to scanner mm.
    """

    data: np.ndarray
    mask: np.ndarray
    acquisition: Acquisition
    truth: dict[str, np.ndarray]
    sigma: float
    affine: np.ndarray


def rician(signal: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of `signal` with complex Gaussian noise of standard deviation `sigma` a channel."""
    real = signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(signal.shape, dtype=np.float32)
    return np.hypot(real, imaginary)


def zeppelin_signal(acquisition: Acquisition, lambda_par, lambda_perp, axes, kappa, weight) -> np.ndarray:
    """Signal over S0 of zeppelins whose axes follow a sum of Watson distributions.

    E(g, b) = Σ_j w_j ∫ W(n; μ_j, κ_j) exp(-b λ⊥ - b (λ∥ - λ⊥)(g·n)²) dn, W ∝ exp(κ (μ·n)²), by a
    product rule about each μ: 16 Gauss-Legendre nodes in μ·n over half the sphere, 16 azimuths.

    Args:
        lambda_par, lambda_perp: (voxels,) µm²/ms. axes: (voxels, lobes, 3) unit vectors.
        kappa, weight: (voxels, lobes), weights summing to 1.
    Returns:
        (voxels, volumes) float32.
    """
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
    b, g = acquisition.bvals * 1e-3, acquisition.bvecs
    out = np.empty((len(lambda_par), b.size), np.float32)
    for i in range(len(out)):
        out[i] = 0
        decay, contrast = -b * lambda_perp[i], (-b * (lambda_par[i] - lambda_perp[i])).astype(np.float32)
        for mu, k, w in zip(axes[i], kappa[i], weight[i], strict=True):
            if w > 0:
                density = dt * np.exp(k * (t * t - 1))
                density = np.repeat(density / density.sum() / 16, 16).astype(np.float32)
                x = (g @ (_frame(mu) @ ring)).astype(np.float32)
                out[i] += w * (np.exp(contrast[:, None] * x * x) @ density)
        out[i] *= np.exp(decay)
    return out


def _frame(mu: np.ndarray) -> np.ndarray:
    """An orthonormal frame whose third column is mu."""
    helper = np.eye(3)[np.argmin(np.abs(mu))]
    u = np.cross(mu, helper)
    u /= np.linalg.norm(u)
    return np.stack([u, np.cross(mu, u), mu], axis=1)


def coronal_slice(snr: float = 50.0, seed: int = 0, acquisition: Acquisition | None = None) -> Phantom:
    """A brain-like coronal slice: folded cortex, white matter with crossings, ventricles.

    Corpus callosum (left-right), corona radiata (up-down) and an association bundle (front-back)
    cross above the ventricles; grey matter is nearly isotropic in orientation; the fluid is a
    ball. Kernels vary smoothly and every voxel has one, so the truth of a kernel fit is exact.

    Args:
        snr: white matter's S0 over the Rician noise's σ. acquisition: default `hcp_scheme()`.
    Returns:
        Phantom of shape (124, 1, 103), about 8,200 voxels in the mask, 1.25 mm.
    """
    acquisition = acquisition if acquisition is not None else hcp_scheme()
    rng = np.random.default_rng(seed)
    nx, nz = 124, 103
    x, z = np.meshgrid((np.arange(nx) - (nx - 1) / 2) / 59, (np.arange(nz) - (nz - 1) / 2) / 48.5, indexing="ij")
    side, angle = np.abs(x), np.arctan2(z, np.abs(x))

    # Outline with a cleft at the midline; folds of the cortex as waves along the outline.
    radius = np.hypot(x / 0.98, z / np.where(z > 0, 0.98, 0.94))
    cleft = 0.035 * np.exp(-(((z - 0.95) / 0.5) ** 2)) + 0.012
    brain = (radius < 1) & ((side > cleft) | (np.abs(z - 0.1) < 0.16))
    folds = 0.055 * np.sin(22 * angle + 3 * np.sin(5 * angle)) + 0.03 * np.sin(9 * angle + 1)
    depth = np.minimum(1 - radius, np.where(z > 0.3, side - cleft, 1))
    white = brain & (depth > 0.17 + folds)
    callosum = brain & (np.abs(z - (0.22 + 0.35 * side**2)) < 0.07) & (side < 0.55)
    white |= callosum
    ventricle = brain & (((side - 0.13 - 0.1 * (z - 0.05)) / 0.085) ** 2 + ((z - 0.02) / 0.15) ** 2 < 1)
    deep = brain & (((side - 0.36) / 0.13) ** 2 + ((z + 0.12) / 0.2) ** 2 < 1)
    sulcus = brain & ~white & (depth < 0.035)
    fluid = (ventricle & ~callosum) | sulcus
    white &= ~deep & ~fluid
    grey = brain & ~white & ~fluid

    # Kernels in µm²/ms, with slow variation across the slice.
    wave = np.sin(5 * x + 1) * np.cos(4 * z)
    lambda_par = np.select([fluid, white, deep, grey], [2.9, 2.1 + wave / 4, 1.6 + wave / 10, 1.35 + wave / 7], 0)
    fraction = np.select(
        [fluid, callosum, white, deep, grey], [1, 0.12 + 0.03 * wave, 0.2 + 0.06 * wave, 0.35, 0.5 + 0.08 * wave], 0
    )
    s0 = np.select([fluid, white, deep, grey], [2600, 1000 + 60 * wave, 1150, 1300 + 60 * wave], 0)

    # Three bundles: callosal fibres bend up to the cortex, projection fibres fan out, the third
    # runs through the slice. Each voxel mixes them by where it lies.
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
    kappa = np.select([fluid, white, grey], [0.0, 14 + 3 * wave, 1.5], 0.0)

    at = brain.nonzero()
    axes = np.stack([callosal, projection, through], axis=2)[at]
    signal = zeppelin_signal(
        acquisition, lambda_par[at], (fraction * lambda_par)[at], axes, np.repeat(kappa[at][:, None], 3, 1), mix[at]
    )
    sigma = 1000.0 / snr
    data = np.zeros((nx, 1, nz, acquisition.bvals.size), np.float32)
    data[at[0], 0, at[1]] = s0[at][:, None] * signal
    data = rician(data, sigma, rng)
    truth = {
        "lambda_par": lambda_par,
        "lambda_perp": fraction * lambda_par,
        "fraction": fraction,
        "s0": s0,
    }
    affine = np.diag([1.25, 1.25, 1.25, 1.0])
    affine[:3, 3] = -1.25 * (nx - 1) / 2, 0, -1.25 * (nz - 1) / 2
    return Phantom(
        data=data,
        mask=brain[:, None],
        acquisition=acquisition,
        truth={name: values[:, None].astype(np.float32) for name, values in truth.items()},
        sigma=sigma,
        affine=affine,
    )
