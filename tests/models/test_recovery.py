"""Fits of spherical means find the parameters from which these were made, or the least cost."""

import jax
import numpy as np
import pytest
import scipy.optimize

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from tests.models.known import SIX, SOMA, THREE, mcsmt_means
from tests.physics.test_contracts import gamma_sticks


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mcsmt_recovers_known_parameters(dtype):
    rng = np.random.default_rng(0)
    diff, intra, s0 = rng.uniform(0.5, 2.9, 2000), rng.uniform(0.05, 0.95, 2000), rng.uniform(100, 5000, 2000)
    fit = KernelFitter(js.mcsmt(), THREE, dtype=dtype)(s0 * np.stack([mcsmt_means(b, diff, intra) for b in THREE.b]))
    tight = 1e-5 if dtype == "float32" else 1e-9
    for name, truth in (("intra", intra), ("weight.stick", intra), ("diff", diff), ("extratrans", (1 - intra) * diff)):
        assert np.median(np.abs(fit.maps[name] - truth)) <= tight
        assert np.percentile(np.abs(fit.maps[name] - truth), 99) <= 100 * tight
    np.testing.assert_allclose(fit.maps["extramd"], diff * (1 - 2 / 3 * intra), atol=3e-3)
    assert np.all(np.isin(fit.status, (js.Status.CONVERGED, js.Status.AT_BOUND)))


def test_mcsmt_reaches_the_optimum_that_scipy_reaches(sizes_of_users):
    """On noisy data, some with all of the water in neurites, where the cost is flat."""
    rng = np.random.default_rng(1)
    diff, intra = rng.uniform(0.3, 3, 60), rng.choice([0.3, 0.6, 0.95, 1.0], 60)
    means = np.stack([mcsmt_means(b, diff, intra) for b in THREE.b])
    means += 0.03 * rng.standard_normal(means.shape) * np.sqrt(THREE.variances)[:, None]
    root = np.sqrt(THREE.variances.min() / THREE.variances)

    def residual(p, y):
        e = mcsmt_means(THREE.b, np.float64(p[0]), p[1])
        return root * (y - np.sum(root**2 * y * e) / np.sum(root**2 * e * e) * e)

    for dtype, slack in (("float32", 3e-9), ("float64", 1e-12)):
        fit = KernelFitter(js.mcsmt(), THREE, dtype=dtype)(means)
        assert not np.any(fit.status == js.Status.NOT_CONVERGED)
        for i in range(means.shape[1]):
            ours = np.sum(residual((fit.maps["diff"][i], fit.maps["intra"][i]), means[:, i]) ** 2)
            starts = ((0.5, 0.5), (1.5, 0.9), (2.5, 0.2))
            found = [
                scipy.optimize.least_squares(
                    residual, s, bounds=([0, 0], [3.05, 1]), args=(means[:, i],), xtol=1e-12, ftol=1e-12
                )
                for s in starts
            ]
            assert ours <= 2 * min(f.cost for f in found) * (1 + 1e-5) + slack


@pytest.mark.parametrize(
    ("model", "truth"),
    [
        (js.smt_noddi(), {"weight.stick": (0.3, 0.6), "weight.zeppelin": (0.1, 0.3)}),
        (js.SphericalMeanModel(js.ball()), {"diffusivity": (0.3, 2.8)}),
        (js.SphericalMeanModel(gamma_sticks()), {"lambda_par": (1.0, 2.5), "spread": (0.2, 0.6)}),
        (SOMA, {"sphere.radius": (4, 9), "weight.sphere": (0.2, 0.5), "weight.stick": (0.2, 0.4)}),
    ],
    ids=["smt_noddi", "ball", "user's", "sandi"],
)
def test_models_recover_known_parameters(model, truth):
    """Noise-free means of the model itself, double precision: the truth is the only optimum within the bounds."""
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(*ends, 200) for name, ends in truth.items()}
    with jax.enable_x64(True):
        means = 900 * np.asarray(model.signal(SIX, values)).T
    fit = KernelFitter(model, SIX, dtype="float64")(means)
    for name, true in values.items():
        np.testing.assert_allclose(fit.maps[name], true, atol=1e-4 * np.ptp(true))
    np.testing.assert_allclose(fit.maps["s0"], 900, rtol=1e-5)
