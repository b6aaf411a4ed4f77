"""A GPU against the CPU in double precision: all that a fit gives. `pytest -m gpu -n 0` runs these alone."""

import jax
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.simulate import hcp_scheme, rician
from tests.fitting.simulated_fods import simulated


def gpus():
    try:
        return jax.devices("gpu")
    except RuntimeError:
        return []


pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpus(), reason="needs a GPU: JAX finds none"),
    pytest.mark.usefixtures("sizes_of_users"),
]
ACQUISITION = hcp_scheme(3, 30)
N = 400


def data_of(lobes, noisy=False):
    data = simulated(N, lobes)[0]
    return rician(data, 800 / 40, np.random.default_rng(1)) if noisy else data


def both(model, data, **how):
    """The fit on the GPU, and on the CPU in double precision."""
    cpu = js.fit(model, ACQUISITION, data, dtype="float64", device=jax.devices("cpu")[0], **how)
    return js.fit(model, ACQUISITION, data, device=gpus()[0], **how), cpu


def near(ours, theirs, tolerance, part=0.99):
    """All but a few voxels agree: where two minima are equally deep, either is right."""
    close = np.isclose(ours, theirs, rtol=tolerance, atol=tolerance)
    assert np.mean(close) >= part, np.nanmax(np.abs(ours - theirs))


@pytest.mark.parametrize("model", [js.smt, js.mcsmt, js.ball_stick, js.smt_noddi])
def test_kernels(model):
    gpu, cpu = both(model(), data_of(1, noisy=True))
    for name, values in cpu.parameters.items():
        near(gpu.parameters[name], values, 1e-3)
    near(gpu.s0 / cpu.s0, 1, 1e-4)
    assert np.mean(gpu.status == cpu.status) > 0.98


@pytest.mark.parametrize(("density", "count"), [("watson", 1), ("bingham", 1), ("watson", 2), ("watson", "auto")])
def test_fods(density, count):
    """TF32 would cost three digits of the residuals. Without noise their number would say little."""
    gpu, cpu = both(js.FodModel(js.smt(), density, count), data_of(2 if count == 2 else 1, noisy=count == "auto"))
    near(gpu.quality["mse"], cpu.quality["mse"], 1e-6)
    near(gpu.parameters["odi"], cpu.parameters["odi"], 2e-3, 0.95)
    assert np.mean(gpu.n_fibres == cpu.n_fibres) > 0.98


def test_noise_floor_and_standard_deviations():
    gpu, cpu = both(js.FodModel(js.smt(), "watson"), data_of(1, noisy=True), noise="rician", uncertainty=True)
    for ours, theirs in ((gpu, cpu), (gpu.model.kernels, cpu.model.kernels)):
        for name, values in theirs.parameters.items():
            if name not in ("direction", "beta", "across"):
                near(ours.parameters[name], values, 5e-3, 0.95)
        for name, values in theirs.sd.items():
            near(np.nan_to_num(ours.sd[name]), np.nan_to_num(values), 2e-2, 0.9)
    near(gpu.model.kernels.sigma / cpu.model.kernels.sigma, 1, 1e-3)


def test_all_devices_give_the_numbers_of_one():
    data = data_of(1, noisy=True)
    one, many = (js.fit(js.smt(), ACQUISITION, data, device=device) for device in (gpus()[0], gpus()))
    np.testing.assert_array_equal(one.parameters["lambda_par"], many.parameters["lambda_par"])


def test_double_precision():
    data = data_of(1, noisy=True)
    gpu, cpu = (
        js.fit(js.smt(), ACQUISITION, data, dtype="float64", device=device)
        for device in (gpus()[0], jax.devices("cpu")[0])
    )
    near(gpu.parameters["lambda_par"], cpu.parameters["lambda_par"], 1e-7)
