"""Signals against dense quadrature, noise against its moments."""

import numpy as np
import pytest

from jaxsmt import simulate
from jaxsmt.geometry.quadrature import fibonacci_sphere
from jaxsmt.simulate import signals


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


def test_signals_do_not_depend_on_the_blocks(monkeypatch):
    """Lobes are computed in blocks, to the last digit as one by one: voxels may be asked for in any parts."""
    acquisition = simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0, 3000.0))
    rng = np.random.default_rng(0)
    axes = rng.standard_normal((50, 2, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    weight = rng.uniform(size=(50, 2)) * (rng.uniform(size=(50, 2)) < 0.7)  # of 0 to 2 lobes
    values = [acquisition, rng.uniform(1, 3, 50), rng.uniform(0, 1, 50), axes, rng.uniform(0, 20, (50, 2)), weight]
    together = simulate.zeppelin_signal(*values)
    monkeypatch.setattr(signals, "_BLOCK", 1)
    np.testing.assert_array_equal(simulate.zeppelin_signal(*values), together)
    some = [values[0], *(array[7:9] for array in values[1:])]
    np.testing.assert_array_equal(simulate.zeppelin_signal(*some), together[7:9])
