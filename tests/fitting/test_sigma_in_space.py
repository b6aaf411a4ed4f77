"""σ that varies in space, and σ of the background: against known noise, in arrays of voxels and in whole fits."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.fitting.sigma import pooled
from jaxsmt.fitting.sigma_in_space import smoothed
from tests.fitting.test_sigma import estimates
from tests.fitting.test_sigma_of_few_directions import scheme

SHAPE = (20, 24, 18)
PLACES = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
INSIDE = np.sum(PLACES**2, axis=0) < 1
# More than twice as much in one place as in another, as with parallel imaging.
VARYING = 20 * np.exp(0.4 * PLACES[0] + 0.3 * np.cos(2 * PLACES[1]) - 0.2 * PLACES[2] ** 2)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("freedom", [3, 5, 84])
def test_smooth_sigma_is_found(freedom, order):
    """Within 5 % in the median, whatever the order of the voxels; drawn to their median alone it is far off."""
    space, rng = Voxels(INSIDE, order), np.random.default_rng(0)
    true = space.take(VARYING)
    of_voxels = estimates(true, freedom, rng)
    found, error, width = smoothed(np.where(rng.random(true.size) < 0.02, np.nan, of_voxels), freedom, space)
    off = np.abs(found / true - 1)
    assert np.median(off) < 0.05
    assert np.sqrt(np.mean(off**2)) < 2.5 * error < 0.5
    assert 1.5 <= width < 5
    if freedom < 10:
        assert np.median(off) < 0.5 * np.median(np.abs(pooled(of_voxels, freedom)[0] / true - 1))


def test_wild_voxels_do_not_raise_their_neighbours():
    """One of fifty is ten times as large, as of moving tissue: the mean of squares would be 1.7 times too large."""
    space, rng = Voxels(INSIDE), np.random.default_rng(1)
    of_voxels = estimates(np.full(INSIDE.sum(), 20.0), 5, rng)
    found, _, _ = smoothed(np.where(rng.random(INSIDE.sum()) < 0.02, 200, of_voxels), 5, space)
    assert np.median(found) == pytest.approx(20, rel=0.05)


def test_a_slice_and_a_single_voxel():
    """The neighbourhood of a slice is wider; a voxel alone keeps its estimate, with the error of that."""
    rng = np.random.default_rng(2)
    middle = INSIDE[:, :, 9]
    found, _, width = smoothed(estimates(VARYING[:, :, 9][middle], 5, rng), 5, Voxels(middle))
    assert np.median(np.abs(found / VARYING[:, :, 9][middle] - 1)) < 0.08
    assert width > 2
    alone, error, _ = smoothed(np.array([20.0]), 50, Voxels(np.ones((1, 1, 1), bool)))
    assert alone == pytest.approx(20, rel=0.1)
    assert 0.1 < error < 0.15
    nothing, error, _ = smoothed(np.array([np.nan]), 50, Voxels(np.ones((1, 1, 1), bool)))
    assert np.isnan(nothing).all()
    assert error == np.inf


def series(acquisition, sigma, rng):
    """A ball of water in air: magnitudes with noise that is a number or varies."""
    clean = 1000 * INSIDE[..., None] * np.exp(-0.7e-3 * acquisition.bvals)
    real, imaginary = rng.standard_normal((2, *clean.shape)) * sigma
    return np.hypot(clean + real, imaginary)


EIGHT, TWENTY_FIVE = scheme(6, 13), scheme(1, 8, (1000, 2000, 3000))


def test_a_fit_with_smooth_sigma():
    """Five degrees of freedom a voxel; what σ is from is told with how it was pooled."""
    data = series(EIGHT, np.where(INSIDE, VARYING, 20)[..., None], np.random.default_rng(3))
    fit = js.fit(js.smt(), EIGHT, data, INSIDE, sigma="smooth", uncertainty=True)
    off = np.abs(fit.sigma / VARYING - 1)[INSIDE]
    assert np.median(off) < 0.05
    assert fit.sigma_from.startswith("repeats of b = 0, smooth over 2.")
    assert fit.sigma_error < 0.1
    auto = js.fit(js.smt(), EIGHT, data, INSIDE, uncertainty=True)
    assert np.median(np.abs(auto.sigma / VARYING - 1)[INSIDE]) > 2 * np.median(off)


def test_the_background_tells_where_nothing_else_does():
    """25 volumes, one at b = 0: kernel and FOD may follow all of them."""
    data = series(TWENTY_FIVE, 20.0, np.random.default_rng(4))
    with pytest.warns(js.JaxsmtWarning, match="taken from the background outside the mask"):
        fit = js.fit(js.smt(), TWENTY_FIVE, data, INSIDE, uncertainty=True)
    assert fit.sigma[INSIDE] == pytest.approx(20, rel=0.05)
    assert fit.sigma_from == "background outside the mask"
    assert 0.03 < fit.sigma_error < 0.1
    masked = np.where(INSIDE[..., None], data, 0)
    with (
        pytest.warns(js.JaxsmtWarning, match="if that is noise alone"),
        pytest.raises(js.InputError, match="the background outside the mask cannot be used: most of it is 0"),
    ):
        js.fit(js.smt(), TWENTY_FIVE, masked, INSIDE, uncertainty=True)


def test_the_background_if_it_is_asked_for():
    """Noise inside is twice that outside: that which is asked for is taken; else the other, and both are compared."""
    sigma = np.where(INSIDE, 40.0, 20.0)[..., None]
    data = series(EIGHT, sigma, np.random.default_rng(5))
    asked = js.fit(js.smt(), EIGHT, data, INSIDE, sigma="background", uncertainty=True)
    assert asked.sigma[INSIDE] == pytest.approx(20, rel=0.05)
    with pytest.warns(js.JaxsmtWarning, match="from the background outside the mask, which is noise alone"):
        fit = js.fit(js.smt(), EIGHT, data, INSIDE, uncertainty=True)
    assert np.median(fit.sigma[INSIDE]) == pytest.approx(40, rel=0.05)


@pytest.mark.parametrize(
    ("how", "mask", "match"),
    [
        ("smooth", None, "whose places are not known"),
        ("background", None, "without a voxel outside the mask"),
        ("auto", None, "a map of numbers, 'smooth' or 'background'"),
    ],
)
def test_ways_that_cannot_be(how, mask, match):
    with pytest.raises(js.InputError) as refusal:
        js.fit(js.smt(), EIGHT, np.ones((5, EIGHT.bvals.size)), mask, sigma=how, uncertainty=True)
    assert match in str(refusal.value)


def test_one_voxel_has_no_place():
    with pytest.raises(js.InputError, match="sigma='smooth', and there is one voxel"):
        js.estimate(js.smt(), EIGHT, np.ones(EIGHT.bvals.size), sigma="smooth")
