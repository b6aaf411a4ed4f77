"""Noise floor, standard deviations, priors and gradient deviation, on simulated voxels whose truth is known."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import jaxsmt as js
from jaxsmt.batch.engine import MeansFitter
from jaxsmt.fitting import kernels as conditions
from jaxsmt.simulate import hcp_scheme, rician
from tests.conftest import degrees

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
    rng, sigma = np.random.default_rng(seed), 1000 / snr
    signal = clean()
    if kind == "rician":
        return rician(signal, sigma, rng)
    return signal + sigma * rng.standard_normal(signal.shape, dtype=np.float32)


def truth(name):
    par, fraction, _, kappa = tissue()
    odi = 2 / np.pi * np.arctan(1 / kappa)
    md = par * (1 + 2 * fraction) / 3
    return {"lambda_par": par, "fraction": fraction, "lambda_perp": fraction * par, "md": md, "odi": odi, "s0": 1000}[
        name
    ]


@pytest.mark.parametrize("kind", ["gaussian", "rician"])
def test_standard_deviations_are_right(kind):
    """z-scores of truth have unit spread and the coverage of normal errors."""
    for snr in (20, 50):
        data = noisy(kind, snr)
        fit = js.fit(js.smt(), ACQUISITION, data, noise=kind, sigma=1000 / snr, uncertainty=True)
        inside = fit.status == js.Status.CONVERGED
        assert inside.mean() > 0.97
        for name in ("lambda_par", "lambda_perp", "fraction", "md"):
            found = fit.parameters[name] if name in fit.parameters else fit.derived[name]
            error = (found - truth(name))[inside]
            z = error / fit.sd[name][inside]
            assert 0.9 < np.std(z) < 1.1, (snr, name)
            assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.97, (snr, name)
        assert np.abs(np.mean((fit.parameters["lambda_par"] - truth("lambda_par"))[inside])) < 0.02
        assert np.isnan(fit.sd["lambda_par"][fit.status == js.Status.AT_BOUND]).all()


def test_errors_are_no_larger_than_they_must_be():
    """RMSE ≤ 1.05 × the Cramér-Rao bound where that is small enough for estimates to be unbiased; SNR 50."""
    names, repeats = js.smt().parameter_names, 10
    true = np.stack([np.tile(truth(name), repeats) for name in names])
    bound = np.asarray(js.crlb(js.smt(), ACQUISITION, dict(zip(names, true, strict=True)), 1 / 50))
    noise = 20 * np.random.default_rng(4).standard_normal((4, true.shape[1]))
    means = np.tile(ACQUISITION.weights @ clean().T, (1, repeats)) + noise * np.sqrt(ACQUISITION.variances)[:, None]
    fits = MeansFitter(js.smt(), ACQUISITION)(means)
    easy = (bound[:, 0, 0] < 0.1**2) & (bound[:, 1, 1] < 0.05**2) & (fits.status == js.Status.CONVERGED)
    assert easy.sum() > 10_000
    for i, name in enumerate(names):
        error = (fits.parameters[name] - true[i])[easy]
        assert np.sqrt(np.mean(error**2 / bound[easy, i, i])) < 1.05


def test_standard_deviations_of_fods():
    data = noisy("rician", 30)
    fods = js.fit(js.FodModel(js.smt(), "watson"), ACQUISITION, data, noise="rician", sigma=1000 / 30, uncertainty=True)
    kernels = fods.model.kernels
    inside = (fods.status == js.Status.CONVERGED) & (kernels.status == js.Status.CONVERGED)
    angle = degrees(fods.parameters["direction"][:, 0], tissue()[2])
    assert np.sqrt(np.mean((angle / fods.sd["direction"][:, 0])[inside] ** 2)) == pytest.approx(1, abs=0.1)
    error = (fods.parameters["odi"][:, 0] - truth("odi"))[inside]
    z = error / fods.sd["odi"][inside, 0]
    assert 0.85 < np.std(z) < 1.15
    assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.98
    assert not np.any(fods.sd["weight"][inside])  # one lobe has it all
    assert np.isnan(fods.sd["odi"][fods.status == js.Status.AT_BOUND]).all()

    # The fit is the Rician likelihood's: SciPy does not find better, in a voxel taken at random.
    weighted = ACQUISITION.bvals > 0
    b, g = ACQUISITION.bvals[weighted] / 1000, ACQUISITION.bvecs[weighted]
    i = 7
    kernel, s0, sigma = (
        (kernels.parameters["lambda_par"][i], kernels.parameters["lambda_perp"][i]),
        kernels.s0[i],
        1000 / 30,
    )

    @jax.jit
    def signal(v):
        return js.signal.convolved(g, b, kernel, js.watson(v[:3], jnp.exp(v[3])), 28)

    def cost(v):
        return -np.sum(stats.rice.logpdf(data[i, weighted] / sigma, np.asarray(signal(v), float) * s0 / sigma))

    start = np.r_[fods.parameters["direction"][i, 0], np.log(fods.parameters["kappa"][i, 0])]
    best = optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
    assert cost(start) <= best.fun + 0.02


def test_noise_floor_and_its_sigma():
    """Without correction the floor raises λ∥; with it no bias is left, whether σ is known or estimated."""
    data = noisy("rician", 30)
    plain = js.fit(js.smt(), ACQUISITION, data)
    known = js.fit(js.smt(), ACQUISITION, data, noise="rician", sigma=np.full(VOXELS, 1000 / 30))
    found = js.fit(js.smt(), ACQUISITION, data, noise="rician")
    error = [fit.parameters["lambda_par"] - truth("lambda_par") for fit in (plain, known, found)]
    assert np.mean(error[0]) > 0.05
    assert np.abs(np.mean(error[1])) < 0.01
    assert np.abs(np.mean(error[2])) < 0.01
    assert np.sqrt(np.mean(error[2] ** 2)) < 1.05 * np.sqrt(np.mean(error[1] ** 2))
    # One σ everywhere is recognised as such.
    assert np.median(found.sigma) == pytest.approx(1000 / 30, rel=0.01)
    assert np.std(found.sigma) / np.mean(found.sigma) < 0.02
    assert found.sigma_error < 0.02
    assert plain.sigma is None


def test_sigmas_that_differ_are_kept():
    rng = np.random.default_rng(2)
    true = np.exp(0.5 * rng.standard_normal(2000))
    estimates = true * np.exp(rng.standard_normal(2000) / np.sqrt(2 * 50))
    found, error = conditions.pooled(np.r_[estimates, np.nan], 50)
    assert error == pytest.approx(0.1, rel=0.1)
    assert np.std(np.log(found[:-1] / true)) < 0.1
    assert np.isfinite(found).all()


def test_gradient_deviation():
    """Up to 17 % in b: what the map leaves of the errors that it mends, in kernels and FODs."""
    rng = np.random.default_rng(3)
    scale = np.eye(3) * rng.uniform(-0.05, 0.05, (VOXELS, 1, 1))
    deviation = scale + rng.uniform(-0.02, 0.02, (VOXELS, 3, 3))
    data = clean(deviation)
    nine = np.swapaxes(deviation, 1, 2).reshape(VOXELS, 9)  # column by column
    errors = []
    for given in (None, nine, deviation):
        fit = js.fit(js.smt(), ACQUISITION, data, grad_dev=given)
        fods = js.fit(fit.fod_model("watson"), ACQUISITION, data)
        every = [fit.parameters[name] - truth(name) for name in ("lambda_par", "lambda_perp")]
        every += [fods.parameters["odi"][:, 0] - truth("odi"), degrees(fods.parameters["direction"][:, 0], tissue()[2])]
        errors.append([np.sqrt(np.mean(e**2)) for e in every])
    without, with_nine, with_matrix = np.array(errors)
    assert np.all(without > [0.05, 0.02, 0.005, 1])
    assert np.all(with_nine < without / 10)
    np.testing.assert_allclose(with_nine, with_matrix, rtol=1e-6)


def test_priors():
    """From the data alone to the prior alone as σ grows; shrinkage says how far. The same optimum as `estimate`."""
    data = noisy("gaussian", 40)[:64]
    mean = {"lambda_par": (1.0, 0.2), "lambda_perp": (0.3, 0.1)}
    plain = js.fit(js.smt(), ACQUISITION, data).parameters["lambda_par"]
    few, many = (js.fit(js.smt(), ACQUISITION, data, prior=mean, sigma=s, uncertainty=True) for s in (0.1, 1e5))
    np.testing.assert_allclose(few.parameters["lambda_par"], plain, atol=2e-3)
    assert np.all(few.shrinkage["lambda_par"] < 1e-3)
    np.testing.assert_allclose(many.parameters["lambda_par"], 1.0, atol=1e-3)
    np.testing.assert_allclose(many.parameters["lambda_perp"], 0.3, atol=1e-3)
    np.testing.assert_allclose(many.shrinkage["lambda_par"], 1.0, atol=1e-3)
    np.testing.assert_allclose(many.sd["lambda_par"], 0.2, rtol=1e-2)  # the prior's own
    np.testing.assert_allclose(many.sd["lambda_perp"], 0.1, rtol=1e-2)
    some = js.fit(js.smt(), ACQUISITION, data, prior=mean, sigma=100.0)
    one = js.estimate(js.smt(), ACQUISITION, data[5], prior=mean, sigma=100.0)
    assert some.parameters["lambda_par"][5] == pytest.approx(float(one["lambda_par"]), abs=2e-3)


def test_awkward_voxels_of_magnitudes():
    """NaN, nothing, a volume without signal, one voxel alone: statuses are those of a plain fit, σ is still found."""
    data = noisy("rician", 30)[:40]
    data[0, 100], data[1], data[2, 100] = np.nan, 0, 0
    fit = js.fit(js.smt(), ACQUISITION, data, noise="rician", uncertainty=True)
    assert fit.status[:2].tolist() == [js.Status.NON_FINITE, js.Status.NO_SIGNAL]
    assert np.all(np.isin(fit.status[2:], (js.Status.CONVERGED, js.Status.AT_BOUND)))
    assert np.median(fit.sigma) == pytest.approx(1000 / 30, rel=0.05)
    assert np.isnan(fit.sd["lambda_par"][:2]).all()
    for values in (*fit.parameters.values(), fit.s0, fit.mse):
        assert np.isfinite(values).all()
    # A second pass meets the voxel without a fit as predicted signals of 0.
    some = np.nan_to_num(data[:3])
    means, factors = conditions.expected_means(some, 0 * some, np.full(3, 30.0), ACQUISITION.weights)
    assert not np.any(means)
    assert np.isinf(factors).all()
    alone = js.fit(js.smt(), ACQUISITION, data[5], noise="rician", uncertainty=True)
    assert alone.sigma == pytest.approx(1000 / 30, rel=0.2)  # from one voxel's 288 volumes
    assert alone.sigma_error > 0.02
    assert alone.parameters["lambda_par"] == pytest.approx(fit.parameters["lambda_par"][5], abs=0.1)


def test_what_cannot_be_is_refused():
    data, grad_dev = np.ones((2, len(ACQUISITION.bvals))), np.zeros((2, 9))
    for options, message in (
        ({"noise": "chi"}, "unknown noise"),
        ({"noise": "rician", "sigma": 0.0}, "not positive"),
        ({"noise": "rician", "sigma": np.array([1.0, np.nan])}, "in 1 voxels"),
        ({"noise": "rician", "sigma": np.ones(3)}, r"sigma of shape \(3,\)"),
        ({"grad_dev": np.zeros((3, 9))}, "grad_dev of shape"),
        ({"grad_dev": grad_dev + 2}, "up to 2"),
        ({"grad_dev": grad_dev * np.nan}, "up to nan"),
        ({"prior": {"lambda": (1, 1)}}, "a prior of 'lambda'"),
        ({"prior": {"lambda_par": (1, 0)}}, "not positive"),
        ({"prior": "everyone"}, "unknown prior"),
        ({"prior": {"lambda_par": (1, 1)}, "sigma": 1.0, "weights": [1, 1, 1, 1]}, "a prior and weights"),
    ):
        with pytest.raises(js.InputError, match=message):
            js.fit(js.smt(), ACQUISITION, data, **options)
    with pytest.raises(js.InputError, match="no population prior"):
        js.fit(js.ball_stick(), ACQUISITION, data, prior="population")
    with pytest.warns(js.JaxsmtWarning, match="too few"):
        few = js.Acquisition(np.r_[0, 0, np.repeat([1000.0, 2000], 6)], np.r_[np.zeros((2, 3)), np.eye(3).repeat(4, 0)])
    with pytest.raises(js.InputError, match="sigma cannot be estimated"):
        js.fit(js.smt(), few, np.ones((2, 14)), noise="rician")
    kernels = js.fit(js.smt(), ACQUISITION, clean()[:2])
    with pytest.raises(js.InputError, match="options of the kernels' fit"):
        js.fit(kernels.fod_model("watson"), ACQUISITION, clean()[:2], noise="rician")
