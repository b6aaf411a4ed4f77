"""Priors, on simulated voxels whose truth is known."""

from functools import partial

import jax
import numpy as np
import pytest

import jaxsmt as js
from tests.fitting.tissue import ACQUISITION, noisy


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


@pytest.mark.parametrize("kind", ["population", "joint"])
def test_estimate_takes_the_priors_of_fit(kind):
    """Both say `prior=` and mean the same optimum: the population's prior, and a joint one with a correlation."""
    joint = js.NormalPrior(("lambda_par", "fraction"), (1.5, 0.3), ((0.04, -0.01), (-0.01, 0.01)))
    options = {"prior": "population" if kind == "population" else joint, "sigma": 60.0}
    data = noisy("gaussian", 1000 / 60)[:12].astype(float)
    fit = js.fit(js.smt(), ACQUISITION, data, dtype="float64", **options)
    plain = js.fit(js.smt(), ACQUISITION, data, dtype="float64")
    with jax.enable_x64(True):
        one = partial(js.estimate, js.smt(), ACQUISITION, with_status=True, **options)
        estimates, status = jax.jit(jax.vmap(one))(data)
    np.testing.assert_array_equal(status, fit.status)
    for name in ("lambda_par", "lambda_perp", "fraction"):
        np.testing.assert_allclose(estimates[name], fit.parameters[name], atol=1e-5)
    np.testing.assert_allclose(estimates["s0"], fit.s0, rtol=1e-6)
    moved = np.abs(fit.parameters["lambda_par"] - plain.parameters["lambda_par"])
    assert np.median(moved) > 1e-3  # the prior does something
