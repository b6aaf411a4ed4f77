"""Gradient deviation, on simulated voxels whose truth is known."""

import numpy as np

import jaxsmt as js
from tests.conftest import degrees
from tests.fitting.tissue import ACQUISITION, VOXELS, clean, tissue, truth


def test_gradient_deviation():
    """Up to 17 % in b: what the map leaves of the errors that it mends, in kernels and FODs."""
    rng = np.random.default_rng(3)
    scale = np.eye(3) * rng.uniform(-0.05, 0.05, (VOXELS, 1, 1))
    deviation = scale + rng.uniform(-0.02, 0.02, (VOXELS, 3, 3))
    data = clean(deviation)
    nine = np.swapaxes(deviation, 1, 2).reshape(VOXELS, 9)  # column by column
    errors = []
    for grad_dev in (None, nine, deviation):
        fit = js.fit(js.smt(), ACQUISITION, data, grad_dev=grad_dev)
        fods = js.fit(fit.fod_model("watson"), ACQUISITION, data)
        error_maps = [fit.parameters[name] - truth(name) for name in ("lambda_par", "lambda_perp")]
        error_maps += [
            fods.parameters["odi"][:, 0] - truth("odi"),
            degrees(fods.parameters["direction"][:, 0], tissue()[2]),
        ]
        errors.append([np.sqrt(np.mean(e**2)) for e in error_maps])
    without, with_nine, with_matrix = np.array(errors)
    assert np.all(without > [0.05, 0.02, 0.005, 1])
    assert np.all(with_nine < without / 10)
    np.testing.assert_allclose(with_nine, with_matrix, rtol=1e-6)
