"""Lobes of known frames, and their convolved signals by another route: quadrature over the whole sphere."""

from functools import cache

import jax.numpy as jnp
import numpy as np

import jaxsmt as js


def frame(seed):
    """A random rotation: rows μ, μ₂ and the third axis."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]


def lobe_of(axes, kappa, beta, dtype):
    """A Watson lobe where β is None, else a Bingham lobe; axes: as `frame` gives them."""
    mu, mu2 = (jnp.asarray(a, dtype) for a in axes[:2])
    return js.watson(mu, kappa) if beta is None else js.bingham(mu, kappa, beta, mu2)


gauss_legendre = cache(np.polynomial.legendre.leggauss)


def convolved_by(log_density, directions, b, par, perp, axes, n=150):
    """∫ψ(n) k(g·n) dn of a zeppelin, ψ ∝ exp(log_density(μ·n, μ₂·n)), by a product rule in float64.

    Opposite points of the rule, which is symmetric, have the same ψ and k: half of them are enough.
    """
    x, w = (values[n:] for values in gauss_legendre(2 * n))
    phi = 2 * np.pi * (np.arange(2 * n) + 0.5) / (2 * n)
    rho = np.sqrt(1 - x**2)[:, None, None]
    ring = np.cos(phi)[None, :, None] * axes[1] + np.sin(phi)[None, :, None] * axes[2]
    points = (x[:, None, None] * axes[0] + rho * ring).reshape(-1, 3)
    exponent = log_density(points @ axes[0], points @ axes[1])
    density = np.repeat(w, 2 * n) * np.exp(exponent - exponent.max())
    density /= density.sum()
    signals = []
    for g, bi in zip(directions, b, strict=True):
        kernel = points @ g
        kernel *= kernel
        kernel *= -bi * (par - perp)
        signals.append(np.exp(-bi * perp) * (density @ np.exp(kernel, out=kernel)))
    return np.array(signals)


def brute_force(directions, b, par, perp, axes, kappa, beta, n=150):
    """`convolved_by` of a Bingham density; β = 0 is Watson's."""
    return convolved_by(lambda x, y: kappa * x**2 + beta * y**2, directions, b, par, perp, axes, n)
