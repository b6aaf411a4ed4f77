"""Whether a series can be what its table says: right ones raise no doubt, and each common mistake is told."""

import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.acquisition import plausibility
from jaxsmt.acquisition.plausibility import Sample, doubts_of

SCHEMES = {
    "three shells": js.simulate.hcp_scheme(6, 30),
    "two shells": js.simulate.hcp_scheme(4, 30, (1000.0, 2000.0)),
    "two far shells": js.simulate.hcp_scheme(6, 40, (700.0, 2800.0)),
}


@cache
def tissue(name):
    """(volumes, voxels) of a phantom without noise."""
    phantom = js.simulate.phantom(shape=(12, 14, 10), snr=np.inf, acquisition=SCHEMES[name])
    return phantom.data[phantom.mask].T


def sample_of(name, snr=30):
    """A phantom's voxels, and background."""
    rng, clean = np.random.default_rng(0), tissue(name)
    inside = js.simulate.rician(clean, 1000 / snr, rng)
    outside = js.simulate.rician(np.zeros((len(clean), 300), np.float32), 1000 / snr, rng)
    return Sample(inside, outside, 0.5, np.dtype(np.float32), np.inf)


@pytest.fixture(scope="module")
def samples():
    return {name: sample_of(name) for name in SCHEMES}


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("snr", [15, 30, 60, np.inf])
def test_right_series_raise_no_doubt(name, snr):
    sample = sample_of(name, snr)
    assert doubts_of(sample, SCHEMES[name]) == []
    if np.isfinite(snr):
        assert doubts_of(sample, SCHEMES[name], sigma=1000 / snr) == []


def test_a_real_series_raises_no_doubt(reference):
    """Two in-vivo slices, and the table in its order."""
    import nibabel as nib

    folder = reference / "data" / "invivo_b1k_b2k"
    data = np.asarray(nib.load(folder / "b1k_b2k_example_slices_24_38.nii.gz").dataobj)
    mask = np.asarray(nib.load(folder / "b1k_b2k_example_slices_24_38_mask.nii.gz").dataobj) > 0
    acquisition = js.Acquisition.from_fsl(folder / "b1k_b2k.bval", folder / "b1k_b2k.bvec")
    sample = Sample(data[mask].T, data[~mask].T, (~mask).sum() / mask.sum(), data.dtype, np.inf)
    assert doubts_of(sample, acquisition) == []
    wrong = replace(sample, inside=sample.inside[np.random.default_rng(0).permutation(len(sample.inside))])
    assert doubts_of(wrong, acquisition) != []


def scaled(sample, volumes, factor):
    inside = np.array(sample.inside, float)
    inside[volumes] *= np.reshape(factor, (-1, 1))
    return replace(sample, inside=inside)


def mistaken(what, sample, scheme):
    """The series with a mistake, and what must be said."""
    b0, shells, n = scheme.shells[0].volumes, scheme.shells[1:], len(scheme.bvals)
    rng = np.random.default_rng(0)
    if what in ("twice", "ten times", "half"):
        factor = {"twice": 2, "ten times": 10, "half": 0.5}[what]
        other = js.Acquisition(scheme.bvals * factor, scheme.bvecs, b0_threshold=20)
        return sample, other, "faster" if what == "half" else "slower"
    if what == "exchanged":
        bvals = scheme.bvals.copy()
        bvals[shells[-1].volumes], bvals[shells[-2].volumes] = 1000 * shells[-2].b, 1000 * shells[-1].b
        return sample, js.Acquisition(bvals, scheme.bvecs), "rises from"
    if what == "b = 0 twice as bright":
        return scaled(sample, b0[::2], 2.0), scheme, "differ by 1?[0-9][0-9]% in brightness"
    if what == "gain too low":
        return scaled(sample, shells[-1].volumes, 0.7), scheme, "falls faster"
    if what == "gain too high":
        return scaled(sample, shells[-1].volumes, 2.0), scheme, "hardly falls|rises"
    if what == "drift":
        return scaled(sample, slice(None), np.linspace(1, 0.85, n)), scheme, "falls by 1[4-7]% over the series"
    if what == "offset":
        level = np.median(sample.inside[b0])
        inside = np.array(sample.inside)
        inside[b0] -= 0.25 * level
        return replace(sample, inside=inside), scheme, "falls faster"
    if what == "background":
        return (
            replace(sample, inside=np.concatenate([sample.inside, np.tile(sample.outside, 3)], axis=1)),
            scheme,
            "mask",
        )
    if what == "mask elsewhere":
        return replace(sample, outside=sample.inside, ratio=2.0), scheme, "mask of this series"
    if what == "order of directions":
        bvecs = scheme.bvecs.copy()
        for shell in shells:
            bvecs[shell.volumes] = bvecs[rng.permutation(shell.volumes)]
        return sample, js.Acquisition(scheme.bvals, bvecs), "do not follow the directions"
    if what == "order of volumes":
        return replace(sample, inside=sample.inside[rng.permutation(n)]), scheme, "order of the volumes"
    first, second = shells[0].volumes[:2]
    inside = np.array(sample.inside)
    inside[second] = inside[first] if what == "copy" else 0
    return replace(sample, inside=inside), scheme, {"copy": "is a copy of", "empty": "empty"}[what]


MISTAKES = (
    *("twice", "ten times", "half", "b = 0 twice as bright", "gain too low", "gain too high", "drift", "offset"),
    *("background", "mask elsewhere", "order of directions", "order of volumes", "copy", "empty"),
)


# A gap of 2,100 s/mm² between two shells hides these.
HIDDEN = {("two far shells", "gain too high"), ("two far shells", "offset")}


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name in SCHEMES for what in MISTAKES if (name, what) not in HIDDEN]
)
def test_mistakes_are_told(samples, name, what):
    sample, scheme, said = mistaken(what, samples[name], SCHEMES[name])
    assert re.search(said, "\n".join(doubts_of(sample, scheme))), doubts_of(sample, scheme)


def test_exchanged_shells_are_told(samples):
    sample, scheme, said = mistaken("exchanged", samples["three shells"], SCHEMES["three shells"])
    assert re.search(said, "\n".join(doubts_of(sample, scheme)))


def test_numbers_that_their_type_does_not_hold(samples):
    """Cut off at the largest number, or wrapped around to negative ones."""
    sample, scheme = samples["two shells"], SCHEMES["two shells"]
    large = sample.inside * (40_000 / sample.inside.max())
    cut = np.minimum(large, 32_767).astype(np.int16)
    wrapped = large.astype(np.int32).astype(np.int16)
    for values, said in ((cut, "cut off"), (wrapped, "wrapped around")):
        spoilt = replace(sample, inside=values, stored=np.dtype(np.int16), ceiling=32_767.0)
        assert said in "\n".join(doubts_of(spoilt, scheme))


def test_numbers_that_are_scaled_down_are_not_cut_off(samples):
    """With a negative slope the largest stored number is the smallest value."""
    sample = replace(samples["two shells"], stored=np.dtype(np.int16), ceiling=-2.0 * 32_767 + 100)
    assert "cut off" not in "\n".join(doubts_of(sample, SCHEMES["two shells"]))


@pytest.mark.parametrize(("part", "told"), [(0.003, False), (0.008, True)])
def test_few_values_at_the_largest_number_are_no_saturation(samples, part, told):
    """A vessel may be that bright; more than half a percent of a volume were cut off."""
    sample = samples["two shells"]
    inside = np.minimum(sample.inside, 3000).astype(np.int16)
    inside[5, : int(part * inside.shape[1])] = 32_767
    spoilt = replace(sample, inside=inside, stored=np.dtype(np.int16), ceiling=32_767.0)
    assert ("cut off" in "\n".join(doubts_of(spoilt, SCHEMES["two shells"]))) == told


@pytest.mark.parametrize(("factor", "told"), [(0.25, True), (0.45, False), (2.2, False), (4.0, True)])
def test_sigma_in_other_units(samples, factor, told):
    said = "\n".join(doubts_of(samples["two shells"], SCHEMES["two shells"], sigma=factor * 1000 / 30))
    assert ("units of the series" in said) == told


def test_noise_that_leaves_nothing():
    assert "SNR at b = 0 is" in "\n".join(doubts_of(sample_of("two shells", 3), SCHEMES["two shells"]))


def test_too_few_voxels_prove_nothing(samples):
    sample = samples["two shells"]
    few = replace(sample, inside=sample.inside[:, : plausibility._FEW - 1] * 0 + 7)
    assert doubts_of(few, SCHEMES["two shells"]) == []


def test_voxels_without_numbers_are_left_out(samples):
    """NaN, infinite and constant voxels get their status; they are no reason for doubts of the series."""
    sample = samples["two shells"]
    inside = np.array(sample.inside)
    inside[:, :20], inside[3, 20:40], inside[5, 40:60] = 0, np.nan, np.inf
    spoilt = replace(sample, inside=inside)
    assert doubts_of(spoilt, SCHEMES["two shells"]) == []
    np.testing.assert_array_equal(spoilt.usable, inside[:, 60:])


def test_a_mask_with_background_is_told_of_the_mask_alone(samples):
    """Voxels without signal follow no directions; they say nothing of the table's order."""
    sample, scheme, said = mistaken("background", samples["two shells"], SCHEMES["two shells"])
    doubts = doubts_of(sample, scheme)
    assert len(doubts) == 1
    assert said in doubts[0]


def test_directions_in_another_order_explain_what_chance_does(samples):
    """F is 1 on average then, in whichever order."""
    sample, scheme = samples["two shells"], SCHEMES["two shells"]
    rng, found = np.random.default_rng(0), []
    for _ in range(12):
        bvecs = scheme.bvecs.copy()
        for shell in scheme.shells[1:]:
            bvecs[shell.volumes] = bvecs[rng.permutation(shell.volumes)]
        other = js.Acquisition(scheme.bvals, bvecs)
        series = plausibility._Series(sample, other)
        found += [plausibility._f_ratio(series, shell) for shell in other.shells[1:]]
    assert np.mean(found) == pytest.approx(1, abs=0.15)


def test_copies_among_few_different_volumes(samples):
    """Three of four b = 0 volumes are one; all four are as simulations without noise have them."""
    sample, scheme = samples["two shells"], SCHEMES["two shells"]
    b0 = scheme.shells[0].volumes
    for count, told in ((3, True), (4, False)):
        inside = np.array(sample.inside)
        inside[b0[:count]] = inside[b0[0]]
        assert ("is a copy of" in "\n".join(doubts_of(replace(sample, inside=inside), scheme))) == told


def test_copies_of_weighted_volumes_have_different_directions(samples):
    """Of one direction and without noise volumes may be equal; 30 degrees apart they are not."""
    sample, scheme = samples["two shells"], SCHEMES["two shells"]
    first, *others = scheme.shells[1].volumes
    cosine = np.abs(scheme.bvecs[others] @ scheme.bvecs[first])
    near = int(others[int(np.argmax(cosine))])
    assert 0.6 < cosine.max() < 0.99
    inside = np.array(sample.inside)
    inside[near] = inside[first]
    bvecs = scheme.bvecs.copy()
    bvecs[near] = -bvecs[first]
    spoilt, repeated = replace(sample, inside=inside), js.Acquisition(scheme.bvals, bvecs)
    assert "is a copy of" in "\n".join(doubts_of(spoilt, scheme))
    assert "is a copy of" not in "\n".join(doubts_of(spoilt, repeated))


def test_the_noise_at_b0_is_that_of_volumes_of_one_brightness(samples):
    """A scanner's drift is told apart from noise; it is measured in voxels with signal."""
    sample, scheme = samples["three shells"], SCHEMES["three shells"]
    b0 = scheme.shells[0].volumes
    plain = plausibility._Series(sample, scheme).noise
    drifting = plausibility._Series(scaled(sample, b0, np.linspace(1, 1.3, len(b0))), scheme)
    assert plain == pytest.approx(1 / 30, rel=0.25)
    assert drifting.noise == pytest.approx(plain, rel=0.05)
    np.testing.assert_allclose(drifting.brightness / drifting.brightness[0], np.linspace(1, 1.3, len(b0)), rtol=0.02)


def test_volumes_are_named(samples):
    """One by its number; of many the first."""
    sample, scheme = samples["two shells"], SCHEMES["two shells"]
    for count, said in ((1, "^volume 7 has the same"), (3, r"^3 volumes \(7, 8, 9\) have"), (6, "7, 8, 9, 10, 11, …")):
        inside = np.array(sample.inside)
        inside[7 : 7 + count] = 0
        assert re.search(said, "\n".join(doubts_of(replace(sample, inside=inside), scheme)), re.MULTILINE)


def test_volumes_of_spherical_encoding_may_be_equal():
    """Without noise they are, as directions mean nothing there."""
    scheme = js.simulate.hcp_scheme(2, 15, shells=(1000.0, 2000.0))
    b_delta = np.where(scheme.bvals > 1500, 0.0, 1.0)
    acquisition = js.Acquisition(scheme.bvals, scheme.bvecs, b_delta=b_delta)
    values = np.random.default_rng(0).uniform(100, 200, (len(b_delta), 50))
    values[b_delta == 0] = values[-1]
    sample = Sample(values, np.zeros((len(b_delta), 0)), 0.0, np.dtype(float), np.inf)
    assert not [text for text in doubts_of(sample, acquisition, None) if "copy" in text]
