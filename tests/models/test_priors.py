"""Priors: what users may give, files, and what cannot be."""

import json

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.fitters import KernelFitter

COVARIANCE = ((1.0, -0.1), (-0.1, 0.2))


def test_priors_compare_by_content():
    """A model holds one, and is a static argument of compiled programs."""
    prior = js.NormalPrior(("a", "b"), (1.0, 0.0), COVARIANCE)
    assert prior == js.NormalPrior(["a", "b"], np.array([1, -0.0]), np.array(COVARIANCE))
    assert hash(prior) == hash(js.NormalPrior(["a", "b"], np.array([1, -0.0]), np.array(COVARIANCE)))
    for other in (
        js.NormalPrior(("a", "c"), (1.0, 0.0), COVARIANCE),
        js.NormalPrior(("a", "b"), (1.0, 0.1), COVARIANCE),
        js.NormalPrior(("a", "b"), (1.0, 0.0), np.eye(2)),
        "population",
    ):
        assert prior != other
    with pytest.raises(ValueError, match="read-only"):
        prior.mean[0] = 2.0


def test_a_prior_of_means_and_standard_deviations():
    prior = js.NormalPrior.make({"lambda_par": (2.0, 0.5), "fraction": (0.3, 0.1)}, js.smt())
    np.testing.assert_allclose(prior.covariance, np.diag([0.25, 0.01]))
    mean, root = prior.rooted(np.float64)
    np.testing.assert_allclose(root.T @ root, np.diag([4, 100]))
    np.testing.assert_allclose(mean, [2, 0.3])
    assert js.NormalPrior.make(None, js.smt()) is None
    assert js.NormalPrior.make(prior, js.smt()) is prior


def test_the_population_prior_is_the_models_own():
    """Also of a model that was changed, and of one that is not called as a preset is."""
    population = js.NormalPrior.make("population", js.smt().bound(lambda_par=(0.1, 3.0)))
    assert population == js.smt().population
    assert population != js.NormalPrior.make("population", js.mcsmt())
    alike = js.SphericalMeanModel(js.zeppelin(), name="smt")
    for model in (js.ball_stick(), alike):
        with pytest.raises(js.InputError, match=f"no population prior of the {model.name} model"):
            js.NormalPrior.make("population", model)


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        ("people", "prior='people' is unknown"),
        (3.0, "a prior of type float"),
        ({"fraction": 0.3}, "a prior {'fraction': 0.3}"),
        ({"fraction": ("a", "b")}, "a prior {'fraction'"),
        ({"fraction": (0.3, 0.0)}, "not positive"),
        ({}, r"a prior of \[\]"),
    ],
)
def test_what_is_no_prior_is_refused(prior, message):
    with pytest.raises(js.InputError, match=message):
        js.NormalPrior.make(prior, js.smt())


@pytest.mark.parametrize(
    ("names", "mean", "covariance", "message"),
    [
        (("a",), (1.0, 2.0), ((1.0,),), "mean of shape"),
        (("a", "b"), (1.0, 2.0), (1.0, 2.0), "mean of shape"),
        (("a", "a"), (1.0, 2.0), COVARIANCE, "names that repeat"),
        (("a",), ("much",), ((1.0,),), "other things than numbers"),
        (("a",), (np.nan,), ((1.0,),), "not finite"),
        (("a",), (10**400,), ((1.0,),), "other things than numbers"),
        (("a", "b"), (1.0, 2.0), ((1e-18, 1e-19), (0.0, 1e-18)), "positive definite"),
        (("a", "b"), (1.0, 2.0), ((1.0, 0.5), (0.4, 1.0)), "positive definite"),
        (("a", "b"), (1.0, 2.0), ((1.0, 2.0), (2.0, 1.0)), "positive definite"),
    ],
)
def test_impossible_priors_are_refused(names, mean, covariance, message):
    with pytest.raises(js.InputError, match=message):
        js.NormalPrior(names, mean, covariance)


def test_a_file_is_read_as_it_is_told(tmp_path):
    prior = js.NormalPrior(("a", "b"), (1.0, 2.0), COVARIANCE)
    path = tmp_path / "prior.json"
    path.write_text(json.dumps(prior.facts()))
    assert js.NormalPrior.read(path) == prior


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1, 2]", "no prior"),
        (b'{"mean": [1], "covariance": [[1]]}', "no prior"),
        (b'{"mean": {"a": 1}}', "no prior"),
        (b'{"mean": {"a": "much"}, "covariance": [[1]]}', "other things than numbers"),
        (b'{"mean": {"a": 1, "b": 2}, "covariance": [[1], [2, 3]]}', "other things than numbers"),
        (b'{"mean": {"a": 1}, "covariance": [[-1]]}', "positive definite"),
        (b'{"mean": {"a": 1e999}, "covariance": [[1]]}', "not finite"),
        (b'{"mean": {"a": NaN}, "covariance": [[1]]}', "not finite"),
        (b'{"mean": {"a": ' + b"9" * 400 + b'}, "covariance": [[1]]}', "other things than numbers"),
        (b'{"mean": {"a": ' + b"9" * 5000 + b'}, "covariance": [[1]]}', "no JSON"),
        (b'{"mean": {"a": "0.3"}, "covariance": [[1]]}', "other things than numbers"),
        (b'{"mean": {"a": true}, "covariance": [[1]]}', "other things than numbers"),
        (b'{"mean": {"a": 1}, "covariance": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}", "other things|covariance of"),
        (b'{"mean": {"a": 1, "a": 2}, "covariance": [[1]]}', "'a' stands there 2 times"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, content, message):
    path = tmp_path / "prior.json"
    path.write_bytes(content)
    with pytest.raises(js.InputError, match=message) as caught:
        js.NormalPrior.read(path)
    assert caught.value.file == str(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(js.InputError, match="No such file") as caught:
        js.NormalPrior.read(tmp_path / "prior.json")
    assert caught.value.file == str(tmp_path / "prior.json")


@pytest.mark.parametrize(
    ("mean", "text"),
    [({"lambda_par": 2e-9}, "m²/s"), ({"lambda_par": 9.0}, "outside the bounds 0 to 3.05"), ({"lambda_par": 2.0}, "")],
)
def test_means_that_cannot_be_meant_are_doubted(mean, text):
    """In SI units, or where no estimate can be; the numbers stand."""
    prior = js.NormalPrior.make({name: (value, value) for name, value in mean.items()}, js.smt())
    doubts = prior.doubts(js.smt().parameters)
    assert [text in doubt for doubt in doubts] == ([True] if text else [])


def test_a_fit_says_what_it_doubts_of_its_prior():
    acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=12)
    with pytest.warns(js.JaxsmtWarning, match="outside the bounds"):
        KernelFitter(js.smt(), acquisition, prior=js.NormalPrior.make({"fraction": (2.0, 1.0)}, js.smt()))
