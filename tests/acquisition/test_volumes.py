"""Residuals of volumes: a bad one stands out, a good series has none."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from jaxsmt import Acquisition
from jaxsmt.acquisition.plausibility import Sample
from jaxsmt.acquisition.volumes import VolumeResiduals, residuals_of_volumes
from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.simulate import hcp_scheme, rician, zeppelin_signal

ACQUISITION = hcp_scheme(8, 32, (1000, 2000))
VOXELS = 400
SNR = 25


def sample_of(change=None, acquisition=ACQUISITION, voxels=VOXELS):
    """Crossing-free tissue of all directions at SNR 25; `change` spoils the data, (volumes, voxels)."""
    rng = np.random.default_rng(5)
    par, axes = rng.uniform(1.5, 2.3, voxels), rng.standard_normal((voxels, 1, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    kappa, weight = np.full((voxels, 1), 8.0), np.ones((voxels, 1))
    signal = 1000 * zeppelin_signal(acquisition, par, 0.2 * par, axes, kappa, weight)
    data = rician(signal, 1000 / SNR, rng).T
    if change is not None:
        change(data)
    return Sample(data, np.empty((len(data), 0)), 0.0, np.dtype(np.float32), np.inf)


def test_in_a_good_series_nothing_stands_out():
    """The spread is the noise in every volume, whatever its leverage, and a little of what order 2 cannot follow."""
    found = residuals_of_volumes(sample_of(), ACQUISITION)
    assert found.outlying.size == 0
    assert found.voxels == VOXELS
    assert found.orders == (0, 2, 2)
    assert np.all((found.spread > 0.85 / SNR) & (found.spread < 1.3 / SNR))
    assert np.abs(found.mean).max() < 0.01
    assert found.noise == pytest.approx(1 / SNR, rel=0.1)
    first = found.level[ACQUISITION.shells[1].volumes]
    assert np.ptp(first) == 0
    assert 0.2 < first[0] < 0.6


@pytest.mark.parametrize("volume", [3, 20, 60])
def test_a_darkened_volume_stands_out_by_as_much_as_it_lost(volume):
    """At b = 0, 1000 and 2000: the residual is that of the volume against the others, not halved by its own weight."""

    def darken(data):
        data[volume] *= 0.8

    found = residuals_of_volumes(sample_of(darken), ACQUISITION)
    assert list(found.outlying) == [volume]
    expected = -0.2 * found.level[volume] / (1 - 0.2 / np.count_nonzero(found.shells == found.shells[volume]))
    assert found.mean[volume] == pytest.approx(expected, abs=0.01)


def test_a_slice_that_is_lost_stands_out():
    """A tenth of the voxels without signal in one volume."""

    def lose(data):
        data[20, : VOXELS // 10] = 0

    assert list(residuals_of_volumes(sample_of(lose), ACQUISITION).outlying) == [20]


def test_voxels_that_moved_stand_out_though_the_mean_is_the_same():
    def move(data):
        data[20] += 150 * (-1.0) ** np.arange(VOXELS)

    found = residuals_of_volumes(sample_of(move), ACQUISITION)
    assert 20 in found.outlying
    assert found.spread[20] > 2 * np.median(found.spread)


def test_the_spread_of_a_volume_that_is_left_out_counts_that_of_its_prediction():
    """Its error and that of what the others predict add up: the spread is over √(1 + leverage), a closed form."""
    shell = ACQUISITION.shells[1].volumes
    bad = int(shell[5])

    def move(data):
        data[bad] += 300 * (-1.0) ** np.arange(VOXELS)

    found = residuals_of_volumes(sample_of(move), ACQUISITION)
    assert list(found.outlying) == [bad]
    harmonics = even_harmonics(ACQUISITION.bvecs[shell], 2)
    others = np.delete(harmonics, 5, axis=0)
    leverage = harmonics[5] @ np.linalg.solve(others.T @ others, harmonics[5])
    assert found.spread[bad] == pytest.approx(np.hypot(0.3 / np.sqrt(1 + leverage), found.noise), rel=0.03)


def test_bad_volumes_do_not_take_their_neighbours_with_them():
    """The prediction of a neighbour is off by as much as it leans on a bad volume: far more than the noise."""
    bad = sorted(ACQUISITION.shells[1].volumes[[3, 17, 30]].tolist())

    def darken(data):
        data[bad] *= 0.6

    found = residuals_of_volumes(sample_of(darken), ACQUISITION)
    assert found.outlying.tolist() == bad
    np.testing.assert_allclose(found.mean[bad] / found.level[bad], -0.4, atol=0.05)


def test_where_half_of_a_shell_is_odd_nobody_is_blamed():
    """A shell of two scans with different gains: what is right cannot be told."""

    def scale(data):
        data[ACQUISITION.shells[1].volumes[::2]] *= 0.5

    assert residuals_of_volumes(sample_of(scale), ACQUISITION).outlying.size == 0


def test_where_more_than_a_third_stand_out_nobody_is_blamed():
    """They may be those that are right."""
    bad = ACQUISITION.shells[1].volumes[:12]

    def darken(data):
        data[bad] *= 0.5

    found = residuals_of_volumes(sample_of(darken), ACQUISITION)
    assert found.outlying.size == 0
    assert np.isfinite(found.mean).all()


def test_few_volumes_or_voxels_tell_nothing():
    """Shells of one volume have no residuals; without b = 0, or with a handful of voxels, there are none at all."""
    few = hcp_scheme(1, 6, (1000, 2000))
    found = residuals_of_volumes(sample_of(acquisition=few), few)
    assert np.isnan(found.mean[0])
    assert np.isnan(found.noise)
    assert found.orders == (0, 0, 0)
    assert found.outlying.size == 0
    assert residuals_of_volumes(sample_of(voxels=20), ACQUISITION) is None


def test_residuals_come_back_from_json():
    """As sidecars hold them; numbers that JSON does not have are null there."""
    few = hcp_scheme(1, 6, (1000, 2000))  # the only b = 0 volume has no residual, and no noise is known
    for sample, acquisition in ((sample_of(), ACQUISITION), (sample_of(acquisition=few), few)):
        found = residuals_of_volumes(sample, acquisition)
        text = json.dumps(found.facts()).replace("NaN", "null")
        read = VolumeResiduals.of_facts(json.loads(text))
        for field in fields(VolumeResiduals):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(found, field.name), field.name)


def test_a_series_without_b0_has_no_residuals():
    full = hcp_scheme(2, 15, (1000, 2000))
    weighted = np.flatnonzero(full.bvals > 0)
    acquisition = Acquisition(full.bvals[weighted], full.bvecs[weighted])
    assert residuals_of_volumes(sample_of(acquisition=full), full) is not None
    sample = sample_of(acquisition=full)
    assert residuals_of_volumes(replace(sample, inside=sample.inside[weighted]), acquisition) is None


def test_voxels_without_signal_at_b0_do_not_count():
    """They have no scale; if few others are left nothing is told."""

    def blind(data):
        data[ACQUISITION.b0.volumes, 30:] = 0

    def blind_more(data):
        data[ACQUISITION.b0.volumes, 29:] = 0

    assert residuals_of_volumes(sample_of(blind), ACQUISITION).voxels == 30
    assert residuals_of_volumes(sample_of(blind_more), ACQUISITION) is None


def test_spherical_encoding_is_compared_with_its_own_mean():
    """It has no directions, so that no harmonics are fitted, and a bad volume is told against the plain mean."""
    bvals, bvecs = np.append(ACQUISITION.bvals, [1500.0] * 8), np.concatenate([ACQUISITION.bvecs, np.zeros((8, 3))])
    acquisition = Acquisition(bvals, bvecs, b_delta=np.repeat([1.0, 0.0], [len(ACQUISITION.bvals), 8]))
    linear, noise = sample_of().inside, np.random.default_rng(0).normal(0, 1000 / SNR, (8, VOXELS))
    spherical = linear[ACQUISITION.shells[1].volumes].mean(axis=0) + noise
    spherical[6] *= 0.7
    sample = Sample(np.concatenate([linear, spherical]), np.empty((len(bvals), 0)), 0.0, np.dtype(np.float32), np.inf)
    found = residuals_of_volumes(sample, acquisition)
    assert found.orders[found.shells[-1]] == 0
    assert list(found.outlying) == [len(bvals) - 2]
