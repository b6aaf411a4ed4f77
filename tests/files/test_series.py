"""Series that are written: what readers find in them."""

import nibabel as nib
import numpy as np
import pytest

from jaxsmt import Acquisition
from jaxsmt.errors import OutputError
from jaxsmt.files import gradients, masks, nifti, series
from tests.conftest import ACQUISITION, AFFINE

DATA = np.arange(3 * 4 * 2 * 62, dtype=np.float32).reshape(3, 4, 2, 62)
#: Determinants above and below 0; voxels of several sizes, turned by an odd angle.
OBLIQUE = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.3, -0.2, 0.5) @ np.diag([2.0, 2.5, 3.0]), [1, 2, 3])
AFFINES = {
    "det > 0": np.diag([2.0, 2, 3, 1]),
    "det < 0": np.diag([-2.0, 2, 3, 1]),
    "turned": AFFINE,
    "oblique": OBLIQUE,
}


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_tables_say_the_same_in_scanner_axes(tmp_path, affine):
    """FSL's directions are in image axes, x turned round where det > 0; MRtrix's are in scanner axes."""
    path = tmp_path / "a_dwi.nii.gz"
    series.write_series(path, DATA, ACQUISITION.bvals, ACQUISITION.bvecs, affine)
    series.write_mrtrix_table(path, ACQUISITION.bvals, ACQUISITION.bvecs)
    assert {p.name for p in tmp_path.iterdir()} == {"a_dwi.nii.gz", "a_dwi.bval", "a_dwi.bvec", "a_dwi.b"}
    fsl = Acquisition.from_fsl(tmp_path / "a_dwi.bval", tmp_path / "a_dwi.bvec", affine=affine)
    mrtrix = Acquisition.from_mrtrix(tmp_path / "a_dwi.b")
    for read in (fsl, mrtrix):
        np.testing.assert_allclose(read.bvals, ACQUISITION.bvals, rtol=1e-8)
        np.testing.assert_allclose(read.bvecs, ACQUISITION.bvecs, atol=2e-9)
    image = nifti.open_image(path)
    np.testing.assert_allclose(image.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(nifti.read_array(image), DATA)


def test_fsl_turns_x_round_where_the_determinant_is_positive():
    """The rule in numbers, not by its own inverse."""
    bvecs = np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]])
    np.testing.assert_allclose(gradients.scanner_to_fsl(bvecs, AFFINES["det > 0"]), [[-0.6, 0, 0.8], [0, 1, 0]])
    # The image's first axis points along -x: its components change sign, and FSL leaves them.
    np.testing.assert_allclose(gradients.scanner_to_fsl(bvecs, AFFINES["det < 0"]), [[-0.6, 0, 0.8], [0, 1, 0]])


def test_numbers_have_no_minus_zero():
    """Directions at b = 0 are 0, whichever way x is turned."""
    bvecs = gradients.scanner_to_fsl(np.zeros((1, 3)), AFFINES["det > 0"])
    assert gradients.fsl_texts(np.zeros(1), bvecs) == ("0\n", "0\n0\n0\n")


def test_masks(tmp_path):
    mask = DATA[..., 0] > 500
    series.write_mask(tmp_path / "mask.nii.gz", mask, AFFINE)
    image = nifti.open_image(tmp_path / "mask.nii.gz")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(masks.inside(nifti.read_array(image)), mask)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError):
        series.write_series(tmp_path / "no" / "a.nii.gz", DATA, ACQUISITION.bvals, ACQUISITION.bvecs, AFFINE)
