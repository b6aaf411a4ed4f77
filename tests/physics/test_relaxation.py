"""Compartments with a T2: signals against closed forms, derivatives by the echo time against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from tests.conftest import gauss_mean
from tests.models.known import echoes_scheme

MTE = js.SphericalMeanModel({"stick": js.relaxing(js.stick()), "ball": js.relaxing(js.ball())})
VALUES = {
    "stick.lambda_par": 2.0,
    "stick.t2": 90.0,
    "ball.diffusivity": 1.1,
    "ball.t2": 50.0,
    "weight.stick": 0.6,
}


def test_signals_decay_with_the_echo_time():
    """Each compartment by its own T2, at b = 0 too: S0 is that of the echo time 0."""
    acquisition = echoes_scheme()
    b, te = acquisition.b, np.array([shell.te for shell in acquisition.shells])
    expected = 0.6 * gauss_mean(b, 2.0, 0.0) * np.exp(-te / 90) + 0.4 * np.exp(-1.1 * b - te / 50)
    np.testing.assert_allclose(MTE.signal(acquisition, VALUES), expected, rtol=1e-5)


def test_derivatives_by_echo_times_match_finite_differences():
    """Of means and of Legendre moments, and through an acquisition's table."""
    acquisition = echoes_scheme()
    with jax.enable_x64(True):
        stick, values, h = js.relaxing(js.stick()), (jnp.asarray(1.9), jnp.asarray(70.0)), 1e-3

        def moments(te):
            return stick.moments(js.Pulse(2.0, te=te), 4, *values)

        difference = (moments(80.0 + h) - moments(80.0 - h)) / (2 * h)
        np.testing.assert_allclose(jax.jacfwd(moments)(jnp.asarray(80.0)), difference, rtol=1e-8)

        def third(te):
            return MTE.signal(acquisition.with_values(te=te), VALUES)[2]

        te = jnp.asarray(acquisition.te)
        step = h * np.isin(np.arange(te.size), acquisition.shells[2].volumes)
        slope = np.asarray(jax.grad(third)(te))
        assert np.array_equal(np.flatnonzero(slope), acquisition.shells[2].volumes)
        np.testing.assert_allclose(slope.sum(), (third(te + step) - third(te - step)) / (2 * h), rtol=1e-8)


def test_derivatives_of_the_information_by_echo_times():
    """What a protocol is designed by: the bound of a T2 by the echo times."""
    acquisition, names = echoes_scheme(), MTE.parameter_names
    with jax.enable_x64(True):

        def variance(te):
            bound = js.crlb(MTE, acquisition.with_values(te=te), VALUES, 0.01)
            return bound[names.index("stick.t2"), names.index("stick.t2")]

        te = jnp.asarray(acquisition.te)
        step = 1e-3 * (acquisition.te == acquisition.te.max())
        slope = jax.jit(jax.grad(variance))(te)
        difference = (variance(te + step) - variance(te - step)) / 2e-3
        np.testing.assert_allclose(np.sum(np.asarray(slope)[step > 0]), difference, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "te", "s0", "reason"),
    [
        (MTE, None, "fit", "need the echo times\n  fix: give te="),
        (MTE, 70.0, "fit", "cannot determine .*t2.* of the custom model(.|\n)*use a scheme with other echo times"),
        (js.SphericalMeanModel(js.relaxing(js.ball())), 70.0, "fit", "cannot determine t2"),
        (MTE, "several", "mean", "b = 0 volumes have decayed with T2"),
        (js.SphericalMeanModel({"a": js.relaxing(js.stick()), "b": js.ball()}), "several", "fit", "a ball has no T2"),
    ],
)
def test_schemes_and_models_without_a_meaning_are_refused(model, te, s0, reason):
    """T2 is not determined by one echo time, which changes S0 alone; and S0 is one, so that all must relax."""
    several = echoes_scheme(shells=(700.0, 1000, 1500, 2000, 3000))
    acquisition = several if te == "several" else js.Acquisition(several.bvals, several.bvecs, te=te)
    with pytest.raises(js.InputError, match=reason):
        js.fit(model, acquisition, np.ones((1, several.bvals.size)), s0=s0)


def test_a_second_t2_is_refused():
    with pytest.raises(js.InputError, match="the relaxing ball has a T2 already"):
        js.relaxing(js.relaxing(js.ball()))
