"""Signals of zeppelins along Watson densities, and the noise of magnitudes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from ..acquisition.acquisition import Acquisition

# Nodes of the product rule: in the cosine, and in azimuth.
_COSINES = _AZIMUTHS = 16
# Numbers in a block of lobes: more of them leave the processor's cache.
_BLOCK = 2**18


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
    b, g = acquisition.bvals * 1e-3, acquisition.bvecs
    contrast = lambda_par - lambda_perp
    out = np.zeros((len(lambda_par), b.size), np.float32)
    per_block = max(1, _BLOCK // (b.size * _COSINES * _AZIMUTHS))
    for lobe in range(weight.shape[1]):
        present = np.flatnonzero(weight[:, lobe] > 0)
        for at in _parts(present, per_block):
            signal = _lobe_signal(b, g, contrast[at], axes[at, lobe], kappa[at, lobe])
            out[at] += weight[at, lobe, None] * signal
    for at in _parts(np.arange(len(out)), _BLOCK // b.size + 1):
        out[at] *= np.exp(-b * lambda_perp[at, None])
    return out


def _parts(numbers: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Numbers in parts of at most this size."""
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


def _lobe_signal(b: np.ndarray, g: np.ndarray, contrast: np.ndarray, axes: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Signal of lobes (n, volumes), without the decay across the fibres; contrast is λ∥ - λ⊥, (n,)."""
    t, dt, ring = _half_sphere()
    density = dt * np.exp(kappa[:, None] * (t * t - 1))
    density = density / density.sum(axis=1, keepdims=True) / _AZIMUTHS
    density = np.repeat(density, _AZIMUTHS, axis=1).astype(np.float32)
    x = (g @ (_frames(axes) @ ring)).astype(np.float32)
    exponent = (-b * contrast[:, None]).astype(np.float32)[:, :, None] * x
    exponent *= x
    return (np.exp(exponent, out=exponent) @ density[:, :, None])[:, :, 0]


@cache
def _half_sphere() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A product rule about z: cosines (16,), their weights (16,), and unit vectors (3, 256), azimuths fastest."""
    nodes, node_weights = np.polynomial.legendre.leggauss(_COSINES)
    t, dt = 0.5 * (nodes + 1), 0.5 * node_weights
    phi = 2 * np.pi * (np.arange(_AZIMUTHS) + 0.5) / _AZIMUTHS
    ring = np.stack(
        [
            np.outer(np.sqrt(1 - t * t), np.cos(phi)).ravel(),
            np.outer(np.sqrt(1 - t * t), np.sin(phi)).ravel(),
            np.repeat(t, _AZIMUTHS),
        ]
    )
    return t, dt, ring


def _frames(axes: np.ndarray) -> np.ndarray:
    """Orthonormal frames (n, 3, 3) whose third columns are axes (n, 3)."""
    helpers = np.eye(3)[np.argmin(np.abs(axes), axis=1)]
    u = np.cross(axes, helpers)
    u /= np.sqrt(np.vecdot(u, u))[:, None]
    return np.stack([u, np.cross(axes, u), axes], axis=2)
