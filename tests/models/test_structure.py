"""Compartments and links: names, equations in any order, and what cannot be."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.models.order import in_order
from tests.conftest import gauss_mean
from tests.models.known import THREE


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


def test_the_order_of_equations_is_always_the_same():
    """Programs are compiled for it: generations in the order in which they were written, as before they were sorted."""
    needs = {"f": ["e", "b"], "b": ["a"], "e": [], "a": ["outside"], "d": ["b"], "c": ["a"]}
    assert in_order(needs) == ["e", "a", "b", "c", "f", "d"]
    with pytest.raises(js.InputError, match=r"links in a circle: \['b', 'c'\]"):
        in_order({"a": [], "b": ["c"], "c": ["b"], "d": ["c"]})
    with pytest.raises(js.InputError, match=r"circle: \['a'\]"):
        in_order({"a": ["a"]})


def test_one_link_needs_no_list():
    for link in (
        js.fixed("lambda_par", 1.7),
        js.equal("lambda_par", "lambda_perp"),
        js.fraction("lambda_par", "lambda_perp"),
    ):
        assert js.SphericalMeanModel(js.zeppelin(), link) == js.SphericalMeanModel(js.zeppelin(), [link])
