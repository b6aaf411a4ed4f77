"""σ of many voxels from estimates in each, against the law of χ."""

import numpy as np
import pytest
from scipy import stats

from jaxsmt.fitting.sigma import error_of_median, law, pooled


def estimates(true, freedom, rng):
    """σ̂ of voxels whose σ is true: by definition of the law of χ."""
    return true * np.sqrt(rng.chisquare(freedom, np.shape(true)) / freedom)


def test_sigmas_that_differ_are_kept():
    rng = np.random.default_rng(2)
    true = np.exp(0.5 * rng.standard_normal(2000))
    estimates = true * np.exp(rng.standard_normal(2000) / np.sqrt(2 * 50))
    drawn, error = pooled(np.r_[estimates, np.nan], 50)
    assert error == pytest.approx(0.1, rel=0.1)
    assert np.std(np.log(drawn[:-1] / true)) < 0.1
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("freedom", [1, 2, 5, 84, 5000])
def test_the_law_of_an_estimate_is_that_of_chi(freedom):
    """Against SciPy's: the median, the median absolute deviation about it, and the variance about it."""
    chi, found = stats.chi(freedom, scale=freedom**-0.5), law(freedom)
    median = np.log(chi.median())
    assert found.median == pytest.approx(median, abs=1e-5)
    away = found.spread / 1.4826
    assert chi.cdf(np.exp(median + away)) - chi.cdf(np.exp(median - away)) == pytest.approx(0.5, abs=1e-4)
    parts = stats.uniform.ppf((np.arange(200_000) + 0.5) / 200_000)
    expected = np.mean((np.log(chi.ppf(parts)) - median) ** 2)
    assert found.variance == pytest.approx(expected, rel=2e-3)
    squares = chi.ppf(parts) ** 2
    assert found.most == pytest.approx(chi.ppf(0.95) ** 2, rel=1e-4)
    assert found.mean_of_cut == pytest.approx(np.minimum(squares, found.most).mean(), rel=1e-4)
    assert found.mean == pytest.approx(np.mean(np.log(chi.ppf(parts))), abs=2e-4)


@pytest.mark.parametrize("freedom", [1, 2, 5])
def test_one_sigma_everywhere_is_found_with_few_degrees_of_freedom(freedom):
    """The median of the estimates is 0.67, 0.83 and 0.93 of σ; without that bias all voxels get σ itself."""
    drawn, error = pooled(estimates(np.full(9000, 20.0), freedom, np.random.default_rng(3)), freedom)
    assert np.median(drawn) == pytest.approx(20, rel=0.03)
    scatter = np.sqrt(np.mean(np.log(drawn / 20) ** 2))
    assert scatter < 0.15
    assert scatter < error < 0.2


def test_the_error_that_is_told_is_not_less_than_that_made():
    """With few voxels, with one σ, and with σ that differ: root mean square errors of many repetitions.

    Where σ is the same everywhere, the scatter of a few hundred estimates cannot tell so for certain: the error told
    may be twice that made, never less.
    """
    rng = np.random.default_rng(4)
    for voxels, between, freedom, most in ((5, 0.0, 5, 1.1), (1, 0.0, 1, 1.2), (200, 0.4, 5, 1.1), (200, 0.0, 5, 2.2)):
        made, told = [], []
        for _ in range(300):
            true = np.exp(between * rng.standard_normal(voxels))
            drawn, error = pooled(estimates(true, freedom, rng), freedom)
            made.append(np.mean(np.log(drawn / true) ** 2))
            told.append(error**2)
        assert 0.9 < np.sqrt(np.mean(told) / np.mean(made)) < most


@pytest.mark.parametrize(("voxels", "between", "freedom"), [(5, 0.0, 5), (200, 0.0, 5), (200, 0.4, 5), (1, 0.0, 1)])
def test_the_error_of_the_median(voxels, between, freedom):
    """Against the scatter of the medians of many repetitions."""
    rng, medians, told = np.random.default_rng(6), [], []
    for _ in range(500):
        sigma = estimates(np.exp(between * rng.standard_normal(voxels)), freedom, rng)
        medians.append(np.log(np.median(sigma)) - law(freedom).median)
        told.append(error_of_median(sigma, freedom))
    assert np.mean(told) == pytest.approx(np.sqrt(np.mean(np.square(medians))), rel=0.15)
