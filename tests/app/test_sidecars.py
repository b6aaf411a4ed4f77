"""Sidecars say what BIDS's proposal for diffusion derivatives asks for, and the facts of the run."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.app import cli
from jaxsmt.files import map_table, sidecars
from tests.app.commands import run
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of


def sidecar_of(folder, model, parameter, desc="", prefix="sub-01_space-ACPC_"):
    path = folder / "out" / f"{prefix}model-{model}_param-{parameter}{desc}_dwimap.json"
    return json.loads(path.read_text("utf-8"))


@pytest.fixture
def fods(folder):
    """A Bingham fit with standard deviations of a preprocessed series, and its inputs."""
    names = {e: folder / f"sub-01_space-ACPC_desc-preproc_dwi.{e}" for e in ("nii.gz", "bval", "bvec")}
    for extension, path in names.items():
        (folder / f"sub-01_dwi.{extension}").rename(path)
    arguments = ["fit", names["nii.gz"], "--mask", folder / "mask.nii.gz", "-o", folder / "out", "--quiet"]
    arguments += ["--no-report", "--fod", "bingham", "--fibres", "1", "--uncertainty"]
    assert cli.main([str(a) for a in arguments]) == 0
    return folder, names["nii.gz"]


def test_what_the_proposal_asks_for(fods):
    folder, dwi = fods
    kernel = sidecar_of(folder, "smt", "lambdapar")
    assert kernel["Description"] == map_table.about("lambda_par").description
    assert kernel["Units"] == "um2/ms"
    assert kernel["SkullStripped"] is True
    assert kernel["Sources"][0] == str(dwi)
    assert kernel["SpatialReference"] == str(dwi)  # the series has no sidecar that says more
    assert kernel["Model"]["Parameters"] == {"FitMethod": "nlls"}
    assert kernel["Model"]["Description"]
    assert kernel["Model"]["URL"] == "https://doi.org/10.1002/mrm.25734"
    assert "OrientationEncoding" not in kernel

    model = sidecar_of(folder, "smtbingham", "odi")["Model"]
    assert model["Parameters"] == {"FitMethod": "nlls", "Density": "bingham", "Fibres": 1}
    assert "Bingham lobes" in model["Description"]
    for name in ("direction", "across"):
        encoding = sidecar_of(folder, "smtbingham", name)["OrientationEncoding"]
        assert encoding == {"EncodingAxis": 3, "Reference": "xyz", "Type": "unit3vector", "FillValue": 0}
    fod = sidecar_of(folder, "smtbingham", "fod")
    assert fod["Apodisation"] == {"OdiFloor": map_table.FOD_ODI_FLOOR, "LargestRipple": map_table.FOD_RIPPLE}
    assert "are widened" in fod["Description"]
    encoding = fod["OrientationEncoding"]
    assert (encoding["Type"], encoding["SphericalHarmonicDegree"]) == ("sh", 8)
    assert encoding["SphericalHarmonicBasis"].lower() == encoding["SphericalHarmonicsBasis"] == "mrtrix3"

    angle = sidecar_of(folder, "smtbingham", "direction", "_desc-sd")
    assert angle["Units"] == "degrees"
    assert "angle" in angle["Description"]
    assert "OrientationEncoding" not in angle
    sigma = sidecar_of(folder, "smt", "sigma")  # estimated, for the standard deviations
    median = json.loads((folder / "out" / "sub-01_space-ACPC_run.json").read_text())["options"]["sigma"]["median"]
    values = nib.load(folder / "out" / "sub-01_space-ACPC_model-smt_param-sigma_dwimap.nii.gz").get_fdata()
    assert abs(np.median(values[mask_of(SHAPE) > 0]) / median - 1) < 1e-4
    assert sigma["Description"] == map_table.about("sigma").description


def test_the_space_is_that_of_the_series_sidecar(tmp_path):
    dwi = tmp_path / "sub-01_space-ACPC_dwi.nii.gz"
    assert sidecars.spatial_reference(dwi, "sub-01_") is None
    assert sidecars.spatial_reference(dwi, "sub-01_space-ACPC_") == str(dwi)
    (tmp_path / "sub-01_space-ACPC_dwi.json").write_text('{"SpatialReference": "bids::sub-01/anat/T1w.nii.gz"}')
    assert sidecars.spatial_reference(dwi, "sub-01_space-ACPC_") == "bids::sub-01/anat/T1w.nii.gz"
    for nonsense in ("{", "[1]", '{"SpatialReference": 3}', "[" * 100_000):
        (tmp_path / "sub-01_space-ACPC_dwi.json").write_text(nonsense)
        assert sidecars.spatial_reference(dwi, "sub-01_space-ACPC_") == str(dwi)


def test_maps_without_a_mask_are_not_skull_stripped(folder):
    assert run(folder, "--no-report", mask=False) == 0
    assert sidecar_of(folder, "smt", "md", prefix="sub-01_")["SkullStripped"] is False


def test_python_writes_the_same_names_and_facts(folder, series):
    """`save` and the command line share names, descriptions, units and what the proposal asks for."""
    fit = js.fit(js.smt(), ACQUISITION, series[0], mask_of(SHAPE), uncertainty=True)
    paths = fit.save(folder / "saved", folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--no-report", "--uncertainty") == 0
    saved, written = (set(os.listdir(folder / name)) for name in ("saved", "out"))
    assert saved == written - {"sub-01_run.json"}
    assert {path.name for path in paths} == {name for name in saved if name.endswith(".nii.gz")}
    for name in sorted(saved):
        if name.endswith(".json"):
            a, b = (json.loads((folder / where / name).read_text()) for where in ("saved", "out"))
            for key in ("Description", "SkullStripped", "model", "software"):
                assert a[key] == b[key]
            assert a.get("Units") == b.get("Units")
            assert a["Model"]["Parameters"] == b["Model"]["Parameters"]
            assert a["Sources"] == b["Sources"][:1] == [str(folder / "sub-01_dwi.nii.gz")]
    np.testing.assert_allclose(nib.load(folder / "saved" / sorted(saved)[1]).affine, AFFINE)
