"""Fits of compartments with a T2: raw data of several echo times, one S0 for all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from tests.conftest import degrees, gauss_mean
from tests.models.known import echoes_scheme, series

SCHEME = echoes_scheme(shells=(1000.0, 2500.0), echo_times=(60.0, 85.0, 130.0))
MTE = js.SphericalMeanModel(
    {"stick": js.relaxing(js.stick()), "zeppelin": js.relaxing(js.zeppelin())},
    links=[
        js.equal("zeppelin.lambda_par", "stick.lambda_par"),
        js.tortuosity("zeppelin.lambda_perp", "zeppelin.lambda_par", intra="weight.stick", extra="weight.zeppelin"),
    ],
)
# One tensor with a T2, whose FODs are fitted.
TENSOR = js.SphericalMeanModel(js.relaxing(js.zeppelin()), [js.fraction("lambda_perp", of="lambda_par", name="f")])
KERNELS = {"lambda_par": np.array([2.0, 1.2, 1.6]), "f": np.array([0.2, 0.5, 0.97]), "t2": np.array([70.0, 50.0, 60.0])}
AXES, KAPPA = np.array([[0, 0, 1.0], [0.6, 0, 0.8], [1.0, 0, 0]]), np.array([6.0, 3.0, 9.0])


@pytest.fixture(scope="module")
def truth():
    """Parameters of 40 voxels: T2 longer inside the neurites or outside."""
    rng = np.random.default_rng(0)
    return {
        "stick.lambda_par": rng.uniform(1.5, 2.5, 40),
        "stick.t2": rng.uniform(50, 110, 40),
        "zeppelin.t2": rng.uniform(40, 90, 40),
        "weight.stick": rng.uniform(0.3, 0.7, 40),
    }


@pytest.fixture(scope="module")
def fitted(truth):
    """The fit of noise-free data by the equation of the means."""
    par, stick_t2, zeppelin_t2, share = truth.values()
    means = []
    for shell in SCHEME.shells:
        inside = share * gauss_mean(shell.b, par, 0 * par) * np.exp(-shell.te / stick_t2)
        outside = (1 - share) * gauss_mean(shell.b, par, (1 - share) * par) * np.exp(-shell.te / zeppelin_t2)
        means.append(800 * (inside + outside))
    data = np.stack(means, axis=-1)[:, np.argmax(SCHEME.weights != 0, axis=0)]
    return js.fit(MTE, SCHEME, data, sigma=4.0, uncertainty=True)


def test_two_t2_come_back(fitted, truth):
    """Two-compartment MTE-SMT: fractions are those of S0 at the echo time 0, which is one for all echo times."""
    assert np.all(fitted.status == js.Status.CONVERGED)
    for name, values in truth.items():
        np.testing.assert_allclose(fitted.parameters[name], values, rtol=2e-4)
    np.testing.assert_allclose(fitted.s0, 800, rtol=1e-5)


def test_standard_deviations_are_those_of_the_bound(fitted, truth):
    """At the truth, as there is no noise: σ of one volume over S0 is 4/800."""
    with jax.enable_x64(True):
        bound = np.asarray(js.crlb(MTE, SCHEME, truth, 4 / 800))
    for i, name in enumerate(MTE.parameter_names):
        np.testing.assert_allclose(fitted.sd[name], np.sqrt(bound[:, i, i]), rtol=5e-3)


def test_maps_of_t2_have_their_unit_and_text(fitted):
    from jaxsmt.files.map_table import about

    assert fitted.units["stick.t2"] == "ms"
    assert about("stick.t2").description == "Transverse relaxation time T2 of the compartment stick"
    assert about("t2").title == "T2 [ms]"


def series_of_lobes():
    """Three voxels without noise, one Watson lobe each: the kernel's moments times exp(-TE/T2)."""
    signal = np.zeros((3, SCHEME.bvals.size))
    with jax.enable_x64(True):
        for i, (par, f, t2) in enumerate(zip(*KERNELS.values(), strict=True)):
            lobe = js.watson(jnp.asarray(AXES[i]), jnp.asarray(KAPPA[i]))
            for shell in SCHEME.shells:
                g = SCHEME.bvecs[shell.volumes] if shell.b else np.tile([0, 0, 1.0], (len(shell.volumes), 1))
                clean = js.signal.convolved(g, shell.b, (par, f * par), lobe)
                signal[i, shell.volumes] = 500 * clean * np.exp(-shell.te / t2)
    return signal


@pytest.fixture(scope="module")
def lobes():
    model = js.FodModel(TENSOR, "watson", 1)
    return js.fit(model, SCHEME, series_of_lobes(), sigma=2.0, uncertainty=True)


def test_fods_come_back_under_kernels_with_a_t2(lobes):
    """Volumes of all echo times; a decay is no isotropy, and isotropy is one whatever the decay is."""
    kernel = lobes.model.kernels
    for name, values in KERNELS.items():
        np.testing.assert_allclose(kernel.parameters[name], values, rtol=1e-3)
    assert lobes.status.tolist() == [js.Status.CONVERGED, js.Status.CONVERGED, js.Status.AT_BOUND]
    assert np.all(degrees(lobes.parameters["direction"][:2, 0], AXES[:2]) < 0.02)
    np.testing.assert_allclose(lobes.parameters["kappa"][:2, 0], KAPPA[:2], rtol=2e-3)
    assert np.all(lobes.mse[:2] < 1e-9)
    np.testing.assert_allclose(lobes.predict(), series_of_lobes(), atol=1)
    assert np.all(np.isfinite(lobes.sd["odi"][:2]))


def test_the_noise_floor_is_removed_from_decayed_volumes():
    """With hardly any noise the correction changes nothing; b = 0 of the first echo time has decayed too."""
    fit = js.fit(TENSOR, SCHEME, series_of_lobes(), noise="rician", sigma=5e-3)
    for name, values in KERNELS.items():
        np.testing.assert_allclose(fit.parameters[name], values, rtol=2e-3)


def test_one_voxel_is_estimated_and_differentiable_by_echo_times():
    """The implicit derivative of T2 by the echo times against differences of estimates."""
    with jax.enable_x64(True):
        signal = jnp.asarray(series_of_lobes()[0])

        def t2(te):
            return js.estimate(TENSOR, SCHEME.with_values(te=te), signal)["t2"]

        te, both = jnp.asarray(SCHEME.te), jax.jit(jax.value_and_grad(t2))
        value, slope = both(te)
        assert float(value) == pytest.approx(70, rel=1e-6)
        step = 1e-3 * (SCHEME.te == SCHEME.te.max())
        difference = (both(te + step)[0] - both(te - step)[0]) / 2e-3
        np.testing.assert_allclose(np.asarray(slope)[step > 0].sum(), difference, rtol=1e-4)


def test_series_of_a_models_means_are_those_of_its_signal():
    """`Fit.predict` has T2 too."""
    values = {"lambda_par": np.array([2.0]), "f": np.array([0.3]), "t2": np.array([80.0])}
    data = series(TENSOR, values, SCHEME)
    fit = js.fit(TENSOR, SCHEME, data)
    np.testing.assert_allclose(fit.predict()[0], 1000 * TENSOR.signal(SCHEME, values)[0], rtol=1e-4)
