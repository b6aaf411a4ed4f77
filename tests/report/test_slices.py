"""Slices of a page: which ones, which way round, at which scale."""

import itertools

import numpy as np
import pytest

from jaxsmt.files import masks
from jaxsmt.report.slices import choose_slice, choose_slices, lay_out


def affine_of(order, signs, spacing=(1.0, 1.0, 1.0)):
    """Voxel axis k goes along scanner axis order[k], forwards or backwards."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for k in range(3):
        affine[order[k], k] = signs[k] * spacing[k]
    return affine


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_left_is_left_and_up_is_up_however_voxels_are_stored(order, signs):
    """The subject's left is to the left of axial and coronal cuts, front to the right of sagittal ones, head up."""
    shape, affine = (12, 13, 14), affine_of(order, signs)
    mask = np.ones(shape, bool)
    place = affine[:3, :3] @ np.indices(shape).reshape(3, -1) * 1.0
    cuts = choose_slices(mask, affine)
    assert [cut.plane for cut in cuts] == ["axial", "coronal", "sagittal"]
    for cut, (right, up) in zip(cuts, [(0, 1), (0, 2), (1, 2)], strict=True):
        for axis, along in ((right, 0), (up, 1)):
            values = masks.take(place[axis].reshape(shape), mask, "F")
            assert np.all(np.diff(cut.of(values), axis=along) > 0)
            direction = cut.affine[:3, along]
            assert np.argmax(np.abs(direction)) == axis
            assert direction[axis] > 0


def test_a_slab_shows_its_slices_and_a_head_its_three_planes():
    affine = np.eye(4)
    assert [cut.text for cut in choose_slices(np.ones((30, 3, 30), bool), affine)] == [f"coronal {n}" for n in range(3)]
    assert len(choose_slices(np.ones((60, 60, 10), bool), affine)) == 4
    assert len(choose_slices(np.ones((20, 18, 16), bool), affine)) == 3
    assert len(choose_slices(np.ones((5, 1, 1), bool), affine)) == 1


def test_the_slice_with_most_of_the_mask_is_shown_by_its_number_in_the_file():
    """Also where the axis is stored backwards."""
    mask = np.zeros((20, 20, 20), bool)
    mask[4:16, 5:15, 3] = mask[10, 10, 3:17] = True
    for sign in (1, -1):
        axial = choose_slices(mask, affine_of((0, 1, 2), (1, 1, sign)))[0]
        assert axial.text == "axial 3"
        assert axial.inside.sum() == 120


def test_slices_side_by_side_have_one_scale():
    """Voxels of 1 by 1 by 2 mm: a pixel of each slice is 1 mm, and every voxel of the slices is seen."""
    mask = np.ones((20, 24, 12), bool)
    cuts = choose_slices(mask, affine_of((0, 1, 2), (1, 1, 1), (1.0, 1.0, 2.0)))
    sheet = lay_out(cuts)
    widths = (20, 20, 24)
    assert sheet.indices.shape == (24, sum(widths) + 2 * 4)
    shown = set(sheet.indices[sheet.indices >= 0].tolist())
    assert shown == {number for cut in cuts for number in cut.indices.ravel().tolist()}
    for cut, (left, bottom), scale in zip(cuts, sheet.corners, sheet.scales, strict=True):
        i, j = 7, 5
        x, y = left + int(scale[0] * (i + 0.5)), bottom - 1 - int(scale[1] * (j + 0.5))
        assert sheet.indices[y, x] == cut.indices[i, j]


def test_an_empty_slice_is_no_trouble():
    mask = np.zeros((8, 9, 10), bool)
    mask[1, 1, 1] = True
    sheet = lay_out(choose_slices(mask, np.eye(4)))
    assert np.count_nonzero(sheet.indices == 0) == 3


@pytest.mark.parametrize("shape", [(12, 13, 14), (30, 3, 30), (20, 20, 2)], ids=["head", "coronal slab", "axial slab"])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_a_picture_has_one_of_the_slices_of_the_page(shape, signs):
    """One rule: what Python draws is among what the report shows, turned alike."""
    affine, mask = affine_of((0, 1, 2), signs), np.zeros(shape, bool)
    mask[1:-1, 1:, :-1] = True
    one = choose_slice(mask, affine)
    assert any(one.text == cut.text and np.array_equal(one.indices, cut.indices) for cut in choose_slices(mask, affine))


def test_a_picture_without_an_affine_is_as_voxels_are_stored():
    """Across the last axis where the mask is largest, the first to the right, the second up; of a slab across it."""
    mask = np.zeros((7, 8, 9), bool)
    mask[2:5, 3:6, 4] = True
    image = np.random.default_rng(0).random(mask.shape)
    cut = choose_slice(mask, indexed=np.ones(mask.shape, bool))
    assert cut.position == 4
    np.testing.assert_array_equal(cut.of(image.ravel(order="F")), image[:, :, 4])
    assert choose_slice(np.ones((9, 1, 8), bool)).indices.shape == (9, 8)
