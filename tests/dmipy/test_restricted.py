"""Cylinders and spheres, and tissues of different S0: dmipy's numbers by the published formulas."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special

from jaxsmt import InputError
from jaxsmt.dmipy.core import modeling_framework
from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
from jaxsmt.dmipy.core.tissue_fractions import tissue_fractions
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models, sphere_models
from tests.dmipy.examples import SCHEME, B, G

DELTA, DELTA_BIG, D, GAMMA = 0.0129, 0.0218, 1.7e-9, 2.6752218744e8
TIMED = acquisition_scheme_from_bvalues(B, G, delta=DELTA, Delta=DELTA_BIG)


def log_attenuation(strength, radius, roots, less):
    """Murday & Cotts's and van Gelderen's sums in SI units; less: 2 of a sphere, 1 of a cylinder."""
    alpha2 = (roots / radius) ** 2
    rate = alpha2 * D
    decay = [np.exp(-rate * t) for t in (DELTA_BIG - DELTA, DELTA, DELTA_BIG, DELTA_BIG + DELTA)]
    times = 2 * DELTA - (2 + decay[0] - 2 * decay[1] - 2 * decay[2] + decay[3]) / rate
    return -2 * (GAMMA * strength) ** 2 / D * np.sum(times / (alpha2**2 * (alpha2 * radius**2 - less)))


@pytest.mark.parametrize("diameter", [1e-6, 6e-6, 15e-6])
def test_cylinders_are_van_gelderens(diameter):
    """Signals in all directions, and spherical means by quadrature over the angle to the axis."""
    model = cylinder_models.C4CylinderGaussianPhaseApproximation(mu=[0.4, 1.1], lambda_par=2e-9, diameter=diameter)
    axis = [np.sin(0.4) * np.cos(1.1), np.sin(0.4) * np.sin(1.1), np.cos(0.4)]
    roots = scipy.special.jnp_zeros(1, 60)

    def signal(strength, b, x):
        return np.exp(-b * 2e-9 * x**2 + (1 - x**2) * log_attenuation(strength, diameter / 2, roots, 1))

    pairs = list(zip(TIMED.gradient_strengths, B, G @ axis, strict=True))
    expected = [1.0 if b == 0 else signal(g, b, x) for g, b, x in pairs]
    np.testing.assert_allclose(model(TIMED), expected, rtol=2e-4)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    shells = zip(TIMED.shell_gradient_strengths, TIMED.shell_bvalues, strict=True)
    means = [np.sum(weights * signal(g, b, nodes)) / 2 if b else 1.0 for g, b in shells]
    np.testing.assert_allclose(model.spherical_mean(TIMED), means, rtol=2e-4)


@pytest.mark.parametrize("diameter", [4e-6, 12e-6])
def test_spheres_are_those_of_murday_and_cotts(diameter):
    model = sphere_models.S4SphereGaussianPhaseApproximation(diameter=diameter)
    # tan μ = 2μ/(2 - μ²), one root in each interval between poles.
    roots = [
        scipy.optimize.brentq(lambda m: 2 * m * np.cos(m) - (2 - m * m) * np.sin(m), (k - 0.5) * np.pi, k * np.pi)
        for k in range(1, 60)
    ]
    shells = zip(TIMED.shell_gradient_strengths, TIMED.shell_bvalues, strict=True)
    expected = [np.exp(log_attenuation(g, diameter / 2, np.array(roots), 2)) if b else 1.0 for g, b in shells]
    np.testing.assert_allclose(model.spherical_mean(TIMED), expected, rtol=2e-4)


def test_times_of_the_pulses_are_needed():
    for model in (
        cylinder_models.C4CylinderGaussianPhaseApproximation(lambda_par=2e-9, diameter=5e-6),
        sphere_models.S4SphereGaussianPhaseApproximation(5e-6),
    ):
        with pytest.raises(InputError, match="needs the duration δ and separation Δ"):
            model.spherical_mean(acquisition_scheme_from_bvalues(B, G))


def test_a_model_of_spheres_is_fitted():
    """Diameters are in m, and come back from the means of the model itself."""
    model = modeling_framework.MultiCompartmentSphericalMeanModel(
        [sphere_models.S4SphereGaussianPhaseApproximation(), gaussian_models.G1Ball()]
    )
    model.set_fixed_parameter("G1Ball_1_lambda_iso", 2e-9)
    assert model.parameter_names[0] == "S4SphereGaussianPhaseApproximation_1_diameter"
    diameter, volume = np.array([10e-6, 14e-6]), np.array([0.4, 0.6])
    means = model.simulate_signal(
        TIMED,
        {model.parameter_names[0]: diameter, "partial_volume_0": volume, "partial_volume_1": 1 - volume},
    )
    fit = model.fit(TIMED, 300 * means[:, TIMED.shell_indices])
    np.testing.assert_allclose(fit.fitted_parameters[model.parameter_names[0]], diameter, rtol=1e-3)


def test_fractions_of_tissues_are_the_least_squares_that_scipy_finds():
    rng = np.random.default_rng(0)
    signals, responses = rng.uniform(0, 1, (50, 4, 3)), np.array([800.0, 1000.0, 2000.0])
    means = np.einsum("vsm,m,vm->vs", signals, responses, rng.uniform(-0.3, 0.6, (50, 3)))
    found = tissue_fractions(means, signals, responses)
    for i in range(50):
        expected = scipy.optimize.lsq_linear(signals[i] * responses, means[i], (1e-3, np.inf), tol=1e-12).x
        np.testing.assert_allclose(found[i], expected, atol=1e-6)


def test_responses_of_tissues_weigh_the_fractions():
    """A stick's tissue has half the S0 of the free water's: fractions of volume, not of signal."""
    model = modeling_framework.MultiCompartmentSphericalMeanModel(
        [cylinder_models.C1Stick(), gaussian_models.G1Ball()], S0_tissue_responses=[500.0, 1000.0]
    )
    model.set_fixed_parameter("G1Ball_1_lambda_iso", 3e-9)
    stick = cylinder_models.C1Stick(lambda_par=1.7e-9).spherical_mean(SCHEME)
    ball = gaussian_models.G1Ball(lambda_iso=3e-9).spherical_mean(SCHEME)
    volumes = np.array([0.7, 0.25])  # of a voxel that tissue does not fill
    data = (volumes[0] * 500 * stick + volumes[1] * 1000 * ball)[None, SCHEME.shell_indices]
    fit = model.fit(SCHEME, data)
    for i, volume in enumerate(volumes):
        np.testing.assert_allclose(fit.fitted_multi_tissue_fractions[f"partial_volume_{i}"], volume, rtol=2e-3)
        normalised = fit.fitted_multi_tissue_fractions_normalized[f"partial_volume_{i}"]
        np.testing.assert_allclose(normalised, volume / volumes.sum(), rtol=2e-3)
    with pytest.raises(InputError, match="1 S0_tissue_responses for 2 models"):
        modeling_framework.MultiCompartmentSphericalMeanModel(model.models, S0_tissue_responses=[1.0])
