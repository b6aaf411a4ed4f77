"""Watson's and Bingham's distributions of compartments: signals by quadrature, and what spherical means see of them."""

import numpy as np
import pytest

from jaxsmt import InputError
from jaxsmt.dmipy.core import modeling_framework
from jaxsmt.dmipy.distributions.distribute_models import SD1WatsonDistributed, SD2BinghamDistributed
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models
from tests.dmipy.examples import SCHEME, B, G

KERNEL = {"C1Stick_1_lambda_par": 1.7e-9, "partial_volume_0": 0.6}


def linked(distributed):
    """A stick in a zeppelin of the same λ∥, with the tortuosity of packed fibres."""
    model = distributed([cylinder_models.C1Stick(), gaussian_models.G2Zeppelin()])
    model.set_equal_parameter("C1Stick_1_lambda_par", "G2Zeppelin_1_lambda_par")
    model.set_tortuous_parameter("G2Zeppelin_1_lambda_perp", "C1Stick_1_lambda_par", "partial_volume_0")
    return model


def by_quadrature(exponent):
    """∫ψ k over the sphere with ψ ∝ exp(exponent(n)): Gauss-Legendre nodes in z, even steps about it."""
    z, of_z = np.polynomial.legendre.leggauss(80)
    phi = np.arange(120) * 2 * np.pi / 120
    r = np.sqrt(1 - z**2)[:, None]
    axes = np.stack(np.broadcast_arrays(r * np.cos(phi), r * np.sin(phi), z[:, None]), axis=-1).reshape(-1, 3)
    weight = np.exp(exponent(axes)) * np.repeat(of_z, 120)
    x2, b = (G @ axes.T) ** 2, B[:, None] * 1e-9
    kernel = 0.6 * np.exp(-b * 1.7 * x2) + 0.4 * np.exp(-b * (0.68 + (1.7 - 0.68) * x2))
    return np.where(B > 0, kernel @ (weight / weight.sum()), 1)


def test_watson_distributed_signals():
    model = linked(SD1WatsonDistributed)
    assert model.parameter_names == ["C1Stick_1_lambda_par", "SD1Watson_1_mu", "SD1Watson_1_odi", "partial_volume_0"]
    signal = model(SCHEME, **KERNEL, SD1Watson_1_mu=[0.5, 1.0], SD1Watson_1_odi=0.2)
    axis = np.array([np.sin(0.5) * np.cos(1.0), np.sin(0.5) * np.sin(1.0), np.cos(0.5)])
    kappa = 1 / np.tan(np.pi / 2 * 0.2)
    np.testing.assert_allclose(signal, by_quadrature(lambda n: kappa * (n @ axis) ** 2), atol=1e-4)
    means = model.spherical_mean(SCHEME, **KERNEL)
    np.testing.assert_allclose(signal @ SCHEME.acquisition.weights.T, means, atol=1e-3)


def test_bingham_distributed_signals():
    """ψ turns the second axis about μ as in dmipy: for μ along x and ψ = π/2 it is z."""
    values = {"psi": np.pi / 2, "odi": 0.2, "beta_fraction": 0.6, "mu": [np.pi / 2, 0.0]}
    signal = linked(SD2BinghamDistributed)(SCHEME, **KERNEL, **{f"SD2Bingham_1_{n}": v for n, v in values.items()})
    kappa = 1 / np.tan(np.pi / 2 * 0.2)
    expected = by_quadrature(lambda n: kappa * (n[:, 0] ** 2 + 0.6 * n[:, 2] ** 2))
    np.testing.assert_allclose(signal, expected, atol=1e-4)


def test_spherical_mean_models_do_not_see_the_distribution():
    model = modeling_framework.MultiCompartmentSphericalMeanModel([linked(SD1WatsonDistributed)])
    prefix = "SD1WatsonDistributed_1_"
    assert model.parameter_names == [f"{prefix}C1Stick_1_lambda_par", f"{prefix}partial_volume_0"]
    means = model.simulate_signal(SCHEME, {f"{prefix}{name}": value for name, value in KERNEL.items()})
    np.testing.assert_allclose(means, linked(SD1WatsonDistributed).spherical_mean(SCHEME, **KERNEL), atol=1e-6)


def test_what_cannot_be_distributed_is_refused():
    with pytest.raises(InputError, match="must have an orientation parameter"):
        SD1WatsonDistributed([gaussian_models.G1Ball()])
    with pytest.raises(InputError, match="SD1Watson_1_mu"):
        SD1WatsonDistributed([cylinder_models.C1Stick()])(SCHEME, C1Stick_1_lambda_par=1e-9)
    with pytest.raises(InputError, match="C1Stick_1_lambda_par"):
        SD1WatsonDistributed([cylinder_models.C1Stick()]).spherical_mean(SCHEME)
