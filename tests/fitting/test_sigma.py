"""σ of many voxels from estimates in each."""

import numpy as np
import pytest

from jaxsmt.fitting.sigma import pooled


def test_sigmas_that_differ_are_kept():
    rng = np.random.default_rng(2)
    true = np.exp(0.5 * rng.standard_normal(2000))
    estimates = true * np.exp(rng.standard_normal(2000) / np.sqrt(2 * 50))
    drawn, error = pooled(np.r_[estimates, np.nan], 50)
    assert error == pytest.approx(0.1, rel=0.1)
    assert np.std(np.log(drawn[:-1] / true)) < 0.1
    assert np.isfinite(drawn).all()
