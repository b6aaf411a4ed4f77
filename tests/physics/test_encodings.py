"""Encodings of other shapes than linear: signals, moments and derivatives against the b-tensor itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.physics.signal import zeppelin_legendre, zeppelin_mean
from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean

SHAPES = [-0.5, -0.2, 0.0, 0.4, 1.0]


def b_tensor(b, b_delta, axis):
    """B = b[(1 - b_Δ) I/3 + b_Δ a aᵀ], whose trace is b."""
    return b * ((1 - b_delta) * np.eye(3) / 3 + b_delta * np.outer(axis, axis))


@pytest.mark.parametrize("b_delta", SHAPES)
@pytest.mark.parametrize(("par", "perp"), [(2.0, 0.4), (1.7, 0.0), (1.0, 1.0), (0.5, 1.6), (3.05, 0.0)])
def test_signals_are_those_of_tensors(b_delta, par, perp):
    """exp(-B:D), D along x: for prolate, stick-like, isotropic and oblate tensors."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(20, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    D = np.diag([par, perp, perp])
    expected = [np.exp(-np.sum(b_tensor(2.5, b_delta, axis) * D)) for axis in axes]
    with jax.enable_x64(True):
        pulse = js.Pulse(2.5, b_delta=b_delta)
        signal = js.zeppelin().at(pulse, jnp.abs(jnp.asarray(axes[:, 0])), jnp.asarray(par), jnp.asarray(perp))
        np.testing.assert_allclose(signal, expected, rtol=1e-12)
        if perp == 0:
            stick = js.stick().at(pulse, jnp.abs(jnp.asarray(axes[:, 0])), jnp.asarray(par))
            np.testing.assert_allclose(stick, expected, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_means_and_moments_match_quadrature(dtype, tolerance):
    b, par, perp, shape = np.meshgrid([0, 0.3, 1, 3, 10], [0, 0.3, 1, 3.05], [0, 0.5, 2], SHAPES, indexing="ij")
    x, weighted = js.signal.legendre_rule(8, 120)
    exponent = (1 - shape) * (par + 2 * perp) / 3 + shape * perp
    contrast = b * shape * (par - perp)
    exact = np.exp(-(b * exponent)[..., None] - contrast[..., None] * x**2) @ weighted
    with jax.enable_x64(dtype is np.float64):
        values = [jnp.asarray(v, dtype) for v in (b, par, perp, shape)]
        mean = zeppelin_mean(*values)
        moments = zeppelin_legendre(*values[:3], 8, values[3])
    assert mean.dtype == moments.dtype == dtype
    np.testing.assert_allclose(mean, gauss_mean(b, par, perp, b_delta=shape), rtol=0, atol=tolerance)
    np.testing.assert_allclose(moments, exact, rtol=0, atol=tolerance)


def test_linear_encoding_by_name_is_what_it_is_without():
    with jax.enable_x64(True):
        values = (2.0, 1.7, jnp.linspace(0.0, 2.0, 9))
        np.testing.assert_allclose(zeppelin_mean(*values, 1.0), zeppelin_mean(*values), rtol=1e-14)
        np.testing.assert_allclose(zeppelin_legendre(*values, 6, 1.0), zeppelin_legendre(*values, 6), atol=1e-15)


def test_spherical_encoding_tells_the_mean_diffusivity_alone():
    for par, perp in ((2.0, 0.5), (1.0, 1.0), (0.4, 1.3)):
        assert float(zeppelin_mean(1.5, par, perp, 0.0)) == pytest.approx(np.exp(-1.5 * (par + 2 * perp) / 3), rel=1e-6)


@pytest.mark.parametrize("b_delta", [-0.45, -0.2, 0.0, 1e-9, 0.3, 0.95])
@pytest.mark.parametrize(("par", "perp"), [(2.0, 0.4), (1.0, 1.0), (0.5, 1.6)])
def test_gradients_match_finite_differences(b_delta, par, perp):
    """By b, both diffusivities and b_Δ, where the contrast vanishes and changes its sign too."""
    point, h = np.array([2.0, par, perp, b_delta]), 1e-5
    with jax.enable_x64(True):
        slope = jax.grad(lambda p: zeppelin_mean(p[0], p[1], p[2], p[3]))(jnp.asarray(point))
        moment = jax.grad(lambda p: zeppelin_legendre(p[0], p[1], p[2], 2, p[3])[1])(jnp.asarray(point))
        for i in range(4):
            up, down = (jnp.asarray(point + s * h * (np.arange(4) == i)) for s in (1, -1))
            difference = (zeppelin_mean(*up) - zeppelin_mean(*down)) / (2 * h)
            of_moment = (zeppelin_legendre(*up[:3], 2, up[3]) - zeppelin_legendre(*down[:3], 2, down[3]))[1] / (2 * h)
            np.testing.assert_allclose(slope[i], difference, atol=1e-9)
            np.testing.assert_allclose(moment[i], of_moment, atol=1e-9)


def test_derivatives_by_an_acquisitions_shapes():
    """`jax.grad` of a model's signal by `Acquisition.b_delta`, against differences."""
    shapes = np.repeat([1.0, 1.0, -0.3], [2, 30, 30])
    acquisition = scheme([1000, 2000], b_delta=shapes)
    parameters = {"lambda_par": 2.0, "fraction": 0.3}
    with jax.enable_x64(True):

        def last(values):
            return js.smt().signal(acquisition.with_values(b_delta=values), parameters)[2]

        slope = jax.grad(last)(jnp.asarray(shapes))
        h = 1e-5 * (np.arange(62) >= 32)
        difference = (last(jnp.asarray(shapes + h)) - last(jnp.asarray(shapes - h))) / 2e-5
    assert not np.any(np.asarray(slope)[:32])
    np.testing.assert_allclose(np.sum(np.asarray(slope)[32:]), difference, rtol=1e-6)


def test_restricted_compartments_refuse_other_shapes():
    acquisition = scheme([1000, 2000], delta=10.0, Delta=30.0, b_delta=0.0)
    model = js.SphericalMeanModel(js.sphere())
    with pytest.raises(js.InputError, match="a sphere is known for linear encoding only"):
        model.signal(acquisition, {"radius": 5.0, "diffusivity": 2.0})
    linear = scheme([1000, 2000], delta=10.0, Delta=30.0, b_delta=1.0)
    plain = scheme([1000, 2000], delta=10.0, Delta=30.0)
    values = {"radius": 5.0, "diffusivity": 2.0}
    np.testing.assert_allclose(model.signal(linear, values), model.signal(plain, values), rtol=1e-6)


def test_a_compartment_of_ones_own_says_whether_it_holds_for_other_shapes():
    """Else its attenuation would be taken for what it is not."""
    acquisition = scheme([1000, 2000], b_delta=0.5)
    rate = (js.Parameter("rate"),)

    def attenuation(pulse, x, rate):
        shape = 1.0 if pulse.b_delta is None else pulse.b_delta
        return jnp.exp(-pulse.b * rate * ((1 - shape) / 3 + shape * x * x))

    careless = js.Compartment("mine", rate, attenuation)
    with pytest.raises(js.InputError, match="a mine is known for linear encoding only"):
        js.SphericalMeanModel(careless).signal(acquisition, {"rate": 0.5})
    careful = js.Compartment("mine", rate, attenuation, shaped=True)
    js.check_compartment(careful)
    means = js.SphericalMeanModel(careful).signal(acquisition, {"rate": 0.5})
    np.testing.assert_allclose(means, gauss_mean(acquisition.b, 0.5, 0.0, b_delta=[1, 0.5, 0.5]), rtol=1e-6)
