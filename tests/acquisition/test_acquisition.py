"""The acquisition: how it compares, takes other values, and passes through JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsmt import Acquisition, InputError
from jaxsmt.acquisition.pytree import Acquisition as AcquisitionTree
from jaxsmt.geometry.quadrature import gradient_directions


def scheme(b, n=30, **options):
    """b = 0 and n directions at each b-value."""
    b = np.atleast_1d(b)
    bvals = np.concatenate([[0.0, 0.0], np.repeat(b, n)])
    bvecs = np.concatenate([np.zeros((2, 3)), np.tile(gradient_directions(n), (len(b), 1))])
    return Acquisition(bvals, bvecs, **options)


def test_what_a_model_needs():
    scheme([1000, 2000]).require(2, "smt")
    with pytest.raises(InputError, match="at least 2 shells"):
        scheme([1000]).require(2, "smt")
    full = scheme([1000, 2000])
    with pytest.raises(InputError, match="no b = 0"):
        Acquisition(full.bvals[2:], full.bvecs[2:]).require(2, "smt")


def test_fix_for_missing_b0_speaks_python():
    full = scheme([1000, 2000])
    with pytest.raises(InputError, match="raise b0_threshold= if"):
        Acquisition(full.bvals[2:], full.bvecs[2:]).require(2, "smt")


def test_acquisitions_compare_by_content():
    """Their arrays must not make `==` raise, and so must not those of what holds an acquisition."""
    acquisition = scheme([1000, 2000])
    assert acquisition == scheme([1000, 2000])
    assert acquisition != scheme([1000, 2100])
    assert acquisition != scheme([1000, 2000], n=20)
    assert acquisition != scheme([1000, 2000], spherical_mean="arithmetic")
    assert acquisition != scheme([1000, 2000], delta=10.0, Delta=30.0)
    assert acquisition != "HCP"
    assert acquisition == acquisition.with_values(bvals=acquisition.bvals.copy())


def test_traced_acquisitions_are_equal_to_themselves_only():
    acquisition = scheme([1000, 2000])

    @jax.jit
    def compare(bvals):
        traced = acquisition.with_values(bvals=bvals)
        assert traced == traced.with_table(traced.table)
        assert traced != acquisition
        assert traced != acquisition.with_values(bvals=1.5 * bvals)
        return bvals

    compare(jnp.asarray(acquisition.bvals))


def test_acquisitions_have_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(scheme([1000]))


def test_units_are_turned_once():
    """The b-values of an acquisition are in s/mm², so that a copy made of its fields means the same."""
    acquisition = Acquisition(np.repeat([0.0, 1.0], [2, 30]), scheme([1000]).bvecs, b_unit="ms/um2")
    assert acquisition == scheme([1000])
    assert acquisition.b_unit == "s/mm2"


def test_other_values_keep_the_shells():
    acquisition = scheme([1000, 2000])
    moved = acquisition.with_values(bvals=1.5 * acquisition.bvals)
    assert moved.groups == acquisition.groups
    np.testing.assert_allclose(moved.b, 1.5 * acquisition.b)
    longer = acquisition.with_values(bvecs=3 * acquisition.bvecs)
    np.testing.assert_allclose(longer.bvecs, acquisition.bvecs, atol=1e-15)
    with pytest.raises(InputError, match=r"bvals of shape \(3,\)"):
        acquisition.with_values(bvals=np.zeros(3))


def test_one_value_of_jax_makes_all_of_jax():
    acquisition = scheme([1000, 2000], delta=10.0, Delta=30.0, b_delta=0.5, te=80.0)
    in_jax = acquisition.with_values(bvals=jnp.asarray(acquisition.bvals, jnp.float32))
    assert in_jax.traceable
    assert not acquisition.traceable
    assert {values.dtype for values in in_jax.table} == {jnp.dtype("float32")}
    back = in_jax.concrete()
    assert not back.traceable
    assert {values.dtype for values in back.table} == {np.dtype("float64")}
    np.testing.assert_allclose(back.weights, acquisition.weights, atol=1e-6)
    assert acquisition.concrete() is acquisition


def test_pytree_is_of_numbers_only():
    acquisition = scheme([1000, 2000], delta=10.0, Delta=30.0)
    assert AcquisitionTree is Acquisition
    leaves, structure = jax.tree.flatten(acquisition)
    assert [leaf.shape for leaf in leaves] == [(62,), (62, 3), (62,), (62,)]
    assert jax.tree.unflatten(structure, leaves) == acquisition
    assert structure == jax.tree.structure(scheme([1100, 2100], delta=10.0, Delta=30.0))
    assert structure != jax.tree.structure(scheme([1000, 2000], n=20, delta=10.0, Delta=30.0))
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(acquisition)]
    assert paths == [".bvals", ".bvecs", ".delta", ".Delta"]


def test_derivatives_by_an_acquisition_are_an_acquisition():
    acquisition = scheme([1000, 2000], spherical_mean="arithmetic")
    in_jax = acquisition.with_values(bvals=jnp.asarray(acquisition.bvals))
    slope = jax.grad(lambda a: a.b[1])(in_jax)
    expected = np.where((acquisition.bvals > 500) & (acquisition.bvals < 1500), 1e-3 / 30, 0)
    np.testing.assert_allclose(slope.bvals, expected, rtol=1e-5)


def test_arrays_that_are_traced_but_known_find_shells():
    """`jax.grad` outside of `jit` traces b-values whose numbers are known."""
    bvecs = scheme([1000]).bvecs

    def b_of_shell(bvals):
        return Acquisition(bvals, bvecs, spherical_mean="arithmetic", b_unit="ms/um2").b[1]

    slope = jax.grad(b_of_shell)(jnp.repeat(jnp.asarray([0.0, 1.0]), jnp.asarray([2, 30]), total_repeat_length=32))
    np.testing.assert_allclose(slope, np.repeat([0, 1 / 30], [2, 30]), rtol=1e-5)


def test_data_of_other_lengths_are_refused():
    acquisition = scheme([1000])
    acquisition.require_volumes(32)
    with pytest.raises(InputError, match="31 volumes in the data"):
        acquisition.require_volumes(31)


def test_b0_is_none_without_such_volumes():
    full = scheme([1000])
    assert full.b0.volumes.tolist() == [0, 1]
    assert Acquisition(full.bvals[2:], full.bvecs[2:]).b0 is None


def test_one_traced_time_for_all_volumes_keeps_its_derivative():
    """A number of all volumes is as much an argument as one for each."""

    def sum_of_delta(delta):
        return sum(shell.delta for shell in scheme([1000, 2000], delta=delta, Delta=30.0).shells)

    assert jax.grad(sum_of_delta)(12.0) == pytest.approx(3)


@pytest.mark.parametrize("values", [80.0, np.full(3, 80.0)])
def test_values_are_one_for_each_volume(values):
    """Of what an acquisition did not have before, too."""
    with pytest.raises(InputError, match="te of shape"):
        scheme([1000, 2000]).with_values(te=values)
