"""`fit` end to end: good input to exact files."""

import json
import os
import re

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt import __version__
from jaxsmt.app import cli
from tests.app.commands import PARAMETERS, load, map_files, run
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of


def test_fit_writes_exactly_what_it_promises(folder, series):
    assert run(folder) == 0
    assert set(os.listdir(folder / "out")) == map_files(PARAMETERS) | {"sub-01_run.json", "report.html"}

    data, par = series
    mask = mask_of(SHAPE) != 0
    fit = js.fit(js.smt(), ACQUISITION, data, mask)
    for parameter in PARAMETERS:
        image = load(folder, parameter)
        values = image.get_fdata(dtype=np.float32)
        assert image.get_data_dtype() == (np.uint8 if parameter == "status" else np.float32)
        np.testing.assert_allclose(image.affine, AFFINE)
        assert np.all(values[~mask] == 0)
        sidecar = json.loads((folder / "out" / f"sub-01_model-smt_param-{parameter}_dwimap.json").read_text())
        assert sidecar["software"] == {"name": "jaxsmt", "version": __version__}
        assert sidecar["model"] == "smt"
        assert sidecar.get("Units") == ("um2/ms" if parameter in ("lambdapar", "lambdaperp", "md") else None)
        assert re.fullmatch("[0-9a-f]{64}", sidecar["inputs"]["dwi"]["sha256"])
    # The streamed fit and the array fit are the same program on the same means.
    written = load(folder, "lambdapar").get_fdata(dtype=np.float32)
    np.testing.assert_allclose(written, fit.parameters["lambda_par"], atol=1e-5)
    assert np.median(np.abs(written - par)[mask]) < 0.05
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert facts["voxels"]["converged"] + facts["voxels"]["at_bound"] == mask.sum()
    assert {"read", "fit", "write"} <= set(facts["timings_s"])
    shells = [(s["b_s_per_mm2"], s["volumes"], s["order"]) for s in facts["shells"]]
    assert shells == [(0, 2, 0), (1000, 30, 6), (2000, 30, 6)]


def test_mcsmt_writes_exactly_what_it_promises(folder, series):
    assert run(folder, "--model", "mcsmt") == 0
    maps = [*("intra", "diff", "extratrans", "extramd"), "s0", "mse", "r2", "status"]
    assert set(os.listdir(folder / "out")) == map_files(maps, "mcsmt") | {"sub-01_run.json", "report.html"}
    sidecar = json.loads((folder / "out" / "sub-01_model-mcsmt_param-extramd_dwimap.json").read_text())
    assert sidecar["Units"] == "um2/ms"
    assert "diff (1 - 2/3 intra)" in sidecar["Description"]
    data, _ = series
    fit = js.fit(js.mcsmt(), ACQUISITION, data, mask_of(SHAPE))
    for name in ("intra", "diff", "extratrans"):
        stored = nib.load(folder / "out" / f"sub-01_model-mcsmt_param-{name}_dwimap.nii.gz").get_fdata()
        np.testing.assert_allclose(stored, fit.parameters[name], atol=2e-3)


def test_maps_are_the_same_bytes_every_time(folder):
    assert run(folder) == 0
    first = {p.name: p.read_bytes() for p in (folder / "out").glob("*_dwimap.*")}
    assert run(folder, "--overwrite") == 0
    assert {p.name: p.read_bytes() for p in (folder / "out").glob("*_dwimap.*")} == first


@pytest.mark.parametrize("kind", ["big-endian", "int16", "float64", "nifti2", "nii"])
def test_every_storage_gives_the_same_maps(folder, series, kind):
    """inputs.md 12: the way the numbers are stored does not change the maps."""
    assert run(folder) == 0
    expected = load(folder, "lambdapar").get_fdata()
    data, _ = series
    image = nib.Nifti1Image(data, AFFINE)
    if kind == "int16":
        image = nib.Nifti1Image(data, AFFINE)
        image.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
    elif kind == "float64":
        image = nib.Nifti1Image(data.astype(float), AFFINE)
    elif kind == "nifti2":
        image = nib.Nifti2Image(data, AFFINE)
    elif kind == "big-endian":
        image = nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=">"))
    dwi = folder / ("other.nii" if kind == "nii" else "other.nii.gz")
    nib.save(image, dwi)
    tables = ["--bval", folder / "sub-01_dwi.bval", "--bvec", folder / "sub-01_dwi.bvec"]
    arguments = ["fit", dwi, *tables, "--mask", folder / "mask.nii.gz", "-o", folder / "out", "--quiet", "--no-report"]
    assert cli.main([str(a) for a in arguments]) == 0
    tolerance = 0.05 if kind == "int16" else 1e-4
    written = load(folder, "lambdapar", prefix="other_").get_fdata()
    np.testing.assert_allclose(written, expected, atol=tolerance)


def test_mrtrix_table_and_options(folder):
    assert run(folder, "--no-report", "--spherical-mean", "arithmetic", "--s0", "mean", "--dtype", "float64") == 0
    expected = load(folder, "lambdapar").get_fdata()
    assert not (folder / "out" / "report.html").exists()
    bvecs = js.Acquisition.from_fsl(folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec", affine=AFFINE).bvecs
    np.savetxt(folder / "grad.b", np.column_stack([bvecs, ACQUISITION.bvals]))
    (folder / "sub-01_dwi.bval").unlink()
    options = ["--spherical-mean", "arithmetic", "--s0", "mean", "--dtype", "float64", "--prefix", "x_"]
    assert run(folder, "--no-report", "--grad", folder / "grad.b", *options) == 0
    np.testing.assert_array_equal(load(folder, "lambdapar", prefix="x_").get_fdata(), expected)


def test_nan_voxels_leave_the_rest_unaffected(folder, series, capsys):
    """inputs.md 15: non-finite, all-zero, constant and negative voxels get their status, exit 0, a warning."""
    assert run(folder) == 0
    expected = load(folder, "lambdapar").get_fdata()
    data = series[0].copy()
    data[1, 0, 0, 5], data[1, 1, 0, 0], data[1, 2, 0], data[1, 3, 0] = np.nan, np.inf, 0, 7.0
    data[1, 4, 0] = -data[1, 4, 0]
    nib.save(nib.Nifti1Image(data, AFFINE), folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--overwrite") == 0
    assert "2 voxels have non-finite values" in capsys.readouterr().err
    status = load(folder, "status").get_fdata()[1, :, 0]
    np.testing.assert_array_equal(status, [5, 5, 4, 2, 4])
    good = np.ones(SHAPE, bool)
    good[1, :, 0] = False
    np.testing.assert_array_equal(load(folder, "lambdapar").get_fdata()[good], expected[good])
    assert "non-finite" in (folder / "out" / "report.html").read_text()


def test_a_path_need_not_be_text(folder):
    """A folder named in Latin-1: bytes that are no UTF-8."""
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9")
    os.mkdir(odd)
    for name in ("sub-01_dwi.nii.gz", "sub-01_dwi.bval", "sub-01_dwi.bvec"):
        (folder / name).rename(os.path.join(odd, name))
    assert cli.main(["fit", os.path.join(odd, "sub-01_dwi.nii.gz"), "-o", str(folder / "out"), "--quiet"]) == 0
    assert len(list((folder / "out").iterdir())) == 2 * len(PARAMETERS) + 2
