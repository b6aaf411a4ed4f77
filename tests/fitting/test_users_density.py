"""An orientation density of a user's own does whatever "watson" does: fits, mixtures, estimates with derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from tests.conftest import degrees
from tests.fitting.simulated_fods import ACQUISITION, WEIGHTS, kernel_of, matched, simulated, simulated_by


def power(x, kappa):
    """Wider at its top and narrower at its foot than Watson's density."""
    return kappa * x**4


POWER = js.axial_density("power", power)


@pytest.mark.parametrize("lobes", [1, 2])
def test_fits_find_the_truth(lobes):
    """Noise-free lobes of the density, made by quadrature: nobody but the user's formula says what they look like."""
    data, mu, kappa = simulated_by(power, 16, lobes)
    fods = js.fit(kernel_of(data).fod_model(POWER, lobes), ACQUISITION, data)
    p = fods.parameters
    angles, order = matched(p["direction"], mu)
    good = angles.max(axis=1) < 1
    assert np.mean(good) >= 0.9
    assert np.all(np.isin(fods.status[good], (js.Status.CONVERGED, js.Status.AT_BOUND)))
    assert fods.mse[good].max() < 1e-6
    each = np.arange(len(data))[:, None]
    np.testing.assert_allclose(p["odi"][each, order][good], (2 / np.pi * np.arctan(1 / kappa))[good], atol=0.01)
    np.testing.assert_allclose(p["weight"][good], np.tile(WEIGHTS[lobes], (good.sum(), 1)), atol=0.01)
    np.testing.assert_allclose(fods.sh(0)[..., 0], 1 / np.sqrt(4 * np.pi), rtol=1e-5)
    np.testing.assert_allclose(fods.predict()[good], data[good], atol=2e-3)
    assert fods.model.name == "smtpower"


def test_watsons_formula_of_a_user_gives_watsons_maps():
    """The built-in density has no way of its own: the same formula gives the same maps."""
    data, *_ = simulated(40, 2, seed=5)
    kernel = kernel_of(data, dtype="float64")
    users = js.axial_density("watsonsown", lambda x, kappa: kappa * x**2)
    one, other = (
        js.fit(kernel.fod_model(density, 2), ACQUISITION, data, dtype="float64").parameters
        for density in (users, "watson")
    )
    for name in ("weight", "odi"):
        np.testing.assert_allclose(one[name], other[name], atol=1e-5)
    assert degrees(one["direction"], other["direction"]).max() < np.degrees(1e-5)  # an axis has no sign


def test_estimates_are_those_of_the_fit_and_have_derivatives():
    """One voxel's estimate, and its implicit derivative along a change of the signal against differences."""
    clean, mu, _ = simulated_by(power, 1, 1, seed=8)
    noisy = clean + 0.01 * np.random.default_rng(0).standard_normal(clean.shape)
    model = js.FodModel(js.smt(), POWER)
    fods = js.fit(model, ACQUISITION, noisy, dtype="float64")
    with jax.enable_x64(True):
        signal = jnp.asarray(noisy[0])
        change = jnp.asarray(np.random.default_rng(2).standard_normal(signal.shape))
        solver = js.levenberg_marquardt(rtol=1e-16)

        def odi(signal):
            estimates, status = js.estimate(model, ACQUISITION, signal, solver=solver, with_status=True)
            return estimates["odi"][0], (estimates, status)

        along = jax.jit(lambda s: jax.jvp(odi, (s,), (change,), has_aux=True))
        _, slope, (estimates, status) = along(signal)
        h = 1e-5
        difference = (along(signal + h * change)[0] - along(signal - h * change)[0]) / (2 * h)
    assert status == js.Status.CONVERGED
    assert degrees(estimates["direction"][0], mu[0, 0]) < 3
    np.testing.assert_allclose(estimates["odi"], fods.parameters["odi"][0], atol=1e-5)
    assert float(slope) == pytest.approx(float(difference), rel=1e-5)
    assert float(slope) != 0
