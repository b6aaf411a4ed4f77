"""What is fixed, bounded and started: what cannot be, and models that are equal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from tests.models.known import THREE


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


def test_models_compare_by_content():
    """Also where a value is a map, whose comparison with == has no truth value."""
    model, values = js.smt(), np.array([0.2, np.nan])
    for change in (
        lambda v: model.fix(fraction=v),
        lambda v: model.bound(fraction=(0.1, 0.3 + v)),
        lambda v: model.start(fraction=v),
    ):
        assert change(values) == change(values.copy())
        assert change(values) != change(values + 0.1)
        assert change(values) != change(0.2)
        assert change(0.2) != change(values)
        assert change(values) != model
        with pytest.raises(TypeError, match="unhashable"):
            hash(change(values))
        static = change(values).without_values().model
        assert static == change(values + 0.1).without_values().model
        assert hash(static) == hash(change(values + 0.1).without_values().model)
    assert js.smt() == js.smt()
    assert hash(js.smt()) == hash(js.smt())
    assert js.smt() != js.mcsmt()
    assert js.smt() != "smt"


def test_models_with_traced_values_can_be_compared():
    def total(value):
        model = js.smt().fix(lambda_par=value)
        assert model == model.fix()
        assert model != js.smt().fix(lambda_par=value + 0)
        return value

    assert jax.jit(total)(jnp.float32(1.7)) == jnp.float32(1.7)


def test_typical_tissues_and_priors_are_of_parameters():
    with pytest.raises(js.InputError, match="grey matter has a value of 'lambda'"):
        js.SphericalMeanModel(js.ball(), tissues={"grey matter": {"lambda": 1.0}})
    prior = js.NormalPrior(("lambda",), (1.0,), ((1.0,),))
    with pytest.raises(js.InputError, match="a prior of 'lambda'"):
        js.SphericalMeanModel(js.ball(), population=prior)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.fix(lambda_par=1.7e-9),
        lambda model: model.fix(lambda_par=np.array([0.0, 1.7e-9, np.nan])),
        lambda model: model.bound(lambda_par=(0.0, 3e-9)),
        lambda model: model.start(lambda_par=1.7e-9),
    ],
    ids=["fixed", "fixed map", "bound", "start"],
)
def test_diffusivities_in_si_units_are_doubted(change):
    """dmipy's unit is m²/s; a fit in it would run, and mean nothing."""
    with pytest.warns(js.JaxsmtWarning, match="is it in m²/s"):
        change(js.smt())


def test_small_values_that_may_be_meant_are_not_doubted():
    """A diffusivity of 0, a map without numbers, and small values of another unit: warnings are errors here."""
    js.smt().fix(lambda_par=0.0)
    js.smt().fix(lambda_par=np.full(3, np.nan))
    js.smt().start(fraction=1e-9)
