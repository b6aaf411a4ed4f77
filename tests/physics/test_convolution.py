"""Convolved signals and their derivatives, against quadrature over the whole sphere and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import jaxsmt as js
from jaxsmt.geometry.quadrature import fibonacci_sphere
from jaxsmt.physics.signal import convolved, truncation_order
from tests.physics.known_lobes import brute_force, convolved_by, frame, lobe_of

rng = np.random.default_rng(0)


def zeppelin(number):
    """(λ∥, λ⊥) of a stick, a zeppelin, a ball, and a zeppelin that resembles a ball."""
    return [(3.0, 0.0), (2.0, 0.3), (1.0, 1.0), (3.0, 0.6)][number % 4]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 0.9, 1.0])
def test_convolved_against_brute_force(dtype, share):
    """≤ 1e-4 of S0 is asked for b ≤ 6, λ∥ ≤ 3, κ ≤ 64; it is far better, and beyond."""
    with jax.enable_x64(True):
        for i, kappa in enumerate((0.0, 1e-3, 0.5, 4.0, 16.0, 64.0, 128.0, 200.0)):
            axes, beta = frame(i), None if share is None else share * kappa
            directions = np.concatenate([axes, fibonacci_sphere(9)])
            b = np.resize([0.0, 1.0, 3.0, 6.0], 12)
            par, perp = zeppelin(i)
            e = convolved(
                jnp.asarray(directions, dtype),
                jnp.asarray(b, dtype),
                (jnp.asarray(par, dtype), jnp.asarray(perp, dtype)),
                lobe_of(axes, kappa, beta, dtype),
            )
            assert e.dtype == dtype
            truth = brute_force(directions, b, par, perp, axes, kappa, beta or 0.0)
            np.testing.assert_allclose(e, truth, rtol=0, atol=1e-5)


POWER = js.axial_density("power", lambda x, kappa: kappa * x**4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_density_of_a_users_own_against_brute_force(dtype):
    """A user gives a formula and no harmonics: the library's quadrature must find them, ≤ 1e-4 of S0."""
    with jax.enable_x64(True):
        for i, kappa in enumerate((0.0, 0.5, 4.0, 16.0, 64.0, 128.0)):
            axes = frame(20 + i)
            directions = np.concatenate([axes, fibonacci_sphere(9)])
            b = np.resize([0.0, 1.0, 3.0, 6.0], 12)
            par, perp = zeppelin(i)
            lobe = POWER(jnp.asarray(axes[0], dtype), kappa)
            e = convolved(jnp.asarray(directions, dtype), jnp.asarray(b, dtype), (par, perp), lobe)
            truth = convolved_by(lambda x, _, kappa=kappa: kappa * x**4, directions, b, par, perp, axes)
            assert e.dtype == dtype
            np.testing.assert_allclose(e, truth, rtol=0, atol=1e-4)


@pytest.mark.parametrize("what", ["mu", "kappa", "lambda_par", "lambda_perp", "g"])
def test_gradients_of_a_users_own_density(what):
    """The quadrature's derivatives are exact: against differences, in every argument of the signal."""
    values = {"mu": [0.2, -0.5, 0.9], "kappa": 6.0, "lambda_par": 2.1, "lambda_perp": 0.4, "g": [0.6, 0.0, 0.8]}

    def signal(**v):
        return convolved(v["g"], 2.5, (v["lambda_par"], v["lambda_perp"]), POWER(v["mu"], v["kappa"]), lmax=20)

    with jax.enable_x64(True):
        values = {name: jnp.asarray(v) for name, v in values.items()}
        assert_slope_is_that_of_differences(signal, values, what)


def assert_slope_is_that_of_differences(signal, values, what):
    """The derivative of `signal` along a random change of one of its `values`, ≤ 1e-4."""
    step = rng.standard_normal(values[what].shape)
    if what == "g":  # along the sphere
        step = np.cross(values["g"], step)

    def along(t):
        return signal(**{**values, what: values[what] + t * step})

    slope = jax.jit(lambda t: jax.jvp(along, (t,), (jnp.ones_like(t),))[1])(jnp.float64(0))
    along, h = jax.jit(along), 1e-4
    difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    assert abs(float(slope) - float(difference)) <= 1e-4 * abs(float(difference)) + 1e-9


def test_convolved_is_a_ratio_of_normalisers():
    """Exact for axial B: E = exp(-bλ⊥) ₁F₁(½; 3/2; κ - z)/₁F₁(½; 3/2; κ) along the axis (g = μ)."""
    with jax.enable_x64(True):
        for kappa, b, par, perp in ((3.0, 2.0, 2.0, 0.4), (30.0, 6.0, 3.0, 0.0), (0.0, 1.0, 1.5, 0.5)):
            e = convolved(jnp.array([[0.0, 0.0, 1.0]]), b, (par, perp), js.watson([0.0, 0.0, 1.0], kappa))
            f = scipy.special.hyp1f1(0.5, 1.5, [kappa - b * (par - perp), kappa])
            assert abs(float(e[0]) - np.exp(-b * perp) * f[0] / f[1]) < 1e-6


def test_mean_over_directions_is_the_spherical_mean():
    with jax.enable_x64(True):
        x, w = np.polynomial.legendre.leggauss(40)
        phi = 2 * np.pi * np.arange(60) / 60
        ring = np.stack([np.cos(phi), np.sin(phi)], axis=1)
        points = np.concatenate([np.column_stack([np.sqrt(1 - z * z) * ring, np.full(60, z)]) for z in x])
        e = convolved(points, 3.0, (2.2, 0.3), js.bingham([1.0, 2.0, 2.0], 20.0, 8.0, [0.0, 1.0, 0.0]))
        mean = float(np.repeat(w, 60) @ np.asarray(e)) / 120
        assert abs(mean - float(js.signal.zeppelin_mean(3.0, 2.2, 0.3))) < 1e-9


@pytest.mark.parametrize("what", ["mu", "mu2", "kappa", "beta", "lambda_par", "lambda_perp", "b", "g"])
@pytest.mark.parametrize("point", ["ordinary", "isotropic kernel", "uniform", "girdle"])
def test_gradients_against_finite_differences(what, point):
    values = {
        "mu": np.array([0.2, -0.5, 0.9]),
        "mu2": np.array([1.0, 0.3, 0.1]),
        "kappa": 9.0,
        "beta": 4.0,
        "lambda_par": 2.1,
        "lambda_perp": 0.4,
        "b": 2.5,
        "g": np.array([0.6, 0.0, 0.8]),
    }
    values |= {
        "isotropic kernel": {"lambda_perp": 2.1},
        "uniform": {"kappa": 0.0, "beta": 0.0},
        "girdle": {"beta": 9.0},
    }.get(point, {})

    def signal(**v):
        kernel = (v["lambda_par"], v["lambda_perp"])
        return convolved(v["g"], v["b"], kernel, js.bingham(v["mu"], v["kappa"], v["beta"], v["mu2"]), lmax=20)

    with jax.enable_x64(True):
        values = {name: jnp.asarray(v) for name, v in values.items()}
        assert_slope_is_that_of_differences(signal, values, what)


def test_truncation_order_keeps_its_promise():
    with jax.enable_x64(True):
        g = fibonacci_sphere(200)
        lobe = js.watson([0.0, 0.6, 0.8], 128.0)
        signal = jax.jit(lambda z, order: convolved(g, 1.0, (z, 0.0), lobe, lmax=order), static_argnums=1)
        for z in (1.0, 6.0, 18.0):
            full = signal(z, 40)
            for tolerance in (1e-2, 1e-4):
                order = truncation_order(z, tolerance, 128.0)
                assert np.abs(signal(z, order) - full).max() <= tolerance
                assert truncation_order(z / 2, tolerance, 128.0) <= order


def test_order_follows_known_numbers():
    """The default order is enough at b = 15 ms/µm² too."""
    with jax.enable_x64(True):
        g = fibonacci_sphere(50)
        lobe = js.watson([0.0, 0.6, 0.8], 128.0)
        ordinary = convolved(g, 15.0, (3.0, 0.0), lobe)
        np.testing.assert_allclose(ordinary, convolved(g, 15.0, (3.0, 0.0), lobe, lmax=60), atol=1e-4)
