"""The signal that a model gives."""

import numpy as np

import jaxsmt as js
from tests.known_means import ACQUISITION, means_of


def test_model_signal_is_the_signal_equation():
    signal = js.smt().signal(ACQUISITION, {"lambda_par": np.array([2.0, 1.0]), "fraction": np.array([0.2, 0.9])})
    np.testing.assert_allclose(signal, means_of(np.array([2.0, 1.0]), np.array([0.2, 0.9]), 1.0).T, rtol=1e-5)
