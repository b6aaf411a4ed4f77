"""Standard deviations of kernels and FODs, on simulated voxels whose truth is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.batch.runner import compilations
from tests.conftest import degrees
from tests.fitting.tissue import ACQUISITION, clean, noisy, tissue, truth


@pytest.mark.parametrize("kind", ["gaussian", "rician"])
def test_standard_deviations_are_right(kind):
    """z-scores of truth have unit spread and the coverage of normal errors."""
    for snr in (20, 50):
        data = noisy(kind, snr)
        fit = js.fit(js.smt(), ACQUISITION, data, noise=kind, sigma=1000 / snr, uncertainty=True)
        inside = fit.status == js.Status.CONVERGED
        assert inside.mean() > 0.97
        for name in ("lambda_par", "lambda_perp", "fraction", "md"):
            estimates = fit.parameters[name] if name in fit.parameters else fit.derived[name]
            error = (estimates - truth(name))[inside]
            z = error / fit.sd[name][inside]
            assert 0.9 < np.std(z) < 1.1, (snr, name)
            assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.97, (snr, name)
        assert np.abs(np.mean((fit.parameters["lambda_par"] - truth("lambda_par"))[inside])) < 0.02
        assert np.isnan(fit.sd["lambda_par"][fit.status == js.Status.AT_BOUND]).all()


def test_standard_deviations_are_a_program_of_their_own():
    """Asking for them compiles nothing twice, changes no estimate, and says nothing where a fit did not converge."""
    data = noisy("gaussian", 20)
    plain = js.fit(js.smt(), ACQUISITION, data)
    before = compilations()
    fit = js.fit(js.smt(), ACQUISITION, data, sigma=50.0, uncertainty=True)
    assert compilations() <= before + 1  # none if a test before has made it
    for name, values in plain.maps().items():
        np.testing.assert_array_equal(values, fit.maps()[name])
    known = fit.status == js.Status.CONVERGED
    assert not known.all()
    # Next to the bound at isotropy, where one processor stops on it and another does not, nothing may be determined.
    assert np.isfinite(fit.sd["lambda_par"][known & (fit.parameters["fraction"] < 0.99)]).all()
    assert not np.isnan(fit.sd["lambda_par"][known]).any()
    assert np.isnan(fit.sd["lambda_par"][~known]).all()


def test_errors_are_no_larger_than_they_must_be():
    """RMSE ≤ 1.05 × the Cramér-Rao bound where that is small enough for estimates to be unbiased; SNR 50."""
    names, repeats = js.smt().parameter_names, 10
    true = np.stack([np.tile(truth(name), repeats) for name in names])
    bound = np.asarray(js.crlb(js.smt(), ACQUISITION, dict(zip(names, true, strict=True)), 1 / 50))
    noise = 20 * np.random.default_rng(4).standard_normal((4, true.shape[1]))
    means = np.tile(ACQUISITION.weights @ clean().T, (1, repeats)) + noise * np.sqrt(ACQUISITION.variances)[:, None]
    fits = KernelFitter(js.smt(), ACQUISITION)(means)
    easy = (bound[:, 0, 0] < 0.1**2) & (bound[:, 1, 1] < 0.05**2) & (fits.status == js.Status.CONVERGED)
    assert easy.sum() > 10_000
    for i, name in enumerate(names):
        error = (fits.maps[name] - true[i])[easy]
        assert np.sqrt(np.mean(error**2 / bound[easy, i, i])) < 1.05


def test_standard_deviations_of_fods():
    data = noisy("rician", 30)
    fods = js.fit(js.FodModel(js.smt(), "watson"), ACQUISITION, data, noise="rician", sigma=1000 / 30, uncertainty=True)
    kernels = fods.model.kernels
    inside = (fods.status == js.Status.CONVERGED) & (kernels.status == js.Status.CONVERGED)
    angle = degrees(fods.parameters["direction"][:, 0], tissue()[2])
    assert np.sqrt(np.mean((angle / fods.sd["direction"][:, 0])[inside] ** 2)) == pytest.approx(1, abs=0.1)
    error = (fods.parameters["odi"][:, 0] - truth("odi"))[inside]
    z = error / fods.sd["odi"][inside, 0]
    assert 0.85 < np.std(z) < 1.15
    assert 0.92 < np.mean(np.abs(z) < 1.96) < 0.98
    assert not np.any(fods.sd["weight"][inside])  # one lobe has it all
    assert np.isnan(fods.sd["odi"][fods.status == js.Status.AT_BOUND]).all()
    # What a kernel at a bound leaves of its lobes is not known, but for their direction.
    status = kernels.status.copy()
    status[inside] = np.where(np.arange(inside.sum()) % 2, js.Status.CONVERGED, js.Status.AT_BOUND)
    again = js.fit(dataclasses.replace(kernels, status=status).fod_model("watson"), ACQUISITION, data)
    at_bound = inside & (status == js.Status.AT_BOUND)
    assert np.isnan(again.sd["odi"][at_bound]).all()
    assert np.isfinite(again.sd["odi"][inside & ~at_bound]).all()
    assert np.isfinite(again.sd["direction"][inside]).all()

    # The fit is the Rician likelihood's: SciPy does not find better, in a voxel taken at random.
    weighted = ACQUISITION.bvals > 0
    b, g = ACQUISITION.bvals[weighted] / 1000, ACQUISITION.bvecs[weighted]
    i = 7
    kernel, s0, sigma = (
        (kernels.parameters["lambda_par"][i], kernels.parameters["lambda_perp"][i]),
        kernels.s0[i],
        1000 / 30,
    )

    @jax.jit
    def signal(v):
        return js.signal.convolved(g, b, kernel, js.watson(v[:3], jnp.exp(v[3])), 28)

    def cost(v):
        return -np.sum(stats.rice.logpdf(data[i, weighted] / sigma, np.asarray(signal(v), float) * s0 / sigma))

    start = np.r_[fods.parameters["direction"][i, 0], np.log(fods.parameters["kappa"][i, 0])]
    best = optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-4})
    assert cost(start) <= best.fun + 0.02
