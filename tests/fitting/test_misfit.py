"""Whether a model fits the shells, on simulated means of tissue that it describes or not."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.simulate import hcp_scheme

VOXELS = 300
SHELLS = (1000, 2000, 3000, 4500, 6000)


def data_of(model, parameters, acquisition, snr):
    """(voxels, volumes) of S0 = 1000, alike in all directions but for Gaussian noise."""
    means = np.asarray(model.signal(acquisition, parameters))
    signal = 1000 * means[:, np.argmax(acquisition.weights != 0, axis=0)]
    return signal + 1000 / snr * np.random.default_rng(2).standard_normal(signal.shape)


def fit_of(shells, two_kinds_of_water, snr=50, voxels=VOXELS):
    """SMT fitted to its own zeppelin, or to sticks in a zeppelin, with the data."""
    rng, acquisition = np.random.default_rng(1), hcp_scheme(6, 15, shells)
    par, part = rng.uniform(1.5, 2.3, voxels), rng.uniform(0.3, 0.6, voxels)
    if two_kinds_of_water:
        data = data_of(js.mcsmt(), {"stick.lambda_par": par, "weight.stick": part}, acquisition, snr)
    else:
        data = data_of(js.smt(), {"lambda_par": par, "fraction": part}, acquisition, snr)
    return js.fit(js.smt(), acquisition, data), data


def test_a_model_that_does_not_fit_is_found():
    """One zeppelin for sticks in a zeppelin up to b = 6000: at the bound, with residuals of alternating sign."""
    fit, data = fit_of(SHELLS, two_kinds_of_water=True)
    there = fit.parameters["lambda_par"] > 3.0496
    assert fit.misfit.parameter == "lambda_par"
    assert fit.misfit.share == np.mean(there) > 0.2
    left = (data @ fit.acquisition.weights.T - fit.predict()) / fit.s0[:, None]
    np.testing.assert_allclose(fit.misfit.residuals, left.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(fit.misfit.scatter, left.std(axis=0), atol=1e-5)
    assert np.sum(np.diff(np.sign(fit.misfit.residuals)) != 0) >= 2
    assert fit.misfit.systematic
    assert fit.misfit.spare == 3


def test_two_shells_leave_nothing_to_judge_a_model_by():
    fit, _ = fit_of((1000, 2000), two_kinds_of_water=True)
    assert fit.misfit.share > 0.2
    assert fit.misfit.spare == 0


def test_noise_alone_is_not_a_misfit():
    """The right model at SNR 6 is at its bound as often, but what is left differs from voxel to voxel."""
    fit, _ = fit_of(SHELLS, two_kinds_of_water=False, snr=6)
    assert fit.misfit.share > 0.2
    assert not fit.misfit.systematic


@pytest.mark.parametrize(("shells", "two_kinds", "voxels"), [(SHELLS, False, VOXELS), (SHELLS, True, 20)])
def test_nothing_is_told_where_the_model_fits_or_voxels_are_few(shells, two_kinds, voxels):
    fit, _ = fit_of(shells, two_kinds, voxels=voxels)
    assert fit.misfit is None


def test_residuals_of_every_fit_are_measured_less_fitted_means():
    """Also where the model fits; they survive choosing voxels and are none where nothing was fitted."""
    fit, data = fit_of(SHELLS, two_kinds_of_water=False)
    left = (data @ fit.acquisition.weights.T - fit.predict()) / fit.s0[:, None]
    np.testing.assert_allclose(fit.residuals.mean, left.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(fit.residuals.scatter, left.std(axis=0), atol=1e-5)
    assert fit.voxels(np.arange(3)).residuals is fit.residuals
    assert js.fit(js.smt(), fit.acquisition, 0 * data).residuals is None
