"""Compartments: closed forms are those of quadrature and of known limits; `test_contracts` has their contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

import jaxsmt as js
from jaxsmt.acquisition.shells import Pulse
from jaxsmt.physics import compartments
from jaxsmt.physics.signal import _SPHERE_ROOTS, sphere_mean
from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean


def test_sphere_against_its_limits():
    np.testing.assert_allclose(scipy.special.spherical_jn(1, _SPHERE_ROOTS, derivative=True), 0, atol=1e-15)
    with jax.enable_x64(True):
        # Short pulses, long separation: -ln E = q²R²/5 with b = q²Δ.
        assert -np.log(sphere_mean(1.0, 1e-3, 1e4, 5.0, 2.0)) == pytest.approx(25 / 5 / 1e4, rel=2e-4)
        # Long pulses (Neuman 1974): -ln E = (8/175) γ²G² (R⁴/D) (2δ - 581/840 R²/D).
        gradient = 1 / (1000.0**2 * (1000 - 1000 / 3))
        expected = 8 / 175 * gradient * 81 / 3 * (2 * 1000 - 581 / 840 * 9 / 3)
        assert -np.log(sphere_mean(1.0, 1000.0, 1000.0, 3.0, 3.0)) == pytest.approx(expected, rel=1e-5)
    # Slow diffusion in a large sphere is nearly free.
    assert -np.log(sphere_mean(1.0, 10.0, 20.0, 50.0, 0.3)) == pytest.approx(0.3, rel=0.1, abs=1e-6)


def test_sphere_against_a_random_walk():
    """Gaussian phase: -ln E is half the variance of the phase, which a walk between reflecting walls has too."""
    rng = np.random.default_rng(0)
    radius, diffusivity, delta, Delta, dt = 4.0, 2.0, 6.0, 14.0, 0.02
    steps = round((Delta + delta) / dt)
    p = rng.standard_normal((6000, 3))
    p *= radius * rng.uniform(size=(6000, 1)) ** (1 / 3) / np.linalg.norm(p, axis=1, keepdims=True)
    phase = np.zeros(6000)
    for i in range(steps):
        t = (i + 0.5) * dt
        phase += dt * ((t < delta) * 1.0 - (t > Delta) * 1.0) * p[:, 0]
        moved = p + np.sqrt(2 * diffusivity * dt) * rng.standard_normal(p.shape)
        r = np.linalg.norm(moved, axis=1, keepdims=True)
        p = np.where(r > radius, moved * (2 * radius - r) / np.maximum(r, radius), moved)
    b = 1.0
    gradient = b / (delta**2 * (Delta - delta / 3))
    ours = -np.log(float(sphere_mean(b, delta, Delta, radius, diffusivity)))
    assert ours == pytest.approx(0.5 * gradient * np.mean(phase**2), rel=0.08)


def test_moments_by_quadrature_are_the_closed_forms():
    """A compartment stripped of its closed forms gives the same spherical means and moments."""
    for c, values in ((js.zeppelin(), (2.0, 0.4)), (js.stick(), (3.0,)), (js.zeppelin(), (0.7, 0.7))):
        plain = js.Compartment(c.kind, c.parameters, c.attenuation)
        args = [jnp.asarray(v) for v in values]
        for b in (0.0, 1.0, 6.0):
            np.testing.assert_allclose(plain.moments(Pulse(b), 20, *args), c.moments(Pulse(b), 20, *args), atol=2e-7)
            perp = values[1] if len(values) > 1 else 0.0
            np.testing.assert_allclose(plain.spherical_mean(Pulse(b), *args), gauss_mean(b, values[0], perp), rtol=1e-6)


def test_a_sphere_needs_timings():
    acquisition = scheme([1000, 2000])
    with pytest.raises(js.InputError, match="duration δ and separation Δ"):
        js.SphericalMeanModel(js.sphere()).signal(acquisition, {"radius": 5.0, "diffusivity": 2.0})


def test_anisotropy_tells_from_the_signal_alone_how_much_a_zeppelin_depends_on_direction():
    """By quadrature of the attenuation; f above 0.95 is below the least that has a direction at any b."""
    x, weights = np.polynomial.legendre.leggauss(64)
    for b in (0.5, 3.0, 10.0):
        for f in (0.3, 0.9, 0.951, 1.0):
            signal = weights / 2 * np.exp(-b * 2.5 * (f + (1 - f) * x**2))
            moments = np.array([signal.sum(), signal @ (1.5 * x**2 - 0.5)])
            expected = 7.5 * abs(moments[1]) / moments[0] / -np.log(moments[0])
            found = compartments.anisotropy([js.zeppelin().moments(Pulse(b), 2, jnp.array(2.5), jnp.array(2.5 * f))])
            assert float(found) == pytest.approx(expected, abs=2e-5)
            assert (float(found) < compartments.LEAST_ANISOTROPY) == (f > 0.95)
            if b == 0.5:
                assert float(found) == pytest.approx(3 * (1 - f) / (1 + 2 * f), rel=0.1, abs=1e-6)


def test_anisotropy_of_what_does_not_decay_is_none():
    """Nothing diffuses, or nothing is left: no division by 0, and no direction."""
    for k in ([1.0, 0.0], [0.0, 0.0]):
        assert float(compartments.anisotropy([jnp.array(k)])) == 0
    several = [jnp.array([0.5, -0.2]), jnp.array([0.9, 0.0])]
    assert float(compartments.anisotropy(several)) == float(compartments.anisotropy(several[:1]))
