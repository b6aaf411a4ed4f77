"""The command line with noise, uncertainty, priors and gradient deviation: exact files, and each bad input refused."""

import json
import os
import re

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from tests.app.test_cli import PARAMETERS, load, run
from tests.conftest import AFFINE, SHAPE, mask_of


def save(folder, name, values):
    nib.save(nib.Nifti1Image(np.asarray(values, np.float32), AFFINE), folder / name)
    return folder / name


def test_noise_deviation_prior_and_uncertainty(folder, series):
    """Exact files; the facts of the noise; and gradient deviations in FSL's axes are those of the array fit there."""
    rng = np.random.default_rng(5)
    nine = rng.uniform(-0.03, 0.03, (*SHAPE, 9))
    options = ["--noise", "rician", "--uncertainty", "--prior", "--no-report", "--dtype", "float64"]
    options += ["--sigma", save(folder, "sigma.nii.gz", np.full(SHAPE, 1.0))]
    assert run(folder, *options, "--grad-dev", save(folder, "grad_dev.nii.gz", nine)) == 0
    stems = [f"sub-01_model-smt_param-{p}_dwimap" for p in PARAMETERS]
    stems += [f"sub-01_model-smt_desc-sd_param-{p}_dwimap" for p in PARAMETERS if p not in ("mse", "r2", "status")]
    expected = {f"{s}{e}" for s in stems for e in (".nii.gz", ".json")} | {"sub-01_run.json"}
    assert set(os.listdir(folder / "out")) == expected

    data, _ = series
    acquisition = js.Acquisition.from_fsl(folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec")
    fit = js.fit(
        js.smt(),
        acquisition,
        data,
        mask_of(SHAPE),
        noise="rician",
        sigma=1.0,
        uncertainty=True,
        grad_dev=nine,
        prior="population",
        dtype="float64",
    )
    written = load(folder, "lambdapar").get_fdata()
    np.testing.assert_allclose(written, fit.parameters["lambda_par"], atol=1e-3)
    path = folder / "out" / "sub-01_model-smt_desc-sd_param-lambdapar_dwimap"
    sd = nib.load(f"{path}.nii.gz").get_fdata()
    np.testing.assert_allclose(sd, fit.sd["lambda_par"], atol=1e-3)
    assert np.all(sd[mask_of(SHAPE) == 0] == 0)
    assert np.all(np.isnan(sd[fit.status == js.Status.AT_BOUND]))
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert sidecar["Units"] == "um2/ms"
    facts = sidecar["options"]
    assert facts["noise"] == "rician"
    assert facts["sigma"] == {"from": str(folder / "sigma.nii.gz"), "median": 1.0}
    assert facts["prior"]["mean"] == {"lambda_par": 2.2, "lambda_perp": 0.25}
    assert 0 < facts["prior"]["median_shrinkage"]["lambda_par"] < 0.1
    assert set(sidecar["inputs"]) == {"dwi", "bval", "bvec", "mask", "sigma", "grad_dev"}
    assert run(folder, "--overwrite", "--no-report") == 0  # and no standard deviations stay beside other estimates
    assert not list((folder / "out").glob("*_desc-sd_*"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--sigma", "-1", "sigma is -1"),
        ("--sigma", "none.nii.gz", "No such file"),
        ("--sigma", np.ones((6, 5, 5)), r"sigma map has dimensions \(6, 5, 5\)"),
        ("--sigma", np.zeros(SHAPE), "not positive and finite in 95 voxels"),
        ("--grad-dev", np.zeros((*SHAPE, 8)), "should have 9 volumes"),
        ("--grad-dev", np.full((*SHAPE, 9), 3.0), "values up to 3"),
        ("--prior", '{"mean": {"lambda_par": 1}, "covariance": [[-1]]}', "positive definite"),
        ("--prior", '{"mean": {"diff": 1}, "covariance": [[1]]}', "a prior of 'diff'"),
        ("--prior", "{", "no prior"),
    ],
)
def test_bad_noise_and_priors_are_refused(folder, capsys, option, value, message):
    if not isinstance(value, str):
        value = save(folder, "map.nii.gz", value)
    elif option == "--prior":
        (folder / "prior.json").write_text(value)
        value = folder / "prior.json"
    assert run(folder, "--noise", "rician", option, value) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (folder / "out").exists()
