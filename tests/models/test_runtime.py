"""Values that are passed at run time: maps with another value in each voxel, numbers that JAX traces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.runner import compilations
from tests.models.known import THREE, series


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


def test_maps_do_not_compile_anew():
    data = series(js.ball_stick(), {"stick.lambda_par": np.full(3, 2.0), "weight.stick": np.full(3, 0.5)})
    js.fit(js.ball_stick().fix(**{"weight.stick": np.full(3, 0.5)}), THREE, data)
    before = compilations()
    js.fit(js.ball_stick().fix(**{"weight.stick": np.array([0.1, 0.2, 0.3])}), THREE, data)
    assert compilations() == before
    fits = [js.fit(js.ball_stick().fix(**{"weight.stick": value}), THREE, data) for value in (0.5, 0.6)]
    assert compilations() == before + 1  # numbers, another program than maps
    assert np.all(fits[0].parameters["stick.lambda_par"] != fits[1].parameters["stick.lambda_par"])
    np.testing.assert_allclose(fits[0].parameters["stick.lambda_par"], 2.0, rtol=1e-4)


def test_fixed_numbers_may_be_traced():
    def total(value):
        return js.smt().fix(lambda_par=value).signal(THREE, {"fraction": 0.3}).sum()

    with jax.enable_x64(True):
        slope = jax.grad(total)(jnp.asarray(1.7))
        assert slope == pytest.approx(float(total(1.7001) - total(1.6999)) / 2e-4, rel=1e-5)


def test_a_static_model_has_no_values():
    """Numbers of fixed parameters come before those of starts, and maps after all numbers."""
    low, held = np.array([0.1, 0.2]), np.array([0.3, 0.4])
    model = js.SphericalMeanModel({"stick": js.stick(), "ball": js.ball(), "dot": js.dot()})
    model = model.bound(**{"stick.lambda_par": (low, 2.5)}).start(**{"stick.lambda_par": 1.5})
    static, numbers, maps = model.fix(**{"weight.dot": held, "ball.diffusivity": 2.0}).without_values()
    assert numbers == (2.0, 1.5)
    assert [m is values for m, values in zip(maps, (held, low), strict=True)] == [True, True]
    runtime = (*map(jnp.float32, numbers), jnp.float32(0.3), jnp.float32(0.1))
    lower, upper = static.space.box(runtime)
    assert (float(lower[0]), upper[0]) == (pytest.approx(0.1), 2.5)
    x = static.space.begin([jnp.float32(0.5)] * 2, runtime)
    values = static.values(x, runtime)
    known = {"stick.lambda_par": 1.5, "ball.diffusivity": 2.0, "weight.dot": 0.3}
    assert {name: float(values[name]) for name in known} == pytest.approx(known)
    assert sum(float(values[f"weight.{name}"]) for name in ("stick", "ball", "dot")) == pytest.approx(1)
