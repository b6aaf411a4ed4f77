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
        with pytest.raises(InputError, match=f"are the b-values in {unit}"):
            Acquisition(plain.bvals, plain.bvecs, b_unit=unit)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b_unit": "ms"}, "b_unit= is one of s/mm2, ms/um2, s/m2"),
        ({"axes": "image"}, "axes= is 'scanner' or 'fsl'"),
        ({"spherical_mean": "median"}, "spherical_mean= is 'sh' or 'arithmetic'"),
        ({"delta": 10.0}, "give both delta= and Delta="),
        ({"delta": 10.0, "Delta": [30.0, 40.0]}, "give numbers, or 32 each"),
        ({"delta": 30.0, "Delta": 10.0}, "0 < δ ≤ Δ"),
        ({"delta": 0.01, "Delta": 30_000.0}, "both in ms"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        scheme([1000], **options)


def test_zeros_at_b0_take_the_others_times():
    """Files hold 0 for volumes without pulses, which no compartment can use."""
    delta, Delta = np.repeat([0.0, 10.0], [2, 30]), np.repeat([0.0, 30.0], [2, 30])
    acquisition = scheme([1000], delta=delta, Delta=Delta)
    np.testing.assert_array_equal(acquisition.delta, 10)
    np.testing.assert_array_equal(acquisition.Delta, 30)
