"""Models, their links and signals, and what is fixed, guessed and bounded in them."""

import numpy as np
import pytest

from jaxsmt.dmipy.core import modeling_framework
from jaxsmt.dmipy.core.fod_parameters import fods_from_parameters, parameters_from_fods
from jaxsmt.dmipy.distributions import distributions
from jaxsmt.dmipy.orientations import directions_from_mu
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models, sphere_models
from jaxsmt.geometry.quadrature import icosphere
from tests.conftest import gauss_mean
from tests.dmipy.examples import SCHEME, B, G, bundle, smt_model


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
    vertices, _ = icosphere(5)
    # Broad enough for the vertices, which do not lie evenly; a wrong normaliser is off by tens of percent.
    broad = {**values, f"{prefix}odi": np.full(5, 0.3)}
    np.testing.assert_allclose(model(vertices, "FOD", **broad).mean(axis=-1) * 4 * np.pi, 1, rtol=0.02)
    x, z = directions_from_mu([[np.pi / 2, 0], [0, 0]])
    np.testing.assert_allclose([x, z], [[1, 0, 0], [0, 0, 1]], atol=1e-15)
    if distribution == "bingham":
        for mu, expected in (([np.pi / 2, 0], [0, np.cos(0.4), np.sin(0.4)]), ([0, 0], [-np.sin(0.4), np.cos(0.4), 0])):
            values[f"{prefix}mu"], values[f"{prefix}psi"] = np.tile(mu, (5, 1)), np.full(5, 0.4)
            across = fods_from_parameters(model, values, None).parameters["across"][0, 0]
            np.testing.assert_allclose(across, expected, atol=1e-12)


def test_diagram_of_the_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[bundle()])
    model.visualize_model_setup(view=False, im_format="svg")
    assert (tmp_path / "Model Setup.svg").stat().st_size > 1000
