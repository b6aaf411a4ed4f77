"""`fit` of arrays: every kind of data and mask, maps that follow from others, arguments that cannot be."""

import re

import jax
import numpy as np
import pytest

import jaxsmt as js
from tests.acquisition.test_acquisition import scheme
from tests.conftest import gauss_mean
from tests.known_means import ACQUISITION, series_of


def test_scale_of_the_data_is_that_of_s0_only():
    data = series_of(ACQUISITION)
    one, other = js.fit(js.smt(), ACQUISITION, data), js.fit(js.smt(), ACQUISITION, data * np.float32(1024))
    np.testing.assert_array_equal(one.parameters["lambda_par"], other.parameters["lambda_par"])
    np.testing.assert_array_equal(one.s0 * 1024, other.s0)


def test_every_kind_of_array_gives_the_same_maps(tmp_path):
    data = np.rint(series_of(ACQUISITION)).astype(np.int16)
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


def test_derived_maps_follow_from_the_parameters():
    fit = js.fit(js.smt(), ACQUISITION, series_of(ACQUISITION))
    par, perp = fit.parameters["lambda_par"], fit.parameters["lambda_perp"]
    np.testing.assert_allclose(perp, par * fit.parameters["fraction"], rtol=1e-6)
    np.testing.assert_allclose(fit.derived["md"], (par + 2 * perp) / 3, rtol=1e-6)
    fa = (par - perp) / np.sqrt(par**2 + 2 * perp**2)
    np.testing.assert_allclose(fit.derived["fa"], fa, rtol=1e-5)
    np.testing.assert_allclose(fit.derived["fapow3"], fa**3, rtol=1e-5)


def test_mse_and_r2_are_of_the_normalised_means():
    data = series_of(ACQUISITION) * (1 + 0.02 * np.random.default_rng(0).standard_normal(series_of(ACQUISITION).shape))
    fit = js.fit(js.smt(), ACQUISITION, data, dtype="float64")
    y = (ACQUISITION.weights @ data.reshape(-1, data.shape[-1]).T) / fit.s0.ravel()
    e = gauss_mean(ACQUISITION.b[:, None], fit.parameters["lambda_par"].ravel(), fit.parameters["lambda_perp"].ravel())
    np.testing.assert_allclose(fit.mse.ravel(), np.mean((y - e) ** 2, axis=0), rtol=1e-6)
    np.testing.assert_allclose(
        fit.r2.ravel(), 1 - np.sum((y - e) ** 2, axis=0) / np.sum((y - y.mean(axis=0)) ** 2, axis=0), rtol=1e-6
    )


def test_s0_mean_is_the_b0_mean():
    data = series_of(ACQUISITION)
    fit = js.fit(js.smt(), ACQUISITION, data, s0="mean", dtype="float64")
    np.testing.assert_allclose(fit.s0, data[..., :2].mean(axis=-1), rtol=1e-12)


def test_a_mask_means_the_same_as_on_the_command_line():
    mask = np.array([[0.9, 0.4], [np.nan, 1.0]])
    with pytest.warns(js.JaxsmtWarning, match=r"above 0\.5 is inside"):
        fit = js.fit(js.smt(), ACQUISITION, series_of(ACQUISITION, (2, 2)), mask)
    np.testing.assert_array_equal(fit.status > 0, [[True, False], [False, True]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.ones((2, 2, 5))}, "5 volumes in the data"),
        ({"data": np.ones((2, 2, 92), complex)}, "real numbers"),
        ({"mask": np.ones((3, 3))}, "shapes must agree"),
        ({"mask": np.zeros((2, 2))}, "mask is empty"),
        ({"s0": "none"}, "s0='none'"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"acquisition": scheme([1000], n=90)}, "at least 2 shells"),
    ],
)
def test_bad_arguments_are_named(change, message):
    arguments = {"acquisition": ACQUISITION, "data": np.ones((2, 2, 92)), **change}
    with pytest.raises(js.InputError, match=message):
        js.fit(js.smt(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((None,), "model= is of type NoneType"),
        ((js.smt,), "call it: smt()"),
        ((js.stick(),), "js.SphericalMeanModel(compartment)"),
        ((ACQUISITION, js.smt()), "the arguments are model, acquisition, data"),
        ((js.smt(), [0, 1000]), "acquisition= is of type list"),
        ((js.smt(), ACQUISITION, [[1.0], [1.0, 2.0]]), "no array of one shape"),
        ((js.smt(), ACQUISITION, np.ones((1, 64), complex)), "type complex128"),
        ((js.smt(), ACQUISITION, np.full((1, 64), "a")), "type <U1"),
        ((js.smt(), ACQUISITION, np.ma.ones((1, 64))), "masked array"),
        ((js.smt(), ACQUISITION, np.ones((1, 64)), ["yes"]), "mask= has the type <U3"),
    ],
)
def test_what_is_no_argument_is_said(arguments, said):
    """Each wrong kind of argument is named, with what belongs there."""
    defaults = (js.smt(), ACQUISITION, np.ones((1, 64)), None)
    with pytest.raises(js.InputError, match=re.escape(said)):
        js.fit(*arguments, *defaults[len(arguments) :])


def test_a_fit_inside_jit_is_told_of_estimate():
    with pytest.raises(js.InputError, match=r"js\.estimate"):
        jax.jit(lambda data: js.fit(js.smt(), ACQUISITION, data))(np.ones((1, 64), np.float32))
