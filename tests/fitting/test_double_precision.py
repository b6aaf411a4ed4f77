"""Double precision from end to end: corrections, second pass, FODs."""

import numpy as np

import jaxsmt as js
from tests.fitting.tissue import ACQUISITION, noisy


def test_rician_fits_follow_changes_far_below_single_precision():
    """Slopes of all maps by a change of 1e-8 of the data are those by one of 1e-3.

    Single precision anywhere on the way, be it in what FODs predict for the second pass, would swallow the small
    change or turn it into steps of 1e-7.
    """
    data = noisy("rician", 40)[:24].astype(float)
    change = np.random.default_rng(0).uniform(0.5, 1.5, data.shape)
    model, solver = js.FodModel(js.smt(), "watson"), js.levenberg_marquardt(rtol=1e-15)

    def fit(relative):
        options = {"noise": "rician", "sigma": 1000 / 40, "solver": solver, "dtype": "float64"}
        return js.fit(model, ACQUISITION, data * (1 + relative * change), **options)

    small, large = [fit(1e-8), fit(-1e-8)], [fit(1e-3), fit(-1e-3)]
    inside = np.all([f.status == js.Status.CONVERGED for f in (*small, *large)], axis=0)
    assert inside.sum() >= 20
    for name, values in {
        "lambda_par": lambda f: f.model.kernels.parameters["lambda_par"],
        "lambda_perp": lambda f: f.model.kernels.parameters["lambda_perp"],
        "s0": lambda f: f.model.kernels.s0,
        "odi": lambda f: f.parameters["odi"][:, 0],
    }.items():
        assert values(small[0]).dtype == np.float64
        by_small, by_large = ((values(a) - values(b))[inside] / h for (a, b), h in ((small, 2e-8), (large, 2e-3)))
        # The median, as a solver or an inner iteration that ends one step earlier makes a step in few voxels.
        assert np.median(np.abs(by_small - by_large)) < 1e-3 * np.median(np.abs(by_large)), name
