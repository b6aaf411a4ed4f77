"""`fit` with FODs: exact files, the same numbers as in Python."""

import json
import os

import nibabel as nib
import numpy as np

import jaxsmt as js
from jaxsmt.files import nifti
from tests.app.commands import PARAMETERS, fod_files, map_files, run
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of


def test_fods_are_those_of_python_and_the_files_are_exact(folder, series, capsys):
    """From integers with slope and intercept, inside a mask, in file order; directions in scanner axes."""
    data, _ = series
    image = nib.Nifti1Image(np.round((data - 7) / 0.5).astype(np.int16), AFFINE)
    image.header.set_slope_inter(0.5, 7)
    nib.save(image, folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--fod", "bingham", "--fibres", "2") == 0
    kernels = map_files(PARAMETERS)
    expected = kernels | fod_files("bingham") | {"sub-01_run.json", "report.html"}
    assert set(os.listdir(folder / "out")) == expected

    mask = mask_of(SHAPE) != 0
    files = folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec"
    acquisition = js.Acquisition.from_fsl(*files, affine=AFFINE)
    stored = nifti.read_array(nifti.open_image(folder / "sub-01_dwi.nii.gz"))
    fods = js.fit(js.fit(js.smt(), acquisition, stored, mask).fod_model("bingham", 2), acquisition, stored, mask)
    for name, values in fods.maps().items():
        written = np.asarray(nib.load(folder / "out" / f"sub-01_model-smtbingham_param-{name}_dwimap.nii.gz").dataobj)
        np.testing.assert_array_equal(written, values.astype(written.dtype))
        assert np.all(written[~mask] == 0)
    assert written.dtype == np.uint8  # the status, last
    side = json.loads((folder / "out" / "sub-01_model-smtbingham_param-odi_dwimap.json").read_text())
    assert side["model"] == "smtbingham"
    assert "dispersion" in side["Description"]
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert facts["options"]["fod"] == "bingham"
    assert facts["fibres"] == {"2": int(mask.sum())}
    assert sum(facts["fod_voxels"].values()) == mask.size
    assert "FODs of the framed patch" in (folder / "out" / "report.html").read_text()

    # Without axes from the affine, `save` still writes scanner axes.
    plain = js.Acquisition.from_fsl(*files)
    unturned = js.fit(js.fit(js.smt(), plain, stored, mask).fod_model("watson"), plain, stored, mask)
    unturned.save(folder / "saved", folder / "sub-01_dwi.nii.gz")
    other = js.fit(js.fit(js.smt(), acquisition, stored, mask).fod_model("watson"), acquisition, stored, mask)
    written = np.asarray(nib.load(folder / "saved" / "sub-01_model-smtwatson_param-direction_dwimap.nii.gz").dataobj)
    cosine = np.abs(np.sum(written * other.parameters["direction"][..., 0, :], axis=-1))[mask]
    assert np.degrees(np.arccos(np.clip(cosine, 0, 1))).max() < 0.3

    # A fit of another density replaces these, and none of theirs stay beside the new kernels.
    capsys.readouterr()
    assert run(folder, "--fod", "watson", "--no-report") == 2
    assert run(folder, "--fod", "watson", "--no-report", "--overwrite") == 0
    assert set(os.listdir(folder / "out")) == kernels | fod_files("watson") | {"sub-01_run.json"}
    assert run(folder, "--no-report", "--overwrite") == 0
    assert set(os.listdir(folder / "out")) == kernels | {"sub-01_run.json"}


def test_nothing_but_isotropic_voxels(folder):
    """No direction anywhere: the report has nothing to show, and is written all the same."""
    signal = 1000 * np.exp(-ACQUISITION.bvals * 1e-3)
    data = np.broadcast_to(signal, (*SHAPE, signal.size)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, AFFINE), folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--fod", "watson", "--fibres", "auto") == 0
    assert (folder / "out" / "report.html").exists()
