"""Errors are dmipy's, and what is not covered says so."""

import numpy as np
import pytest

from jaxsmt import JaxsmtError
from jaxsmt.dmipy import data, signal_models
from jaxsmt.dmipy.core import fitted_modeling_framework, modeling_framework
from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
from jaxsmt.dmipy.distributions import distributions
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models, sphere_models
from tests.dmipy.examples import SCHEME, B, G, smt_model


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
        lambda: sphere_models.S2SphereStejskalTannerApproximation,
        lambda: modeling_framework.MultiCompartmentSphericalHarmonicsModel,
        lambda: signal_models.plane_models,
        lambda: distributions.SD1Watson,
        lambda: data.saved_data,
        lambda: modeling_framework.MultiCompartmentModel(models=[cylinder_models.C1Stick()]),
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
    "module", [data, distributions, signal_models, modeling_framework, fitted_modeling_framework, cylinder_models]
)
def test_names_that_dmipy_does_not_have_are_not_found(module):
    """Tools ask modules for such names: an error of another kind would stop them."""
    assert not hasattr(module, "pytest_plugins")
