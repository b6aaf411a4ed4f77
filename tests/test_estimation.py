"""Gradients through estimates: against differences of the fit, between both adjoints, and at the awkward points."""

import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.quadrature import gradient_directions

N = 30
B = np.r_[0, 0, np.repeat([1000.0, 2000.0, 3000.0], N)]
G = np.r_[np.zeros((2, 3)), np.tile(gradient_directions(N), (3, 1))]
ACQUISITION = js.Acquisition(B, G)


def signals(n, seed=0, noise=1 / 50):
    """Noisy signals of zeppelins dispersed about an axis, (n, volumes), S0 about 100."""
    rng = np.random.default_rng(seed)
    par, fraction = rng.uniform(1.2, 2.2, (n, 1, 1)), rng.uniform(0.1, 0.5, (n, 1, 1))
    axes = rng.standard_normal((n, 1, 3))
    axes = axes / np.linalg.norm(axes, axis=2, keepdims=True) + 0.35 * rng.standard_normal((n, 40, 3))
    cosine = axes / np.linalg.norm(axes, axis=2, keepdims=True) @ G[2:].T
    clean = np.exp(-B[2:] / 1000 * par * (fraction + (1 - fraction) * cosine**2)).mean(axis=1)
    clean = 100 * np.concatenate([np.ones((n, 2)), clean], axis=1)
    return clean + 100 * noise * rng.standard_normal(clean.shape)


MODELS = {
    "smt": (js.smt(), ("lambda_par", "fraction", "fa", "s0")),
    "mcsmt": (js.mcsmt(), ("diff", "intra", "s0")),
    "watson": (js.FodModel(js.smt(), "watson"), ("lambda_par", "odi", "direction")),
}


@cache
def programs(name, adjoint="implicit"):
    """Estimates of many voxels, and their derivative along a change of the signal; compiled once.

    Converged to rounding, or differences would show what is left to converge.
    """
    model, outputs = MODELS[name]
    solver = js.levenberg_marquardt(rtol=1e-16)

    def one(signal):
        found, status = js.estimate(model, ACQUISITION, signal, solver=solver, adjoint=adjoint, with_status=True)
        return jnp.concatenate([jnp.atleast_1d(found[name]).ravel() for name in outputs]), status

    return jax.jit(jax.vmap(one)), jax.jit(lambda s, change: jax.jvp(jax.vmap(lambda s: one(s)[0]), (s,), (change,))[1])


@pytest.mark.parametrize("name", MODELS)
def test_implicit_derivatives_are_those_of_the_fit(name):
    """≤ 1e-5 of central differences of the converged fit in 99 % of 1,000 interior voxels, double precision."""
    with jax.enable_x64(True):
        fit, derivative = programs(name)
        data = jnp.asarray(signals(1300))
        change = jnp.asarray(np.random.default_rng(1).standard_normal(data.shape))
        status = np.asarray(fit(data)[1])
        inside = np.flatnonzero(status == js.Status.CONVERGED)[:1000]
        assert len(inside) == 1000
        exact = np.asarray(derivative(data, change))[inside]
        best = np.full(1000, np.inf)
        for h in (1e-3, 1e-4):  # of a signal near 100: rounding and curvature are both below 1e-6 at one of them
            up, down = (np.asarray(fit(data + s * h * change)[0])[inside] for s in (1, -1))
            error = np.abs((up - down) / (2 * h) - exact).max(axis=1) / np.abs(exact).max(axis=1)
            best = np.minimum(best, error)
        assert np.mean(best <= 1e-5) >= 0.99
        assert np.isfinite(exact).all()
        if name != "mcsmt":  # through the solver's steps it is the same
            few = inside[:50]
            unrolled = np.asarray(programs(name, "unrolled")[1](data[few], change[few]))
            assert np.mean(np.abs(exact[:50] - unrolled).max(axis=1) <= 1e-5 * np.abs(exact[:50]).max(axis=1)) >= 0.95


def loss(acquisition, signal, fraction, mean, sigma):
    """Something of everything that an estimate can depend on: a fraction's prior, in a model with a value fixed."""
    model = js.smt().fix(fraction=fraction)
    return js.estimate(model, acquisition, signal, sigma=sigma, prior={"lambda_par": (mean, 0.1)})["lambda_par"]


def test_every_input_has_its_derivative():
    """Signal, b-values, directions, a fixed parameter, the prior and σ: reverse mode against differences."""
    with jax.enable_x64(True):
        signal = jnp.asarray(signals(1, seed=3)[0])
        acquisition = ACQUISITION.with_values(jnp.asarray(B), jnp.asarray(G))
        inputs = (acquisition, signal, jnp.float64(0.3), jnp.float64(1.5), jnp.float64(3.0))
        value = jax.jit(loss)
        gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4)))(*inputs)
        assert isinstance(gradient[0], js.Acquisition)
        rng = np.random.default_rng(4)
        for number, leaf in enumerate(jax.tree.leaves(inputs)):
            change = rng.standard_normal(leaf.shape)
            if leaf.shape == G.shape:  # along the sphere, as directions go
                change = change - np.sum(change * G, axis=1, keepdims=True) * G
            h = 1e-6 * max(1.0, float(jnp.abs(leaf).max()))
            ends = []
            for sign in (1, -1):
                leaves, tree = jax.tree.flatten(inputs)
                leaves[number] = leaf + sign * h * change
                ends.append(float(value(*jax.tree.unflatten(tree, leaves))))
            along = float(np.sum(np.asarray(jax.tree.leaves(gradient)[number]) * change))
            assert along != 0
            assert along == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-4)


def _twice(found):
    return found[0], found


def test_awkward_points_have_finite_derivatives_in_both_precisions():
    """Isotropic water, bounds, no diffusion, no signal, NaN: defined, and 0 for what a bound holds."""
    b = B / 1000
    rows = {
        "isotropic": np.exp(-b * 0.9),
        "beyond the bound of λ∥": np.exp(-b * 4.0),
        "no diffusion": np.ones_like(b),
        "sticks": np.r_[1, 1, np.asarray(js.signal.zeppelin_mean(b[2:], 1.7, 0.0))],
        "nothing": np.zeros_like(b),
        "NaN": np.full_like(b, np.nan),
        "rising": np.exp(0.3 * b),
    }
    for x64 in (True, False):
        with jax.enable_x64(x64):
            data = jnp.asarray(np.stack(list(rows.values())))
            one = partial(js.estimate, js.smt(), ACQUISITION, with_status=True)
            # Reverse mode in double, forward mode in single precision.
            jacobian = jax.jacrev if x64 else jax.jacfwd
            slopes, (found, status) = jax.jit(jax.vmap(jacobian(lambda s, f=one: _twice(f(s)), has_aux=True)))(data)
            for name, value in found.items():
                assert np.isfinite(value).all(), name
                assert np.isfinite(slopes[name]).all(), name
            told = dict(zip(rows, status.tolist(), strict=True))
            assert told["nothing"] == js.Status.NO_SIGNAL
            assert told["NaN"] == js.Status.NON_FINITE
            assert told["beyond the bound of λ∥"] == js.Status.AT_BOUND
            assert not np.any(np.asarray(slopes["lambda_par"])[list(rows).index("beyond the bound of λ∥")])
            for name in ("nothing", "NaN"):
                assert not np.any([np.asarray(s)[list(rows).index(name)] for s in slopes.values()])


def test_a_search_cut_short_has_no_derivative():
    solver = js.levenberg_marquardt(max_steps=2)
    signal = jnp.asarray(signals(1)[0], jnp.float32)
    found, status = js.estimate(js.smt(), ACQUISITION, signal, solver=solver, with_status=True)
    slope = jax.grad(lambda s: js.estimate(js.smt(), ACQUISITION, s, solver=solver)["lambda_par"])(signal)
    assert status == js.Status.NOT_CONVERGED
    assert found["lambda_par"] > 0
    assert not np.any(slope)


@pytest.mark.parametrize("name", ["smt", "watson"])
def test_batched_estimates_are_those_of_fit(name):
    """vmap and the whole fit are one optimum; so are derivatives by vmap of grad and grad of a sum."""
    model, _ = MODELS[name]
    data = signals(40, seed=5).astype(np.float32)
    fit = js.fit(model, ACQUISITION, data)
    kernels = fit if name == "smt" else fit.model.kernels
    many = jax.jit(jax.vmap(partial(js.estimate, model, ACQUISITION)))(data)
    np.testing.assert_allclose(many["lambda_par"], kernels.parameters["lambda_par"], atol=5e-4)
    if name == "watson":
        np.testing.assert_allclose(many["odi"], fit.parameters["odi"], atol=5e-4)
    if name == "smt":
        parallel = lambda s: js.estimate(model, ACQUISITION, s)["lambda_par"]  # noqa: E731
        each = jax.vmap(jax.grad(parallel))(data)
        total = jax.grad(lambda s: jnp.sum(jax.vmap(parallel)(s)))(jnp.asarray(data))
        np.testing.assert_allclose(each, total, atol=1e-5)


def test_what_cannot_be_estimated_is_refused():
    signal = np.ones(len(B))
    model = js.smt()
    for wrong, message in (
        (lambda: js.estimate(model, ACQUISITION, signal[:-1]), "b-values"),
        (lambda: js.estimate(model, ACQUISITION, signal[None]), "jax.vmap"),
        (lambda: js.estimate(model, ACQUISITION, signal, adjoint="exact"), "adjoint"),
        (lambda: js.estimate(model, ACQUISITION, signal, prior={"lambda": (1, 1)}), "prior"),
        (lambda: js.estimate(model, ACQUISITION, signal, prior={"lambda_par": (1, 1)}), "sigma"),
        (lambda: js.estimate(model.fix(fraction=np.full(4, 0.3)), ACQUISITION, signal), "maps"),
        (lambda: js.estimate(js.FodModel(model, "watson", "auto"), ACQUISITION, signal), "number of lobes"),
        (lambda: jax.jit(lambda b: js.Acquisition(b, G).b)(jnp.asarray(B)), "with_values"),
    ):
        with pytest.raises(js.InputError, match=message):
            wrong()


def test_crlb_is_the_inverse_of_the_information_and_has_derivatives():
    with jax.enable_x64(True):
        point = {"lambda_par": jnp.float64(1.7), "fraction": jnp.float64(0.3)}
        bound = js.crlb(js.smt(), ACQUISITION, point, 0.02)
        information = js.fisher_information(js.smt(), ACQUISITION, point, 0.02)
        np.testing.assert_allclose(bound @ information, np.eye(2), atol=1e-9)

        def variance(bvals):
            return js.crlb(js.smt(), ACQUISITION.with_values(bvals=bvals), point, 0.02)[0, 0]

        slope = jax.grad(variance)(jnp.asarray(B))
        h = np.zeros_like(B)
        h[40] = 1.0
        difference = (variance(jnp.asarray(B + h)) - variance(jnp.asarray(B - h))) / 2
        assert float(slope[40]) == pytest.approx(float(difference), rel=1e-4)


SHARDED = """
import os
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy as np
from functools import partial
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import jaxsmt as js
import test_estimation as t
data = t.signals(64, seed=6).astype(np.float32)
voxels = PartitionSpec("voxels")
mesh = Mesh(np.array(jax.devices()), ("voxels",))
spread = jax.device_put(data, NamedSharding(mesh, voxels))
one = jax.value_and_grad(lambda s: js.estimate(js.smt(), t.ACQUISITION, s)["lambda_par"])
many = jax.vmap(one)
expected = jax.jit(many)(data)
local = jax.shard_map(many, mesh=mesh, in_specs=voxels, out_specs=voxels, check_vma=False)
for program in (many, local):
    found = jax.jit(program)(spread)
    assert len(found[0].sharding.device_set) == 2
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(found[1], expected[1], atol=2e-3)
"""


def test_sharded_signals():
    """Voxels spread over two devices, by jit and by shard_map; in a process of its own, which has two."""
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", SHARDED], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
