"""What fits give: comparisons of results and settings."""

import json

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from tests.fitting.simulated_fods import ACQUISITION, kernel_of, simulated


def test_results_and_settings_can_be_compared():
    """Arrays inside have no truth value of their own: `==` must answer nevertheless, also where a key is looked up."""
    data, *_ = simulated(3, 1)
    kernels = [kernel_of(data) for _ in range(2)]
    fods = [js.fit(kernel.fod_model("watson"), ACQUISITION, data) for kernel in kernels]
    settings = [js.Settings(sigma=np.ones(3), grad_dev=np.zeros((3, 9)), weights=np.ones(4)) for _ in range(2)]
    models = [fod.model for fod in fods]
    for one, other in (kernels, fods, settings, models):
        assert one == one
        assert isinstance(one == other, bool)
        assert one != "something else"
        assert one in [other, one]


def test_sidecars_of_python_tell_the_options_that_are_arrays(tmp_path):
    data, *_ = simulated(8, 1)
    like = tmp_path / "dwi.nii.gz"
    nib.save(nib.Nifti1Image(data.reshape(2, 2, 2, -1).astype(np.float32), np.eye(4)), like)
    options = {"prior": {"lambda_par": (1.8, 0.4)}, "sigma": 2.0}
    mask, grad_dev = np.ones((2, 2, 2), bool), np.full((2, 2, 2, 9), 0.01)
    mask[0, 0, 0], grad_dev[0, 0, 0] = False, np.nan  # as scanners' files are outside the head
    fit = js.fit(js.smt(), ACQUISITION, data.reshape(2, 2, 2, -1), mask, grad_dev=grad_dev, **options)
    stated = json.loads(fit.save(tmp_path, like)[0].with_suffix("").with_suffix(".json").read_text())["options"]
    assert stated["sigma"] == {"from": "given", "median": 2.0}
    assert stated["prior"] == {"mean": {"lambda_par": 1.8}, "covariance": [[pytest.approx(0.16)]]}
    assert 0.01 < stated["grad_dev"]["largest_b_change"] < 0.1


def test_some_voxels_of_a_fit_with_deviations_have_fods():
    """Their kernels have none, so the FODs have none either."""
    data, *_ = simulated(4, 1)
    fit = js.fit(js.smt(), ACQUISITION, data, sigma=20.0, uncertainty=True)
    whole = js.fit(fit.fod_model("watson"), ACQUISITION, data)
    some = js.fit(fit.voxels(np.arange(2)).fod_model("watson"), ACQUISITION, data[:2])
    assert whole.sd is not None
    assert some.sd is None
    np.testing.assert_array_equal(some.parameters["odi"], whole.parameters["odi"][:2])
