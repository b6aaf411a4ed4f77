"""Masks: which voxels are inside, and values that go into maps and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxsmt import InputError, JaxsmtWarning
from jaxsmt.files import masks


@given(hnp.arrays(bool, hnp.array_shapes(max_dims=3, max_side=4)), st.sampled_from(["C", "F"]), st.booleans())
def test_take_undoes_place(within, order, vectors):
    n = int(within.sum())
    values = np.arange(1.0, 3 * n + 1).reshape(n, 3) if vectors else np.arange(1.0, n + 1)
    placed = masks.place(values, within, order)
    np.testing.assert_array_equal(masks.take(placed, within, order), values)
    assert np.all(placed[~within] == 0)
    # The order is that of the voxels in memory of the kind that it names.
    first = placed[..., 0] if vectors else placed
    np.testing.assert_array_equal(first.ravel(order)[within.ravel(order)], values[:, 0] if vectors else values)


@pytest.mark.parametrize(
    ("mask", "rule"),
    [
        (np.array([0, 1, 2, -1], np.int16), "above 0 is inside"),
        (np.array([0.5, 0.6, 1.0, np.nan]), "above 0.5 is inside, NaN outside"),
    ],
)
def test_odd_values_are_read_with_a_warning(mask, rule):
    with pytest.warns(JaxsmtWarning, match=rule):
        inside = masks.inside(mask, "mask.nii.gz")
    np.testing.assert_array_equal(inside, [False, True, True, False])


def test_booleans_are_taken_as_they_are():
    np.testing.assert_array_equal(masks.inside(np.array([True, False])), [True, False])


def test_an_empty_mask_is_refused():
    with pytest.raises(InputError, match=r"the mask is empty(.|\n)*mask="):
        masks.inside(np.zeros((2, 2)))
