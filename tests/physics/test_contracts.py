"""The contracts: one check accepts every built-in record and a user's own, and refuses broken ones with the reason."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from jax.scipy.special import i0e

import jaxsmt as js
from jaxsmt.physics.noises import find

GAUSSIAN, RICIAN = find("gaussian"), find("rician")


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


def _timed(pulse, x, rate):
    return jnp.exp(-pulse.b * rate * x * x * pulse.delta / pulse.Delta)


def timed():
    return js.Compartment("timed", (js.Parameter("rate", 0.0, 3.0),), _timed, timed=True)


# A noise of a user's own file, given only what is required: Rician as a textbook writes it.
def _textbook_misfit(m, x):
    return (m - x) ** 2 / 2 - jnp.log(i0e(m * x))


def textbook_rician():
    return js.Noise("textbook", 2, mean=RICIAN.mean, misfit=_textbook_misfit, base=jnp.log)


RECORDS = {
    **{
        make.__name__: (js.check_compartment, make)
        for make in (js.ball, js.stick, js.zeppelin, js.dot, js.sphere, js.cylinder)
    },
    "relaxing zeppelin": (js.check_compartment, lambda: js.relaxing(js.zeppelin())),
    "relaxing sphere": (js.check_compartment, lambda: js.relaxing(js.sphere())),
    "gamma sticks of a user": (js.check_compartment, gamma_sticks),
    "timed sticks of a user": (js.check_compartment, timed),
    "gaussian": (js.check_noise, lambda: find("gaussian")),
    "rician": (js.check_noise, lambda: find("rician")),
    **{f"{n} coils": (js.check_noise, lambda n=n: js.noncentral_chi(n)) for n in (1, 4, 16)},
    "Rician noise of a user": (js.check_noise, textbook_rician),
}


@pytest.mark.parametrize("record", RECORDS)
def test_records_keep_their_contract(record):
    check, make = RECORDS[record]
    check(make())
    assert make() == make()  # equal ones share compiled programs
    assert hash(make()) == hash(make())


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
        (_timed, {}, r"cannot be called: (.|\n)*timed=True"),
    ],
)
def test_broken_compartments_are_refused_with_the_reason(attenuation, options, reason):
    broken = js.Compartment("mine", (js.Parameter("rate", 0.0, 3.0),), attenuation, **options)
    with pytest.raises(js.InputError, match=reason):
        js.check_compartment(broken)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ((js.Parameter("a b"),), "a name of its own"),
        ((js.Parameter("a", 2.0, 1.0),), "has bounds"),
        ((js.Parameter("a", 0.0, 1.0, typical=2.0),), "typical a"),
        ((js.Parameter("a", starts=(0.0, 1.0)),), "start at"),
        ([js.Parameter("a")], "cannot be hashed"),
    ],
)
def test_broken_parameters_are_refused(parameters, reason):
    with pytest.raises(js.InputError, match=reason):
        js.check_compartment(js.Compartment("mine", parameters, _stick))


class _Unhashable:
    __hash__ = None

    def __call__(self, x):
        return x


@jax.custom_jvp
def _mean_with_a_wrong_derivative(x):
    return x * 1.0


_mean_with_a_wrong_derivative.defjvps(lambda dx, _, x: 0.5 * dx)


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"name": ""}, "has no name"),
        ({"channels": 0}, "channels is 0"),
        ({"channels": 2}, "integral of exp.* is 0.5, not 1, at x = 0"),  # half of the values are no magnitudes
        ({"mean": _Unhashable()}, "cannot be hashed"),
        ({"misfit": lambda m, x: (m - x) ** 2 / 2 if m > x else 0 * m}, "misfit cannot be called"),
        ({"mean": lambda x: x / jnp.max(x) * 30}, "of one element depends on the others"),
        ({"mean": lambda x: jnp.sum(x)}, r"expected_magnitude has shape \(\)"),
        ({"variance": lambda x: jnp.ones_like(x, jnp.float32)}, "variance_of has type float32"),
        ({"real": lambda m, x: m + 0 / x}, "expected_real is not finite at m = .*, x = 0"),
        ({"base": jnp.zeros_like}, r"integral of exp\(base - misfit\) over m is 2.507, not 1"),
        (
            {"misfit": lambda m, x: x * x / 2 - m * x, "base": lambda m: -m * m / 2 - 0.5 * math.log(2 * math.pi)},
            "misfit is .*never negative",
        ),
        ({"mean": lambda x: x + 0.01}, "mean is 0.01, not .*, at x = 0"),
        ({"mean": _mean_with_a_wrong_derivative, "slope": None}, "slope of the mean is 0.5, not 1"),
        ({"variance": lambda x: 1 + 0 * x + 1e-3}, "variance is 1.001, not 1"),
        ({"real": lambda m, x: m + 0.1}, "mean of expected_real - x is 0.1"),
        ({"real": lambda m, x: m + (m - x) / 10}, r"expected_real is not x \+ d log p/dx"),
        ({"real": lambda m, x: (m * 1e9 + x) - m * 1e9 + (m - x)}, "in single precision"),
        ({"misfit": lambda m, x: jnp.sqrt((m - x) ** 2) ** 2 / 2}, "the derivative of misfit by .* is not finite"),
    ],
)
def test_broken_noise_is_refused_with_the_reason(flaw, reason):
    """Each is Gaussian noise but for one flaw."""
    with pytest.raises(js.InputError, match=f"(?s){reason}"):
        js.check_noise(dataclasses.replace(GAUSSIAN, **flaw))


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(js.InputError, match=r"E\[m²\].* is 2, not 4, at x = 0"):
        js.check_noise(dataclasses.replace(RICIAN, channels=4))
