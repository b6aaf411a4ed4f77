"""The phantom in three dimensions: its truth is what made the signals, and what a fit finds."""

import math
import tracemalloc

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt import simulate

SHAPE = (14, 16, 12)
ACQUISITION = simulate.hcp_scheme(n_b0=3, n_directions=30)
FEW = simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0, 3000.0))
#: Values of each voxel in the maps of the truth.
MAPS = {"lambda_par": (), "lambda_perp": (), "fraction": (), "s0": (), "nfibres": (), "direction": (9,)}
MAPS |= {"weight": (3,), "odi": (3,)}


@pytest.fixture(scope="module")
def quiet():
    """Without noise."""
    return simulate.phantom(SHAPE, snr=math.inf, acquisition=ACQUISITION)


def test_shapes(quiet):
    assert quiet.data.shape == (*SHAPE, 93)
    assert quiet.data.dtype == np.float32
    assert (quiet.mask.shape, quiet.mask.dtype) == (SHAPE, bool)
    assert {name: values.shape[3:] for name, values in quiet.truth.items()} == MAPS
    assert all(values.dtype == np.float32 for values in quiet.truth.values())
    assert quiet.sigma == 0
    assert simulate.phantom((9, 1, 8), acquisition=FEW).data.shape == (9, 1, 8, 13)  # one plane is a volume too


def test_the_field_of_view_does_not_depend_on_the_grid(quiet):
    """Finer grids show the same brain, centred in the scanner, of the same volume in mm³."""
    fine = simulate.phantom((29, 33, 25), acquisition=FEW)
    volumes = []
    for phantom in (quiet, fine):
        shape = np.array(phantom.mask.shape)
        sizes = np.diag(phantom.affine)[:3]
        np.testing.assert_allclose(sizes * shape, [155, 183.75, 128.75])
        np.testing.assert_allclose(phantom.affine @ [*(shape - 1) / 2, 1], [0, 0, 0, 1], atol=1e-9)
        volumes.append(phantom.mask.sum() * sizes.prod())
    assert volumes[0] == pytest.approx(volumes[1], rel=0.05)
    assert 1.2e6 < volumes[1] < 2e6


def test_tissues(quiet):
    """White matter of one, two and three bundles, grey matter, and fluid, all in numbers; nothing outside the brain."""
    truth, mask = quiet.truth, quiet.mask
    fluid = mask & (truth["fraction"] == 1)
    grey = mask & ~fluid & (truth["odi"][..., 0] > 0.3)
    white = mask & ~fluid & ~grey
    for tissue in (fluid, grey, *(white & (truth["nfibres"] == n) for n in (1, 2, 3))):
        assert tissue.sum() > 0.02 * mask.sum()
    np.testing.assert_array_equal(truth["lambda_par"][fluid], np.float32(2.9))
    assert np.all(truth["nfibres"][fluid] == 0)
    assert np.all(truth["nfibres"][mask & ~fluid] >= 1)
    for values in (quiet.data, *truth.values()):
        assert np.all(values[~mask] == 0)


def test_front_and_back_differ():
    """The third dimension is no copy of one plane."""
    phantom = simulate.phantom(SHAPE, acquisition=FEW)
    truth, brain = phantom.truth, phantom.mask.any(axis=(0, 2))
    planes = np.moveaxis(truth["lambda_par"], 1, 0)[brain]
    assert len(planes) >= 14
    assert len(np.unique(planes, axis=0)) == len(planes)
    assert np.abs(truth["direction"][..., 1]).max() > 0.3  # fibres leave the coronal plane


def test_the_middle_plane_is_the_coronal_slice():
    """One anatomy: the phantom of one plane on the slice's grid has its truth, and the noise of its seed."""
    plane = simulate.phantom((124, 1, 103), snr=30, seed=3, acquisition=FEW)
    known = simulate.coronal_slice(snr=30, seed=3, acquisition=FEW)
    np.testing.assert_array_equal(plane.data, known.data)
    for name, values in known.truth.items():
        np.testing.assert_array_equal(plane.truth[name], values)


def test_lobes_are_those_of_a_fit(quiet):
    """Unit vectors, the heaviest first, weights with sum 1, zeros where there is no lobe."""
    truth, mask = quiet.truth, quiet.mask
    weight, present = truth["weight"], truth["weight"] > 0
    lobes = mask & (truth["nfibres"] > 0)
    np.testing.assert_array_equal(present.sum(axis=-1), truth["nfibres"])
    np.testing.assert_allclose(weight.sum(axis=-1)[lobes], 1, rtol=1e-6)
    assert np.all(np.diff(weight, axis=-1) <= 0)
    lengths = np.linalg.norm(truth["direction"].reshape(*SHAPE, 3, 3), axis=-1)
    np.testing.assert_allclose(lengths, present, atol=1e-6)
    np.testing.assert_array_equal(truth["odi"] > 0, present)


def test_the_truth_gives_the_signals(quiet):
    """By the signal equation of the fit, which simulations do not use: all maps of the truth together."""
    g, b = ACQUISITION.bvecs.astype(np.float32), (ACQUISITION.bvals / 1000).astype(np.float32)
    voxels = np.argwhere(quiet.mask & (quiet.truth["nfibres"] > 0))
    for voxel in map(tuple, voxels[:: len(voxels) // 12]):
        truth = {name: values[voxel] for name, values in quiet.truth.items()}
        kernel, expected = (truth["lambda_par"], truth["lambda_perp"]), 0
        for i in range(int(truth["nfibres"])):
            mu, kappa = truth["direction"][3 * i : 3 * i + 3], 1 / np.tan(np.pi / 2 * truth["odi"][i])
            lobe = js.signal.convolved(g, b, kernel, js.watson(mu, kappa))
            expected = expected + truth["weight"][i] * np.asarray(lobe)
        np.testing.assert_allclose(quiet.data[voxel] / truth["s0"], expected, atol=1e-4)


def test_fit_without_noise_finds_the_truth(quiet):
    fit = js.fit(js.smt(), ACQUISITION, quiet.data, quiet.mask)
    for name in ("lambda_par", "lambda_perp"):
        error = np.abs(fit.parameters[name] - quiet.truth[name])[quiet.mask]
        assert np.median(error) < 5e-3, name
        assert np.percentile(error, 95) < 0.05, name
    np.testing.assert_allclose(fit.s0[quiet.mask], quiet.truth["s0"][quiet.mask], rtol=1e-2)


def test_equal_seeds_give_equal_phantoms():
    one, again, other = (simulate.phantom(SHAPE, seed=seed, acquisition=FEW) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    np.testing.assert_array_equal(one.truth["direction"], other.truth["direction"])  # seeds are of the noise only


def test_noise_has_the_sigma_that_is_stated(quiet):
    """Outside the brain there is noise only: E[M²] = 2σ²."""
    noisy = simulate.phantom(SHAPE, snr=25, acquisition=ACQUISITION)
    assert noisy.sigma == 40
    assert np.mean(noisy.data[~noisy.mask] ** 2) == pytest.approx(2 * 40**2, rel=0.02)
    b0 = ACQUISITION.bvals == 0
    assert np.std((noisy.data - quiet.data)[noisy.mask][:, b0]) == pytest.approx(40, rel=0.03)


def test_factors_change_tissue_and_not_free_water(quiet):
    factors = {"lambda_par": 1.1, "fraction": 0.9, "s0": 1.2}
    changed = simulate.phantom(SHAPE, acquisition=FEW, factors=factors).truth
    fluid, tissue = quiet.truth["fraction"] == 1, quiet.mask & (quiet.truth["fraction"] < 1)
    for name, factor in factors.items():
        np.testing.assert_allclose(changed[name][tissue], factor * quiet.truth[name][tissue], rtol=1e-6)
    np.testing.assert_array_equal(changed["lambda_par"][fluid], np.float32(2.9))
    np.testing.assert_array_equal(changed["fraction"][fluid], 1)
    np.testing.assert_allclose(changed["s0"][fluid], 1.2 * 2600, rtol=1e-6)


def test_memory_is_that_of_the_output():
    """Beside what is returned there is one coronal plane at work."""
    tracemalloc.start()
    try:
        phantom = simulate.phantom((24, 40, 20), acquisition=ACQUISITION)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    returned = phantom.data.nbytes + phantom.mask.nbytes + sum(values.nbytes for values in phantom.truth.values())
    assert peak < 1.5 * returned


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"shape": (4, 4)}, "shape= is \\(4, 4\\)"),
        ({"shape": (4, 0, 4)}, "three whole numbers from 1"),
        ({"shape": (4, 4.5, 4)}, "three whole numbers from 1"),
        ({"shape": (1, 2, 2)}, "none of \\(1, 2, 2\\) voxels"),
        ({"snr": 0}, "snr=0 is not valid"),
        ({"snr": math.nan}, "snr=nan is not valid"),
        ({"snr": 10**400}, "snr=1000"),
        ({"seed": -1}, "seed=-1 is not valid"),
        ({"factors": {"kappa": 2}}, "no factor of 'kappa'"),
        ({"factors": {"s0": 0}}, "the factor of s0 is 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, said):
    with pytest.raises(js.InputError, match=said):
        simulate.phantom(**{"shape": (4, 4, 4), "acquisition": FEW, **arguments})
