"""Volumes that are corrected between two kernel fits."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.corrector import Corrector
from jaxsmt.physics.noises import find
from tests.fitting.tissue import ACQUISITION, noisy


def test_signals_of_nothing_tell_nothing():
    """A second pass meets a voxel without a fit as predicted signals of 0: no mean, and no information either."""
    data = noisy("rician", 30)[:3]
    corrector = Corrector(js.smt().kernel, ACQUISITION, find("rician"))
    means, variances = corrector.means(data, 0 * data, np.full(3, 30.0))
    assert not np.any(means)
    assert np.isinf(variances).all()


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_sigma_of_every_voxel(noise):
    """From what smooth functions of the direction leave of the shells: right on average, with its scatter known."""
    data = noisy(noise, 20)[:200]
    corrector = Corrector(js.smt().kernel, ACQUISITION, find(noise))
    sigma = corrector.sigma(lambda part: data[part], len(data))
    assert np.mean(sigma) == pytest.approx(1000 / 20, rel=0.02)
    assert np.std(sigma) / np.mean(sigma) == pytest.approx(1 / np.sqrt(2 * corrector.freedom), rel=0.25)
