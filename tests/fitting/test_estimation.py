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
from jaxsmt.geometry.quadrature import gradient_directions

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
def program(name, adjoint="implicit"):
    """Estimates of many voxels, their derivative along a change of the signal, and statuses; compiled once.

    Converged to rounding, or differences would show what is left to converge.
    """
    model, outputs = MODELS[name]
    solver = js.levenberg_marquardt(rtol=1e-16)

    def one(signal):
        estimates, status = js.estimate(model, ACQUISITION, signal, solver=solver, adjoint=adjoint, with_status=True)
        return jnp.concatenate([jnp.atleast_1d(estimates[name]).ravel() for name in outputs]), status

    return jax.jit(lambda s, change: jax.jvp(jax.vmap(one), (s,), (change,), has_aux=True))


@pytest.mark.parametrize("name", MODELS)
def test_implicit_derivatives_are_those_of_the_fit(name):
    """≤ 1e-5 of central differences of the converged fit in 99 % of 1,000 interior voxels, double precision."""
    with jax.enable_x64(True):
        fit = program(name)
        data = jnp.asarray(signals(1300))
        change = jnp.asarray(np.random.default_rng(1).standard_normal(data.shape))
        _, exact, status = map(np.asarray, fit(data, change))
        inside = np.flatnonzero(status == js.Status.CONVERGED)[:1000]
        assert len(inside) == 1000
        exact = exact[inside]
        best = np.full(1000, np.inf)
        ends = {}
        for h in (1e-3, 1e-4):  # of a signal near 100: rounding and curvature are both below 1e-6 at one of them
            ends[h] = [[np.asarray(v)[inside] for v in fit(data + s * h * change, change)[:2]] for s in (1, -1)]
            (up, _), (down, _) = ends[h]
            error = np.abs((up - down) / (2 * h) - exact).max(axis=1) / np.abs(exact).max(axis=1)
            best = np.minimum(best, error)
        assert np.mean(best <= 1e-5) >= 0.99
        assert np.isfinite(exact).all()
        if name == "smt":  # the second derivative, against differences of the first
            along = lambda s: fit(s, change)[1]  # noqa: E731
            second = np.asarray(jax.jit(lambda s: jax.jvp(along, (s,), (change,))[1])(data))[inside]
            (_, up), (_, down) = ends[1e-3]
            error = np.abs((up - down) / 2e-3 - second).max(axis=1) / np.abs(second).max(axis=1)
            assert np.mean(error <= 1e-4) >= 0.99
        if name == "watson":  # what the status tells of the kernel is not lost
            kernels = js.fit(js.smt(), ACQUISITION, np.asarray(data), dtype="float64").status
            assert np.any(kernels == js.Status.AT_BOUND)
            assert np.all(status >= kernels)
        if name != "mcsmt":  # through the solver's steps it is the same
            few = inside[:50]
            unrolled = np.asarray(program(name, "unrolled")(data[few], change[few])[1])
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


def _twice(estimates):
    return estimates[0], estimates


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
            slopes, (estimates, status) = jax.jit(jax.vmap(jacobian(lambda s, f=one: _twice(f(s)), has_aux=True)))(data)
            for name, value in estimates.items():
                assert np.isfinite(value).all(), name
                assert np.isfinite(slopes[name]).all(), name
            statuses = dict(zip(rows, status.tolist(), strict=True))
            assert statuses["nothing"] == js.Status.NO_SIGNAL
            assert statuses["NaN"] == js.Status.NON_FINITE
            assert statuses["beyond the bound of λ∥"] == js.Status.AT_BOUND
            assert not np.any(np.asarray(slopes["lambda_par"])[list(rows).index("beyond the bound of λ∥")])
            for name in ("nothing", "NaN"):
                assert not np.any([np.asarray(s)[list(rows).index(name)] for s in slopes.values()])


def test_a_search_cut_short_has_no_derivative():
    solver = js.levenberg_marquardt(max_steps=2)
    signal = jnp.asarray(signals(1)[0], jnp.float32)
    one = partial(js.estimate, js.smt(), ACQUISITION, solver=solver, with_status=True)
    slopes, (estimates, status) = jax.jit(jax.jacrev(lambda s: _twice(one(s)), has_aux=True))(signal)
    assert status == js.Status.NOT_CONVERGED
    assert estimates["lambda_par"] > 0
    assert not any(np.any(slope) for slope in slopes.values())  # that of S0 neither


def test_a_solver_that_knows_no_bounds_ends_on_them():
    """With λ∥ and f in a corner that sigmoids only approach: both stay there, and S0 has what derivative is left."""
    signal = jnp.asarray(100 * np.exp(-B / 1000 * 4.0), jnp.float32)
    one = partial(js.estimate, js.smt(), ACQUISITION, solver=js.lbfgs(), with_status=True)
    change = jnp.linspace(0.5, 1.5, len(B), dtype=jnp.float32)
    (estimates, status), (slopes, _) = jax.jit(lambda s: jax.jvp(one, (s,), (change,)))(signal)
    assert status == js.Status.AT_BOUND
    np.testing.assert_allclose([estimates["lambda_par"], estimates["fraction"]], [3.05, 1.0], rtol=1e-6)
    assert slopes["lambda_par"] == slopes["fraction"] == 0
    assert slopes["s0"] != 0


def test_whatever_is_not_finite_has_its_status():
    """Prior, σ, fixed value, weights, b-values and directions that cannot be, traced: one program for all."""
    signal = jnp.asarray(signals(1)[0], jnp.float32)

    def one(signal, b, g, fraction, mean, sd, sigma, weights):
        acquisition, model = ACQUISITION.with_values(b, g), js.smt().fix(fraction=fraction)
        prior = {"lambda_par": (mean, sd)}
        estimates, status = js.estimate(
            model, acquisition, signal, sigma=sigma, prior=prior, weights=weights, with_status=True
        )
        return estimates["lambda_par"], (estimates, status)

    good = (signal, B, G, 0.3, 1.5, 0.1, 2.0, np.ones(4))
    spoiled_b, spoiled_g = np.where(np.arange(len(B)) == 40, np.nan, B), G.copy()
    spoiled_g[40] = np.nan
    bad = {1: [spoiled_b], 2: [spoiled_g], 3: [1.5, np.nan], 4: [np.nan], 5: [np.nan, 0.0, -1.0], 6: [np.nan, 0.0]}
    bad |= {7: [[0, 0, 0, 0], [1, -1, 1, 1], [1, np.nan, 1, 1]]}
    rows = [good, (*good[:5], 1e-30, *good[6:]), (*good[:7], [0, 1, 1, 1])]  # a prior that is as tight as may be
    rows += [(*good[:i], value, *good[i + 1 :]) for i, values in bad.items() for value in values]
    inputs = [jnp.asarray(np.stack([np.asarray(v) for v in column]), jnp.float32) for column in zip(*rows, strict=True)]
    slopes, (estimates, status) = jax.jit(jax.vmap(jax.grad(one, argnums=(0, 7), has_aux=True)))(*inputs)
    np.testing.assert_array_equal(status[:3], js.Status.CONVERGED)
    np.testing.assert_array_equal(status[3:], js.Status.NON_FINITE)
    assert float(estimates["lambda_par"][1]) == pytest.approx(1.5, abs=1e-6)
    assert np.isfinite(slopes[0]).all()
    assert np.isfinite(slopes[1][:3]).all()
    assert np.any(slopes[0][0])
    assert not np.any(slopes[0][3:])
    assert not any(np.any(values[3:]) for values in estimates.values())


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
        each = jax.jit(jax.vmap(jax.grad(parallel)))(data)
        total = jax.jit(jax.grad(lambda s: jnp.sum(jax.vmap(parallel)(s))))(data)
        np.testing.assert_allclose(each, total, atol=1e-5)


def test_what_cannot_be_estimated_is_refused():
    signal = np.ones(len(B))
    model, one_shell = js.smt(), js.Acquisition(B[:32], G[:32])
    for wrong, message in (
        (lambda: js.estimate(model, ACQUISITION, signal[:-1]), "b-values"),
        (lambda: js.estimate(model, ACQUISITION, signal[None]), "jax.vmap"),
        (lambda: js.estimate(model, ACQUISITION, signal, adjoint="exact"), "adjoint"),
        (lambda: js.estimate(model, ACQUISITION, signal, prior={"lambda": (1, 1)}), "prior"),
        (lambda: js.estimate(model, ACQUISITION, signal, prior={"lambda_par": (1, 1)}), "sigma"),
        (lambda: js.estimate(model, ACQUISITION, signal, sigma=1, prior={"lambda_par": (1, 0)}), "deviation .* is 0"),
        (lambda: js.estimate(model, ACQUISITION, signal, sigma=0, prior={"lambda_par": (1, 1)}), "sigma=0"),
        (lambda: js.estimate(model, ACQUISITION, signal, sigma=[1.0], prior={"lambda_par": (1, 1)}), "an array"),
        (lambda: js.estimate(model, ACQUISITION, signal, weights=[1, -1, 1, 1]), "weights"),
        (lambda: js.estimate(model, ACQUISITION, signal + 0j), "complex"),
        (lambda: js.estimate(model, one_shell, signal[:32], sigma=1, prior={"fraction": (0.3, np.inf)}), "2 shells"),
        (lambda: jax.jit(lambda top: model.bound(lambda_par=(0, top)))(3.0), "bounds cannot be traced"),
        (lambda: js.estimate(model.fix(fraction=np.full(4, 0.3)), ACQUISITION, signal), "maps"),
        (lambda: js.estimate(js.FodModel(model, "watson", "auto"), ACQUISITION, signal), "number of lobes"),
        (lambda: jax.jit(lambda b: js.Acquisition(b, G).b)(jnp.asarray(B)), "with_values"),
    ):
        with pytest.raises(js.InputError, match=message):
            wrong()
    half = jax.eval_shape(partial(js.estimate, model, ACQUISITION), jnp.asarray(signal, jnp.bfloat16))
    assert half["s0"].dtype == np.float32


SHARDED = """
import os
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
import jax, numpy as np
from functools import partial
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import jaxsmt as js
import tests.fitting.test_estimation as t
data = t.signals(64, seed=6).astype(np.float32)
voxels = PartitionSpec("voxels")
mesh = Mesh(np.array(jax.devices()), ("voxels",))
spread = jax.device_put(data, NamedSharding(mesh, voxels))
one = jax.value_and_grad(lambda s: js.estimate(js.smt(), t.ACQUISITION, s)["lambda_par"])
many = jax.vmap(one)
expected = jax.jit(many)(data)
local = jax.shard_map(many, mesh=mesh, in_specs=voxels, out_specs=voxels, check_vma=False)
for program in (many, local):
    estimates = jax.jit(program)(spread)
    assert len(estimates[0].sharding.device_set) == 2
    np.testing.assert_allclose(estimates[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(estimates[1], expected[1], atol=2e-3)
"""


def test_sharded_signals():
    """Voxels spread over two devices, by jit and by shard_map; in a process of its own, which has two."""
    root = Path(__file__).parents[2]  # where the tests are a package
    done = subprocess.run([sys.executable, "-c", SHARDED], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
