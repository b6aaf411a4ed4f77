"""Gradients through estimates of a Bingham lobe and of two Watson lobes, against differences of the converged fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from tests.fitting.simulated_fods import ACQUISITION, axes_of
from tests.physics.known_lobes import frame

VOXELS = 60
MODELS = {
    "bingham": (js.FodModel(js.smt(), "bingham"), ("lambda_par", "odi", "beta", "direction", "across")),
    "two watson": (js.FodModel(js.smt(), "watson", 2), ("lambda_par", "weight", "odi", "direction")),
}


def lobe_axes(name, i, mu):
    """(samples, 3) axes that scatter unequally about one axis, or equally about two."""
    rng = np.random.default_rng(100 + i)
    spread = rng.standard_normal((600, 3))
    if name == "bingham":
        axes = np.array([1, 0, 0]) + spread * [0, 0.45, 0.15]
        return axes / np.linalg.norm(axes, axis=1, keepdims=True) @ frame(i)
    axes = mu[(np.arange(600) > 360).astype(int)] + 0.25 * spread
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


def signals(name):
    """(VOXELS, volumes) noisy signals of such axes, S0 = 100."""
    rng, b = np.random.default_rng(0), ACQUISITION.bvals / 1000
    par, fraction = rng.uniform(1.4, 2.2, VOXELS), rng.uniform(0.1, 0.35, VOXELS)
    mu = axes_of(VOXELS, 2, seed=1, apart=60.0)
    clean = []
    for i in range(VOXELS):
        square = (lobe_axes(name, i, mu[i]) @ ACQUISITION.bvecs.T) ** 2
        clean.append(np.exp(-b * par[i] * (fraction[i] + (1 - fraction[i]) * square)).mean(axis=0))
    return 100 * np.array(clean) + rng.standard_normal((VOXELS, len(b)))


@pytest.mark.parametrize("name", MODELS)
def test_implicit_derivatives_are_those_of_the_fit(name):
    """≤ 1e-5 of central differences in 95 % of interior voxels: the axes' own turns, and a weight of the simplex."""
    model, outputs = MODELS[name]
    solver = js.levenberg_marquardt(rtol=1e-16)  # differences would show what is left to converge

    def one(signal):
        estimates, status = js.estimate(model, ACQUISITION, signal, solver=solver, with_status=True)
        return jnp.concatenate([jnp.atleast_1d(estimates[n]).ravel() for n in outputs]), status

    with jax.enable_x64(True):
        along = jax.jit(lambda s, change: jax.jvp(jax.vmap(one), (s,), (change,), has_aux=True))
        data = jnp.asarray(signals(name))
        change = jnp.asarray(np.random.default_rng(1).standard_normal(data.shape))
        _, exact, status = map(np.asarray, along(data, change))
        inside = status == js.Status.CONVERGED
        assert inside.mean() > 0.8
        assert np.isfinite(exact).all()
        best = np.full(VOXELS, np.inf)
        for h in (1e-2, 1e-3, 1e-4):  # of a signal near 100: rounding and curvature are both small at one of them
            up, down = (np.asarray(along(data + s * h * change, change)[0]) for s in (1, -1))
            error = np.abs((up - down) / (2 * h) - exact).max(axis=1) / np.abs(exact).max(axis=1)
            best = np.minimum(best, error)
    assert np.mean(best[inside] <= 1e-5) >= 0.95
    assert np.all(np.abs(exact[inside]).max(axis=1) > 0)
