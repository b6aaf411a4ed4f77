"""Several echo times: each is divided by its own b = 0."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsmt import Acquisition, InputError
from jaxsmt.acquisition.echoes import means_at_first, volumes_at_first
from jaxsmt.acquisition.means import spherical_means
from tests.acquisition.test_levels import acquisition_of, table

BVALS, BVECS = table([1000, 2000, 2000], 12)
TE = np.repeat([60.0, 90.0, 60.0, 60.0, 90.0], [2, 1, 12, 12, 12])
DECAY = np.where(TE == 60, 1.0, 0.5)


def test_each_echo_time_is_scaled_to_the_shortest():
    acquisition = Acquisition(BVALS, BVECS, te=TE)
    signal = np.random.default_rng(0).uniform(50, 100, (5, BVALS.size))
    signal[:, BVALS == 0] = 120
    scaled = volumes_at_first(acquisition, signal * DECAY)
    np.testing.assert_allclose(scaled, signal, rtol=1e-12)
    np.testing.assert_allclose(volumes_at_first(acquisition, jnp.asarray(signal * DECAY)), signal, rtol=1e-5)
    means = means_at_first(acquisition, spherical_means(acquisition, signal * DECAY))
    np.testing.assert_allclose(means, spherical_means(acquisition, signal), rtol=1e-12)


def test_one_echo_time_changes_nothing():
    acquisition = acquisition_of(BVALS, BVECS, te=70.0)
    assert len(acquisition.shells) == 3
    signal = np.ones((2, BVALS.size))
    assert volumes_at_first(acquisition, signal) is signal


def test_no_signal_at_one_b0_is_no_signal_at_all():
    acquisition = Acquisition(BVALS, BVECS, te=TE)
    signal = np.ones((2, BVALS.size))
    signal[0, 2] = -1
    scaled = volumes_at_first(acquisition, signal)
    assert not scaled[0].any()
    assert scaled[1].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"te": np.where(np.arange(39) == 30, 75.0, TE)}, "no b = 0 volume at the echo time 75 ms"),
        ({"te": 0.0}, "te= is above 0, in ms"),
        ({"te": TE / 1000}, "te= is in ms, not in s"),
        ({"te": TE[:5]}, "give te= a number, or 39 of them"),
        ({"b_delta": -0.7}, "from -0.5 .planar. over 0 .spherical. to 1 .linear."),
        ({"b_delta": np.nan}, "b_delta= is from"),
        ({"b_delta": [1.0, 0.0]}, "give b_delta= a number, or 39 of them"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Acquisition(BVALS, BVECS, **options)


def test_zero_directions_ask_for_the_shape():
    with pytest.raises(InputError, match="spherical say so: b_delta= 0"):
        Acquisition(BVALS, 0 * BVECS)
