"""Voxels whose kernels three shells determine well, one Watson lobe each, by the library's own convolved signal."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

import jaxsmt as js
from jaxsmt.simulate import hcp_scheme, rician

ACQUISITION = hcp_scheme()
VOXELS = 1500


@cache
def tissue():
    """Kernels that three shells determine well, one Watson lobe each: λ∥, f, axis, κ."""
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((VOXELS, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return rng.uniform(1.2, 2.2, VOXELS), rng.uniform(0.1, 0.45, VOXELS), axes, np.exp(rng.uniform(0.7, 3, VOXELS))


@cache
def program():
    """A compiled function of kernels, lobes and gradient deviations to signals over S0."""
    directions = jnp.asarray(ACQUISITION.bvecs, jnp.float32)
    b = jnp.asarray(ACQUISITION.bvals / 1000, jnp.float32)

    @jax.jit
    @jax.vmap
    def one(par, fraction, axis, kappa, deviation):
        turned = directions + directions @ deviation.T
        square = jnp.where(b > 0, jnp.sum(turned**2, axis=1), 1)
        unit = jnp.where((b > 0)[:, None], turned / jnp.sqrt(square)[:, None], jnp.array([[0.0, 0.0, 1.0]]))
        return js.signal.convolved(unit, b * square, (par, fraction * par), js.watson(axis, kappa), 28)

    return one


def clean(deviation=None):
    """(voxels, volumes) signals of S0 = 1000."""
    deviation = np.zeros((VOXELS, 3, 3)) if deviation is None else deviation
    return 1000 * np.asarray(program()(*(jnp.asarray(v, jnp.float32) for v in (*tissue(), deviation))))


def noisy(kind, snr, seed=1):
    """`clean` with "gaussian" or "rician" noise."""
    rng, sigma = np.random.default_rng(seed), 1000 / snr
    signal = clean()
    if kind == "rician":
        return rician(signal, sigma, rng)
    return signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)


def truth(name):
    """The true values of a map, (voxels,), or of all voxels."""
    par, fraction, _, kappa = tissue()
    odi = 2 / np.pi * np.arctan(1 / kappa)
    md = par * (1 + 2 * fraction) / 3
    return {"lambda_par": par, "fraction": fraction, "lambda_perp": fraction * par, "md": md, "odi": odi, "s0": 1000}[
        name
    ]
