"""The fit of every voxel: known truth, SciPy's optimum, status codes, independence, one compilation."""

import jax
import numpy as np
import pytest
import scipy.optimize

import jaxsmt as js
from jaxsmt.acquisition.means import MeansAccumulator, spherical_means
from jaxsmt.batch import engine
from jaxsmt.batch import fits as voxelwise
from jaxsmt.batch.engine import MeansFitter
from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean

ACQUISITION = scheme([1000, 2000, 3000])
TWO_SHELLS = scheme([1000, 2000])


def truth(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2.9, n), rng.uniform(0.02, 0.8, n), rng.uniform(100, 5000, n)


def means_of(par, fraction, s0, acquisition=ACQUISITION):
    return s0 * np.stack([gauss_mean(b, par, fraction * par) for b in acquisition.b])


def noisy_means(n, sigma, acquisition=ACQUISITION, seed=0):
    means = means_of(*truth(n, seed), acquisition=acquisition)
    noise = np.random.default_rng(seed + 1).standard_normal(means.shape) * np.sqrt(acquisition.variances)[:, None]
    return means + sigma * means[0] * noise


@pytest.mark.parametrize(("dtype", "median", "most"), [("float32", 1e-5, 2e-3), ("float64", 1e-9, 1e-6)])
@pytest.mark.parametrize("acquisition", [ACQUISITION, TWO_SHELLS], ids=["three shells", "two shells"])
def test_recovers_known_parameters(dtype, median, most, acquisition):
    par, fraction, s0 = truth(3000)
    fit = MeansFitter(js.smt(), acquisition, dtype=dtype)(means_of(par, fraction, s0, acquisition))
    for name, true in (("lambda_par", par), ("fraction", fraction), ("lambda_perp", fraction * par)):
        error = np.abs(fit.parameters[name] - true)
        assert np.median(error) <= median
        assert np.percentile(error, 99) <= most
    assert np.all(fit.status == js.Status.CONVERGED)
    np.testing.assert_allclose(fit.s0, s0, rtol=1e-4)
    assert fit.parameters["lambda_par"].dtype == fit.s0.dtype == dtype


@pytest.mark.parametrize("fit_s0", [True, False])
def test_reaches_the_optimum_that_scipy_reaches(fit_s0):
    """On noisy data, where a third of the optima are on a bound: never worse than the best of SciPy's starts."""
    means = noisy_means(40, sigma=0.05)
    fit = MeansFitter(js.smt(), ACQUISITION, fit_s0=fit_s0, dtype="float64")(means)
    root = np.sqrt(1 / ACQUISITION.variances / (1 / ACQUISITION.variances).max())

    def residual(p, y):
        e = gauss_mean(ACQUISITION.b, p[0], p[0] * p[1])
        s0 = np.sum(root**2 * y * e) / np.sum(root**2 * e * e) if fit_s0 else y[0]
        return root * (y - s0 * e) / y[0]

    tight = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12}
    on_bound = 0
    for i in range(means.shape[1]):
        ours = np.sum(residual((fit.parameters["lambda_par"][i], fit.parameters["fraction"][i]), means[:, i]) ** 2)
        best = min(
            2
            * scipy.optimize.least_squares(
                residual, start, bounds=([1e-9, 0], [3.05, 1]), args=(means[:, i],), max_nfev=300, **tight
            ).cost
            for start in ((1.0, 0.3), (2.5, 0.1), (2.0, 0.9))
        )
        assert ours <= best * (1 + 1e-6) + 1e-13
        on_bound += fit.status[i] == js.Status.AT_BOUND
    assert 4 <= on_bound <= 36


def test_single_precision_is_good_enough():
    """Against double precision, over the whole range of parameters and several noise levels.

    Slow diffusion with much anisotropy is the trap: near f = 1 the cost is flat along a valley.
    """
    rng = np.random.default_rng(11)
    n = 20_000
    means = means_of(rng.uniform(0.1, 3.0, n), rng.uniform(0, 1, n), rng.uniform(100, 5000, n))
    noise = rng.choice([0, 0.01, 0.03, 0.06], n) * rng.standard_normal(means.shape)
    means = means + means[0] * noise * np.sqrt(ACQUISITION.variances)[:, None]
    single, double = (MeansFitter(js.smt(), ACQUISITION, dtype=d)(means) for d in ("float32", "float64"))
    assert np.all(np.isin(single.status, (js.Status.CONVERGED, js.Status.AT_BOUND)))
    assert np.all(np.isin(double.status, (js.Status.CONVERGED, js.Status.AT_BOUND)))
    assert np.median(np.abs(single.parameters["lambda_par"] - double.parameters["lambda_par"])) < 1e-4
    cost = {}
    for name, fit in (("single", single), ("double", double)):
        par, fraction = (fit.parameters[p].astype(float) for p in ("lambda_par", "fraction"))
        y, e = means / means[0], means_of(par, fraction, 1.0)
        w = (1 / ACQUISITION.variances)[:, None] / np.max(1 / ACQUISITION.variances)
        s0 = np.sum(w * y * e, axis=0) / np.sum(w * e * e, axis=0)
        cost[name] = np.sum(w * (y - s0 * e) ** 2, axis=0)
    assert np.max(cost["single"] - cost["double"]) < 2e-6  # of S0²


def test_status_codes_tell_what_happened():
    par, fraction, s0 = truth(10)
    means = means_of(par, fraction, s0)
    means[:, 0] = np.nan
    means[2, 1] = np.inf
    means[:, 2] = 0
    means[0, 3] = -5
    means[:, 4] = means[0, 4]  # constant: no diffusion
    means[:, 5] = -means[:, 5]
    means[:, 6] *= 1e60  # overflows single precision
    means[:, 8] = [100, -500, -500, -500]  # the best S0 is negative
    means[:, 9] = [1e-30, 1, 1, 1]  # next to nothing at b = 0, so no diffusion
    fit = MeansFitter(js.smt(), ACQUISITION)(means)
    S = js.Status
    expected = [S.NON_FINITE, S.NON_FINITE, S.NO_SIGNAL, S.NO_SIGNAL]
    np.testing.assert_array_equal(
        fit.status, [*expected, S.AT_BOUND, S.NO_SIGNAL, S.NON_FINITE, S.CONVERGED, S.NO_SIGNAL, S.AT_BOUND]
    )
    for leaf in jax.tree.leaves(fit):
        assert np.all(np.isfinite(leaf))
    for leaf in (*fit.parameters.values(), *fit.derived.values(), fit.s0, fit.mse):
        assert np.all(leaf[[0, 1, 2, 3, 5, 6, 8]] == 0)
    np.testing.assert_allclose(fit.parameters["lambda_par"][7], par[7], atol=1e-3)


def test_not_converged_is_said():
    fit = MeansFitter(js.smt(), ACQUISITION, solver=js.levenberg_marquardt(max_steps=1))(noisy_means(50, 0.03))
    assert np.all(fit.status == js.Status.NOT_CONVERGED)


def test_a_voxel_does_not_depend_on_its_neighbours(monkeypatch):
    """The same bytes alone, in company, among the hopeless, and in another order."""
    monkeypatch.setitem(engine._MEANS, "cpu", engine.Shape(chunk=512, lanes=64))
    means = noisy_means(700, sigma=0.05)
    fitter = MeansFitter(js.smt(), ACQUISITION)
    together = fitter(means)
    order = np.random.default_rng(0).permutation(700)
    mixed = means[:, order].copy()
    mixed[:, ::3] = np.nan
    apart = fitter(mixed)
    kept = np.ones(700, bool)
    kept[::3] = False
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(apart), strict=True):
        np.testing.assert_array_equal(a[order][kept], b[kept])


def test_compiles_once_whatever_the_number_of_voxels(monkeypatch):
    monkeypatch.setitem(engine._MEANS, "cpu", engine.Shape(chunk=256, lanes=32))
    before = voxelwise.fit_means._cache_size()
    for n in (1, 100, 256, 1000):
        MeansFitter(js.smt(), ACQUISITION)(noisy_means(n, 0.03))  # equal models share the program
    assert voxelwise.fit_means._cache_size() == before + 1


def test_scale_of_the_data_is_that_of_s0_only():
    data = _series(ACQUISITION)
    one, other = js.fit(js.smt(), ACQUISITION, data), js.fit(js.smt(), ACQUISITION, data * np.float32(1024))
    np.testing.assert_array_equal(one.parameters["lambda_par"], other.parameters["lambda_par"])
    np.testing.assert_array_equal(one.s0 * 1024, other.s0)


def _series(acquisition, shape=(4, 3, 2)):
    """Zeppelins of one orientation each: anisotropic signals with known kernels."""
    n = int(np.prod(shape))
    par, fraction, s0 = truth(n)
    axes = np.random.default_rng(5).standard_normal((n, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    b, x2 = acquisition.bvals / 1000, (axes @ acquisition.bvecs.T) ** 2
    perp = par * fraction
    signal = s0[:, None] * np.exp(-b * perp[:, None] - b * (par - perp)[:, None] * x2)
    return signal.reshape(*shape, -1)


def test_every_kind_of_array_gives_the_same_maps(tmp_path):
    data = np.rint(_series(ACQUISITION)).astype(np.int16)
    mask = np.ones(data.shape[:-1], np.uint8)
    mask[1, 2, 0] = mask[3, 0, 1] = 0
    mapped = np.memmap(tmp_path / "m", np.int16, "w+", shape=data.shape, order="F")
    mapped[:] = data
    kinds = [data, np.asfortranarray(data), data.astype(">i2"), mapped, data.astype(float), jax.numpy.asarray(data)]
    fits = [js.fit(js.smt(), ACQUISITION, kind, mask) for kind in kinds]
    for fit in fits:
        assert fit.status.shape == mask.shape
        np.testing.assert_array_equal(fit.status == js.Status.OUTSIDE, mask == 0)
        assert np.all(fit.parameters["lambda_par"][mask == 0] == 0)
        np.testing.assert_allclose(fit.parameters["lambda_par"], fits[0].parameters["lambda_par"], atol=1e-4)
    one = js.fit(js.smt(), ACQUISITION, data[0, 0, 0])  # a single voxel
    assert one.s0.shape == ()
    np.testing.assert_allclose(one.parameters["lambda_par"], fits[0].parameters["lambda_par"][0, 0, 0], atol=1e-4)


def test_streamed_means_are_those_of_the_whole_array():
    data = _series(ACQUISITION).astype(np.float32)
    flat = data.reshape(-1, data.shape[-1])
    accumulator = MeansAccumulator(ACQUISITION.weights, len(flat))
    for i in range(flat.shape[1]):
        accumulator.add(i, flat[:, i])
    expected = ACQUISITION.weights @ flat.T.astype(float)
    np.testing.assert_allclose(accumulator.sums, expected, rtol=1e-6)
    np.testing.assert_allclose(spherical_means(ACQUISITION, data), expected, rtol=1e-12)
    np.testing.assert_allclose(spherical_means(ACQUISITION, np.asfortranarray(data)), expected, rtol=1e-6)


def test_derived_maps_follow_from_the_parameters():
    fit = js.fit(js.smt(), ACQUISITION, _series(ACQUISITION))
    par, perp = fit.parameters["lambda_par"], fit.parameters["lambda_perp"]
    np.testing.assert_allclose(perp, par * fit.parameters["fraction"], rtol=1e-6)
    np.testing.assert_allclose(fit.derived["md"], (par + 2 * perp) / 3, rtol=1e-6)
    fa = (par - perp) / np.sqrt(par**2 + 2 * perp**2)
    np.testing.assert_allclose(fit.derived["fa"], fa, rtol=1e-5)
    np.testing.assert_allclose(fit.derived["fapow3"], fa**3, rtol=1e-5)


def test_mse_and_r2_are_of_the_normalised_means():
    data = _series(ACQUISITION) * (1 + 0.02 * np.random.default_rng(0).standard_normal(_series(ACQUISITION).shape))
    fit = js.fit(js.smt(), ACQUISITION, data, dtype="float64")
    y = (ACQUISITION.weights @ data.reshape(-1, data.shape[-1]).T) / fit.s0.ravel()
    e = gauss_mean(ACQUISITION.b[:, None], fit.parameters["lambda_par"].ravel(), fit.parameters["lambda_perp"].ravel())
    np.testing.assert_allclose(fit.mse.ravel(), np.mean((y - e) ** 2, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        fit.r2.ravel(), 1 - np.sum((y - e) ** 2, axis=0) / np.sum((y - y.mean(axis=0)) ** 2, axis=0), rtol=1e-6
    )


def test_s0_mean_is_the_b0_mean():
    data = _series(ACQUISITION)
    fit = js.fit(js.smt(), ACQUISITION, data, s0="mean", dtype="float64")
    np.testing.assert_allclose(fit.s0, data[..., :2].mean(axis=-1), rtol=1e-12)


def test_b0_of_5_is_not_taken_for_0():
    """Noise-free data with b = 5 s/mm² for b = 0: S0 is extrapolated to b = 0, λ∥ unbiased."""
    base = scheme([1000, 2000, 3000])
    acquisition = js.Acquisition(np.where(base.bvals == 0, 5.0, base.bvals), base.bvecs)
    par, fraction, s0 = truth(200)
    fit = MeansFitter(js.smt(), acquisition, dtype="float64")(means_of(par, fraction, s0, acquisition))
    np.testing.assert_allclose(fit.parameters["lambda_par"], par, atol=1e-6)
    np.testing.assert_allclose(fit.s0, s0, rtol=1e-8)


def test_bounds_can_be_moved():
    model = js.smt().bound(lambda_par=(1.0, 1.5))
    fit = MeansFitter(model, ACQUISITION)(noisy_means(500, 0.03))
    values = fit.parameters["lambda_par"]
    assert values.min() >= 1.0
    assert values.max() <= 1.5
    assert np.any(fit.status == js.Status.AT_BOUND)
    with pytest.raises(js.InputError, match="a link determines lambda_perp"):
        js.smt().bound(lambda_perp=(0, 1))
    for impossible in ({"fraction": (1, 0)}, {"fraction": (0, 2)}, {"lambda_par": (-1, 3)}):
        with pytest.raises(js.InputError, match="lower < upper"):
            js.smt().bound(**impossible)


def test_a_mask_means_the_same_as_on_the_command_line():
    mask = np.array([[0.9, 0.4], [np.nan, 1.0]])
    with pytest.warns(js.JaxsmtWarning, match=r"above 0\.5 is inside"):
        fit = js.fit(js.smt(), ACQUISITION, _series(ACQUISITION, (2, 2)), mask)
    np.testing.assert_array_equal(fit.status > 0, [[True, False], [False, True]])


def test_model_signal_is_the_signal_equation():
    signal = js.smt().signal(ACQUISITION, {"lambda_par": np.array([2.0, 1.0]), "fraction": np.array([0.2, 0.9])})
    np.testing.assert_allclose(signal, means_of(np.array([2.0, 1.0]), np.array([0.2, 0.9]), 1.0).T, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.ones((2, 2, 5))}, "5 volumes in the data"),
        ({"data": np.ones((2, 2, 92), complex)}, "real array"),
        ({"mask": np.ones((3, 3))}, "shapes must agree"),
        ({"mask": np.zeros((2, 2))}, "mask is empty"),
        ({"s0": "none"}, "unknown s0"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"acquisition": scheme([1000], n=90)}, "at least 2 shells"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"acquisition": ACQUISITION, "data": np.ones((2, 2, 92)), **change}
    with pytest.raises(js.InputError, match=message):
        js.fit(js.smt(), **arguments)
