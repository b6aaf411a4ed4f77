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
_BLOCK = 2**17


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
    b, contrast = acquisition.bvals * 1e-3, lambda_par - lambda_perp
    out = np.zeros((len(lambda_par), b.size), np.float32)
    for lobe in range(weight.shape[1]):
        present = np.flatnonzero(weight[:, lobe] > 0)
        signals = _lobe_signals(acquisition, contrast[present], axes[present, lobe], kappa[present, lobe])
        for part, signal in signals:
            at = present[part]
            out[at] += weight[at, lobe, None] * signal
    for part in _parts(len(out), _BLOCK // b.size + 1):
        out[part] *= np.exp(-b * lambda_perp[part, None])
    return out


def _lobe_signals(
    acquisition: Acquisition, contrast: np.ndarray, axes: np.ndarray, kappa: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Signals (part, volumes) of one lobe in each of n voxels, without the decay across the fibres, part by part.

    contrast: λ∥ - λ⊥, (n,).
    """
    b, g = acquisition.bvals * 1e-3, acquisition.bvecs
    t, dt, ring = _half_sphere()
    density = dt * np.exp(kappa[:, None] * (t * t - 1))
    density = density / density.sum(axis=1, keepdims=True) / _AZIMUTHS
    frames = _frames(axes)
    size = (max(1, _BLOCK // (b.size * ring.shape[1])), b.size, ring.shape[1])
    scratch = np.empty(size), np.empty(size, np.float32), np.empty(size, np.float32)
    for part in _parts(len(axes), size[0]):
        in_double, cosines, exponent = (array[: len(axes[part])] for array in scratch)
        cosines[...] = np.matmul(g, frames[part] @ ring, out=in_double)
        np.multiply((-b * contrast[part, None]).astype(np.float32)[:, :, None], cosines, out=exponent)
        exponent *= cosines
        weights = np.repeat(density[part], _AZIMUTHS, axis=1).astype(np.float32)
        yield part, (np.exp(exponent, out=exponent) @ weights[:, :, None])[:, :, 0]


def _parts(n: int, size: int) -> Iterator[slice]:
    """Slices of at most this size which cover n."""
    for first in range(0, n, size):
        yield slice(first, min(first + size, n))


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
