"""dmipy's scripts: its names, order, units and conventions, over this engine."""

import numpy as np
import pytest

from jaxsmt import JaxsmtError
from jaxsmt.dmipy import data, signal_models
from jaxsmt.dmipy.core import fitted_modeling_framework, modeling_framework
from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues, gtab_dipy2dmipy
from jaxsmt.dmipy.core.fod_parameters import fods_from_parameters, parameters_from_fods
from jaxsmt.dmipy.distributions import distributions
from jaxsmt.dmipy.distributions.distribute_models import BundleModel
from jaxsmt.dmipy.orientations import directions_from_mu
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models, sphere_models
from jaxsmt.simulate import coronal_slice, hcp_scheme
from jaxsmt.geometry.quadrature import gradient_directions, icosphere
from tests.conftest import degrees, gauss_mean

B = np.repeat([0, 1e9, 2e9, 3e9], [3, 60, 60, 60])
G = np.concatenate([np.zeros((3, 3)), *(gradient_directions(60, seed=i) for i in range(3))])
SCHEME = acquisition_scheme_from_bvalues(B, G, delta=0.0106, Delta=0.0431)


def smt_model():
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[gaussian_models.G2Zeppelin()])
    model.set_fractional_parameter("G2Zeppelin_1_lambda_perp", "G2Zeppelin_1_lambda_par")
    return model


def bundle():
    bundle = BundleModel([cylinder_models.C1Stick(), gaussian_models.G2Zeppelin()])
    bundle.set_tortuous_parameter("G2Zeppelin_1_lambda_perp", "C1Stick_1_lambda_par", "partial_volume_0")
    bundle.set_equal_parameter("G2Zeppelin_1_lambda_par", "C1Stick_1_lambda_par")
    return bundle


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


def test_signals_are_the_equations():
    """Nested fractions, tortuosity and SI units, against quadrature."""
    ball = gaussian_models.G1Ball()
    model = modeling_framework.MultiCompartmentSphericalMeanModel([bundle(), ball, sphere_models.S1Dot()])
    assert model.parameter_names == [
        "BundleModel_1_G2Zeppelin_1_lambda_par",
        "BundleModel_1_partial_volume_0",
        "G1Ball_1_lambda_iso",
        "partial_volume_0",
        "partial_volume_1",
        "partial_volume_2",
    ]
    values = dict(zip(model.parameter_names, (1.7e-9, 0.6, 3e-9, 0.5, 0.3, 0.2), strict=True))
    b = np.arange(4.0)
    inner = 0.6 * gauss_mean(b, 1.7, 0) + 0.4 * gauss_mean(b, 1.7, 0.4 * 1.7)
    expected = 0.5 * inner + 0.3 * np.exp(-3 * b) + 0.2
    np.testing.assert_allclose(model(SCHEME, **values), expected, rtol=1e-5)
    vector = model.parameters_to_parameter_vector(**values)
    np.testing.assert_allclose(model.simulate_signal(SCHEME, np.stack([vector] * 3)), [expected] * 3, rtol=1e-5)
    assert model.parameter_vector_to_parameters(vector) == pytest.approx(values)
    with pytest.raises(ValueError, match="do not sum to 1"):
        model(SCHEME, **{**values, "partial_volume_2": 0.5})


def test_single_compartments():
    mu = [0.3, -1.2]
    x2 = (G @ directions_from_mu(mu)) ** 2
    b = B * 1e-9
    stick = cylinder_models.C1Stick(mu=mu, lambda_par=1.7e-9)
    np.testing.assert_allclose(stick(SCHEME), np.exp(-b * 1.7 * x2), rtol=1e-5)
    zeppelin = gaussian_models.G2Zeppelin()
    signal = zeppelin(SCHEME, mu=mu, lambda_par=2e-9, lambda_perp=0.5e-9)
    np.testing.assert_allclose(signal, np.exp(-b * (0.5 + 1.5 * x2)), rtol=1e-5)
    means = zeppelin.spherical_mean(SCHEME, lambda_par=2e-9, lambda_perp=0.5e-9)
    np.testing.assert_allclose(means, gauss_mean(np.arange(4.0), 2.0, 0.5), rtol=1e-5)
    np.testing.assert_allclose(gaussian_models.G1Ball()(SCHEME, lambda_iso=2e-9), np.exp(-2 * b), rtol=1e-5)
    np.testing.assert_allclose(sphere_models.S1Dot()(SCHEME), 1)
    with pytest.raises(ValueError, match="no value of"):
        zeppelin(SCHEME)
    np.testing.assert_allclose(distributions.kappa2odi(distributions.odi2kappa(0.3)), 0.3, rtol=1e-5)


def test_fixed_guessed_and_bounded_parameters():
    rng = np.random.default_rng(0)
    par, iso, volume = rng.uniform(1, 2.5, (2, 3)) * 1e-9, np.full((2, 3), 2.8e-9), rng.uniform(0.3, 0.8, (2, 3))

    def fresh():
        return modeling_framework.MultiCompartmentSphericalMeanModel(
            [cylinder_models.C1Stick(), gaussian_models.G1Ball()]
        )

    truth = {
        "C1Stick_1_lambda_par": par,
        "G1Ball_1_lambda_iso": iso,
        "partial_volume_0": volume,
        "partial_volume_1": 1 - volume,
    }
    data = 700 * fresh().simulate_signal(SCHEME, truth)[..., SCHEME.shell_indices]
    number = fresh()
    number.set_fixed_parameter("G1Ball_1_lambda_iso", 2.8e-9)
    assert number.parameter_names == ["C1Stick_1_lambda_par", "partial_volume_0", "partial_volume_1"]
    fit = number.fit(SCHEME, data)
    np.testing.assert_allclose(fit.fitted_parameters["C1Stick_1_lambda_par"], par, rtol=1e-3)
    np.testing.assert_allclose(fit.fitted_and_linked_parameters["G1Ball_1_lambda_iso"], 2.8e-9)
    array = fresh()
    array.set_fixed_parameter("C1Stick_1_lambda_par", par)
    assert array.parameter_names[0] == "C1Stick_1_lambda_par"
    assert not array.parameter_optimization_flags["C1Stick_1_lambda_par"]
    fit = array.fit(SCHEME, data)
    np.testing.assert_allclose(fit.fitted_parameters["C1Stick_1_lambda_par"], par, rtol=1e-6)
    np.testing.assert_allclose(fit.fitted_parameters["partial_volume_0"], volume, atol=1e-3)
    with pytest.raises(ValueError, match="different shapes"):
        array.fit(SCHEME, data[:1])
    bounded = fresh()
    bounded.set_parameter_optimization_bounds("C1Stick_1_lambda_par", (0.5e-9, 0.9e-9))
    bounded.set_initial_guess_parameter("G1Ball_1_lambda_iso", 2.5e-9)
    fit = bounded.fit(SCHEME, data)
    np.testing.assert_allclose(fit.fitted_parameters["C1Stick_1_lambda_par"], 0.9e-9, rtol=1e-5)
    last = fresh()
    last.set_fixed_parameter("G1Ball_1_lambda_iso", 2.8e-9)
    last.set_parameter_optimization_bounds("partial_volume_1", (0.01, 0.1))
    fit = last.fit(SCHEME, data)
    assert fit.fitted_parameters["partial_volume_1"].max() <= 0.1 + 1e-6
    scalar = fresh()
    scalar.set_fixed_parameter("partial_volume_0", 0.5)
    fod_model = scalar.fit(SCHEME, data).return_parametric_fod_model()
    assert [n for n in fod_model.parameter_names if "partial" in n] == []
    spread = {"mu": np.zeros((2, 3, 2)), "odi": np.full((2, 3), 0.9)}
    parameters = fod_model.x0_parameters | {f"SD1WatsonDistributed_1_SD1Watson_1_{n}": v for n, v in spread.items()}
    signal = fod_model.simulate_signal(SCHEME, parameters)
    kernel = {n.removeprefix("SD1WatsonDistributed_1_"): v for n, v in fod_model.x0_parameters.items()}
    means = scalar.simulate_signal(SCHEME, {**kernel, "partial_volume_1": np.full((2, 3), 0.5)})
    np.testing.assert_allclose(signal @ SCHEME.acquisition.weights.T, means, atol=1e-3)
    volume_fixed = fresh()
    volume_fixed.set_fixed_parameter("partial_volume_1", 1 - volume)
    fit = volume_fixed.fit(SCHEME, data)
    np.testing.assert_allclose(fit.fitted_parameters["partial_volume_0"], volume, rtol=1e-5)


@pytest.mark.parametrize("distribution", ["watson", "bingham"])
def test_orientations_there_and_back(distribution):
    """[θ, φ], ψ and β/κ of random lobes give the same FODs as the lobes do; ψ turns as dmipy's."""
    data = np.ones((5, B.size)) * np.exp(-1.0 * B * 1e-9)
    kernel = smt_model().fit(SCHEME, data)
    model = kernel.return_parametric_fod_model(distribution, 1)
    rng = np.random.default_rng(0)
    values = {**model.x0_parameters}
    prefix = model.distribution_prefix(0)
    values[f"{prefix}mu"] = np.stack([rng.uniform(0, np.pi / 2, 5), rng.uniform(-np.pi, np.pi, 5)], axis=-1)
    values[f"{prefix}odi"] = rng.uniform(0.05, 0.5, 5)
    if distribution == "bingham":
        values[f"{prefix}psi"], values[f"{prefix}beta_fraction"] = rng.uniform(0, np.pi, 5), rng.uniform(0.1, 0.9, 5)
    fods = fods_from_parameters(model, values, SCHEME)
    back = parameters_from_fods(model, fods)
    for name in back:
        np.testing.assert_allclose(back[name], values[name], rtol=1e-5)
    x, z = directions_from_mu([[np.pi / 2, 0], [0, 0]])
    np.testing.assert_allclose([x, z], [[1, 0, 0], [0, 0, 1]], atol=1e-15)
    if distribution == "bingham":
        for mu, expected in (([np.pi / 2, 0], [0, np.cos(0.4), np.sin(0.4)]), ([0, 0], [-np.sin(0.4), np.cos(0.4), 0])):
            values[f"{prefix}mu"], values[f"{prefix}psi"] = np.tile(mu, (5, 1)), np.full(5, 0.4)
            across = fods_from_parameters(model, values, None).parameters["across"][0, 0]
            np.testing.assert_allclose(across, expected, atol=1e-12)


def test_scheme():
    assert SCHEME.number_of_measurements == 183
    np.testing.assert_allclose(SCHEME.shell_bvalues, [0, 1e9, 2e9, 3e9])
    np.testing.assert_array_equal(np.bincount(SCHEME.shell_indices), [3, 60, 60, 60])
    # b = (γGδ)²(Δ - δ/3): 56 mT/m at b = 1000 s/mm² with these timings, as dmipy prints.
    assert 1e3 * SCHEME.shell_gradient_strengths[1] == pytest.approx(56, abs=0.5)
    assert SCHEME.acquisition.shells[1].delta == pytest.approx(10.6)

    class Table:
        bvals, bvecs, small_delta, big_delta = B * 1e-6, G, 0.0106, 0.0431

    np.testing.assert_allclose(gtab_dipy2dmipy(Table()).gradient_strengths, SCHEME.gradient_strengths)
    assert acquisition_scheme_from_bvalues(B, G).gradient_strengths is None
    acquisition_scheme_from_bvalues(B, G, delta=np.where(B > 0, 0.01, 0), Delta=np.where(B > 0, 0.03, 0))
    for b, g, message in (
        (B[None], G, "one-dimensional"),
        (B[:5], G, "same length"),
        (-B, G, "zero or positive"),
        (B, 2 * G, "not unit vectors"),
    ):
        with pytest.raises(ValueError, match=message):
            acquisition_scheme_from_bvalues(b, g)
    with pytest.warns(UserWarning, match="No b0 measurements"):
        nothing = acquisition_scheme_from_bvalues(B[3:], G[3:])
    with pytest.raises(ValueError, match="must have b0-measurements"):
        smt_model().fit(nothing, np.ones((2, 180)))


def test_printed_scheme_is_dmipys(capsys):
    assert SCHEME.print_acquisition_info is None
    assert "1           |60        |1000            |56                       |10.6       |43.1      |N/A  " in (
        capsys.readouterr().out.splitlines()
    )


def test_errors_are_dmipys():
    model = smt_model()
    for call, message in (
        (
            lambda: model.set_fixed_parameter("G2Zeppelin_1_lambda_perp", 1e-9),
            "does not exist or has already been fixed",
        ),
        (lambda: model.set_fixed_parameter("G2Zeppelin_1_lambda_par", "1"), "must be number or np.array"),
        (lambda: model.set_parameter_optimization_bounds("x", (0, 1)), "not in model parameters"),
        (lambda: model.set_parameter_optimization_bounds("G2Zeppelin_1_lambda_par", (3e-9, 1e-9)), "is higher than"),
        (lambda: model.fit(SCHEME, np.ones((2, 183)), solver="other"), "Unknown solver name other"),
        (lambda: model.fit(SCHEME, np.ones((2, 20))), "20 volumes in the data"),
        (lambda: model.fit(SCHEME, np.zeros((2, 183))), "no voxel to fit"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: gaussian_models.G3TemporalZeppelin,
        lambda: cylinder_models.C2CylinderStejskalTannerApproximation,
        lambda: sphere_models.S4SphereGaussianPhaseApproximation,
        lambda: modeling_framework.MultiCompartmentSphericalHarmonicsModel,
        lambda: signal_models.plane_models,
        lambda: distributions.SD1Watson,
        lambda: data.saved_data,
        lambda: modeling_framework.MultiCompartmentModel(models=[cylinder_models.C1Stick()]),
        lambda: modeling_framework.MultiCompartmentSphericalMeanModel(
            [gaussian_models.G1Ball()], S0_tissue_responses=[1]
        ),
        lambda: smt_model().fit(SCHEME, np.ones((2, 183)), solver="mix"),
        lambda: acquisition_scheme_from_bvalues(B, G, TE=np.linspace(0.05, 0.1, B.size)),
    ],
)
def test_what_is_not_covered_says_so(call):
    with pytest.raises(NotImplementedError, match=r"jaxsmt\.dmipy does not cover") as error:
        call()
    assert isinstance(error.value, JaxsmtError)
    assert error.value.fix


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.set_parameter_optimization_bounds("partial_volume_0", (0.1, 0.5)),
        lambda model: model.set_initial_guess_parameter("partial_volume_0", 0.4),
        lambda model: model.set_fixed_parameter("BundleModel_1_partial_volume_0", 0.4),
    ],
)
def test_changes_of_nested_fractions_are_refused(change):
    """They are sums and shares of several of jaxsmt's weights, which have no bounds; alone they are free."""
    model = modeling_framework.MultiCompartmentSphericalMeanModel([bundle(), gaussian_models.G1Ball()])
    assert "weight.G1Ball_1" not in model.native_model().parameter_names  # it follows from the others
    change(model)
    with pytest.raises(NotImplementedError, match="a nested fraction"):
        model.native_model()


def test_a_bundle_alone_takes_changes_of_its_fraction():
    """The first fraction of a single bundle is the weight of its first compartment."""
    model = modeling_framework.MultiCompartmentSphericalMeanModel([bundle()])
    model.set_fixed_parameter("BundleModel_1_partial_volume_0", 0.4)
    assert dict(model.native_model().held) == {"weight.BundleModel_1_C1Stick_1": 0.4}


@pytest.mark.parametrize(
    "module", [data, distributions, signal_models, modeling_framework, fitted_modeling_framework, cylinder_models]
)
def test_names_that_dmipy_does_not_have_are_not_found(module):
    """Tools ask modules for such names: an error of another kind would stop them."""
    assert not hasattr(module, "pytest_plugins")
    assert not hasattr(module, "__path__") or module is signal_models


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


def test_diagram_of_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[bundle()])
    model.visualize_model_setup(view=False, im_format="svg")
    assert (tmp_path / "Model Setup.svg").stat().st_size > 1000
