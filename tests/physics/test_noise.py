"""Noise distributions against SciPy and samples, in both precisions, from no signal to strong ones."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

import jaxsmt as js
from jaxsmt.physics.noises import find, names, noncentral_chi

GAUSSIAN, RICIAN = find("gaussian"), find("rician")
X = np.array([0.0, 1e-3, 0.1, 0.5, 1.0, 2.0, 5.0, 7.6, 7.9, 11.99, 12.01, 29.9, 30.1])
COILS = (1, 2, 4, 13, 32, 64)


def exact_mean(coils, x):
    """E[m] by SciPy's confluent hypergeometric function."""
    floor = np.sqrt(2) * np.exp(special.gammaln(coils + 0.5) - special.gammaln(coils))
    return floor * special.hyp1f1(-0.5, coils, -x * x / 2)


NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


@cache
def exact_variance(coils, x):
    """Var[m] by quadrature of SciPy's noncentral χ² density of m²."""
    centre, t, weights = np.sqrt(x * x + 2 * coils), NODES, WEIGHTS
    lower, upper = max(centre - 10, 0), centre + 10
    m, weights = lower + (upper - lower) * (t + 1) / 2, weights * (upper - lower) / 2
    density = weights * 2 * m * (stats.ncx2.pdf(m * m, 2 * coils, x * x) if x else stats.chi2.pdf(m * m, 2 * coils))
    return density @ (m - density @ m) ** 2


def test_the_folder_is_the_list():
    assert names() == ("gaussian", "noncentral-chi", "rician")
    assert [find(name).channels for name in names()] == [1, 2, 2]
    assert find("noncentral-chi", coils=3) is js.noncentral_chi(3)
    assert find("rician") is find("rician", coils=1)


@pytest.mark.parametrize(
    ("name", "coils", "fix"),
    [
        ("poisson", 1, "noise='gaussian' or noise='noncentral-chi' or noise='rician'"),
        ("gaussian", 2, "noise='noncentral-chi'"),
        ("rician", 8, "noise='noncentral-chi'"),
        ("noncentral-chi", 0, "from 1 to 64"),
        ("noncentral-chi", 65, "from 1 to 64"),
        ("noncentral-chi", 2.5, "from 1 to 64"),
        ("noncentral-chi", True, "from 1 to 64"),
    ],
)
def test_unknown_noise_is_refused_with_a_way_out(name, coils, fix):
    with pytest.raises(js.InputError, match=fix):
        find(name, coils)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_of_rician_magnitudes(dtype):
    with jax.enable_x64(dtype == "float64"):
        x, tolerance = jnp.asarray(X, dtype), 1e-10 if dtype == "float64" else 3e-5
        np.testing.assert_allclose(RICIAN.expected_magnitude(x), stats.rice.mean(X), rtol=tolerance / 10)
        np.testing.assert_allclose(RICIAN.variance_of(x), stats.rice.var(X), rtol=max(tolerance, 2e-6))
        for far in (1e3, 1e5):  # μ - x and 1 - Var vanish as 1/2x and 1/2x²
            assert RICIAN.expected_magnitude(jnp.asarray(far, dtype)) == pytest.approx(far, rel=1e-6)
            assert RICIAN.variance_of(jnp.asarray(far, dtype)) == pytest.approx(1.0, rel=1e-6)
        by_jax = jax.vmap(jax.grad(RICIAN.expected_magnitude))(x)
        h = 1e-4
        ends = stats.rice.mean(X[1:] + h / 2 * X[1:]), stats.rice.mean(X[1:] - h / 2 * X[1:])
        np.testing.assert_allclose(by_jax[1:], (ends[0] - ends[1]) / (h * X[1:]), rtol=1e-4)
        assert by_jax[0] == 0
        assert RICIAN.signal_of_mean(jnp.asarray(0.7, dtype)) == 0  # below the floor


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coils", COILS)
def test_moments_of_several_coils(coils, dtype):
    """On both sides of the expansion of the variance, too."""
    noise = js.noncentral_chi(coils)
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(X, dtype)
        tight = dtype == "float64"
        mean = jax.jit(noise.expected_magnitude)(x)
        np.testing.assert_allclose(mean, exact_mean(coils, X), rtol=1e-12 if tight else 1e-6)
        exact = [exact_variance(coils, v) for v in X]
        np.testing.assert_allclose(jax.jit(noise.variance_of)(x), exact, atol=1e-9 if tight else 6e-5)
        far = jnp.asarray([1e3, 1e6], dtype)
        np.testing.assert_allclose(jax.jit(noise.expected_magnitude)(far), far, rtol=1e-4)
        np.testing.assert_allclose(jax.jit(noise.variance_of)(far), 1, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coils", COILS)
def test_likelihood_of_several_coils(coils, dtype):
    """base - misfit is SciPy's log p; expected_real is m I_n/I_{n-1}."""
    noise = js.noncentral_chi(coils)
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 20, 300)
    m = np.sqrt(x * x + 2 * coils) + rng.uniform(-3, 3, 300)
    m = np.maximum(m, 0.05)
    tight = dtype == "float64"
    with jax.enable_x64(tight):
        m, x = np.asarray(m, dtype), np.asarray(x, dtype)
        log = np.asarray(noise.base(jnp.asarray(m)) - jax.jit(noise.misfit)(m, x), float)
        real = np.asarray(jax.jit(noise.expected_real)(m, x), float)
    m, x = m.astype(float), x.astype(float)
    order = special.ive(coils - 1, m * x)
    exact = coils * np.log(m) + (1 - coils) * np.log(x) - (m - x) ** 2 / 2 + np.log(order)
    np.testing.assert_allclose(log, exact, rtol=1e-11 if tight else 3e-6, atol=1e-9 if tight else 1e-4)
    exact_real = m * special.ive(coils, m * x) / order
    np.testing.assert_allclose(real, exact_real, rtol=1e-11 if tight else 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coils", [1, 4, 64])
def test_derivatives_are_finite_and_those_of_differences(coils, dtype):
    """At m = 0, x = 0 and m x = 10⁶ as well."""
    noise = js.noncentral_chi(coils)
    tight = dtype == "float64"
    with jax.enable_x64(tight):
        values = [0, 1e-3, 1.0, 5.0, 30.0, 1000.0]
        m, x = (jnp.asarray(v.ravel(), dtype) for v in np.meshgrid(values, values))
        functions = [jax.grad(function, by) for function in (noise.misfit, noise.expected_real) for by in (0, 1)]
        functions.append(noise.expected_real)
        *slopes, real = jax.jit(lambda m, x: [jax.vmap(function)(m, x) for function in functions])(m, x)
        assert np.isfinite(slopes).all()
        np.testing.assert_allclose(slopes[1], x - real, atol=1e-9 if tight else 3e-4, rtol=1e-6)
        x = jnp.asarray(values, dtype)
        functions = (noise.expected_magnitude, noise.variance_of, noise.information)
        slopes = jax.jit(lambda x: [jax.vmap(jax.grad(function))(x) for function in functions])(x)
        assert np.isfinite(slopes).all()
        if tight:
            m, x, h = jnp.float64([3.0, 8.0, 12.0]), jnp.float64([0.5, 4.0, 9.0]), 1e-5
            for function in (lambda x: noise.expected_real(m, x), noise.slope_of, noise.variance_of):
                along = jax.jit(lambda x, function=function: jax.jvp(function, (x,), (jnp.ones_like(x),)))
                (up, _), (down, _), (_, by_jax) = along(x + h), along(x - h), along(x)
                np.testing.assert_allclose(by_jax, (up - down) / (2 * h), atol=1e-6)


def test_bessel_ratios_of_any_argument():
    """Against SciPy where it has digits; smooth through 0 and never above 1."""
    z = np.concatenate([[0.0, 1e-12], np.geomspace(1e-6, 600, 200)])
    with jax.enable_x64(True):
        for order in (1, 3, 24, 64):
            ratio = np.asarray(jax.jit(noncentral_chi._ratio, static_argnums=0)(order, jnp.asarray(z)))
            exact = special.ive(order, z) / np.maximum(special.ive(order - 1, z), 1e-300)
            good = special.ive(order, z) > 1e-250
            np.testing.assert_allclose(ratio[good], exact[good], rtol=1e-12)
            small = z < 1e-3
            np.testing.assert_allclose(ratio[small], z[small] / (2 * order), rtol=1e-6)
    far = jax.jit(noncentral_chi._ratio, static_argnums=0)(4, jnp.asarray([1e4, 1e6, 1e12, 1e30]))
    np.testing.assert_allclose(far, [1 - 3.5e-4, 1, 1, 1], rtol=1e-5)


def test_one_coil_is_rician():
    one = js.noncentral_chi(1)
    m, x = (v.ravel() for v in np.meshgrid(np.r_[X, 1000.0], np.r_[X, 1000.0]))

    @partial(jax.jit, static_argnums=0)
    def values(noise, m, x):
        of_both = noise.misfit(m, x), noise.expected_real(m, x)
        return (*of_both, noise.expected_magnitude(x), noise.variance_of(x), noise.information(x))

    with jax.enable_x64(True):
        m, x = jnp.asarray(m), jnp.asarray(x)
        assert one.channels == RICIAN.channels
        ours, rician = values(one, m, x), values(RICIAN, m, x)
        np.testing.assert_allclose(ours[0], rician[0], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(ours[1], rician[1], rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(ours[2], rician[2], rtol=1e-13)
        np.testing.assert_allclose(ours[3], rician[3], rtol=1e-6)
        np.testing.assert_allclose(ours[4], rician[4], rtol=1e-6)
        np.testing.assert_array_equal(one.base(m[m > 0]), RICIAN.base(m[m > 0]))


def test_moments_of_samples():
    """Root sums of squares of simulated coils."""
    rng = np.random.default_rng(0)
    for coils, x in ((2, 1.0), (8, 3.0)):
        channels = rng.standard_normal((200_000, 2 * coils))
        channels[:, 0] += x
        m = np.sqrt((channels**2).sum(axis=1))
        noise, signal = js.noncentral_chi(coils), jnp.asarray(x)
        assert m.mean() == pytest.approx(float(noise.expected_magnitude(signal)), abs=0.008)
        assert m.var() == pytest.approx(float(noise.variance_of(signal)), rel=0.015)
        score = noise.expected_real(jnp.asarray(m, jnp.float32), signal) - signal
        assert abs(float(jnp.mean(score))) < 0.01


def test_rician_likelihood_and_its_derivative():
    """The misfit differs from SciPy's -log p by what x does not change; expected_real is its derivative."""
    m, x = (jnp.asarray(v) for v in np.random.default_rng(0).uniform(0.01, 8, (2, 50)))
    with jax.enable_x64(True):
        m, x = m.astype(float), x.astype(float)
        np.testing.assert_allclose(RICIAN.base(m) - RICIAN.misfit(m, x), stats.rice.logpdf(m, x), atol=1e-8)
        gap = np.asarray(RICIAN.misfit(m, x)) + stats.rice.logpdf(m, x)
        at_one = np.asarray(RICIAN.misfit(m, jnp.ones_like(m))) + stats.rice.logpdf(m, 1.0)
        np.testing.assert_allclose(gap, at_one, atol=1e-8)
        slope = jax.vmap(jax.grad(RICIAN.misfit, argnums=1))(m, x)
        np.testing.assert_allclose(slope, x - RICIAN.expected_real(m, x), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("coils", [None, 1, 4, 64])
@pytest.mark.parametrize("point", [(0.0, 0.0), (0.0, 5.0), (1e4, 1e4), (3.0, 0.0), (1e15, 1e15)])
def test_likelihood_at_awkward_points(coils, point):
    noise = RICIAN if coils is None else js.noncentral_chi(coils)
    m, x = map(jnp.float32, point)
    assert noise.misfit(m, x) >= 0
    assert np.isfinite(noise.misfit(m, x))
    assert np.isfinite(noise.expected_real(m, x))
    assert noise.expected_real(m, jnp.float32(0)) == 0  # no signal: the real part has the mean 0


def test_gaussian_values_stand_for_themselves():
    m, x = jnp.asarray([-1.0, 0.0, 3.0]), jnp.asarray([0.0, 2.0, 2.5])
    np.testing.assert_array_equal(GAUSSIAN.expected_real(m, x), m)
    np.testing.assert_array_equal(GAUSSIAN.expected_magnitude(x), x)
    np.testing.assert_array_equal(GAUSSIAN.signal_of_mean(m), m)
    np.testing.assert_array_equal(GAUSSIAN.information(x), 1)
    np.testing.assert_allclose(GAUSSIAN.base(m) - GAUSSIAN.misfit(m, x), stats.norm.logpdf(m, x), rtol=1e-6)
    assert not GAUSSIAN.magnitudes
    assert RICIAN.magnitudes


@pytest.mark.parametrize("noise", [RICIAN, js.noncentral_chi(4)], ids=["rician", "4 coils"])
def test_what_a_record_does_not_hold_is_derived(noise):
    """Slope, variance and real part from the mean and the misfit alone."""
    bare = js.Noise("bare", noise.channels, noise.mean, noise.misfit, noise.base)
    with jax.enable_x64(True):
        x = jnp.asarray(X)
        m = x + 0.7
        np.testing.assert_allclose(bare.slope_of(x), noise.slope_of(x), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(bare.variance_of(x), noise.variance_of(x), rtol=1e-5)
        np.testing.assert_allclose(bare.expected_real(m, x)[1:], noise.expected_real(m, x)[1:], rtol=1e-10)
    strong = jnp.asarray([500.0, 1e4, 1e6])  # where x² + channels - E[m]² is rounding only
    np.testing.assert_array_equal(bare.variance_of(strong), 1)


def test_information_is_nearly_fishers():
    for x in (0.05, 0.3, 1.0, 2.0, 4.0):

        def score_squared(m, x=x):
            ratio = special.ive(1, m * x) / special.ive(0, m * x)
            return (m * ratio - x) ** 2 * stats.rice.pdf(m, x)

        exact = integrate.quad(score_squared, 0, x + 10)[0]
        information = float(RICIAN.information(jnp.float32(x)))
        assert 0.91 * exact <= information <= 1.0001 * exact


@pytest.mark.parametrize("noise", [RICIAN, js.noncentral_chi(4), js.noncentral_chi(32)], ids=["1", "4", "32"])
def test_signal_of_its_mean(noise):
    x = jnp.asarray(X[X >= 0.5] if noise.channels < 10 else X[X >= 2], jnp.float32)
    np.testing.assert_allclose(noise.signal_of_mean(noise.expected_magnitude(x)), x, rtol=1e-4)
    assert noise.signal_of_mean(0.8 * noise.expected_magnitude(jnp.asarray(0.0))) == 0


@pytest.mark.parametrize("coils", [0, 1, 4, 16], ids=["gaussian", "rician", "4 coils", "16 coils"])
@pytest.mark.parametrize("strength", [20.0, 3.0])
def test_sigma_of_a_fit(coils, strength):
    """Unbiased for fitted signals that are the truth, from an estimate 10 % off, for any number of channels."""
    noise = GAUSSIAN if coils == 0 else js.noncentral_chi(coils)
    rng = np.random.default_rng(2)
    x = strength * rng.uniform(0.5, 1, (500, 90))
    channels = 1.1 * rng.standard_normal((noise.channels, *x.shape))
    channels[0] += x
    m = np.sqrt((channels**2).sum(axis=0)) if noise.magnitudes else channels[0]
    sigmas = jax.jit(jax.vmap(lambda m, x: noise.relative_sigma(m, x, jnp.asarray(0.0))))
    assert np.median(sigmas(jnp.asarray(m, jnp.float32), jnp.asarray(x, jnp.float32))) == pytest.approx(1.1, rel=0.015)


@pytest.mark.parametrize(
    ("coils", "strength", "bias"),
    [(1, 20.0, 0.02), (1, 3.0, 0.02), (1, 0.3, 0.1), (0, 3.0, 0.02), (4, 20.0, 0.02), (4, 3.0, 0.03), (16, 5.0, 0.03)],
)
def test_sigma_from_residuals(coils, strength, bias):
    """Unbiased but where the signal is lost in noise, with the scatter that its degrees of freedom allow."""
    noise = {0: GAUSSIAN, 1: RICIAN}.get(coils) or js.noncentral_chi(coils)
    rng = np.random.default_rng(1)
    n, voxels = 60, 800
    t = np.linspace(-1, 1, n)
    basis = np.linalg.qr(np.stack([np.ones(n), t, t * t], axis=1))[0]
    clean = 2.5 * strength * (1 + 0.3 * t + 0.2 * t * t)
    data = clean + 2.5 * rng.standard_normal((voxels, n))
    for _ in range(noise.channels - 1):
        data = np.hypot(data, 2.5 * rng.standard_normal((voxels, n)))
    one = jax.jit(jax.vmap(lambda d: noise.sigma_from_residuals(d, (jnp.asarray(basis, d.dtype),))))
    sigmas = np.asarray(one(jnp.asarray(data, jnp.float32)))
    assert np.median(sigmas) == pytest.approx(2.5, rel=bias)
    if strength > 1:
        assert np.std(sigmas) == pytest.approx(2.5 / np.sqrt(2 * 57), rel=0.3 if coils < 4 else 1.0)
