"""Every point of the box of a search gives parameters within bounds, in order, and fractions that sum to 1."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsmt as js


@settings(max_examples=100, deadline=None)
@given(
    parts=st.lists(st.floats(0, 1), min_size=3, max_size=3),
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
