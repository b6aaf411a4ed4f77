"""Models as kernels of FODs, and their predictions for other schemes."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.acquisition.shells import Pulse
from jaxsmt.physics.convolution import ORDER_MAX, order_needed
from tests.acquisition.test_acquisition import scheme
from tests.conftest import degrees, gauss_mean
from tests.models.known import SIX, SOMA, THREE, series
from tests.physics.test_contracts import gamma_sticks


def test_a_mixture_as_kernel_of_fods():
    """A user's compartment, given only its attenuation, beside a zeppelin, under known Watson lobes."""
    links = [js.equal("zeppelin.lambda_par", "mine.lambda_par"), js.fixed("zeppelin.lambda_perp", 0.6)]
    model = js.SphericalMeanModel({"mine": gamma_sticks(), "zeppelin": js.zeppelin()}, links).fix(
        **{"mine.spread": 0.4}
    )
    x, w = np.polynomial.legendre.leggauss(60)
    phi = 2 * np.pi * (np.arange(60) + 0.5) / 60
    rho = np.sqrt(1 - x**2)
    ring = [np.outer(rho, np.cos(phi)), np.outer(rho, np.sin(phi)), np.repeat(x[:, None], 60, 1)]
    sphere, weight = np.stack(ring, -1).reshape(-1, 3), np.repeat(w, 60)
    rng = np.random.default_rng(0)
    mu = rng.standard_normal((6, 3))
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    kappa = rng.uniform(3, 12, 6)
    density = weight * np.exp(kappa[:, None] * ((mu @ sphere.T) ** 2 - 1))
    density /= density.sum(axis=1, keepdims=True)
    b, x2 = THREE.bvals[:, None] / 1000, (THREE.bvecs @ sphere.T) ** 2
    kernel = 0.7 * (1 + 0.4 * b * 2.0 * x2) ** -2.5 + 0.3 * np.exp(-b * (0.6 + 1.4 * x2))
    data = 1000 * density @ kernel.T
    fit = js.fit(model, THREE, data)
    np.testing.assert_allclose(fit.parameters["mine.lambda_par"], 2.0, rtol=1e-2)
    np.testing.assert_allclose(fit.parameters["weight.mine"], 0.7, rtol=1e-2)
    fods = js.fit(fit.fod_model("watson"), THREE, data)
    assert np.max(degrees(fods.parameters["direction"][:, 0], mu)) < 0.1
    np.testing.assert_allclose(fods.parameters["kappa"][:, 0], kappa, rtol=0.01)
    np.testing.assert_allclose(fods.predict(), data, atol=0.5)
    np.testing.assert_allclose(np.mean((fods.predict() - data) ** 2, axis=-1) / fit.s0**2, fods.mse, atol=1e-8)
    np.testing.assert_allclose(fit.predict(), data @ THREE.weights.T, rtol=1e-3)


def _bulge(pulse, x, a):
    return jnp.exp(-12 * pulse.b * a * (1 - a) * x * x)


def _tensor(pulse, x, lambda_par, lambda_perp):
    return jnp.exp(-pulse.b * (lambda_perp + (lambda_par - lambda_perp) * x * x))


def order_of(model):
    """The order that the signal of one fibre needs at b = 3 ms/µm²."""
    return order_needed(model.extreme_moments(Pulse(3.0)), np.ones(ORDER_MAX // 2 + 1))


def test_orders_of_fods_follow_the_whole_box_of_parameters():
    """Where a kernel is sharpest inside its bounds, or at a map's own extremes, FODs keep the orders it needs."""
    needed = js.signal.truncation_order(9.0)
    inside = js.SphericalMeanModel(js.Compartment("bulge", (js.Parameter("a"),), _bulge))
    assert order_of(inside) >= needed - 2
    par, perp = np.array([1.5, 3.0]), np.array([1.4, 0.0])
    maps = js.SphericalMeanModel({"z": js.zeppelin(), "b": js.ball()}).fix(
        **{"z.lambda_par": par, "z.lambda_perp": perp}
    )
    assert order_of(maps) == needed
    assert order_of(js.smt(3.0)) == needed
    # Where a search starts says nothing of where it goes, whoever says it: the model or its compartment.
    isotropic = js.Parameter("lambda_perp", 0.0, 3.0, start=3.0)
    started = js.Compartment("started", (js.Parameter("lambda_par", 0.0, 3.0, start=3.0), isotropic), _tensor)
    assert order_of(js.SphericalMeanModel(started)) == needed


def test_isotropic_models_are_no_kernels_and_restricted_ones_predict():
    values = {"sphere.radius": np.full(2, 6.0), "weight.sphere": np.full(2, 0.4), "weight.stick": np.full(2, 0.4)}
    data = series(SOMA, values, SIX)
    fit = js.fit(SOMA, SIX, data, mask=[1, 0], dtype="float64")
    for exact in (fit, replace(fit, settings=js.Settings(s0="mean"))):
        np.testing.assert_allclose(exact.predict()[0], data[0] @ SIX.weights.T, rtol=1e-3)
        assert np.all(exact.predict()[1] == 0)  # where a radius of 0 has no signal
    with pytest.raises(js.InputError, match="duration δ"):
        fit.predict(THREE)
    ball = js.fit(js.SphericalMeanModel(js.ball()), THREE, np.ones((1, THREE.bvals.size)))
    with pytest.raises(js.InputError, match="is isotropic"):
        ball.fod_model("watson")


def test_predictions_elsewhere():
    values = {"lambda_par": np.array([1.5, 2.0]), "fraction": np.array([0.3, 0.5])}
    data = series(js.smt(), values)
    data[1] = np.nan
    fit = js.fit(js.smt(), THREE, data)
    other = scheme([1500, 2500])
    np.testing.assert_allclose(fit.predict(other)[0], 1000 * gauss_mean(other.b, 1.5, 0.45), rtol=1e-3)
    assert np.all(fit.predict()[1] == 0)
    exact = js.fit(js.smt(), js.Acquisition(np.where(THREE.bvals == 0, 5, THREE.bvals), THREE.bvecs), data, s0="mean")
    assert exact.predict()[0, 0] == exact.s0[0]
    fods = js.fit(fit.fod_model("watson"), THREE, data)
    np.testing.assert_allclose(fods.predict()[0], data[0], rtol=1e-3)
    assert np.all(fods.predict()[1] == 0)
    assert fods.predict(other).shape == (2, other.bvals.size)
