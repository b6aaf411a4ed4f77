"""Maps in one byte for each voxel: values, places and affines come back."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.report.coded_maps import Grid, encode, halve

AFFINE = np.array([[0.1, -2.0, 0, 3], [2.0, 0.1, 0, -5], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def image_of(coded):
    """The map as nibabel reads it."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(coded.to_nifti()))


@pytest.fixture
def grid():
    inside = np.zeros((7, 6, 5), bool)
    inside[2:6, 1:4, 1:5] = True
    inside[3, 2, 2] = False
    return Grid(inside, AFFINE)


@pytest.mark.parametrize("limits", [(0.0, 3.05), (-0.7, 0.4), (900.0, 12000.0)])
def test_values_come_back_within_half_a_step(grid, limits):
    """Those inside the range; those beyond it are at its ends, and those outside the mask below it."""
    low, high = limits
    rng = np.random.default_rng(0)
    volume = rng.uniform(low, high, grid.inside.shape).astype(np.float32)
    volume[2, 1, 1], volume[2, 2, 1], volume[2, 3, 1] = low - 5, high + 5, np.nan
    image = image_of(encode(volume, grid, limits))
    values = np.asarray(image.dataobj)
    step = (high - low) / 254
    assert image.header.get_data_dtype() == np.uint8
    within = grid.inside & (volume >= low) & (volume <= high)
    np.testing.assert_allclose(values[within], volume[within], atol=0.5 * step + 1e-4 * step)
    np.testing.assert_allclose([values[2, 1, 1], values[2, 2, 1]], limits, atol=1e-4 * step)
    outside = ~grid.inside
    outside[2, 3, 1] = True
    np.testing.assert_allclose(values[outside], low - step, atol=1e-4 * step)


def test_whole_numbers_are_their_own_codes(grid):
    """A status must not become another one by rounding."""
    status = np.arange(grid.inside.size, dtype=np.uint8).reshape(grid.inside.shape) % 6
    coded = encode(status, grid, (-0.5, 5.5))
    np.testing.assert_array_equal(coded.codes, np.where(grid.inside, status, 0))
    assert (coded.slope, coded.inter) == (1.0, 0.0)


def test_a_cropped_map_stays_in_its_place(grid):
    """Every voxel of the box has the scanner coordinates that it had in the whole image, in the same order."""
    box = grid.around()
    assert box == (slice(2, 6), slice(1, 4), slice(1, 5))
    places = nib.affines.apply_affine(AFFINE, np.moveaxis(np.indices(grid.inside.shape), 0, -1))
    for axis in range(3):
        volume = places[..., axis]
        limits = float(volume.min()), float(volume.max())
        image = image_of(encode(volume[box], grid.cropped(box), limits))
        told = nib.affines.apply_affine(image.affine, np.moveaxis(np.indices(image.shape), 0, -1))[..., axis]
        seen = np.asarray(image.dataobj)
        inside = grid.inside[box]
        np.testing.assert_allclose(told[inside], seen[inside], atol=0.5 * (limits[1] - limits[0]) / 254 + 1e-5)


def test_an_image_of_half_the_resolution_is_in_the_same_place(grid):
    """Its voxels are the means of those inside, at the mean of the corners of their blocks; odd ends are kept."""
    half = grid.halved()
    assert half.inside.shape == (4, 3, 3)
    middle = nib.affines.apply_affine(grid.affine, [[2, 2, 2], [3, 3, 3]]).mean(axis=0)
    np.testing.assert_allclose(nib.affines.apply_affine(half.affine, [1, 1, 1]), middle)
    volume = np.random.default_rng(1).uniform(1, 2, grid.inside.shape)
    block = (slice(2, 4),) * 3
    mean = volume[block][grid.inside[block]].mean()
    smaller = halve(volume, grid.inside)
    assert smaller[1, 1, 1] == pytest.approx(mean)
    assert smaller[0, 0, 0] == 0
    assert half.inside[2, 1, 2]  # of the last, odd slice


def test_statuses_are_not_averaged():
    """The mean of two codes would be a third one's."""
    status = np.array([[[1, 3], [2, 1]]], np.uint8)
    assert halve(status, np.ones(status.shape, bool)).tolist() == [[[3]]]


def test_equal_maps_are_equal_bytes(grid):
    volume = np.random.default_rng(2).uniform(0, 1, grid.inside.shape)
    assert encode(volume, grid, (0, 1)).to_nifti() == encode(volume.copy(), grid, (0, 1)).to_nifti()


def test_an_empty_mask_keeps_the_whole_grid():
    nothing = Grid(np.zeros((2, 3, 4), bool), np.eye(4))
    assert nothing.around() == (slice(0, 2), slice(0, 3), slice(0, 4))
