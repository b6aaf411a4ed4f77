"""What fits give: comparisons of results and settings."""

import numpy as np

import jaxsmt as js
from tests.fitting.simulated_fods import ACQUISITION, kernel_of, simulated


def test_results_and_settings_can_be_compared():
    """Arrays inside have no truth value of their own: `==` must answer nevertheless, also where a key is looked up."""
    data, *_ = simulated(3, 1)
    kernels = [kernel_of(data) for _ in range(2)]
    fods = [js.fit(kernel.fod_model("watson"), ACQUISITION, data) for kernel in kernels]
    settings = [js.Settings(sigma=np.ones(3), grad_dev=np.zeros((3, 9)), weights=np.ones(4)) for _ in range(2)]
    models = [fod.model for fod in fods]
    for one, other in (kernels, fods, settings, models):
        assert one == one
        assert isinstance(one == other, bool)
        assert one != "something else"
        assert one in [other, one]
