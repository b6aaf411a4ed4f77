"""Options of a fit that cannot be, each named as the caller named it."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.fitting.settings import Settings
from tests.fitting.tissue import ACQUISITION, clean


def test_what_cannot_be_is_refused():
    data, grad_dev = np.ones((2, len(ACQUISITION.bvals))), np.zeros((2, 9))
    for options, message in (
        ({"noise": "chi"}, "noise='chi'"),
        ({"noise": "rician", "sigma": 0.0}, "sigma=0.0"),
        ({"noise": "rician", "sigma": np.array([1.0, np.nan])}, "sigma= is not positive and finite in 1 voxels"),
        ({"noise": "rician", "sigma": np.ones(3)}, r"sigma= has the shape \(3,\)"),
        ({"grad_dev": np.zeros((3, 9))}, "grad_dev= has the shape"),
        ({"grad_dev": grad_dev + 2}, "up to 2"),
        ({"grad_dev": grad_dev * np.nan}, "up to nan"),
        ({"prior": {"lambda": (1, 1)}}, "a prior of 'lambda'"),
        ({"prior": {"lambda_par": (1, 0)}}, "not positive"),
        ({"prior": "everyone"}, "prior='everyone'"),
        ({"weights": [1e7, 1, 1, 1]}, r"differ by more than a factor of 1e\+06"),
        ({"prior": {"lambda_par": (1, 1)}, "sigma": 1.0, "weights": [1, 1, 1, 1]}, "a prior and weights"),
    ):
        with pytest.raises(js.InputError, match=message):
            js.fit(js.smt(), ACQUISITION, data, **options)
    with pytest.raises(js.InputError, match="no population prior"):
        js.fit(js.ball_stick(), ACQUISITION, data, prior="population")
    with pytest.warns(js.JaxsmtWarning, match="too few"):
        few = js.Acquisition(np.r_[0, np.repeat([1000.0, 2000], 6)], np.r_[np.zeros((1, 3)), np.eye(3).repeat(4, 0)])
    with pytest.raises(js.InputError, match="sigma cannot be estimated"):
        js.fit(js.smt(), few, np.ones((2, 13)), noise="rician")
    kernels = js.fit(js.smt(), ACQUISITION, clean()[:2])
    with pytest.raises(js.InputError, match="options of the kernels' fit"):
        js.fit(kernels.fod_model("watson"), ACQUISITION, clean()[:2], noise="rician")


def test_whole_numbers_may_be_those_of_numpy():
    """They come from arrays and tables, and JSON has only Python's."""
    assert type(Settings(noise="noncentral-chi", coils=np.int64(4)).coils) is int
    assert js.FodModel(js.smt(), "watson", np.uint8(2)).counts == (2,)
    kernels = js.fit(js.smt(), ACQUISITION, clean()[:2])
    assert kernels.count(np.uint8(js.Status.CONVERGED)) == 2
    for wrong in (True, 0, 1.0, np.bool_(True)):
        with pytest.raises(js.InputError, match="coils="):
            Settings(noise="noncentral-chi", coils=wrong)


@pytest.mark.parametrize("sigma", [2.0, "smooth", "background"])
def test_sigma_that_nothing_needs_is_told(sigma):
    with pytest.warns(js.JaxsmtWarning, match="sigma= has no effect: the noise is Gaussian"):
        fit = js.fit(js.smt(), ACQUISITION, clean()[:2], sigma=sigma)
    assert fit.sigma is None
