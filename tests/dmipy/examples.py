"""A scheme and models that the tests of dmipy's interface share."""

import numpy as np

from jaxsmt.dmipy.core import modeling_framework
from jaxsmt.dmipy.core.acquisition_scheme import acquisition_scheme_from_bvalues
from jaxsmt.dmipy.distributions.distribute_models import BundleModel
from jaxsmt.dmipy.signal_models import cylinder_models, gaussian_models
from jaxsmt.geometry.quadrature import gradient_directions

B = np.repeat([0, 1e9, 2e9, 3e9], [3, 60, 60, 60])
G = np.concatenate([np.zeros((3, 3)), *(gradient_directions(60, seed=i) for i in range(3))])
SCHEME = acquisition_scheme_from_bvalues(B, G, delta=0.0106, Delta=0.0431)


def smt_model():
    """A zeppelin whose perpendicular diffusivity is a fraction of the parallel one."""
    model = modeling_framework.MultiCompartmentSphericalMeanModel(models=[gaussian_models.G2Zeppelin()])
    model.set_fractional_parameter("G2Zeppelin_1_lambda_perp", "G2Zeppelin_1_lambda_par")
    return model


def bundle():
    """The bundle of dmipy's mcSMT tutorial."""
    bundle = BundleModel([cylinder_models.C1Stick(), gaussian_models.G2Zeppelin()])
    bundle.set_tortuous_parameter("G2Zeppelin_1_lambda_perp", "C1Stick_1_lambda_par", "partial_volume_0")
    bundle.set_equal_parameter("G2Zeppelin_1_lambda_par", "C1Stick_1_lambda_par")
    return bundle
