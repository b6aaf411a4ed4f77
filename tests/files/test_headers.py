"""Which affine a header gives, and what may turn the directions of a table."""

import re

import nibabel as nib
import numpy as np
import pytest

from jaxsmt import InputError
from jaxsmt.files.headers import check_header, orientation_doubts, parse_header

SHAPE = (5, 4, 3, 7)


def affine_of(degrees=0.0, sizes=(2.0, 2.5, 3.0), mirrored=False):
    """Voxels of these sizes, turned about two axes; with `degrees` about the first one by so much more."""
    turn = nib.eulerangles.euler2mat(0.3, 0.2, np.radians(degrees))
    return nib.affines.from_matvec(turn @ np.diag(sizes) @ np.diag([-1 if mirrored else 1, 1, 1]), [-90, -120, -60])


def header_of(sform=None, qform=None, shape=SHAPE, dtype=np.float32, cls=nib.Nifti1Header):
    header = cls()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header["pixdim"][1:4] = 2.0, 2.5, 3.0
    header.set_qform(qform, code=0 if qform is None else 1)
    header.set_sform(sform, code=0 if sform is None else 1)
    header["magic"] = b"n+1" if cls is nib.Nifti1Header else b"n+2\0\r\n\x1a\n"
    return header


def checked(header, path="a.nii", compressed=False, more=0):
    """The facts of a header, of a file that is as long as it promises, and `more`."""
    size = int(header["sizeof_hdr"]) + 4 + int(np.prod(header.get_data_shape())) * header.get_data_dtype().itemsize
    return check_header(header, path, size + more, compressed)


def doubts(sform=None, qform=None):
    header = header_of(sform, qform)
    return "\n".join(orientation_doubts(header, checked(header)["affine"]))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("has_sform", "has_qform"), [(True, True), (True, False), (False, True), (False, False)])
def test_the_affine_is_that_of_sform_then_qform_then_sizes(has_sform, has_qform, mirrored):
    """In this order, as nibabel, FSL and MRtrix take it."""
    header = header_of(
        affine_of(40, mirrored=mirrored) if has_sform else None, affine_of(mirrored=mirrored) if has_qform else None
    )
    affine = checked(header)["affine"]
    np.testing.assert_allclose(affine, header.get_best_affine(), atol=1e-5)
    if has_sform or has_qform:
        np.testing.assert_allclose(affine, affine_of(40 * has_sform, mirrored=mirrored), atol=1e-5)


@pytest.mark.parametrize("sizes", [(2.0, 2.5, 3.0), (0.03, 0.03, 0.03), (0.01, 0.01, 0.2), (40, 40, 40), (2, 2, 60)])
def test_right_headers_raise_no_doubt(sizes):
    """Turned ones, of men and of mice; sform and qform that differ by rounding; thick slices."""
    assert doubts(affine_of(sizes=sizes)) == ""
    assert doubts(qform=affine_of(sizes=sizes)) == ""
    assert doubts(affine_of(0.5, sizes), affine_of(sizes=sizes)) == ""
    assert doubts(affine_of(0.5, sizes, mirrored=True), affine_of(sizes=sizes, mirrored=True)) == ""


def test_a_header_without_orientation_is_doubted():
    assert "no orientation" in doubts()


@pytest.mark.parametrize(("degrees", "told"), [(1.5, "2°"), (7, "7°"), (-7, "7°"), (90, "90°"), (180, "180°")])
def test_sform_and_qform_that_disagree_are_told_with_their_angle(degrees, told):
    assert f"sform and qform disagree: they differ by {told}" in doubts(affine_of(degrees), affine_of())


def test_sform_and_qform_that_mirror_each_other():
    """No angle tells that left is right."""
    assert "mirror each other" in doubts(affine_of(mirrored=True), affine_of())


@pytest.mark.parametrize(("degrees", "told"), [(1, None), (2, "2°"), (-10, "10°"), (30, "30°")])
def test_shears_are_told_with_their_angle(degrees, told):
    """Of two axes that should be at right angles, whatever the voxels' sizes."""
    sheared = affine_of(sizes=(1, 1, 1))
    sheared[:3, 1] = np.cos(np.radians(degrees)) * sheared[:3, 1] + np.sin(np.radians(degrees)) * sheared[:3, 0]
    sheared[:3, :3] *= [2.0, 2.5, 3.0]
    said = doubts(sheared)
    assert said == "" if told is None else f"is sheared by {told}:" in said


def test_a_qform_that_cannot_be_used_is_told_as_such():
    """It agrees with no sform, so that an angle between them means nothing."""
    header = header_of(affine_of(), affine_of())
    header["quatern_b"] = 2.0  # no unit quaternion
    said = "\n".join(orientation_doubts(header, checked(header)["affine"]))
    assert "qform is unusable" in said
    assert "differ" not in said


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (2e-3, "0.002 mm large: .* in metres"),
        (0.015, "in metres"),
        (60, "in micrometres"),
        (2e3, "2000 mm large: .* in micrometres"),
    ],
)
def test_lengths_in_other_units_are_asked_about(length, told):
    assert re.search(told, doubts(affine_of(sizes=(length,) * 3)))


@pytest.mark.parametrize("cls", [nib.Nifti1Header, nib.Nifti2Header])
def test_headers_that_end_early_are_no_headers(cls):
    raw = header_of(affine_of(), cls=cls).binaryblock
    assert parse_header(raw + b"\0" * 4, "a.nii")["dim"][0] == 4
    assert parse_header(raw, "a.nii")["dim"][0] == 4
    with pytest.raises(InputError, match=f"ends after {len(raw) - 1} bytes"):
        parse_header(raw[:-1], "a.nii")


def test_the_size_of_the_file_is_what_the_header_promises():
    """Plain files have no byte more or less; packed ones at most as many as deflate can make of them."""
    header = header_of(affine_of(), shape=(20, 20, 20, 7))
    facts = checked(header)
    assert facts["shape"] == (20, 20, 20, 7)
    for more in (-1, 1):
        with pytest.raises(InputError, match=r"the header promises 224352 bytes, the file has 22435[13]\n"):
            checked(header, more=more)
    assert check_header(header, "a.nii.gz", 218, compressed=True)["shape"] == (20, 20, 20, 7)
    with pytest.raises(InputError, match="the file has 217 compressed"):
        check_header(header, "a.nii.gz", 217, compressed=True)


def test_seven_dimensions_are_read_if_those_beyond_four_are_single():
    header = header_of(affine_of(), shape=(5, 4, 3, 7, 1, 1, 1))
    with pytest.warns(match=r"read as \(5, 4, 3, 7\)"):
        assert checked(header)["shape"] == SHAPE
    assert checked(header_of(affine_of(), shape=(5,)))["shape"] == (5,)
