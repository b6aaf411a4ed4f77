"""Simulated data: signals against dense quadrature, noise against its moments, the slice's truth."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt import simulate
from jaxsmt.geometry.quadrature import fibonacci_sphere


def test_hcp_scheme():
    acquisition = simulate.hcp_scheme()
    assert [len(s.volumes) for s in acquisition.shells] == [18, 90, 90, 90]
    np.testing.assert_allclose(acquisition.b, [0, 1, 2, 3], atol=1e-9)
    assert all(s.order >= 8 for s in acquisition.shells[1:])


@pytest.mark.parametrize("kappa", [0.0, 1.5, 17.0])
def test_signal_matches_dense_quadrature(kappa):
    acquisition = simulate.hcp_scheme(n_directions=12)
    mu = np.array([[[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]]])
    signal = simulate.zeppelin_signal(
        acquisition, np.array([2.2]), np.array([0.3]), mu, np.full((1, 2), kappa), np.array([[0.7, 0.3]])
    )
    n = fibonacci_sphere(200_000)
    attenuation = np.exp(-acquisition.bvals[:, None] / 1000 * (0.3 + 1.9 * (acquisition.bvecs @ n.T) ** 2))
    oracle = 0
    for axis, weight in zip(mu[0], (0.7, 0.3), strict=True):
        density = np.exp(kappa * ((n @ axis) ** 2 - 1))
        oracle = oracle + weight * attenuation @ density / density.sum()
    np.testing.assert_allclose(signal[0], oracle, atol=2e-5)


def test_rician_moments():
    """E[M²] = A² + 2σ²; E[M] = σ√(π/2) where A = 0."""
    rng = np.random.default_rng(0)
    for amplitude in (0.0, 3.0):
        m = simulate.rician(np.full(400_000, amplitude, np.float32), 2.0, rng)
        np.testing.assert_allclose(np.mean(m**2), amplitude**2 + 8, rtol=0.01)
    zero = simulate.rician(np.zeros(400_000, np.float32), 2.0, rng)
    np.testing.assert_allclose(zero.mean(), 2 * np.sqrt(np.pi / 2), rtol=0.01)


def test_lobes_without_weight_may_have_no_axis():
    """Voxels of fewer lobes are filled up with zeros."""
    acquisition = simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
    axes = np.array([[[0.6, 0.0, 0.8], [0.0, 0.0, 0.0]]])
    kernel, kappa = (acquisition, np.array([2.0]), np.array([0.3])), np.full((1, 2), 5.0)
    padded = simulate.zeppelin_signal(*kernel, axes, kappa, np.array([[1.0, 0.0]]))
    single = simulate.zeppelin_signal(*kernel, axes[:, :1], kappa[:, :1], np.array([[1.0]]))
    np.testing.assert_array_equal(padded, single)


def test_slice_is_the_same_for_the_same_seed():
    acquisition = simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0,))
    one, again, other = (simulate.coronal_slice(seed=seed, acquisition=acquisition) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    for name, values in one.truth.items():
        assert np.all(values[~one.mask] == 0), name
        assert np.all(values[one.mask] > 0), name


def test_slice_without_noise_is_fitted_to_its_truth():
    phantom = simulate.coronal_slice(snr=1e6)
    assert 8000 <= phantom.mask.sum() <= 8400
    fit = js.fit(js.smt(), phantom.acquisition, phantom.data, phantom.mask)
    for name in ("lambda_par", "lambda_perp"):
        error = np.abs(fit.parameters[name] - phantom.truth[name])[phantom.mask]
        assert np.median(error) < 2e-3
        assert np.percentile(error, 95) < 0.05
    np.testing.assert_allclose(fit.s0[phantom.mask], phantom.truth["s0"][phantom.mask], rtol=1e-2)
