"""Voxels of one to three lobes whose truth is known, and the matching of estimated lobes to true ones."""

from itertools import permutations

import numpy as np

import jaxsmt as js
from tests.conftest import degrees
from tests.physics.known_lobes import convolved_by

ACQUISITION = js.simulate.hcp_scheme(3, 30)
WEIGHTS = {1: [1.0], 2: [0.6, 0.4], 3: [0.45, 0.3, 0.25]}


def axes_of(n, lobes, seed, apart=45.0):
    """Random axes (n, lobes, 3), those of a voxel at least `apart` degrees from each other."""
    rng = np.random.default_rng(seed)
    out = np.empty((n, lobes, 3))
    for i in range(n):
        while True:
            mu = rng.standard_normal((lobes, 3))
            mu /= np.linalg.norm(mu, axis=1, keepdims=True)
            cosine = np.abs(mu @ mu.T)[np.triu_indices(lobes, 1)]
            if np.all(cosine < np.cos(np.radians(apart))):
                break
        out[i] = mu
    return out


def simulated(n, lobes, seed=0, s0=800.0):
    """Data of zeppelins in Watson lobes, by the simulator's own quadrature, and their truth."""
    rng = np.random.default_rng(seed)
    par, f = rng.uniform(1.2, 2.8, n), rng.uniform(0.05, 0.4, n)
    mu, kappa = axes_of(n, lobes, seed), rng.uniform(5, 20, (n, lobes))
    weight = np.array(WEIGHTS[lobes])
    data = s0 * js.simulate.zeppelin_signal(ACQUISITION, par, f * par, mu, kappa, np.tile(weight, (n, 1)))
    return data, mu, kappa, weight


def simulated_by(log_density, n, lobes, seed=0):
    """Data (S0 = 1) of lobes ψ ∝ exp(log_density(μ·n, κ)) by quadrature over the whole sphere, axes and κ."""
    rng = np.random.default_rng(seed)
    par, f = rng.uniform(1.2, 2.8, n), rng.uniform(0.05, 0.4, n)
    mu, kappa = axes_of(n, lobes, seed), rng.uniform(5, 20, (n, lobes))
    data = np.zeros((n, len(ACQUISITION.bvals)))
    for i in range(n):
        for j, weight in enumerate(WEIGHTS[lobes]):
            axes = np.linalg.qr(np.column_stack([mu[i, j], np.eye(3)]))[0].T
            data[i] += weight * convolved_by(
                lambda x, _, k=kappa[i, j]: log_density(x, k),
                ACQUISITION.bvecs,
                ACQUISITION.bvals * 1e-3,
                par[i],
                f[i] * par[i],
                axes,
                n=40,
            )
    return data, mu, kappa


def matched(estimated, true):
    """Each true lobe with an estimate of its own, (n, lobes, 3) both.

    Returns:
        (n, lobes) angles in degrees, of the pairs whose largest angle is least; and which estimate each true lobe has.
    """
    lobes = true.shape[1]
    orders = np.array(list(permutations(range(lobes))))
    angles = np.stack([degrees(estimated[:, order], true) for order in orders])
    best = angles.max(axis=2).argmin(axis=0)
    return angles[best, np.arange(len(true))], orders[best]


def kernel_of(data, **options):
    """The kernels of data in `ACQUISITION`."""
    return js.fit(js.smt(), ACQUISITION, data, **options)
