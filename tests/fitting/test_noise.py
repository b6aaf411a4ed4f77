"""The noise floor of magnitudes and its σ, on simulated voxels whose truth is known."""

import numpy as np
import pytest

import jaxsmt as js
from tests.fitting.tissue import ACQUISITION, VOXELS, noisy, truth


def test_noise_floor_and_its_sigma():
    """Without correction the floor raises λ∥; with it no bias is left, whether σ is known or estimated."""
    data = noisy("rician", 30)
    plain = js.fit(js.smt(), ACQUISITION, data)
    known = js.fit(js.smt(), ACQUISITION, data, noise="rician", sigma=np.full(VOXELS, 1000 / 30))
    estimated = js.fit(js.smt(), ACQUISITION, data, noise="rician")
    error = [fit.parameters["lambda_par"] - truth("lambda_par") for fit in (plain, known, estimated)]
    assert np.mean(error[0]) > 0.05
    assert np.abs(np.mean(error[1])) < 0.01
    assert np.abs(np.mean(error[2])) < 0.01
    assert np.sqrt(np.mean(error[2] ** 2)) < 1.05 * np.sqrt(np.mean(error[1] ** 2))
    # One σ everywhere is recognised as such.
    assert np.median(estimated.sigma) == pytest.approx(1000 / 30, rel=0.01)
    assert np.std(estimated.sigma) / np.mean(estimated.sigma) < 0.02
    assert estimated.sigma_error < 0.02
    assert plain.sigma is None


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
    alone = js.fit(js.smt(), ACQUISITION, data[5], noise="rician", uncertainty=True)
    assert alone.sigma == pytest.approx(1000 / 30, rel=0.2)  # from one voxel's 288 volumes
    assert alone.sigma_error > 0.02
    assert alone.parameters["lambda_par"] == pytest.approx(fit.parameters["lambda_par"][5], abs=0.1)
