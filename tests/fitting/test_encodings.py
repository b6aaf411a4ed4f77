"""Fits of schemes with encodings of other shapes and with several echo times: the truth comes back without noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.geometry.quadrature import gradient_directions
from jaxsmt.physics.signal import zeppelin_legendre
from tests.conftest import degrees

# (b, volumes, b_Δ, TE) of each shell.
LINEAR = ((0, 3, 1, 60), (1000, 30, 1, 60), (2000, 30, 1, 60))
SCHEMES = {
    "spherical": (*LINEAR, (1000, 2, 0, 60), (1500, 2, 0, 60)),
    "planar": (*LINEAR, (1000, 30, -0.5, 60), (2000, 30, -0.5, 60)),
    "echoes": (*LINEAR, (0, 2, 1, 90), (1000, 30, 1, 90), (3000, 30, 1, 90)),
}
TRUTH = {"lambda_par": [2.0, 1.2], "lambda_perp": [0.5, 0.7]}
AXES, KAPPA, S0, T2 = np.array([[0, 0, 1.0], [0.6, 0, 0.8]]), [6.0, 3.0], [1000.0, 400.0], [70.0, 50.0]


def acquisition_of(name):
    """The scheme; echo times and shapes only where there are several."""
    rows = SCHEMES[name]
    b, n, shape, te = (np.array(column, float) for column in zip(*rows, strict=True))
    directions = [gradient_directions(k) if bb and s else np.zeros((k, 3)) for bb, k, s, _ in rows]
    more = {"te": np.repeat(te, n.astype(int))} if name == "echoes" else {"b_delta": np.repeat(shape, n.astype(int))}
    return js.Acquisition(np.repeat(b, n.astype(int)), np.concatenate(directions), **more)


def series_of(acquisition):
    """Two voxels without noise."""
    signal = np.ones((2, acquisition.bvals.size))
    with jax.enable_x64(True):
        for shell in acquisition.shells:
            if shell.zero:
                continue
            g = acquisition.bvecs[shell.volumes]
            for i, (par, perp) in enumerate(zip(*TRUTH.values(), strict=True)):

                def kernel(b, lmax, par=par, perp=perp, shape=shell.b_delta):
                    return zeppelin_legendre(b, par, perp, lmax, shape)

                lobe = js.watson(jnp.asarray(AXES[i]), jnp.asarray(KAPPA[i]))
                signal[i, shell.volumes] = js.signal.convolved(g, shell.b, kernel, lobe)
    if acquisition.te is not None:
        signal = signal * np.exp(-(acquisition.te - 60) / np.array(T2)[:, None])
    return signal * np.array(S0)[:, None]


@pytest.mark.parametrize("name", SCHEMES)
def test_kernels_come_back(name):
    acquisition = acquisition_of(name)
    data = series_of(acquisition)
    fit = js.fit(js.smt(), acquisition, data)
    for parameter, values in TRUTH.items():
        np.testing.assert_allclose(fit.parameters[parameter], values, rtol=2e-4)
    np.testing.assert_allclose(fit.s0, S0, rtol=1e-5)  # of the shortest echo time
    one = js.estimate(js.smt(), acquisition, data[0])
    np.testing.assert_allclose(one["lambda_par"], 2.0, rtol=2e-4)


@pytest.mark.parametrize("name", ["spherical", "echoes"])
def test_fods_come_back(name):
    acquisition = acquisition_of(name)
    fods = js.fit(js.FodModel(js.smt(), "watson", 1), acquisition, series_of(acquisition))
    assert np.all(degrees(fods.parameters["direction"][:, 0], AXES) < 0.02)
    np.testing.assert_allclose(fods.parameters["kappa"][:, 0], KAPPA, rtol=1e-3)
    assert np.all(fods.mse < 1e-9)


def test_spherical_encoding_lowers_the_expected_error():
    """Volumes at b_Δ = 0 tell the mean diffusivity, which two shells of linear encoding hardly do."""
    with_spherical, values = acquisition_of("spherical"), {"lambda_par": 1.7, "fraction": 0.3}
    keep = with_spherical.b_delta == 1
    linear = js.Acquisition(with_spherical.bvals[keep], with_spherical.bvecs[keep])
    sd = [float(js.crlb(js.smt(), a, values, 1 / 30)[0, 0]) ** 0.5 for a in (linear, with_spherical)]
    assert sd[1] < 0.75 * sd[0]


def test_gradient_deviations_of_other_shapes_are_refused():
    acquisition = acquisition_of("planar")
    with pytest.raises(js.InputError, match="gradient deviations change the shape"):
        js.fit(js.smt(), acquisition, series_of(acquisition), grad_dev=np.zeros((2, 3, 3)))


def test_the_noise_floor_is_removed_at_each_echo_time():
    """σ is that of the volumes as they are: relative to the signal it grows with the echo time. SNR 25."""
    acquisition = acquisition_of("echoes")
    clean = np.repeat(series_of(acquisition)[:1], 600, axis=0)
    data = js.simulate.rician(clean, 40.0, np.random.default_rng(0))
    fit = js.fit(js.smt(), acquisition, data, noise="rician", uncertainty=True)
    assert np.median(fit.sigma) == pytest.approx(40, rel=0.03)
    assert np.median(fit.derived["md"]) == pytest.approx(1.0, rel=0.02)
    np.testing.assert_allclose(np.std(fit.s0), np.nanmedian(fit.sd["s0"]), rtol=0.15)


@pytest.mark.parametrize("s0", ["fit", "mean"])
def test_standard_deviations_count_the_decay(s0):
    """Volumes of a later echo time have less signal and the same noise: the scatter between voxels is that."""
    acquisition = acquisition_of("echoes")
    clean = np.repeat(series_of(acquisition)[:1], 1500, axis=0)
    data = clean + np.random.default_rng(0).normal(0, 15, clean.shape)
    fit = js.fit(js.smt(), acquisition, data, s0=s0, uncertainty=True)
    assert np.median(fit.sigma) == pytest.approx(15, rel=0.02)
    assert np.all(fit.status == js.Status.CONVERGED)
    for name, sd in fit.sd.items():
        values = fit.s0 if name == "s0" else {**fit.parameters, **fit.derived}[name]
        assert np.std(values) == pytest.approx(np.median(sd), rel=0.1), name


def test_the_information_has_an_s0_for_each_echo_time():
    """Relative to the S0 of each echo time σ is the same: two halves of a scheme tell what they tell one by one."""
    both, values = acquisition_of("echoes"), {"lambda_par": 1.7, "fraction": 0.3}
    halves = []
    for te in (60, 90):
        keep = both.te == te
        halves.append(js.Acquisition(both.bvals[keep], both.bvecs[keep]))
    with jax.enable_x64(True):
        information = [js.fisher_information(js.smt(), a, values, 0.02) for a in (*halves, both)]
    np.testing.assert_allclose(information[0] + information[1], information[2], rtol=1e-9)


def test_fods_of_magnitudes_at_several_echo_times():
    """Both passes: predictions have the decay that the volumes have, b = 0 of each echo time too."""
    acquisition = acquisition_of("echoes")
    data = series_of(acquisition)
    fods = js.fit(js.FodModel(js.smt(), "watson", 1), acquisition, data, noise="rician", sigma=1e-2)
    for parameter, values in TRUTH.items():
        np.testing.assert_allclose(fods.model.kernels.parameters[parameter], values, rtol=2e-3)
    np.testing.assert_allclose(fods.parameters["kappa"][:, 0], KAPPA, rtol=5e-3)


def test_gradient_deviations_at_several_echo_times():
    """Where there are none, correcting for them changes nothing; b = 0 has no direction to turn."""
    acquisition = acquisition_of("echoes")
    fit = js.fit(js.smt(), acquisition, series_of(acquisition), grad_dev=np.zeros((2, 3, 3)), sigma=1e-2)
    for parameter, values in TRUTH.items():
        np.testing.assert_allclose(fit.parameters[parameter], values, rtol=2e-3)


def test_residuals_of_fods_count_b0_of_every_echo_time():
    """Two of its volumes that differ around the same mean leave kernel and FOD as they are."""
    acquisition = acquisition_of("echoes")
    data = series_of(acquisition)
    late = np.flatnonzero((acquisition.bvals == 0) & (acquisition.te == 90))
    data[:, late] += np.array(S0)[:, None] * [0.01, -0.01]
    fods = js.fit(js.FodModel(js.smt(), "watson", 1), acquisition, data)
    np.testing.assert_allclose(fods.mse, 2 * 0.01**2 / data.shape[1], rtol=1e-3)


def test_predictions_at_b0_alone():
    """Of FODs too: an acquisition may have no shell."""
    acquisition = acquisition_of("spherical")
    fods = js.fit(js.FodModel(js.smt(), "watson", 1), acquisition, series_of(acquisition))
    nothing = js.Acquisition(np.zeros(2), np.zeros((2, 3)))
    np.testing.assert_allclose(fods.predict(nothing), np.repeat(np.array(S0)[:, None], 2, axis=1), rtol=1e-4)
