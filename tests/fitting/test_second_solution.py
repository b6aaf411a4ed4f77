"""Second solutions: marked where noise took the estimate to the isotropic end of the valley, seldom elsewhere."""

import numpy as np
import pytest
from scipy.special import dawsn, erf

import jaxsmt as js
from jaxsmt.fitting.second import SecondSolution
from tests.acquisition.test_acquisition import scheme
from tests.conftest import ACQUISITION

SCHEMES = {"two shells": scheme([1000, 2000]), "as of the HCP": js.simulate.hcp_scheme()}
VOXELS, SNR = 1500, 50.0


def mean_of(b, par, perp):
    """The spherical mean by its closed forms, of oblate tensors too."""
    z = b * (par - perp)
    root = np.sqrt(np.maximum(np.abs(z), 1e-12))
    h = np.where(z > 0, np.sqrt(np.pi) / 2 * erf(root) / root, np.exp(np.minimum(-z, 50)) * dawsn(root) / root)
    return np.exp(-b * perp) * h


def means_of(acquisition, par, perp):
    return np.stack([mean_of(b, par, perp) for b in acquisition.b], axis=-1)


def oblate_twin(acquisition, par, perp):
    """The oblate tensor whose noise-free cost is the least, (voxels, 2)."""
    grid = np.stack(np.meshgrid(*[np.linspace(0.02, 3.05, 102)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    grid = grid[grid[:, 1] > grid[:, 0]]
    spread = np.sqrt(acquisition.variances)
    y, e = means_of(acquisition, par, perp) / spread, means_of(acquisition, *grid.T) / spread
    return grid[np.argmax((y @ e.T) ** 2 / np.sum(e**2, axis=1), axis=1)]


@pytest.fixture(scope="module", params=SCHEMES)
def fitted(request):
    """Noisy voxels of white and grey matter; the fit, the truth, and which estimates are nearer the oblate twin."""
    acquisition, rng = SCHEMES[request.param], np.random.default_rng(0)
    par, fraction = rng.uniform(1.2, 2.6, VOXELS), rng.uniform(0.05, 0.9, VOXELS)
    truth = np.stack([par, fraction * par], axis=-1)
    clean = 1000 * means_of(acquisition, *truth.T)[:, np.argmax(acquisition.weights != 0, axis=0)]
    data = clean + rng.normal(0, 1000 / SNR, clean.shape)
    fit = js.fit(js.smt(), acquisition, data, sigma=1000 / SNR, second_solution=True)
    estimate = np.stack([fit.parameters["lambda_par"], fit.parameters["lambda_perp"]], axis=-1)
    twin = oblate_twin(acquisition, *truth.T)
    nearer = np.linalg.norm(estimate - twin, axis=-1) < np.linalg.norm(estimate - truth, axis=-1)
    return acquisition, data, fit, nearer


def test_estimates_nearer_the_twin_are_marked(fitted):
    _, _, fit, nearer = fitted
    marked = fit.second["second"] == 1
    assert nearer.sum() > 50
    assert marked[nearer].mean() >= 0.9
    assert marked[~nearer].mean() < 0.1


def test_the_second_solution_is_within_the_noise(fitted):
    """Its likelihood ratio is below the 95 % quantile, by the closed forms; and it is anisotropic."""
    acquisition, data, fit, _ = fitted
    at = np.flatnonzero(fit.second["second"])
    fraction, par = fit.second["second_fraction"][at], fit.second["second_lambda_par"][at]
    assert np.all((fraction >= 0) & (fraction <= 0.7) & (par > 0))
    noise = np.sqrt(acquisition.variances) * 1000 / SNR
    y = data[at] @ acquisition.weights.T / noise

    def cost(par, perp):
        e = means_of(acquisition, par, perp) / noise
        return np.sum(y**2, axis=1) - np.sum(y * e, axis=1) ** 2 / np.sum(e**2, axis=1)

    own = cost(fit.parameters["lambda_par"][at].astype(float), fit.parameters["lambda_perp"][at].astype(float))
    ratio = cost(par.astype(float), (fraction * par).astype(float)) - own
    assert ratio.max() < 3.841 + 0.1  # between the points of a grid
    assert ratio.min() > -0.01
    others = np.delete(np.arange(VOXELS), at)
    assert not np.any(fit.second["second_lambda_par"][others])


def test_maps_are_written_with_their_unit(fitted):
    _, _, fit, _ = fitted
    assert {"second", "second_lambda_par", "second_fraction"} <= set(fit.maps())
    assert fit.units["second_lambda_par"] == "um2/ms"
    assert fit.maps()["second"].dtype == np.uint8


def test_how_often_it_is_to_be_expected():
    """As often as in a simulation of fits; more often with two shells, less with more signal."""
    share = {name: SecondSolution(js.smt(), a).expected(1.3, 0.55, 0.05) for name, a in SCHEMES.items()}
    acquisition, rng = SCHEMES["two shells"], np.random.default_rng(1)
    ones = np.ones(2000)
    clean = means_of(acquisition, 1.3 * ones, 0.55 * 1.3 * ones)[:, np.argmax(acquisition.weights != 0, axis=0)]
    data = clean + rng.normal(0, 0.05, clean.shape)
    fit = js.fit(js.smt(), acquisition, data, sigma=0.05, second_solution=True)
    assert fit.second["second"].mean() == pytest.approx(share["two shells"], abs=0.03)
    assert share["as of the HCP"] < share["two shells"]
    assert SecondSolution(js.smt(), acquisition).expected(2.1, 0.2, 0.01) < 0.01


def test_other_models_are_refused():
    """Their valleys are others."""
    for model in (js.mcsmt(), js.smt().fix(lambda_par=1.7)):
        with pytest.raises(js.InputError, match="known for smt with both parameters free"):
            js.fit(model, ACQUISITION, np.ones((1, ACQUISITION.bvals.size)), second_solution=True)
