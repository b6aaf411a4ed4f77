"""Fisher information, expected standard deviations, and what cannot be determined."""

import jax
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.models import information
from jaxsmt.physics import noises
from tests.models.known import SIX, THREE, mcsmt_means


def test_fisher_information_is_that_of_differences():
    values = {"stick.lambda_par": 1.8, "weight.stick": 0.55}
    with jax.enable_x64(True):
        found = np.asarray(js.fisher_information(js.mcsmt(), THREE, values, 0.02))

        def means(diff, intra, s0):
            return s0 * mcsmt_means(THREE.b, np.float64(diff), intra)

        at, h = np.array([1.8, 0.55, 1.0]), 1e-5
        j = np.stack([(means(*(at + h * e)) - means(*(at - h * e))) / (2 * h) for e in np.eye(3)], axis=1)
        full = j.T @ np.diag(1 / (0.02**2 * THREE.variances)) @ j
    # The inverse's block of the parameters, S0 unknown.
    np.testing.assert_allclose(np.linalg.inv(found), np.linalg.inv(full)[:2, :2], rtol=1e-6)
    known = js.fisher_information(js.mcsmt(), THREE, values, 0.02, s0="mean")
    np.testing.assert_allclose(known, full[:2, :2], rtol=1e-3)


def test_expected_errors_are_those_of_fits():
    """Fits of noisy means at the typical values scatter as the Cramér-Rao bound says, within sampling error."""
    sigma = 0.005
    tissues = information.expected_sd(js.mcsmt(), THREE, sigma)
    assert set(tissues) == {"white matter", "grey matter"}
    expected = tissues["white matter"]
    diff, intra = (expected[name][0] for name in ("stick.lambda_par", "weight.stick"))
    rng = np.random.default_rng(0)
    means = mcsmt_means(THREE.b, np.float64(diff), intra)[:, None] + np.zeros(2000)
    means += sigma * rng.standard_normal(means.shape) * np.sqrt(THREE.variances)[:, None]
    fit = KernelFitter(js.mcsmt(), THREE)(means)
    for name in expected:
        assert np.std(fit.maps[name]) == pytest.approx(expected[name][1], rel=0.08)
    with_floor = information.expected_sd(js.mcsmt(), THREE, 1 / 20, noise=noises.find("rician"))
    without = information.expected_sd(js.mcsmt(), THREE, 1 / 20)
    assert all(with_floor[t][n][1] > without[t][n][1] for t in without for n in without[t])


def test_what_cannot_be_determined_is_refused():
    twice = js.SphericalMeanModel({"a": js.dot(), "b": js.dot()})
    with pytest.raises(js.InputError, match=r"cannot determine weight\.a"):
        KernelFitter(twice, THREE)
    with pytest.raises(js.InputError, match="needs at least 5 shells"):
        KernelFitter(js.sandi(), js.Acquisition(THREE.bvals, THREE.bvecs, delta=10, Delta=20))
    with pytest.warns(js.JaxsmtWarning, match=r"hardly determines some parameters of the sandi model"):
        information.require_determined(js.sandi(), SIX)
    with pytest.raises(js.InputError, match="nothing to fit"):
        KernelFitter(js.SphericalMeanModel(js.dot()), THREE)
    balls = {"a": js.ball(), "b": js.ball()}
    alike = js.SphericalMeanModel(balls, links=[js.ordering("a.diffusivity", "b.diffusivity")])
    assert np.all(np.isfinite([sd for _, sd in information.expected_sd(alike, SIX)["typical tissue"].values()]))
    nothing = information.expected_sd(twice, THREE)
    assert nothing == {"typical tissue": {"weight.a": (0.5, np.inf)}}
    KernelFitter(js.smt(), THREE)  # silent: warnings are errors here


def test_maps_count_by_their_medians():
    """Without the zeros outside their masks; for magnitudes too."""
    held = np.array([0.0, 0.0, 0.3, 0.4, 0.5])
    for noise in (None, noises.find("rician")):
        mapped, fixed = (
            information.expected_sd(js.ball_stick().fix(**{"weight.stick": value}), THREE, 0.1, noise=noise)
            for value in (held, 0.4)
        )
        name = "stick.lambda_par"
        assert mapped["typical tissue"][name] == pytest.approx(fixed["typical tissue"][name], rel=1e-6)


def test_tissues_are_left_where_some_of_their_parameters_are_fixed():
    model = js.smt().fix(lambda_par=2.0)
    assert list(information.expected_sd(model, THREE)) == ["typical tissue"]


def test_s0_is_fitted_or_known():
    for function in (js.fisher_information, js.crlb):
        with pytest.raises(js.InputError, match="s0='none' is unknown"):
            function(js.smt(), THREE, {"lambda_par": 2.0, "fraction": 0.2}, 0.02, s0="none")
        with pytest.raises(js.InputError, match="no value of"):
            function(js.smt(), THREE, {"lambda_par": 2.0}, 0.02)
