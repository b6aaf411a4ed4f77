"""Which volumes are a shell, and what a shell says of itself."""

import numpy as np
import pytest

from jaxsmt import Acquisition, InputError, JaxsmtWarning
from jaxsmt.acquisition.shells import pulses_of_fit
from jaxsmt.geometry.quadrature import gradient_directions
from tests.acquisition.test_acquisition import scheme


def test_jitter_of_50_stays_one_shell_and_b5_is_b0():
    rng = np.random.default_rng(0)
    directions = np.tile(gradient_directions(60), (3, 1))
    nominal = np.repeat([1000.0, 2000, 3000], 60)
    bvals = np.concatenate([[0, 5, 50], nominal + rng.uniform(-50, 50, 180)])
    acquisition = Acquisition(bvals, np.concatenate([np.full((3, 3), np.nan), directions]))
    assert [len(s.volumes) for s in acquisition.shells] == [3, 60, 60, 60]
    np.testing.assert_allclose(acquisition.b * 1000, [55 / 3, 1000, 2000, 3000], atol=15)
    np.testing.assert_allclose(acquisition.weights.sum(axis=1), 1)
    assert np.all((acquisition.weights != 0).sum(axis=0) == 1)  # each volume in one shell


def test_the_threshold_of_b0_may_be_0():
    """Then b = 5 is a shell of its own."""
    bvals, directions = np.repeat([0.0, 5.0, 1000.0], [1, 15, 15]), gradient_directions(15)
    acquisition = Acquisition(bvals, np.concatenate([np.zeros((1, 3)), directions, directions]), b0_threshold=0)
    assert [len(shell.volumes) for shell in acquisition.shells] == [1, 15, 15]


def test_plain_mean_on_request():
    acquisition = scheme([1000, 2000], spherical_mean="arithmetic")
    np.testing.assert_allclose(acquisition.weights[1, 2:32], 1 / 30)
    np.testing.assert_allclose(acquisition.variances, [1 / 2, 1 / 30, 1 / 30])


@pytest.mark.parametrize("directions", [gradient_directions(5), np.array([[1.0, 0.01 * i, 0] for i in range(40)])])
def test_few_or_one_sided_directions_warn_and_take_the_plain_mean(directions):
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    with pytest.warns(JaxsmtWarning, match="too few or too uneven"):
        acquisition = Acquisition(np.full(len(directions), 1000.0), directions)
    assert acquisition.shells[0].order == 0


@pytest.mark.parametrize("n", [60, 90])
def test_a_missing_cap_is_said(n):
    """No directions near the pole: low orders are all that is left, and the mean may be biased."""
    directions = gradient_directions(n)
    directions = directions[np.abs(directions[:, 2]) < 0.9]
    with pytest.warns(JaxsmtWarning, match="may be biased"):
        Acquisition(np.full(len(directions), 1000.0), directions)


def test_bvalues_without_gaps_are_no_shells():
    with pytest.raises(InputError, match="not shells"):
        Acquisition(np.linspace(500, 3000, 60), gradient_directions(60))


def test_volumes_of_different_timing_are_different_shells():
    """Restricted diffusion depends on δ and Δ: one mean over two timings would be neither's."""
    bvecs = np.concatenate([np.zeros((2, 3)), np.tile(gradient_directions(15), (2, 1))])
    bvals, Delta = np.repeat([0.0, 1000.0], [2, 30]), np.repeat([0.0, 20.0, 40.0], [2, 15, 15])
    acquisition = Acquisition(bvals, bvecs, delta=10.0, Delta=Delta)
    assert [shell.volumes.tolist() for shell in acquisition.shells[1:]] == [[*range(2, 17)], [*range(17, 32)]]
    assert [pulse.Delta for pulse in acquisition.pulses] == [30.0, 20.0, 40.0]  # b = 0: the mean of the others
    assert str(acquisition.shells[1]).startswith("b = 1000 s/mm², δ = 10 ms, Δ = 20 ms: 15 volumes")


def test_shells_compare_by_content():
    one, other = scheme([1000, 2000]).shells, scheme([1000, 2000]).shells
    assert one == other
    assert one[1] != one[2]
    assert one[1] != "b = 1000"


def test_noise_of_the_mean():
    shell = scheme([1000]).shells[1]
    assert shell.variance == np.sum(shell.weights**2)
    assert 1 <= shell.amplification <= 1.05


def test_b_of_the_b0_mean_is_exactly_0_where_s0_is_not_fitted():
    """It is S0 itself then, though its volumes were measured at b = 5; a first shell that is not b = 0 keeps its b."""
    directions = np.concatenate([np.zeros((1, 3)), gradient_directions(15)])
    shells = Acquisition(np.repeat([5.0, 1000.0], [1, 15]), directions).shells
    measured = tuple(shell.pulse for shell in shells)
    assert measured[0].b == 0.005
    assert pulses_of_fit(shells, s0_fitted=True) == measured
    assert pulses_of_fit(shells, s0_fitted=False) == (measured[0]._replace(b=0.0), measured[1])
    assert pulses_of_fit(shells[1:], s0_fitted=False) == measured[1:]


def test_b_of_the_b0_mean_of_every_echo_time_is_0():
    """Each is the S0 of its own echo time."""
    directions = np.concatenate([np.zeros((2, 3)), gradient_directions(15)])
    te = np.repeat([60.0, 90.0, 60.0], [1, 1, 15])
    shells = Acquisition(np.repeat([5.0, 1000.0], [2, 15]), directions, te=te).shells
    assert [round(pulse.b, 3) for pulse in pulses_of_fit(shells, s0_fitted=True)] == [0.005, 0.005, 1]
    assert [round(pulse.b, 3) for pulse in pulses_of_fit(shells, s0_fitted=False)] == [0, 0, 1]


def test_warning_points_at_the_caller():
    with pytest.warns(JaxsmtWarning, match="too few") as caught:
        Acquisition(np.full(5, 1000.0), gradient_directions(5))
    assert caught[0].filename == __file__
