"""Arrays and numbers that callers give, and how arrays compare."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt import InputError
from jaxsmt.acquisition.arguments import require_acquisition
from jaxsmt.acquisition.arrays import equal_values, is_jax, is_traced, real_array, real_number


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("1 2 3", "data= is '1 2 3'"),
        (None, "data= is None"),
        (True, "data= is True"),
        (2j, "data= is 2j"),
        (len, "data= is of type builtin_function_or_method"),
        (["1", "2"], "data= has the type <U1"),
        ([1, 2j], "data= has the type complex128"),
        ([True, False], "data= has the type bool"),
        ([[1, 2], [3]], "data= is no array of one shape"),
        (np.ma.masked_equal([1, 2], 2), "data= is a masked array"),
    ],
)
def test_what_is_no_array_of_real_numbers_is_told(values, said):
    with pytest.raises(InputError, match="^" + re.escape(said)):
        real_array(values, "data")


def test_an_empty_list_has_no_numbers():
    """Its type says nothing: NumPy makes floats of it."""
    with pytest.raises(InputError, match="index= is empty"):
        real_array([], "index", kinds="iu")


def test_arrays_of_numbers_are_taken_as_they_are():
    """A series of gigabytes is not copied; lists become arrays, and booleans are taken where they belong."""
    for dtype in ("u1", ">i2", "f4", "f8"):
        series = np.zeros((2, 3), dtype)
        assert real_array(series, "data") is series
    assert real_array([1, 2.5], "data").tolist() == [1, 2.5]
    assert real_array(np.array([True]), "mask", "biuf").dtype == bool
    assert real_array(jnp.ones(2, jnp.float32), "data").dtype == np.float32


def str_of(value):
    """A short name of a case."""
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("50", "'50'"),
        (None, "None"),
        (True, "True"),
        (np.bool_(True), "something of type bool"),
        (1 + 2j, r"\(1\+2j\)"),
        (np.nan, "nan"),
        (np.inf, "inf"),
        ([1.0], "something of type list"),
        (-1e-9, "-1e-09"),
        (10.1, "10.1"),
        (len, "something of type builtin_function_or_method"),
        (10**400, r"10+\.\.\.0+"),
        (10**5000, "something of type int"),  # which Python does not write
    ],
    ids=str_of,
)
def test_what_is_no_number_in_the_range_is_told(value, shown):
    with pytest.raises(InputError, match=rf"^gap= is {shown}(.|\n)*gap= takes a number up to 10"):
        real_number(value, "gap", "a number up to 10", 0, 10)


def test_numbers_of_any_type_are_taken_with_the_ends_of_the_range():
    for value in (0, 10, np.float32(2.5), np.int16(3), np.array(4.0), jnp.asarray(5.0)):
        number = real_number(value, "gap", "a number up to 10", 0, 10)
        assert type(number) is float
        assert number == value


def test_arrays_are_equal_by_shape_and_numbers():
    """NaN is equal to NaN, as directions at b = 0 may be; arrays are equal to no numbers and texts."""
    one = np.array([1.0, np.nan])
    assert equal_values(one, one.copy())
    assert equal_values(one, jnp.asarray(one, jnp.float32))
    assert not equal_values(one, one[:1])
    assert not equal_values(one, np.array([1.0, 2.0]))
    assert not equal_values(np.ones(1), 1.0)
    assert not equal_values(1.0, np.ones(1))
    assert not equal_values(None, one)
    assert equal_values("fsl", "fsl")
    assert equal_values({"a": one, "b": 1}, {"b": 1, "a": one.copy()})
    assert not equal_values({"a": one}, {"a": one, "b": 1})
    assert not equal_values({"a": one}, {"a": np.zeros(2)})


def test_traced_arrays_are_equal_to_themselves_only():
    def compare(values):
        assert is_traced(values)
        assert is_jax(values)
        assert equal_values(values, values)
        assert not equal_values(values, values + 0)
        assert not equal_values(np.zeros(2), values)
        return values

    jax.jit(compare)(jnp.zeros(2))
    assert not is_traced(jnp.zeros(2))
    assert is_jax(jnp.zeros(2))
    assert not is_jax(np.zeros(2))


def test_what_is_no_acquisition_is_told():
    require_acquisition(js.simulate.hcp_scheme(2, 15))
    with pytest.raises(InputError, match=r"acquisition= is of type ndarray(.|\n)*js.Acquisition\(bvals, bvecs\)"):
        require_acquisition(np.zeros(3))
