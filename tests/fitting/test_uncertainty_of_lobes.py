"""Standard deviations of Bingham lobes and of two lobes: the same voxel's noise, drawn many times."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxsmt as js
from tests.conftest import degrees
from tests.fitting.simulated_fods import matched
from tests.fitting.tissue import ACQUISITION

SIGMA, REPEATS, PLACES = 1 / 50, 40, 12


def draws(lobes_of):
    """(REPEATS · PLACES, volumes) noisy signals, S0 = 1; `lobes_of(i)` has the weights and lobes of place i."""
    g, b = jnp.asarray(ACQUISITION.bvecs, jnp.float32), jnp.asarray(ACQUISITION.bvals / 1000, jnp.float32)
    signal = jax.jit(lambda lobe: js.signal.convolved(g, b, (1.8, 0.4), lobe, 28))
    clean = [sum(weight * np.asarray(signal(lobe)) for weight, lobe in lobes_of(i)) for i in range(PLACES)]
    noise = np.random.default_rng(1).standard_normal((REPEATS, PLACES, len(b)))
    return (np.array(clean) + SIGMA * noise).reshape(REPEATS * PLACES, -1)


def fitted(data, density, count):
    """The fit, and where both stages converged, nearly everywhere."""
    fods = js.fit(js.FodModel(js.smt(), density, count), ACQUISITION, data, sigma=SIGMA, uncertainty=True)
    inside = (fods.status == js.Status.CONVERGED) & (fods.model.fitted.status == js.Status.CONVERGED)
    assert inside.mean() > 0.9
    return fods, inside


def assert_sd_is_right(errors, sd, least=0.8, most=1.25):
    """z-scores have about unit spread, and no more of them lie outside than of normal errors."""
    z = errors / sd
    assert least < np.sqrt(np.mean(z**2)) < most
    assert np.mean(np.abs(z) < 1.96) > 0.9


def test_bingham_lobes():
    """A second axis and β have errors of their own, which one concentration's do not show."""
    rng = np.random.default_rng(3)
    axes = np.linalg.qr(rng.standard_normal((PLACES, 3, 3)))[0]
    kappa = rng.uniform(8, 14, PLACES)
    beta = kappa * rng.uniform(0.4, 0.7, PLACES)
    data = draws(lambda i: [(1.0, js.bingham(axes[i, 0], kappa[i], beta[i], axes[i, 1]))])
    fods, inside = fitted(data, "bingham", 1)
    p, sd = ({name: values[:, 0] for name, values in maps.items()} for maps in (fods.parameters, fods.sd))
    true = {"beta": beta, "odi": 2 / np.pi * np.arctan(1 / kappa)}
    for name in ("odi", "beta"):
        assert_sd_is_right((p[name] - np.tile(true[name], REPEATS))[inside], sd[name][inside])
    angle = degrees(p["direction"], np.tile(axes[:, 0], (REPEATS, 1)))[inside]
    assert 0.8 < np.sqrt(np.mean((angle / sd["direction"][inside]) ** 2)) < 1.25
    assert not np.any(sd["weight"][inside])  # one lobe has it all


def test_two_lobes():
    """What lobes take from each other, in weight and width, is part of their errors; each is told apart by its axis."""
    rng = np.random.default_rng(4)
    axes = np.linalg.qr(rng.standard_normal((PLACES, 3, 3)))[0][:, :2]  # at right angles
    kappa, weight = rng.uniform(6, 12, (PLACES, 2)), np.array([0.6, 0.4])
    data = draws(lambda i: [(float(weight[j]), js.watson(axes[i, j], kappa[i, j])) for j in (0, 1)])
    fods, inside = fitted(data, "watson", 2)
    p, sd = fods.parameters, fods.sd
    angle, order = matched(p["direction"], np.tile(axes, (REPEATS, 1, 1)))
    each = np.arange(len(data))[:, None]
    inside &= angle.max(axis=1) < 20
    assert inside.mean() > 0.9
    odi = 2 / np.pi * np.arctan(1 / np.tile(kappa, (REPEATS, 1)))
    for name, true in (("odi", odi), ("weight", weight)):
        assert_sd_is_right((p[name][each, order] - true)[inside], sd[name][each, order][inside])
    assert 0.8 < np.sqrt(np.mean((angle / sd["direction"][each, order])[inside] ** 2)) < 1.25
