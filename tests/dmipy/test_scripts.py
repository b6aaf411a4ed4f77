"""dmipy's scripts: its names, order, units and conventions, over this engine."""

import numpy as np
import pytest

from jaxsmt.dmipy.core import fitted_modeling_framework, modeling_framework
from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models
from jaxsmt.errors import InputError
from jaxsmt.geometry.quadrature import icosphere
from jaxsmt.report.glyphs import draw_glyphs
from jaxsmt.simulate import coronal_slice, hcp_scheme
from tests.conftest import degrees
from tests.dmipy.examples import bundle, smt_model


@pytest.fixture(scope="module")
def patch():
    """A piece of the simulated slice, its scheme as a dmipy user makes it, and its truth."""
    phantom = coronal_slice(snr=200, acquisition=hcp_scheme(6, 45))
    where = slice(40, 46), slice(None), slice(60, 64)
    scheme = acquisition_scheme_from_bvalues(phantom.acquisition.bvals * 1e6, phantom.acquisition.bvecs)
    return scheme, phantom.data[where], {name: values[where] for name, values in phantom.truth.items()}


def test_spherical_mean_script(patch, capsys):
    """The steps of dmipy's tutorial: link, fit, maps, Watson FODs, MSE and R²."""
    scheme, data, truth = patch
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[gaussian_models.G2Zeppelin()])
    assert model.parameter_names == ["G2Zeppelin_1_lambda_par", "G2Zeppelin_1_lambda_perp"]
    model.set_fractional_parameter("G2Zeppelin_1_lambda_perp", "G2Zeppelin_1_lambda_par")
    assert model.parameter_names == ["G2Zeppelin_1_lambda_perp_fraction", "G2Zeppelin_1_lambda_par"]
    fit = model.fit(scheme, data, Ns=30, mask=data[..., 0] > 0, use_parallel_processing=True, number_of_processors=2)
    assert "Fitting of 24 voxels complete in " in capsys.readouterr().out
    assert list(fit.fitted_parameters) == model.parameter_names
    assert list(fit.fitted_and_linked_parameters) == [*model.parameter_names, "G2Zeppelin_1_lambda_perp"]
    np.testing.assert_allclose(
        fit.fitted_and_linked_parameters["G2Zeppelin_1_lambda_par"], 1e-9 * truth["lambda_par"], rtol=0.15
    )
    np.testing.assert_allclose(fit.S0, data[..., scheme.b0_mask].mean(axis=-1))
    assert fit.mean_squared_error(data).max() < 1e-4
    assert fit.R2_coefficient_of_determination(data).min() > 0.999
    assert fit.predict().shape == (6, 1, 4, scheme.N_shells)
    np.testing.assert_allclose(fit.predict(S0=1.0), model.simulate_signal(scheme, fit.fitted_parameters), atol=1e-6)

    fod_model = fit.return_parametric_fod_model(distribution="watson", Ncompartments=1)
    prefix = "SD1WatsonDistributed_1_"
    names = ["G2Zeppelin_1_lambda_par", "SD1Watson_1_mu", "SD1Watson_1_odi", "G2Zeppelin_1_lambda_perp_fraction"]
    assert fod_model.parameter_names == [prefix + name for name in names]
    fods = fod_model.fit(scheme, data)
    assert list(fods.fitted_parameters) == fod_model.parameter_names
    np.testing.assert_array_equal(
        fods.fitted_parameters[prefix + "G2Zeppelin_1_lambda_par"], fit.fitted_parameters["G2Zeppelin_1_lambda_par"]
    )
    vertices, _ = icosphere(3)
    plain, seen = fods.fod(vertices), fods.fod(vertices, visual_odi_lower_bound=0.1)
    assert seen.shape == (6, 1, 4, len(vertices))
    np.testing.assert_allclose(seen.mean(axis=-1) * 4 * np.pi, 1, rtol=5e-3)
    assert seen.max() <= plain.max() + 1e-6
    assert fods.peaks_spherical().shape == (6, 1, 4, 1, 2)
    assert fods.peaks_cartesian().shape == (6, 1, 4, 1, 3)
    assert fods.fod_sh().shape == (6, 1, 4, 45)
    with pytest.raises(InputError, match=r"axes of the gradient table.*unknown"):
        fods.native.in_scanner_axes(np.eye(4))  # as `save` does: nobody knows where left is
    assert fods.native.plot().axes
    assert draw_glyphs(fods.native, plain[..., 0], np.ones((6, 1, 4)), np.eye(4)).axes
    np.testing.assert_allclose(fods.fod_sh()[..., 0], 1 / np.sqrt(4 * np.pi), rtol=1e-4)
    nearest = vertices[np.argmax(plain, axis=-1)]
    assert np.median(degrees(nearest, fods.peaks_cartesian()[..., 0, :])) < 6
    prediction = fods.predict()
    assert prediction.shape == data.shape
    error = (data - prediction) / fods.S0[..., None]
    np.testing.assert_allclose(fods.mean_squared_error(data), np.mean(error**2, axis=-1), rtol=1e-4)
    np.testing.assert_allclose(fods.mean_squared_error(data), fods.native.mse, rtol=1e-3)
    signal = data / fods.S0[..., None]
    expected = 1 - np.sum(error**2, axis=-1) / np.sum((signal - signal.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
    np.testing.assert_allclose(fods.R2_coefficient_of_determination(data), expected, rtol=1e-5)
    for parameters in (fods.fitted_parameters, fods.fitted_parameters_vector):
        np.testing.assert_allclose(fod_model.simulate_signal(scheme, parameters), fods.predict(S0=1.0), atol=2e-6)


def test_mcsmt_script(patch):
    """The steps of dmipy's mcSMT tutorial with a bundle, and the same model without one."""
    scheme, data, _ = patch
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[bundle()])
    assert model.parameter_names == ["BundleModel_1_G2Zeppelin_1_lambda_par", "BundleModel_1_partial_volume_0"]
    fit = model.fit(scheme, data)
    assert list(fit.fitted_and_linked_parameters) == model.parameter_names
    intra = fit.fitted_parameters["BundleModel_1_partial_volume_0"]
    assert 0.01 - 1e-6 <= intra.min() <= intra.max() <= 0.99 + 1e-6

    flat = modeling_framework.MultiCompartmentSphericalMeanModel(
        [cylinder_models.C1Stick(), gaussian_models.G2Zeppelin()]
    )
    flat.set_tortuous_parameter(
        "G2Zeppelin_1_lambda_perp", "C1Stick_1_lambda_par", "partial_volume_0", "partial_volume_1"
    )
    flat.set_equal_parameter("G2Zeppelin_1_lambda_par", "C1Stick_1_lambda_par")
    assert flat.parameter_names == ["G2Zeppelin_1_lambda_par", "partial_volume_0", "partial_volume_1"]
    other = flat.fit(scheme, data)
    np.testing.assert_allclose(other.fitted_parameters["partial_volume_0"], intra, atol=1e-4)
    np.testing.assert_allclose(sum(other.fitted_parameters[f"partial_volume_{i}"] for i in (0, 1)), 1, rtol=1e-6)
    perp = other.fitted_and_linked_parameters["G2Zeppelin_1_lambda_perp"]
    par = other.fitted_and_linked_parameters["C1Stick_1_lambda_par"]
    np.testing.assert_allclose(perp, (1 - other.fitted_parameters["partial_volume_0"]) * par, rtol=1e-5)

    start = "SD1WatsonDistributed_1_"
    assert fit.return_parametric_fod_model("watson", 2).parameter_names == [
        f"{start}BundleModel_1_G2Zeppelin_1_lambda_par",
        f"{start}BundleModel_1_partial_volume_0",
        f"{start}SD1Watson_1_mu",
        f"{start}SD1Watson_1_odi",
        "SD1WatsonDistributed_2_SD1Watson_1_mu",
        "SD1WatsonDistributed_2_SD1Watson_1_odi",
        "partial_volume_0",
        "partial_volume_1",
    ]
    assert other.return_parametric_fod_model().parameter_names == [
        f"{start}G2Zeppelin_1_lambda_par",
        f"{start}SD1Watson_1_mu",
        f"{start}SD1Watson_1_odi",
        f"{start}partial_volume_0",
    ]


def test_fits_are_of_dmipys_classes(patch):
    """Scripts ask for the class of a result, by dmipy's module paths."""
    scheme, data, _ = patch
    fit = smt_model().fit(scheme, data[:1])
    assert isinstance(fit, fitted_modeling_framework.FittedMultiCompartmentSphericalMeanModel)
    fod_model = fit.return_parametric_fod_model()
    assert isinstance(fod_model, modeling_framework.MultiCompartmentModel)
    assert isinstance(fod_model.fit(scheme, data[:1]), fitted_modeling_framework.FittedMultiCompartmentModel)


def test_a_fit_keeps_its_model(patch):
    """Changing or refitting the model leaves earlier results as they are."""
    scheme, data, _ = patch
    model = smt_model()
    fit = model.fit(scheme, data[:1, :, :2])
    before = fit.predict()
    model.set_fixed_parameter("G2Zeppelin_1_lambda_par", 1e-9)
    np.testing.assert_array_equal(fit.predict(), before)
    assert len(fit.fitted_parameters) == 2
    one = fit.return_parametric_fod_model().fit(scheme, data[:1, :, :2], mask=np.array([[[1, 0]]]))
    assert np.all(one.fitted_parameters_vector[0, 0, 1] == 0)
    assert np.all(one.predict()[0, 0, 1] == 0)
    voxel = model.fit(scheme, data[0, 0, 0])  # a single voxel becomes one of one
    assert voxel.S0.shape == (1,)
