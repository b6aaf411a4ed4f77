"""The coronal slice: its numbers, and that a fit finds its truth."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt import simulate

ACQUISITION = simulate.hcp_scheme(n_b0=1, n_directions=6, shells=(1000.0, 3000.0))
#: Of the slice with SNR 30 and seed 3: truth and the first four volumes in some voxels.
KNOWN = {
    (0, 0, 0): ([0, 0, 0, 0], [91.732719, 12.610043, 23.060278, 54.285]),
    (40, 0, 60): ([1.9650425, 0.32936114, 0.1676102, 967.61017], [976.34045, 251.20758, 431.37787, 110.92689]),
    (90, 0, 30): ([2.1108418, 0.42766085, 0.20260203, 1002.602], [1034.1118, 110.27814, 228.13321, 43.780125]),
    (20, 0, 50): ([1.9542949, 0.32251883, 0.16503078, 965.03076], [970.19366, 114.38967, 375.3295, 111.00571]),
}


def test_numbers_do_not_change():
    """Figures and the demo were made with this slice: equal seeds give the numbers that they gave before."""
    phantom = simulate.coronal_slice(snr=30, seed=3, acquisition=ACQUISITION)
    assert phantom.data.shape == (124, 1, 103, 13)
    assert phantom.mask.sum() == 8238
    assert list(phantom.truth) == ["lambda_par", "lambda_perp", "fraction", "s0"]
    for voxel, (truth, volumes) in KNOWN.items():
        np.testing.assert_allclose([values[voxel] for values in phantom.truth.values()], truth, rtol=1e-6)
        np.testing.assert_allclose(phantom.data[voxel][:4], volumes, rtol=1e-5)
    total = {name: values[phantom.mask].sum(dtype=float) for name, values in phantom.truth.items()}
    expected = {"lambda_par": 15944.0553, "lambda_perp": 6302.12059, "fraction": 3098.70313, "s0": 10479818.4}
    assert total == pytest.approx(expected, rel=1e-7)
    assert phantom.data.sum(dtype=float) == pytest.approx(40232389.13, rel=1e-7)
    np.testing.assert_allclose(
        phantom.affine, [[1.25, 0, 0, -76.875], [0, 1.25, 0, 0], [0, 0, 1.25, -63.75], [0, 0, 0, 1]]
    )


def test_equal_seeds_give_equal_slices():
    one, again, other = (simulate.coronal_slice(seed=seed, acquisition=ACQUISITION) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    for name, values in one.truth.items():
        assert np.all(values[~one.mask] == 0), name
        assert np.all(values[one.mask] > 0), name


def test_fit_without_noise_finds_the_truth():
    phantom = simulate.coronal_slice(snr=1e6)
    assert 8000 <= phantom.mask.sum() <= 8400
    fit = js.fit(js.smt(), phantom.acquisition, phantom.data, phantom.mask)
    for name in ("lambda_par", "lambda_perp"):
        error = np.abs(fit.parameters[name] - phantom.truth[name])[phantom.mask]
        assert np.median(error) < 2e-3
        assert np.percentile(error, 95) < 0.05
    np.testing.assert_allclose(fit.s0[phantom.mask], phantom.truth["s0"][phantom.mask], rtol=1e-2)


def test_slab_has_the_slice_in_its_middle():
    """Its neighbours are other planes of the same brain, each with as much tissue, about."""
    slab = simulate.coronal_slab(seed=3, acquisition=ACQUISITION)
    middle = simulate.coronal_slice(seed=3, acquisition=ACQUISITION)
    assert slab.data.shape == (124, 3, 103, 13)
    np.testing.assert_array_equal(slab.mask[:, 1], middle.mask[:, 0])
    for name, values in middle.truth.items():
        np.testing.assert_array_equal(slab.truth[name][:, 1], values[:, 0])
        assert not np.array_equal(slab.truth[name][:, 0], values[:, 0])
    np.testing.assert_allclose(slab.mask.sum(axis=(0, 2)), middle.mask.sum(), rtol=0.02)
    np.testing.assert_allclose(slab.affine @ [0, 1, 0, 1], middle.affine @ [0, 0, 0, 1])
    with pytest.raises(js.InputError, match="slices="):
        simulate.coronal_slab(0)
