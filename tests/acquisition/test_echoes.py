"""Several echo times: each is divided by its own b = 0."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsmt import Acquisition, InputError
from jaxsmt.acquisition.echoes import decay_of, decay_of_volumes, echoes_of
from jaxsmt.acquisition.means import spherical_means
from tests.acquisition.test_levels import acquisition_of, table

BVALS, BVECS = table([1000, 2000, 2000], 12)
TE = np.repeat([60.0, 90.0, 60.0, 60.0, 90.0], [2, 1, 12, 12, 12])
DECAY = np.where(TE == 60, 1.0, 0.5)


def test_decay_is_that_of_b0():
    """S0 of each echo time over that of the shortest: what divides its volumes by the decay between them."""
    acquisition = Acquisition(BVALS, BVECS, te=TE)
    echoes = echoes_of(acquisition)
    assert echoes == (0, 1, 0, 0, 1)
    signal = np.random.default_rng(0).uniform(50, 100, (5, BVALS.size))
    signal[:, BVALS == 0] = 120
    decay = decay_of(spherical_means(acquisition, signal * DECAY).T, echoes)
    np.testing.assert_allclose(decay, np.tile([1, 0.5, 1, 1, 0.5], (5, 1)), rtol=1e-12)
    np.testing.assert_allclose(decay_of_volumes(acquisition, decay), np.tile(DECAY, (5, 1)), rtol=1e-12)
    in_jax = decay_of(jnp.asarray(spherical_means(acquisition, signal * DECAY).T), echoes)
    np.testing.assert_allclose(in_jax, decay, rtol=1e-5)


def test_s0_is_one_for_one_echo_time_and_where_compartments_relax():
    acquisition = acquisition_of(BVALS, BVECS, te=70.0)
    assert len(acquisition.shells) == 3
    assert echoes_of(acquisition) == ()
    assert echoes_of(Acquisition(BVALS, BVECS, te=TE), relaxing=True) == ()


def test_decay_without_signal_at_one_b0_is_finite():
    means = np.array([[1.0, 0.5, 0.3], [1.0, -1.0, 0.3], [0.0, 1.0, 0.3]])
    np.testing.assert_allclose(decay_of(means, (0, 1, 1)), [[1, 0.5, 0.5], [1, 1, 1], [1, 1, 1]])


def test_decay_does_not_depend_on_weighted_shells():
    """Whose means noise can take below 0."""
    np.testing.assert_allclose(decay_of(np.array([[1.0, 0.5, -0.3]]), (0, 1, 1)), [[1, 0.5, 0.5]])


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
    with pytest.raises(InputError, match="encoding is spherical, give b_delta= of each volume"):
        Acquisition(BVALS, 0 * BVECS)
