"""Sums of compartments: links, simplex, maps, fits of known truth, what cannot be determined."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsmt as js
from jaxsmt.acquisition.shells import Pulse
from jaxsmt.batch import fits as voxelwise
from jaxsmt.batch.engine import MeansFitter
from jaxsmt.models import information as uncertainty
from tests.acquisition.test_acquisition import scheme
from tests.conftest import degrees, gauss_mean
from tests.physics.test_compartments import gamma_sticks

THREE = scheme([1000, 2000, 3000])
SIX = js.Acquisition(
    np.repeat([0, 500, 1000, 2000, 3000, 5000, 8000.0], 60),
    np.tile(scheme([1000], n=60).bvecs[-60:], (7, 1)),
    delta=10.0,
    Delta=25.0,
)


def mcsmt_means(b, diff, intra):
    """By quadrature, from the equation of Kaden et al. 2016."""
    return intra * gauss_mean(b, diff, 0 * diff) + (1 - intra) * gauss_mean(b, diff, (1 - intra) * diff)


def test_names_and_links():
    model = js.mcsmt()
    assert model.parameter_names == ["stick.lambda_par", "weight.stick"]
    values = model.resolve({"stick.lambda_par": np.float32(2.0), "weight.stick": np.float32(0.6)})
    expected = {
        "stick.lambda_par": 2.0,
        "zeppelin.lambda_par": 2.0,
        "zeppelin.lambda_perp": 0.8,
        "weight.stick": 0.6,
        "weight.zeppelin": 0.4,
        "intra": 0.6,
        "diff": 2.0,
        "extratrans": 0.8,
    }
    assert list(values.keys() - set(model.names)) == []
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-6)
    np.testing.assert_allclose(model.derive(values)["extramd"], 2.0 * (1 - 2 / 3 * 0.6), rtol=1e-6)
    assert js.smt().parameter_names == ["lambda_par", "fraction"]
    assert js.smt_noddi().parameter_names == ["weight.stick", "weight.zeppelin"]
    assert js.sandi().parameter_names == [
        "sphere.radius", "stick.lambda_par", "ball.diffusivity", "weight.sphere", "weight.stick",
    ]  # fmt: skip


def test_links_in_any_order_are_one_model():
    links = [js.equal("b.diffusivity", "a.diffusivity"), js.fraction("c.diffusivity", of="b.diffusivity", name="f")]
    balls = {name: js.ball() for name in "abc"}
    for order in (links, links[::-1]):
        model = js.SphericalMeanModel(balls, links=order)
        values = model.resolve(
            {
                "a.diffusivity": jnp.float32(2),
                "f": jnp.float32(0.25),
                "weight.a": jnp.float32(0),
                "weight.b": jnp.float32(0),
            }
        )
        np.testing.assert_allclose(values["c.diffusivity"], 0.5)


def test_a_link_of_ones_own():
    def half(value):
        return value / 2

    model = js.SphericalMeanModel(js.zeppelin(), links=[js.Link("lambda_perp", ("lambda_par",), half)])
    signal = model.signal(THREE, {"lambda_par": 2.0})
    np.testing.assert_allclose(signal, gauss_mean(THREE.b, 2.0, 1.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([js.equal("stick.lambda", "ball.diffusivity")] * 2, "two links determine"),
        ([js.equal("stick.lambda_par", "ball.d")], "unknown name 'ball.d'"),
        ([js.equal("weight.stick", "weight.ball")], "sum to 1 by themselves"),
        (
            [js.equal("stick.lambda_par", "ball.diffusivity"), js.equal("ball.diffusivity", "stick.lambda_par")],
            "circle",
        ),
        ([js.fixed("stick.radius", 1.0)], "no parameter 'stick.radius'"),
        ([js.fixed("weight.stick", 0.5), js.fixed("weight.ball", 0.5)], "every volume fraction is fixed"),
        ([js.ordering("stick.lambda_par", "weight.ball")], "cannot keep"),
        (
            [js.ordering("stick.lambda_par", "ball.diffusivity"), js.ordering("ball.diffusivity", "stick.lambda_par")],
            "circle",
        ),
    ],
)
def test_impossible_links_are_refused(links, message):
    with pytest.raises(js.InputError, match=message):
        js.SphericalMeanModel({"stick": js.stick(), "ball": js.ball()}, links=links)


def zeppelin_with(*links):
    return js.SphericalMeanModel(js.zeppelin(), links)


def test_impossible_changes_are_refused():
    model = js.ball_stick()
    for change, message in (
        (lambda: model.fix(**{"ball.diffusivity": 1.0}), r"a link determines ball\.diffusivity"),
        (lambda: model.fix(**{"stick.lambda_par": -1.0}), "beyond its limits"),
        (lambda: model.fix(**{"weight.stick": 1.2}), "beyond its limits"),
        (lambda: js.smt_noddi().fix(**{"weight.stick": 0.8, "weight.ball": 0.8}), "no volume fractions"),
        (lambda: model.bound(**{"weight.stick": (0, 0.2), "weight.ball": (0, 0.2)}), "no volume fractions"),
        (lambda: model.bound(**{"stick.lambda_par": (0, np.inf)}), "finite"),
        (lambda: js.SphericalMeanModel(js.sphere()).bound(radius=(0, 5)), "lower < upper"),
        (lambda: model.start(**{"weight.ball": 0.5}), "follows from the other fractions"),
        (lambda: js.SphericalMeanModel({"a": js.stick}), "names as of Python"),
        (lambda: js.SphericalMeanModel({"": js.stick(), "b": js.ball()}), "names as of Python"),
        (lambda: js.SphericalMeanModel({"a": js.ball()}, links=["a = b"]), "is no link"),
        (lambda: js.SphericalMeanModel(js.ball(), name="a/b"), "letters and digits"),
        (lambda: js.SphericalMeanModel(js.ball(), maps=("d",)), "no map 'd'"),
        (lambda: js.SphericalMeanModel({"a": js.ball()}, links=[js.equal("s0", "a.diffusivity")]), "is taken"),
        (
            lambda: js.SphericalMeanModel(js.zeppelin(), links=[js.equal("lambda_per", "lambda_par")]),
            "unknown parameter",
        ),
        (
            lambda: js.SphericalMeanModel({"a": js.ball()}, links=[js.equal("a.d", "a.diffusivity")]),
            "unknown parameter",
        ),
        (
            lambda: js.SphericalMeanModel(
                js.zeppelin(), links=[js.fraction("lambda_perp", "lambda_par", "lambda_par")]
            ),
            "which exists",
        ),
        (lambda: model.fix(**{"weight.stick": 0.5}).bound(**{"weight.stick": (0, 0.5)}), "is fixed"),
        (lambda: model.bound(**{"weight.stick": (0.5, 1.5)}), "lower < upper ≤ 1"),
        (lambda: model.start(lambda_par=1.0), "no parameter"),
        (lambda: js.SphericalMeanModel({"a-b": js.ball()}), "names as of Python"),
        (lambda: model.signal(THREE, {"stick.lambda_par": 1.0}), "no value of"),
    ):
        with pytest.raises(js.InputError, match=message):
            change()


four = st.lists(st.floats(0, 1), min_size=3, max_size=3)


@settings(max_examples=100, deadline=None)
@given(
    parts=four,
    lower=st.lists(st.floats(0, 0.24), min_size=4, max_size=4),
    upper=st.lists(st.floats(0.26, 1), min_size=4, max_size=4),
)
def test_fractions_stay_on_the_simplex_and_within_bounds(parts, lower, upper):
    names = [f"weight.{name}" for name in "abcd"]
    model = js.SphericalMeanModel({name: js.dot() for name in "abcd"})
    model = model.bound(**{name: ends for name, *ends in zip(names, lower, upper, strict=True)})
    values = model.values(tuple(jnp.float32(p) for p in parts))
    weights = np.array([values[name] for name in names])
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    assert np.all(weights >= np.array(lower) - 1e-6)
    assert np.all(weights <= np.array(upper) + 1e-6)
    started = model.start(**{name: float(values[name]) for name in names[:-1]})
    back = started.values(started.space.begin([jnp.zeros(())] * 3))
    np.testing.assert_allclose([back[name] for name in names], weights, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(x=st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_ordered_parameters_stay_in_order(x):
    links = [js.ordering("a.diffusivity", "b.diffusivity"), js.ordering("b.diffusivity", "c.diffusivity")]
    model = js.SphericalMeanModel({name: js.ball() for name in "abc"}, links=links)
    model = model.fix(**{"weight.a": 0.2, "weight.b": 0.3}).bound(**{"a.diffusivity": (0.1, 2.0)})
    a, b, c = (float(model.values(tuple(jnp.float32(v) for v in x))[f"{n}.diffusivity"]) for n in "abc")
    assert 0.1 - 1e-6 <= a <= max(b, 0.1) + 1e-6
    assert b <= c + 1e-6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mcsmt_recovers_known_parameters(dtype):
    rng = np.random.default_rng(0)
    diff, intra, s0 = rng.uniform(0.5, 2.9, 2000), rng.uniform(0.05, 0.95, 2000), rng.uniform(100, 5000, 2000)
    fit = MeansFitter(js.mcsmt(), THREE, dtype=dtype)(s0 * np.stack([mcsmt_means(b, diff, intra) for b in THREE.b]))
    tight = 1e-5 if dtype == "float32" else 1e-9
    for name, truth in (("intra", intra), ("weight.stick", intra), ("diff", diff), ("extratrans", (1 - intra) * diff)):
        assert np.median(np.abs(fit.parameters[name] - truth)) <= tight
        assert np.percentile(np.abs(fit.parameters[name] - truth), 99) <= 100 * tight
    np.testing.assert_allclose(fit.derived["extramd"], diff * (1 - 2 / 3 * intra), atol=3e-3)
    assert np.all(np.isin(fit.status, (js.Status.CONVERGED, js.Status.AT_BOUND)))


def test_mcsmt_reaches_the_optimum_that_scipy_reaches():
    """On noisy data, some with all of the water in neurites, where the cost is flat."""
    rng = np.random.default_rng(1)
    diff, intra = rng.uniform(0.3, 3, 60), rng.choice([0.3, 0.6, 0.95, 1.0], 60)
    means = np.stack([mcsmt_means(b, diff, intra) for b in THREE.b])
    means += 0.03 * rng.standard_normal(means.shape) * np.sqrt(THREE.variances)[:, None]
    root = np.sqrt(THREE.variances.min() / THREE.variances)

    def residual(p, y):
        e = mcsmt_means(THREE.b, np.float64(p[0]), p[1])
        return root * (y - np.sum(root**2 * y * e) / np.sum(root**2 * e * e) * e)

    for dtype, slack in (("float32", 3e-9), ("float64", 1e-12)):
        fit = MeansFitter(js.mcsmt(), THREE, dtype=dtype)(means)
        assert not np.any(fit.status == js.Status.NOT_CONVERGED)
        for i in range(means.shape[1]):
            ours = np.sum(residual((fit.parameters["diff"][i], fit.parameters["intra"][i]), means[:, i]) ** 2)
            starts = ((0.5, 0.5), (1.5, 0.9), (2.5, 0.2))
            found = [
                scipy.optimize.least_squares(
                    residual, s, bounds=([0, 0], [3.05, 1]), args=(means[:, i],), xtol=1e-12, ftol=1e-12
                )
                for s in starts
            ]
            assert ours <= 2 * min(f.cost for f in found) * (1 + 1e-5) + slack


SOMA = js.sandi().fix(**{"stick.lambda_par": 2.0, "ball.diffusivity": 0.8})


@pytest.mark.parametrize(
    ("model", "truth"),
    [
        (js.smt_noddi(), {"weight.stick": (0.3, 0.6), "weight.zeppelin": (0.1, 0.3)}),
        (js.SphericalMeanModel(js.ball()), {"diffusivity": (0.3, 2.8)}),
        (js.SphericalMeanModel(gamma_sticks()), {"lambda_par": (1.0, 2.5), "spread": (0.2, 0.6)}),
        (SOMA, {"sphere.radius": (4, 9), "weight.sphere": (0.2, 0.5), "weight.stick": (0.2, 0.4)}),
    ],
    ids=["smt_noddi", "ball", "user's", "sandi"],
)
def test_models_recover_known_parameters(model, truth):
    """Noise-free means of the model itself, double precision: the truth is the only optimum within the bounds."""
    rng = np.random.default_rng(0)
    values = {name: rng.uniform(*ends, 200) for name, ends in truth.items()}
    with jax.enable_x64(True):
        means = 900 * np.asarray(model.signal(SIX, values)).T
    fit = MeansFitter(model, SIX, dtype="float64")(means)
    for name, true in values.items():
        np.testing.assert_allclose(fit.parameters[name], true, atol=1e-4 * np.ptp(true))
    np.testing.assert_allclose(fit.s0, 900, rtol=1e-5)


def series(model, values, acquisition=THREE):
    """Isotropic signals with these spherical means."""
    shells = np.argmax(acquisition.weights != 0, axis=0)
    return 1000 * np.asarray(model.signal(acquisition, values))[..., shells]


def test_maps_hold_bound_and_start_each_voxel_on_its_own():
    rng = np.random.default_rng(0)
    shape = (4, 5)
    values = {"stick.lambda_par": rng.uniform(1, 2.5, shape), "weight.stick": rng.uniform(0.2, 0.8, shape)}
    model, mask = js.ball_stick(), np.ones(shape)
    mask[1, 2] = 0
    inside = mask > 0
    data = series(model, values)
    known = js.fit(model.fix(**{"stick.lambda_par": values["stick.lambda_par"]}), THREE, data, mask)
    np.testing.assert_allclose(
        known.parameters["stick.lambda_par"][inside], values["stick.lambda_par"][inside], rtol=1e-6
    )
    np.testing.assert_allclose(
        known.parameters["ball.diffusivity"][inside], values["stick.lambda_par"][inside], rtol=1e-6
    )
    np.testing.assert_allclose(known.parameters["weight.stick"][inside], values["weight.stick"][inside], atol=1e-4)

    share = js.fit(model.fix(**{"weight.ball": 1 - values["weight.stick"]}), THREE, data, mask)
    np.testing.assert_allclose(
        share.parameters["stick.lambda_par"][inside], values["stick.lambda_par"][inside], atol=1e-4
    )

    limit = values["stick.lambda_par"] - 0.3
    bounded = js.fit(model.bound(**{"stick.lambda_par": (0.1, limit)}), THREE, data, mask)
    assert np.all(bounded.parameters["stick.lambda_par"] <= limit + 1e-6)
    assert np.all(bounded.status[inside] == js.Status.AT_BOUND)

    one_step = js.levenberg_marquardt(max_steps=1)  # evaluates the start and stays there
    there = js.fit(model.start(**values), THREE, data, mask, solver=one_step)
    np.testing.assert_allclose(there.parameters["weight.stick"][inside], values["weight.stick"][inside], atol=1e-6)
    with pytest.raises(js.InputError, match="shapes must agree"):
        js.fit(model.fix(**{"weight.stick": np.full((5, 4), 0.5)}), THREE, data)


def test_a_voxel_without_a_value_in_a_map_is_said_so():
    values = {"stick.lambda_par": np.full(3, 2.0), "weight.stick": np.full(3, 0.5)}
    data = series(js.ball_stick(), values)
    held = np.array([2.0, np.nan, 2.0])
    fit = js.fit(js.ball_stick().fix(**{"stick.lambda_par": held}), THREE, data, s0="mean")
    np.testing.assert_array_equal(fit.status == js.Status.NON_FINITE, [False, True, False])
    assert np.isfinite(fit.predict()).all()
    beyond = js.ball_stick().fix(**{"weight.stick": np.array([0.5, 1.3, 0.5])})
    crossed = js.ball_stick().bound(**{"stick.lambda_par": (np.array([0.0, 2.0, 0.0]), 1.9)})
    for model in (beyond, crossed):
        with pytest.raises(js.InputError, match="in 1 voxels"):
            js.fit(model, THREE, data)
        model.space.check(np.array([True, False, True]))  # outside the mask it does not matter


def test_orderings_hold_for_fixed_and_bounded_parameters():
    balls = {name: js.ball() for name in "abc"}
    links = [js.ordering("a.diffusivity", "b.diffusivity"), js.ordering("a.diffusivity", "c.diffusivity")]
    model = js.SphericalMeanModel(balls, links=links).fix(**{"weight.a": 0.3, "weight.b": 0.3})
    for changed in (model, model.fix(**{"a.diffusivity": 1.5}), model.bound(**{"a.diffusivity": (1.0, 3.0)})):
        x = [jnp.asarray(v, jnp.float32) for v in np.random.default_rng(0).uniform(size=(len(changed.free), 200))]
        a, b, c = (np.asarray(changed.values(x)[f"{n}.diffusivity"]) for n in "abc")
        assert np.all(a <= np.minimum(b, c) + 1e-6)
        assert np.ptp(b) > 1
    with pytest.raises(js.InputError, match=r"a\.diffusivity cannot be at most b\.diffusivity"):
        model.bound(**{"a.diffusivity": (1.0, 3.0)}).fix(**{"b.diffusivity": 0.3})


def test_maps_do_not_compile_anew():
    data = series(js.ball_stick(), {"stick.lambda_par": np.full(3, 2.0), "weight.stick": np.full(3, 0.5)})
    js.fit(js.ball_stick().fix(**{"weight.stick": np.full(3, 0.5)}), THREE, data)
    before = voxelwise.fit_means._cache_size()
    js.fit(js.ball_stick().fix(**{"weight.stick": np.array([0.1, 0.2, 0.3])}), THREE, data)
    assert voxelwise.fit_means._cache_size() == before
    fits = [js.fit(js.ball_stick().fix(**{"weight.stick": value}), THREE, data) for value in (0.5, 0.6)]
    assert voxelwise.fit_means._cache_size() == before + 1  # numbers, another program than maps
    assert np.all(fits[0].parameters["stick.lambda_par"] != fits[1].parameters["stick.lambda_par"])
    np.testing.assert_allclose(fits[0].parameters["stick.lambda_par"], 2.0, rtol=1e-4)


def test_fisher_information_is_that_of_differences():
    values = {"stick.lambda_par": 1.8, "weight.stick": 0.55}
    with jax.enable_x64(True):
        found = np.asarray(js.fisher_information(js.mcsmt(), THREE, values, 0.02))

        def means(diff, intra, s0):
            return s0 * mcsmt_means(THREE.b, np.float64(diff), intra)

        at, h = np.array([1.8, 0.55, 1.0]), 1e-5
        j = np.stack([(means(*(at + h * e)) - means(*(at - h * e))) / (2 * h) for e in np.eye(3)], axis=1)
        full = j.T @ np.diag(1 / (0.02**2 * THREE.variances)) @ j
    # The inverse's block of the parameters, S0 unknown.
    np.testing.assert_allclose(np.linalg.inv(found), np.linalg.inv(full)[:2, :2], rtol=1e-6)
    known = js.fisher_information(js.mcsmt(), THREE, values, 0.02, s0="mean")
    np.testing.assert_allclose(known, full[:2, :2], rtol=1e-3)


def test_expected_errors_are_those_of_fits():
    """Fits of noisy means at the typical values scatter as the Cramér-Rao bound says, within sampling error."""
    sigma = 0.005
    tissues = uncertainty.expected_sd(js.mcsmt(), THREE, sigma)
    assert set(tissues) == {"white matter", "grey matter"}
    expected = tissues["white matter"]
    diff, intra = (expected[name][0] for name in ("stick.lambda_par", "weight.stick"))
    rng = np.random.default_rng(0)
    means = mcsmt_means(THREE.b, np.float64(diff), intra)[:, None] + np.zeros(2000)
    means += sigma * rng.standard_normal(means.shape) * np.sqrt(THREE.variances)[:, None]
    fit = MeansFitter(js.mcsmt(), THREE)(means)
    for name in expected:
        assert np.std(fit.parameters[name]) == pytest.approx(expected[name][1], rel=0.08)
    with_floor = uncertainty.expected_sd(js.mcsmt(), THREE, 1 / 20, rician=True)
    without = uncertainty.expected_sd(js.mcsmt(), THREE, 1 / 20)
    assert all(with_floor[t][n][1] > without[t][n][1] for t in without for n in without[t])


def test_what_cannot_be_determined_is_refused():
    twice = js.SphericalMeanModel({"a": js.dot(), "b": js.dot()})
    with pytest.raises(js.InputError, match=r"cannot determine weight\.a"):
        MeansFitter(twice, THREE)
    with pytest.raises(js.InputError, match="needs at least 5 shells"):
        MeansFitter(js.sandi(), js.Acquisition(THREE.bvals, THREE.bvecs, delta=10, Delta=20))
    with pytest.warns(js.JaxsmtWarning, match=r"hardly determines some parameters of the sandi model"):
        uncertainty.require_determined(js.sandi(), SIX)
    with pytest.raises(js.InputError, match="nothing to fit"):
        MeansFitter(js.SphericalMeanModel(js.dot()), THREE)
    balls = {"a": js.ball(), "b": js.ball()}
    alike = js.SphericalMeanModel(balls, links=[js.ordering("a.diffusivity", "b.diffusivity")])
    assert np.all(np.isfinite([sd for _, sd in uncertainty.expected_sd(alike, SIX)["typical tissue"].values()]))
    nothing = uncertainty.expected_sd(twice, THREE)
    assert nothing == {"typical tissue": {"weight.a": (0.5, np.inf)}}
    MeansFitter(js.smt(), THREE)  # silent: warnings are errors here


def test_a_mixture_as_kernel_of_fods():
    """A user's compartment, given only its attenuation, beside a zeppelin, under known Watson lobes."""
    links = [js.equal("zeppelin.lambda_par", "mine.lambda_par"), js.fixed("zeppelin.lambda_perp", 0.6)]
    model = js.SphericalMeanModel({"mine": gamma_sticks(), "zeppelin": js.zeppelin()}, links).fix(
        **{"mine.spread": 0.4}
    )
    x, w = np.polynomial.legendre.leggauss(60)
    phi = 2 * np.pi * (np.arange(60) + 0.5) / 60
    rho = np.sqrt(1 - x**2)
    ring = [np.outer(rho, np.cos(phi)), np.outer(rho, np.sin(phi)), np.repeat(x[:, None], 60, 1)]
    sphere, weight = np.stack(ring, -1).reshape(-1, 3), np.repeat(w, 60)
    rng = np.random.default_rng(0)
    mu = rng.standard_normal((6, 3))
    mu /= np.linalg.norm(mu, axis=1, keepdims=True)
    kappa = rng.uniform(3, 12, 6)
    density = weight * np.exp(kappa[:, None] * ((mu @ sphere.T) ** 2 - 1))
    density /= density.sum(axis=1, keepdims=True)
    b, x2 = THREE.bvals[:, None] / 1000, (THREE.bvecs @ sphere.T) ** 2
    kernel = 0.7 * (1 + 0.4 * b * 2.0 * x2) ** -2.5 + 0.3 * np.exp(-b * (0.6 + 1.4 * x2))
    data = 1000 * density @ kernel.T
    fit = js.fit(model, THREE, data)
    np.testing.assert_allclose(fit.parameters["mine.lambda_par"], 2.0, rtol=1e-2)
    np.testing.assert_allclose(fit.parameters["weight.mine"], 0.7, rtol=1e-2)
    fods = js.fit(fit.fod_model("watson"), THREE, data)
    assert np.max(degrees(fods.parameters["direction"][:, 0], mu)) < 0.1
    np.testing.assert_allclose(fods.parameters["kappa"][:, 0], kappa, rtol=0.01)
    np.testing.assert_allclose(fods.predict(), data, atol=0.5)
    np.testing.assert_allclose(np.mean((fods.predict() - data) ** 2, axis=-1) / fit.s0**2, fods.mse, atol=1e-8)
    np.testing.assert_allclose(fit.predict(), data @ THREE.weights.T, rtol=1e-3)


def _bulge(pulse, x, a):
    return jnp.exp(-12 * pulse.b * a * (1 - a) * x * x)


def test_orders_of_fods_follow_the_whole_box_of_parameters():
    """Where a kernel is sharpest inside its bounds, or at a map's own extremes, FODs keep the orders it needs."""
    needed = js.signal.truncation_order(9.0)
    inside = js.SphericalMeanModel(js.Compartment("bulge", (js.Parameter("a"),), _bulge))
    assert js.signal.order_needed(inside.extreme_moments(Pulse(3.0))) >= needed - 2
    par, perp = np.array([1.5, 3.0]), np.array([1.4, 0.0])
    maps = js.SphericalMeanModel({"z": js.zeppelin(), "b": js.ball()}).fix(
        **{"z.lambda_par": par, "z.lambda_perp": perp}
    )
    assert js.signal.order_needed(maps.extreme_moments(Pulse(3.0))) == needed
    assert js.signal.order_needed(js.smt(3.0).extreme_moments(Pulse(3.0))) == needed


def test_isotropic_models_are_no_kernels_and_restricted_ones_predict():
    values = {"sphere.radius": np.full(2, 6.0), "weight.sphere": np.full(2, 0.4), "weight.stick": np.full(2, 0.4)}
    data = series(SOMA, values, SIX)
    fit = js.fit(SOMA, SIX, data, mask=[1, 0], dtype="float64")
    for exact in (fit, replace(fit, exact_b0=True)):
        np.testing.assert_allclose(exact.predict()[0], data[0] @ SIX.weights.T, rtol=1e-3)
        assert np.all(exact.predict()[1] == 0)  # where a radius of 0 has no signal
    with pytest.raises(js.InputError, match="duration δ"):
        fit.predict(THREE)
    ball = js.fit(js.SphericalMeanModel(js.ball()), THREE, np.ones((1, THREE.bvals.size)))
    with pytest.raises(js.InputError, match="is isotropic"):
        ball.fod_model("watson")


def test_fixed_numbers_may_be_traced():
    def total(value):
        return js.smt().fix(lambda_par=value).signal(THREE, {"fraction": 0.3}).sum()

    with jax.enable_x64(True):
        slope = jax.grad(total)(jnp.asarray(1.7))
        assert slope == pytest.approx(float(total(1.7001) - total(1.6999)) / 2e-4, rel=1e-5)


def test_predictions_elsewhere():
    values = {"lambda_par": np.array([1.5, 2.0]), "fraction": np.array([0.3, 0.5])}
    data = series(js.smt(), values)
    data[1] = np.nan
    fit = js.fit(js.smt(), THREE, data)
    other = scheme([1500, 2500])
    np.testing.assert_allclose(fit.predict(other)[0], 1000 * gauss_mean(other.b, 1.5, 0.45), rtol=1e-3)
    assert np.all(fit.predict()[1] == 0)
    exact = js.fit(js.smt(), js.Acquisition(np.where(THREE.bvals == 0, 5, THREE.bvals), THREE.bvecs), data, s0="mean")
    assert exact.predict()[0, 0] == exact.s0[0]
    fods = js.fit(fit.fod_model("watson"), THREE, data)
    np.testing.assert_allclose(fods.predict()[0], data[0], rtol=1e-3)
    assert np.all(fods.predict()[1] == 0)
    assert fods.predict(other).shape == (2, other.bvals.size)


def test_diagram_shows_every_parameter(tmp_path):
    model = js.smt_noddi().bound(**{"weight.stick": (0.1, 0.9)}).start(**{"weight.stick": 0.5})
    figure = model.diagram(tmp_path / "model.svg")
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    for name in model.names:
        assert name in said
    for phrase in ("in [0.1, 0.9], starts at 0.5", "= 1.7 µm²/ms", "= stick.lambda_par", "2 free parameters"):
        assert phrase in said
    assert (tmp_path / "model.svg").read_text().startswith("<?xml")
    again = model.diagram(tmp_path / "again.svg")
    assert len(again.axes[0].texts) == len(figure.axes[0].texts)
