"""Tables that cannot be a scheme, and units."""

import numpy as np
import pytest

from jaxsmt import Acquisition, InputError
from tests.acquisition.test_acquisition import scheme


@pytest.mark.parametrize(
    ("bvals", "bvecs", "message"),
    [
        ([0, 1, 2, 3], None, "b_unit=.ms/um2"),
        ([0, 1e9, 2e9, 3e9], None, "b_unit=.s/m2"),
        ([0, 2e5, 4e5, 6e5], None, "b_unit=.s/m2"),
        ([0, -1000, 2000, 3000], None, "not negative"),
        ([0, np.inf, 2000, 3000], None, "finite"),
        ([0, 1000, 2000, 3000], [[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1]], "length 2"),
        ([0, 1000, 2000, 3000], [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]], "length 0"),
        ([0, 1000, 2000, 3000], [[0, 0, 0], [np.nan, 0, 0], [0, 1, 0], [0, 0, 1]], "not finite"),
        ([0, 1000, 2000, 4000], [[0, 0, 0], [0.5, 0, 0], [0, 0.7071, 0], [0, 0, 1]], "√b"),
        ([0, 3000, 3000, 3000], [[0, 0, 0], [0.5, 0, 0], [0, 0.8, 0], [0, 0, 1]], r"scaled so that b = 3000·\|g\|²"),
        ([0, 3000, 3000, 3000], [[0, 0, 0], [0.5, 0, 0], [0, 0.7, 0], [0, 0, 0.8]], "be unit vectors$"),
        ([0, 1000, 2000], np.eye(4)[:, :3], "do not match"),
    ],
)
def test_impossible_schemes_are_refused(bvals, bvecs, message):
    bvecs = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]] if bvecs is None else bvecs
    with pytest.raises(InputError, match=message):
        Acquisition(np.array(bvals, float), np.array(bvecs, float))


@pytest.mark.parametrize(("unit", "factor"), [("s/mm2", 1.0), ("ms/um2", 1e-3), ("s/m2", 1e6)])
def test_units_meet(unit, factor):
    plain = scheme([1000, 2000])
    other = Acquisition(plain.bvals * factor, plain.bvecs, b_unit=unit)
    np.testing.assert_allclose(other.b, [0, 1, 2], atol=1e-12)


def test_a_wrong_unit_is_questioned():
    plain = scheme([1000, 2000])
    for unit in ("ms/um2", "s/m2"):
        with pytest.raises(InputError, match=f"leave out b_unit= or give another: these are no {unit}"):
            Acquisition(plain.bvals, plain.bvecs, b_unit=unit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b_unit": "ms"}, "b_unit= is one of s/mm2, ms/um2, s/m2"),
        ({"axes": "image"}, "axes= is 'scanner', 'fsl' or 'unknown'"),
        ({"spherical_mean": "median"}, "spherical_mean= is 'sh' or 'arithmetic'"),
        ({"b0_threshold": -0.5}, "0 or more"),
        ({"delta": 10.0}, "give both delta= and Delta="),
        ({"delta": 10.0, "Delta": [30.0, 40.0]}, "give numbers, or 32 each"),
        ({"delta": 30.0, "Delta": 10.0}, "0 < δ ≤ Δ"),
        ({"delta": 0.01, "Delta": 30_000.0}, "both in ms"),
        ({"b_delta": 1.1}, "b_Δ = 1.1"),
        ({"b_delta": -0.6}, "b_Δ = -0.6"),
        ({"te": 0.0}, "echo time 0"),
        ({"te": 10_000.0}, "echo time 10000"),
        ({"te": 0.09}, "in ms, not in s"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        scheme([1000], **options)


@pytest.mark.parametrize(
    "options", [{"b_delta": 1.001}, {"b_delta": -0.5}, {"te": 9_999.0}, {"te": 1.0}, {"delta": 1.0, "Delta": 1.5}]
)
def test_settings_at_the_limits_are_accepted(options):
    """Shapes may be rounded; echo times are whatever can be milliseconds."""
    assert len(scheme([1000], **options).shells) == 2


def test_one_echo_time_needs_no_b0():
    """There is one S0, whether it is measured or not; of two echo times each has its own."""
    plain = scheme([1000, 2000])
    weighted = plain.bvals > 0
    bvals, bvecs = plain.bvals[weighted], plain.bvecs[weighted]
    assert len(Acquisition(bvals, bvecs, te=80.0).shells) == 2
    with pytest.raises(InputError, match="no b = 0 volume at the echo times 60, 80 ms"):
        Acquisition(bvals, bvecs, te=np.where(bvals > 1500, 60.0, 80.0))


def test_zeros_at_b0_take_the_others_times():
    """Files hold 0 for volumes without pulses, which no compartment can use."""
    delta, Delta = np.repeat([0.0, 10.0], [2, 30]), np.repeat([0.0, 30.0], [2, 30])
    acquisition = scheme([1000], delta=delta, Delta=Delta)
    np.testing.assert_array_equal(acquisition.delta, 10)
    np.testing.assert_array_equal(acquisition.Delta, 30)
