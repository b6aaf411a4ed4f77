"""Every public solver behind `fit`."""

import numpy as np
import optax
import optimistix
import pytest

import jaxsmt as js
from tests.fitting.simulated_fods import kernel_of, simulated

SOLVERS = {
    "levenberg_marquardt": js.levenberg_marquardt(),
    "first_order": js.first_order(optax.adam(3e-2), steps=600),
    "lbfgs": js.lbfgs(),
    "optimistix_minimiser": js.optimistix_minimiser(optimistix.BFGS(1e-10, 1e-10)),
}


@pytest.mark.parametrize("name", SOLVERS)
def test_public_solvers_fit_smt(name):
    """Whatever runs the search, the engine around it finds the kernels of a few voxels, or says that it did not."""
    data, *_ = simulated(12, 1)
    best = kernel_of(data, dtype="float64")
    fit = kernel_of(data, solver=SOLVERS[name], dtype="float64")
    good = fit.status == js.Status.CONVERGED
    assert np.mean(good) >= 0.8
    assert np.all(best.status == js.Status.CONVERGED)
    for parameter in ("lambda_par", "fraction"):
        np.testing.assert_allclose(fit.parameters[parameter][good], best.parameters[parameter][good], atol=5e-3)
