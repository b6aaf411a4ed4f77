"""The Rician distribution against SciPy and quadrature, in both precisions, from no signal to strong ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from jaxsmt.physics import noise

X = np.array([0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 11.99, 12.01, 30.0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments(dtype):
    with jax.enable_x64(dtype == "float64"):
        x, tolerance = jnp.asarray(X, dtype), 1e-10 if dtype == "float64" else 3e-5
        np.testing.assert_allclose(noise.expected_magnitude(x), stats.rice.mean(X), rtol=tolerance / 10)
        np.testing.assert_allclose(noise.variance(x), stats.rice.var(X), rtol=max(tolerance, 2e-6))
        for far in (1e3, 1e5):  # μ - x and 1 - Var vanish as 1/2x and 1/2x²
            assert noise.expected_magnitude(jnp.asarray(far, dtype)) == pytest.approx(far, rel=1e-6)
            assert noise.variance(jnp.asarray(far, dtype)) == pytest.approx(1.0, rel=1e-6)
        by_jax = jax.vmap(jax.grad(noise.expected_magnitude))(x)
        h = 1e-4
        ends = stats.rice.mean(X[1:] + h / 2 * X[1:]), stats.rice.mean(X[1:] - h / 2 * X[1:])
        np.testing.assert_allclose(by_jax[1:], (ends[0] - ends[1]) / (h * X[1:]), rtol=1e-4)
        assert by_jax[0] == 0
        back = noise.signal_of_mean(noise.expected_magnitude(x[3:]))
        np.testing.assert_allclose(back, x[3:], rtol=1e-4)
        assert noise.signal_of_mean(jnp.asarray(0.7, dtype)) == 0  # below the floor


def test_likelihood_and_its_derivative():
    """The misfit differs from SciPy's -log p by what x does not change; expected_real is its derivative."""
    m, x = (jnp.asarray(v) for v in np.random.default_rng(0).uniform(0.01, 8, (2, 50)))
    with jax.enable_x64(True):
        m, x = m.astype(float), x.astype(float)
        gap = np.asarray(noise.misfit(m, x)) + stats.rice.logpdf(m, x)
        at_one = np.asarray(noise.misfit(m, jnp.ones_like(m))) + stats.rice.logpdf(m, 1.0)
        np.testing.assert_allclose(gap, at_one, atol=1e-8)
        slope = jax.vmap(jax.grad(noise.misfit, argnums=1))(m, x)
        np.testing.assert_allclose(slope, x - noise.expected_real(m, x), rtol=1e-8, atol=1e-10)
    for m, x in ((0.0, 0.0), (0.0, 5.0), (1e4, 1e4), (3.0, 0.0)):
        m, x = jnp.float32(m), jnp.float32(x)
        assert noise.misfit(m, x) >= 0
        assert np.isfinite(noise.misfit(m, x))
        assert np.isfinite(noise.expected_real(m, x))


def test_information_is_nearly_fishers():
    for x in (0.05, 0.3, 1.0, 2.0, 4.0):

        def score_squared(m, x=x):
            ratio = special.ive(1, m * x) / special.ive(0, m * x)
            return (m * ratio - x) ** 2 * stats.rice.pdf(m, x)

        exact = integrate.quad(score_squared, 0, x + 10)[0]
        found = float(noise.information(jnp.float32(x)))
        assert 0.91 * exact <= found <= 1.0001 * exact


def test_sigma_from_residuals():
    """Unbiased but where the signal is lost in noise, with the scatter that its degrees of freedom allow."""
    rng = np.random.default_rng(1)
    n, voxels = 60, 800
    t = np.linspace(-1, 1, n)
    basis = np.linalg.qr(np.stack([np.ones(n), t, t * t], axis=1))[0]
    for strength, rician, bias in ((20.0, True, 0.02), (3.0, True, 0.02), (0.3, True, 0.1), (3.0, False, 0.02)):
        clean = 2.5 * strength * (1 + 0.3 * t + 0.2 * t * t)
        real = clean + 2.5 * rng.standard_normal((voxels, n))
        data = np.hypot(real, 2.5 * rng.standard_normal((voxels, n))) if rician else real
        one = jax.jit(jax.vmap(lambda d, r=rician: noise.sigma_from_residuals(d, (jnp.asarray(basis, d.dtype),), r)))
        found = np.asarray(one(jnp.asarray(data, jnp.float32)))
        assert np.median(found) == pytest.approx(2.5, rel=bias)
        if strength > 1:
            assert np.std(found) == pytest.approx(2.5 / np.sqrt(2 * 57), rel=0.3)
