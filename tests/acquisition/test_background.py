"""Noise of the background: found where it is noise alone, and a reason where it is something else."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.acquisition.background import _ratio_error, background_of

SIGMA, VOXELS = 20.0, 1500
SCHEME = js.simulate.hcp_scheme(n_b0=4, n_directions=20, shells=(1000.0, 2000.0))
VOLUMES = SCHEME.bvals.size
RNG = np.random.default_rng(0)


def air(voxels=VOXELS, sigma=SIGMA, channels=2):
    """(volumes, voxels) magnitudes without signal."""
    return np.sqrt(np.sum((sigma * RNG.standard_normal((channels, VOLUMES, voxels))) ** 2, axis=0))


def decaying(signal, voxels=VOXELS):
    """(volumes, voxels) magnitudes of water with so much signal at b = 0, or (voxels,)."""
    clean = signal * np.exp(-0.8e-3 * SCHEME.bvals[:, None]) * np.ones(voxels)
    return np.hypot(clean + SIGMA * RNG.standard_normal(clean.shape), SIGMA * RNG.standard_normal(clean.shape))


def test_noise_alone():
    found = background_of(air(), SCHEME)
    assert found.sigma == pytest.approx(SIGMA, rel=0.01)
    assert 0.03 <= found.error < 0.04
    assert found.voxels > 0.95 * VOXELS


def test_noise_of_several_coils():
    """Its law is that of as many channels; as that of one coil it is refused."""
    eight = air(channels=8)
    assert background_of(eight, SCHEME, channels=8).sigma == pytest.approx(SIGMA, rel=0.01)
    assert "root mean square" in background_of(eight, SCHEME).why


@pytest.mark.parametrize(
    "values",
    [
        np.round(air(sigma=SIGMA)),
        np.hstack([np.zeros((VOLUMES, VOXELS)), air()]),
        np.hstack([decaying(RNG.uniform(100, 900, VOXELS // 2), VOXELS // 2), air(VOXELS // 2)]),
        np.hstack([np.full((VOLUMES, 300), np.nan), air()]),
        decaying(8.0),
    ],
    ids=["whole numbers", "half masked out", "half scalp", "some NaN", "ghosts too faint to matter"],
)
def test_noise_among_other_voxels(values):
    assert background_of(values, SCHEME).sigma == pytest.approx(SIGMA, rel=0.02)


@pytest.mark.parametrize(("factor", "told"), [(1.06, True), (1.04, False)])
def test_many_voxels_show_small_differences_between_shells(factor, told):
    """A shell's square is 12 or 8 % brighter; of 20 × 1500 values four standard errors are 3 %, and 6 % may be."""
    rng = np.random.default_rng(7)
    values = np.hypot(*(SIGMA * rng.standard_normal((2, VOLUMES, VOXELS))))
    values[SCHEME.shells[1].volumes] *= factor
    assert ("brighter at b = 1000" in background_of(values, SCHEME).why) == told


def test_noise_that_differs_in_space_has_a_larger_error():
    found = background_of(air() * np.linspace(0.8, 1.3, VOXELS), SCHEME)
    assert abs(found.sigma / SIGMA - 1) < 0.25
    assert found.error > 0.08


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((VOLUMES, VOXELS)), "masked out"),
        (air(50), "50 voxels"),
        (decaying(RNG.uniform(15, 45, VOXELS)), "brighter at b = 0 than at 2000"),
        (RNG.normal(0, SIGMA, (VOLUMES, VOXELS)), "negative"),
        (air() + 10, "root mean square"),
        ((air() + air()) / 2, "root mean square"),
        (np.round(air(sigma=1.5)), "step between the numbers"),
        (np.hstack([air(30), decaying(RNG.uniform(200, 900, VOXELS))]), ""),
        (np.full((VOLUMES, VOXELS), np.nan), "0 voxels with finite values"),
    ],
    ids=["masked", "few", "ghosts", "real values", "offset", "smoothed", "coarse", "scalp", "NaN"],
)
def test_what_is_not_noise_alone_is_not_used(values, why):
    found = background_of(values, SCHEME)
    assert found.sigma is None
    assert found.voxels == 0
    assert found.why
    assert why in found.why


@pytest.mark.parametrize(("every", "told"), [(700, True), (1500, False)])
def test_a_few_negative_values_may_be_of_rounding(every, told):
    """One value of 700 is more than the thousandth that may be, one of 1500 is less."""
    values = air()
    values.flat[::every] *= -1
    assert ("negative" in background_of(values, SCHEME).why) == told


def test_the_spread_of_a_rayleigh_value_over_its_mean():
    """√(4/π - 1): of squares 2σ² on average, the mean is σ √(π/2)."""
    assert _ratio_error(np.sqrt(np.pi) / 2) == pytest.approx(np.sqrt(4 / np.pi - 1))
