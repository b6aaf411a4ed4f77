"""Kernels of known parameters, their exact spherical means, and series of them."""

import numpy as np

from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean

ACQUISITION = scheme([1000, 2000, 3000])
TWO_SHELLS = scheme([1000, 2000])


def truth(n, seed=0):
    """λ∥, f and S0 of n voxels."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2.9, n), rng.uniform(0.02, 0.8, n), rng.uniform(100, 5000, n)


def means_of(par, fraction, s0, acquisition=ACQUISITION):
    """(shells, voxels) exact spherical means."""
    return s0 * np.stack([gauss_mean(b, par, fraction * par) for b in acquisition.b])


def noisy_means(n, sigma, acquisition=ACQUISITION, seed=0):
    """Those of `truth` with noise of `sigma` times S0 in each volume."""
    means = means_of(*truth(n, seed), acquisition=acquisition)
    noise = np.random.default_rng(seed + 1).standard_normal(means.shape) * np.sqrt(acquisition.variances)[:, None]
    return means + sigma * means[0] * noise


def series_of(acquisition, shape=(4, 3, 2)):
    """Zeppelins of one orientation each: anisotropic signals with known kernels."""
    n = int(np.prod(shape))
    par, fraction, s0 = truth(n)
    axes = np.random.default_rng(5).standard_normal((n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    b, x2 = acquisition.bvals / 1000, (axes @ acquisition.bvecs.T) ** 2
    perp = par * fraction
    signal = s0[:, None] * np.exp(-b * perp[:, None] - b * (par - perp)[:, None] * x2)
    return signal.reshape(*shape, -1)
