"""Lobes that an order does not hold: what is made of them, by dense evaluation of their Legendre series."""

import numpy as np
import pytest

from jaxsmt.files import map_table
from jaxsmt.physics import apodisation
from jaxsmt.physics.densities import find
from jaxsmt.physics.densities.base import odi_from_kappa, watson_zonal
from jaxsmt.physics.frame_harmonics import octant_rule

ANGLES = np.radians(np.linspace(0, 90, 9001))


def profile(coefficients):
    """Values of lobes (n, degrees) at the angles to their axis, over the peak."""
    l = 2 * np.arange(coefficients.shape[-1])
    values = coefficients * (2 * l + 1) @ np.polynomial.legendre.legvander(np.cos(ANGLES), l[-1])[:, ::2].T
    return values / values[..., :1]


def half_width(values):
    """Angles at which profiles (n, angles) fall to half the peak, degrees."""
    return np.degrees(ANGLES[np.argmax(values < 0.5, axis=-1)])


@pytest.mark.parametrize("lmax", [2, 6, 8, 12])
def test_narrowest_lobe_has_ripples_of_one_height(lmax):
    """What makes it the narrowest: all its ripples are as high as is allowed, up and down."""
    values = profile(apodisation.narrowest_lobe(lmax, 0.003))
    inner = values[1:-1]
    ends = (inner - values[:-2]) * (values[2:] - inner) <= 0
    heights = np.append(inner[ends], values[-1])
    assert len(heights) == lmax // 2
    np.testing.assert_allclose(np.abs(heights), 0.003, rtol=1e-3)


def test_largest_kappa_is_where_a_cut_density_reaches_the_ripple():
    kappa = apodisation.largest_kappa(8, 0.003)
    for factor, holds in ((0.99, True), (1.01, False)):
        assert (-profile(watson_zonal(factor * kappa, 8)).min() <= 0.003) == holds


def test_the_map_says_from_which_width_on_lobes_are_as_they_were_fitted():
    kappa = apodisation.largest_kappa(map_table.FOD_ORDER, map_table.FOD_RIPPLE)
    assert float(odi_from_kappa(kappa)) == pytest.approx(map_table.FOD_ODI_FLOOR, abs=1e-3)


@pytest.mark.parametrize("lmax", [6, 8, 12, 16])
@pytest.mark.parametrize("name", ["watson", "bingham"])
def test_lobes_of_any_width(name, lmax):
    """Next to no ripples, one peak, unit integral; narrower if they were narrower, never too narrow; wide ones stay."""
    density, kappa = find(name), np.geomspace(0.5, 128, 150)
    lobes = density.zonals(kappa, lmax)
    gains = apodisation.gains(density, kappa, lmax, 0.003)
    values = profile(gains * lobes)
    assert values.min() > -0.006
    inner = values[:, 1:-1]
    tops = inner[(inner > values[:, :-2]) & (inner >= values[:, 2:])]
    assert tops.max(initial=0) < 0.02
    np.testing.assert_array_equal(gains[:, 0], 1)
    np.testing.assert_array_equal(gains[kappa < 0.98 * apodisation.largest_kappa(lmax, 0.003)], 1)
    narrow, kappa = half_width(values)[kappa > 2], kappa[kappa > 2]
    assert np.all(np.diff(narrow) <= 0.2)
    assert np.all(narrow >= np.degrees(np.arcsin(np.sqrt(np.log(2) / kappa))) - 0.02)


def test_fans_of_any_widths_ring_no_more_than_round_lobes():
    """Evaluated all over the sphere; those that need no smoothing keep their coefficients, and all their integral."""
    bingham, (kappa, ratio) = find("bingham"), np.random.default_rng(0).uniform(0, 1, (2, 300))
    across = 128 ** (0.2 + 0.8 * kappa)
    basis = bingham.basis(8)
    u, v, _, weights = basis.rule
    density = np.exp(-across[:, None] * (u**2 + ratio[:, None] * v**2)) * weights
    fans = density @ basis.at_nodes / density.sum(axis=1, keepdims=True)
    round_gains = apodisation.gains(bingham, across, 8, 0.003)
    more = apodisation.fan_gains(bingham, np.stack([across, ratio * across], axis=1), 8, 0.003)
    grid = octant_rule(30, 30)
    values, top = (basis.evaluate(*at) for at in (grid[:3], np.eye(3)[:, 2:]))
    before, after = (fans * of[:, basis.l // 2] for of in (round_gains, round_gains * more))
    lowest = [(lobes @ values.T).min(axis=1) / (lobes @ top.T)[:, 0] for lobes in (before, after)]
    assert lowest[0].min() < -0.009
    assert lowest[1].min() > -0.004
    np.testing.assert_array_equal(more[lowest[0] > 0.005], 1)
    np.testing.assert_array_equal(more[:, 0], 1)
    assert np.all((more > 0.4) & (more <= 1))


def test_order_zero_has_nothing_to_apodise():
    np.testing.assert_array_equal(apodisation.gains(find("watson"), np.array([1.0, 100.0]), 0, 0.003), 1)
