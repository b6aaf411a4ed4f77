"""mcSMT and dmipy's scripts on reference data and against the estimates of existing programs (JAXSMT_REFERENCE)."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.dmipy.core import modeling_framework
from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
from jaxsmt.dmipy.distributions.distribute_models import BundleModel
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models
from jaxsmt.files import nifti
from jaxsmt.geometry.quadrature import icosphere
from tests.reference.test_other_programs import in_vivo, read

pytestmark = pytest.mark.usefixtures("sizes_of_users")  # thousands of voxels


@pytest.mark.parametrize("packing", ["parallel", "dispersed"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_intra_neurite_fraction_of_random_walks(reference, packing, dtype):
    """Monte Carlo diffusion in packed cylinders; dmipy: r 0.995, bias +0.010 (parallel) and +0.015 (dispersed)."""
    data = np.load(reference / "data" / "camino_hcp" / f"camino_{packing}.npz")
    acquisition = js.Acquisition(data["bval"], data["bvec"], b_unit="s/m2" if data["bval"].max() > 1e6 else "s/mm2")
    fit = js.fit(js.mcsmt(), acquisition, data["signal"], dtype=dtype)
    intra, truth = fit.parameters["intra"], data["f_intra"]
    assert np.corrcoef(intra, truth)[0, 1] >= 0.994
    assert abs(np.mean(intra - truth)) <= 0.016
    assert np.all(fit.status == js.Status.CONVERGED)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_vivo_against_the_authors_program(reference, dtype):
    """In its settings: plain means, S0 the b = 0 mean."""
    acquisition, data, mask, folder = in_vivo(reference)
    fit = js.fit(js.mcsmt(), acquisition, data, mask, s0="mean", dtype=dtype)
    for name, scale in (("intra", 1), ("diff", 1e3), ("extratrans", 1e3), ("extramd", 1e3)):
        theirs = read(folder / f"mc_{name}.nii.gz") * scale
        difference = np.abs(fit.maps()[name] - theirs)[mask]
        assert np.median(difference) <= 1e-5
        assert np.percentile(difference, 99) <= 1e-3
    assert np.count_nonzero(fit.status == js.Status.NOT_CONVERGED) == 0


@pytest.fixture(scope="module")
def as_slice(reference):
    """The phantom reshaped to a slice, as a dmipy user has it: (80, 1, 100, volumes), scanner axes."""
    folder = reference / "data" / "phantom_hcp"
    affine = nifti.open_image(folder / "dwi_noisefree.nii.gz").affine
    acquisition = js.Acquisition.from_fsl(folder / "dwi.bval", folder / "dwi.bvec", affine=affine)
    scheme = acquisition_scheme_from_bvalues(acquisition.bvals * 1e6, acquisition.bvecs)
    clean, noisy = (read(folder / f"dwi_{n}.nii.gz").reshape(80, 1, 100, -1) for n in ("noisefree", "rician_snr30"))
    return scheme, {"clean": clean, "noisy": noisy}, np.load(folder / "truth.npz")


def error_of(model, scheme, data, parameters):
    """Mean squared residual of the same means at other parameters, in voxels in C order."""
    data = data.reshape(-1, data.shape[-1]).astype(float)
    means = data @ scheme.acquisition.weights.T / data[:, scheme.b0_mask].mean(axis=1, keepdims=True)
    return np.mean((means - model.simulate_signal(scheme, parameters)) ** 2, axis=1)


@pytest.mark.parametrize("noise", ["clean", "noisy"])
def test_spherical_mean_script_on_the_phantom(reference, as_slice, noise):
    scheme, series, truth = as_slice
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[gaussian_models.G2Zeppelin()])
    model.set_fractional_parameter("G2Zeppelin_1_lambda_perp", "G2Zeppelin_1_lambda_par")
    assert model.parameter_names == ["G2Zeppelin_1_lambda_perp_fraction", "G2Zeppelin_1_lambda_par"]
    data = series[noise]
    fit = model.fit(scheme, data, Ns=30, mask=data[..., 0] > 0)
    golden = np.load(reference / "golden" / "dmipy105_smt.npz")
    theirs = {"lambda_par": golden[f"lambda_par_{noise}"], "lambda_perp_fraction": golden[f"fraction_{noise}"]}
    theirs = {f"G2Zeppelin_1_{name}": values for name, values in theirs.items()}
    assert np.mean(fit.mean_squared_error(data).ravel() <= error_of(model, scheme, data, theirs) + 1e-8) > 0.999
    assert fit.R2_coefficient_of_determination(data).min() > 0.95
    if noise == "clean":
        for name in ("lambda_par", "lambda_perp"):
            ours = fit.fitted_and_linked_parameters[f"G2Zeppelin_1_{name}"].ravel() * 1e9
            theirs = golden[f"{name}_clean"] * 1e9
            inside = truth["lambda_par"] < 2.99  # dmipy's bound
            error, other = (np.abs(v - truth[name])[inside] for v in (ours, theirs))
            assert np.median(error) <= 1e-4
            assert np.median(error) <= np.median(other)
    patch = data[30:50, :, 40:60]
    patch_fit = model.fit(scheme, patch, Ns=30)
    fods = patch_fit.return_parametric_fod_model(distribution="watson", Ncompartments=1).fit(scheme, patch)
    vertices, _ = icosphere(3)
    density = fods.fod(vertices, visual_odi_lower_bound=0.1)
    assert density.shape == (20, 1, 20, len(vertices))
    np.testing.assert_allclose(density.mean(axis=-1) * 4 * np.pi, 1, rtol=0.02)
    assert np.median(fods.mean_squared_error(patch)) < (1e-5 if noise == "clean" else 2e-3)


@pytest.mark.parametrize("noise", ["clean", "noisy"])
def test_mcsmt_script_on_the_phantom(reference, as_slice, noise):
    scheme, series, _ = as_slice
    bundle = BundleModel([cylinder_models.C1Stick(), gaussian_models.G2Zeppelin()])
    bundle.set_tortuous_parameter("G2Zeppelin_1_lambda_perp", "C1Stick_1_lambda_par", "partial_volume_0")
    bundle.set_equal_parameter("G2Zeppelin_1_lambda_par", "C1Stick_1_lambda_par")
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[bundle])
    assert model.parameter_names == ["BundleModel_1_G2Zeppelin_1_lambda_par", "BundleModel_1_partial_volume_0"]
    data = series[noise]
    fit = model.fit(scheme, data, mask=data[..., 0] > 0)
    golden = np.load(reference / "golden" / "dmipy105_mcsmt.npz")
    intra = fit.fitted_parameters["BundleModel_1_partial_volume_0"].ravel()[golden["index"]]
    difference = np.abs(intra - golden[f"intra_{noise}"])
    assert np.median(difference) <= (1e-4 if noise == "clean" else 5e-3)
    theirs = {"G2Zeppelin_1_lambda_par": golden[f"diff_{noise}"], "partial_volume_0": golden[f"intra_{noise}"]}
    theirs = {f"BundleModel_1_{name}": values for name, values in theirs.items()}
    voxels = data.reshape(-1, data.shape[-1])[golden["index"]]
    mse = fit.mean_squared_error(data).ravel()[golden["index"]]
    assert np.mean(mse <= error_of(model, scheme, voxels, theirs) + 1e-8) > 0.999
