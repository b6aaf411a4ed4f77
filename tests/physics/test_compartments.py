"""Compartments: each keeps the contract, closed forms are those of quadrature and of known limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

import jaxsmt as js
from jaxsmt.acquisition.shells import Pulse
from jaxsmt.physics.signal import _SPHERE_ROOTS, sphere_mean
from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean

BUILT_IN = [js.ball, js.stick, js.zeppelin, js.dot, js.sphere]


@pytest.mark.parametrize("make", BUILT_IN)
def test_every_compartment_keeps_the_contract(make):
    js.check_compartment(make())
    assert make() == make()  # equal ones share compiled programs
    assert hash(make()) == hash(make())


# A compartment of a user's own file, given only its attenuation: sticks whose diffusivities follow a gamma
# distribution with this mean, and a variance of `spread` times its square.
def _gamma_sticks(pulse, x, lambda_par, spread):
    return (1 + spread * pulse.b * lambda_par * x * x) ** (-1 / spread)


def gamma_sticks():
    return js.Compartment(
        kind="gamma sticks",
        parameters=(
            js.Parameter("lambda_par", 0.0, 3.0, typical=1.7, unit="um2/ms"),
            js.Parameter("spread", 0.1, 1.0, typical=0.3),
        ),
        attenuation=_gamma_sticks,
    )


def test_a_users_compartment_is_accepted():
    js.check_compartment(gamma_sticks())


def _grows(pulse, x, rate):
    return jnp.exp(pulse.b * rate * x * x)


def _branches(pulse, x, rate):
    return jnp.exp(-pulse.b * rate * x * x) if rate > 0.5 else jnp.ones_like(x)


def _root(pulse, x, rate):
    return jnp.exp(-pulse.b * jnp.sqrt(rate) * x * x)


def _offset(pulse, x, rate):
    return 0.9 * jnp.exp(-pulse.b * rate * x * x)


def _wrong_mean(pulse, rate):
    return jnp.exp(-pulse.b * rate / 3)


def _stick(pulse, x, rate):
    return jnp.exp(-pulse.b * rate * x * x)


def _sharp(pulse, x, rate):
    return jnp.exp(-1e5 * pulse.b * rate * x * x)


@pytest.mark.parametrize(
    ("attenuation", "options", "reason"),
    [
        (_grows, {}, r"not in \[0, 1\] at b = 0.5 ms/µm², rate ="),
        (_branches, {}, "cannot be traced"),
        (_root, {}, "derivative by rate is not finite"),
        (_offset, {}, "is not 1 at b = 0"),
        (_stick, {"mean": _wrong_mean}, "spherical mean is not that of the attenuation"),
        (_sharp, {}, "too sharp for 32 nodes"),
        (_stick, {"isotropic": True}, "isotropic but depends on x"),
    ],
)
def test_broken_compartments_are_refused_with_the_reason(attenuation, options, reason):
    broken = js.Compartment("mine", (js.Parameter("rate", 0.0, 3.0),), attenuation, **options)
    with pytest.raises(js.InputError, match=reason):
        js.check_compartment(broken)


def _timed(pulse, x, rate):
    return jnp.exp(-pulse.b * rate * x * x * pulse.delta / pulse.Delta)


def test_a_compartment_that_needs_timings_must_say_so():
    parameters = (js.Parameter("rate", 0.0, 3.0),)
    js.check_compartment(js.Compartment("mine", parameters, _timed, timed=True))
    with pytest.raises(js.InputError, match=r"cannot be called: (.|\n)*timed=True"):
        js.check_compartment(js.Compartment("mine", parameters, _timed))


def test_broken_parameters_are_refused():
    for parameters, reason in (
        ((js.Parameter("a b"),), "a name of its own"),
        ((js.Parameter("a", 2.0, 1.0),), "has bounds"),
        ((js.Parameter("a", 0.0, 1.0, typical=2.0),), "typical a"),
        ((js.Parameter("a", starts=(0.0, 1.0)),), "start at"),
        ([js.Parameter("a")], "cannot be hashed"),
    ):
        with pytest.raises(js.InputError, match=reason):
            js.check_compartment(js.Compartment("mine", parameters, _stick))


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
    assert -np.log(sphere_mean(1.0, 10.0, 20.0, 50.0, 0.3)) == pytest.approx(0.3, rel=0.1)


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
