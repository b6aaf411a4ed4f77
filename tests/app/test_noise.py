"""The command line with noise, uncertainty, priors and gradient deviation: exact files, and each bad input refused."""

import json
import os
import re

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from tests.app.commands import PARAMETERS, load, map_files, run
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
    uncertain = [p for p in PARAMETERS if p not in ("mse", "r2", "status")]
    expected = map_files(PARAMETERS) | map_files(uncertain, desc="_desc-sd") | {"sub-01_run.json"}
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
    path = folder / "out" / "sub-01_model-smt_param-lambdapar_desc-sd_dwimap"
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
    assert not list((folder / "out").glob("*desc-sd*"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--sigma", "-1", "--sigma -1.0 is not valid"),
        ("--sigma", "none.nii.gz", "No such file"),
        ("--sigma", np.ones((6, 5, 5)), r"sigma map has dimensions \(6, 5, 5\)"),
        ("--sigma", np.zeros(SHAPE), "--sigma is not positive and finite in 95 voxels"),
        ("--grad-dev", np.zeros((*SHAPE, 8)), "should have 9 volumes"),
        ("--grad-dev", np.full((*SHAPE, 9), 3.0), "--grad-dev has values up to 3"),
        ("--prior", '{"mean": {"lambda_par": 1}, "covariance": [[-1]]}', "positive definite"),
        ("--prior", '{"mean": {"diff": 1}, "covariance": [[1]]}', "a prior of 'diff'"),
        ("--prior", "{", "no JSON"),
        ("--prior", "[1]", "no prior"),
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


def test_a_prior_of_a_file(folder, series):
    """It is the prior that Python takes, and sidecars tell it with its file among the inputs."""
    mean, covariance = {"lambda_par": 1.5, "lambda_perp": 0.4}, [[0.09, 0.01], [0.01, 0.04]]
    path = folder / "prior.json"
    path.write_text(json.dumps({"mean": mean, "covariance": covariance}))
    options = ["--prior", path, "--sigma", "20", "--uncertainty", "--dtype", "float64", "--no-report"]
    assert run(folder, *options) == 0
    prior = js.NormalPrior(tuple(mean), np.array(list(mean.values())), np.array(covariance))
    files = folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec"
    acquisition = js.Acquisition.from_fsl(*files, affine=AFFINE)
    settings = {"prior": prior, "sigma": 20.0, "uncertainty": True, "dtype": "float64"}
    fit = js.fit(js.smt(), acquisition, series[0], mask_of(SHAPE), **settings)
    written = load(folder, "lambdapar").get_fdata()
    np.testing.assert_allclose(written, fit.parameters["lambda_par"], atol=1e-5)
    without = js.fit(js.smt(), acquisition, series[0], mask_of(SHAPE), dtype="float64")
    inside = mask_of(SHAPE) > 0
    assert np.std(written[inside]) < 0.9 * np.std(without.parameters["lambda_par"][inside])  # it draws them together
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert facts["options"]["prior"]["mean"] == mean
    assert facts["options"]["prior"]["covariance"] == covariance
    assert facts["options"]["prior"]["median_shrinkage"]["lambda_par"] > 0.05
    assert facts["inputs"]["prior"]["path"] == str(path)


def test_noncentral_chi_noise_of_several_coils(folder, series):
    """The coils reach the fit: with eight, it removes the floor that eight coils make."""
    signal, par = series  # hardly any noise of its own
    rng = np.random.default_rng(1)
    channels = 30 * rng.standard_normal((16, *signal.shape))
    channels[0] += signal
    magnitude = np.sqrt(np.sum(channels**2, axis=0)).astype(np.float32)
    nib.save(nib.Nifti1Image(magnitude, AFFINE), folder / "sub-01_dwi.nii.gz")
    inside, bias = mask_of(SHAPE) > 0, {}
    for coils in ("1", "8"):
        options = ["--noise", "noncentral-chi", "--coils", coils, "--sigma", "30", "--overwrite", "--no-report"]
        assert run(folder, *options) == 0
        bias[coils] = np.median((load(folder, "lambdapar").get_fdata() - par)[inside])
    assert abs(bias["8"]) < 0.3 * abs(bias["1"])
    sidecar = json.loads((folder / "out" / "sub-01_model-smt_param-md_dwimap.json").read_text())
    assert (sidecar["options"]["noise"], sidecar["options"]["coils"]) == ("noncentral-chi", 8)


def test_coils_without_their_noise(folder, capsys):
    assert run(folder, "--coils", "8") == 2
    error = capsys.readouterr().err
    assert "--coils 8 without noncentral-chi noise" in error
    assert "give --noise noncentral-chi too" in error


@pytest.mark.parametrize(
    ("how", "origin"),
    [("smooth", "residuals of smooth signals, smooth over 2.9 voxels"), ("background", "background outside the mask")],
)
def test_ways_to_estimate_sigma(folder, series, how, origin):
    """The series in air: files and arrays give one σ, and run.json says what it is from, with its error."""
    rng, wide = np.random.default_rng(8), ((8, 8), (0, 0), (0, 0))
    data = np.pad(series[0], (*wide, (0, 0)))
    data = np.hypot(data + rng.normal(0, 20, data.shape), rng.normal(0, 20, data.shape)).astype(np.float32)
    mask = np.pad(mask_of(SHAPE), wide)
    save(folder, "sub-01_dwi.nii.gz", data)
    save(folder, "mask.nii.gz", mask)
    assert run(folder, "--sigma", how, "--uncertainty", "--no-report") == 0
    files = folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec"
    fit = js.fit(js.smt(), js.Acquisition.from_fsl(*files, affine=AFFINE), data, mask, sigma=how, uncertainty=True)
    np.testing.assert_allclose(load(folder, "sigma").get_fdata(), fit.sigma, rtol=1e-5)
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert facts["asked"]["sigma"] == how
    sigma = facts["options"]["sigma"]
    assert (sigma["from"], sigma["median"]) == (origin, pytest.approx(20, rel=0.05))
    assert sigma["relative_error"] == pytest.approx(fit.sigma_error, rel=1e-2)
    assert 0 < fit.sigma_error < 0.2
