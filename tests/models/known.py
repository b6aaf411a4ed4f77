"""Schemes, models and series whose truth is known, for the tests of models."""

import numpy as np

import jaxsmt as js
from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean

THREE = scheme([1000, 2000, 3000])
SIX = js.Acquisition(
    np.repeat([0, 500, 1000, 2000, 3000, 5000, 8000.0], 60),
    np.tile(scheme([1000], n=60).bvecs[-60:], (7, 1)),
    delta=10.0,
    Delta=25.0,
)
SOMA = js.sandi().fix(**{"stick.lambda_par": 2.0, "ball.diffusivity": 0.8})


def echoes_scheme(shells=(1000.0, 2000.0, 3000.0), echo_times=(60.0, 80.0, 110.0, 150.0), n=24):
    """The same shells, and four b = 0 volumes, at each echo time."""
    of_echo = scheme(shells, n=n)
    te = np.repeat(echo_times, of_echo.bvals.size)
    return js.Acquisition(np.tile(of_echo.bvals, len(echo_times)), np.tile(of_echo.bvecs, (len(echo_times), 1)), te=te)


def mcsmt_means(b, diff, intra):
    """By quadrature, from the equation of Kaden et al. 2016."""
    return intra * gauss_mean(b, diff, 0 * diff) + (1 - intra) * gauss_mean(b, diff, (1 - intra) * diff)


def series(model, values, acquisition=THREE):
    """Isotropic signals with these spherical means."""
    shells = np.argmax(acquisition.weights != 0, axis=0)
    return 1000 * np.asarray(model.signal(acquisition, values))[..., shells]
