"""A direction has no meaning where the kernel is isotropic: none is given, and the status tells."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.status import Status
from tests.conftest import ACQUISITION

FRACTIONS = np.repeat([0.2, 0.6, 0.97, 1.0], 40)


@pytest.fixture(scope="module")
def noisy():
    """One Watson lobe and kernels from anisotropic to isotropic, with Gaussian noise of SNR 50."""
    n = len(FRACTIONS)
    axes = np.random.default_rng(0).standard_normal((n, 1, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    par = np.full(n, 2.0)
    data = js.simulate.zeppelin_signal(ACQUISITION, par, FRACTIONS * par, axes, np.full((n, 1), 10.0), np.ones((n, 1)))
    return data + np.random.default_rng(1).normal(0, 0.02, data.shape)


@pytest.mark.parametrize("n_fibres", [1, "auto"])
@pytest.mark.parametrize("model", [js.smt(), js.mcsmt()], ids=lambda model: model.name)
def test_isotropic_kernels_have_no_direction(noisy, model, n_fibres):
    fods = js.fit(js.FodModel(model, "watson", n_fibres), ACQUISITION, noisy, uncertainty=True)
    kernel = fods.model.kernels.parameters
    # Of mcSMT what surrounds the neurites is all there is, and isotropic; a few sticks outlast it at high b.
    flat = kernel["fraction"] > 0.95 if model.name == "smt" else kernel["intra"] < 1e-4
    assert flat.sum() > 10
    assert np.all(fods.status[flat] == Status.AT_BOUND)
    assert np.all(fods.n_fibres[flat] == 0)
    for name in ("direction", "weight", "odi", "kappa"):
        assert np.all(fods.parameters[name][flat] == 0), name
    assert all(np.all(np.isnan(sd[flat])) for sd in fods.sd.values())
    np.testing.assert_allclose(fods.odf([[0.0, 0.0, 1.0]])[flat], 1 / (4 * np.pi), rtol=1e-6)
    assert np.all(fods.mse[flat] > 0)
    clear = FRACTIONS == 0.2
    assert np.all(fods.n_fibres[clear] >= 1)
    if model.name == "smt":
        assert np.mean(fods.status[clear] == Status.CONVERGED) > 0.9


def test_residuals_of_isotropic_voxels_are_those_of_a_uniform_fod(noisy):
    """`predict` and the quality maps tell of the FOD that is given, not of the one that was dropped."""
    fods = js.fit(js.FodModel(js.smt(), "watson", 2), ACQUISITION, noisy)
    kernels, flat = fods.model.kernels, fods.status == Status.AT_BOUND
    flat &= fods.n_fibres == 0
    left = ((noisy - fods.predict()) / kernels.s0[:, None])[flat]
    np.testing.assert_allclose(np.mean(left**2, axis=1), fods.mse[flat], rtol=1e-3)


def test_estimates_of_single_voxels_agree(noisy):
    model = js.FodModel(js.smt(), "watson")
    fods = js.fit(model, ACQUISITION, noisy)
    flat = int(np.flatnonzero(fods.model.kernels.parameters["fraction"] > 0.95)[0])
    for voxel in (0, flat):
        values, status = js.estimate(model, ACQUISITION, jnp.asarray(noisy[voxel], jnp.float32), with_status=True)
        assert (int(status) == Status.CONVERGED) == (voxel == 0)
        np.testing.assert_allclose(np.abs(values["direction"]), np.abs(fods.parameters["direction"][voxel]), atol=2e-3)
        if voxel == flat:
            assert int(status) == Status.AT_BOUND
            assert np.all(values["weight"] == 0)
