"""Shells and the weights of their spherical means."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from jaxsmt import Acquisition, InputError, JaxsmtWarning
from jaxsmt.acquisition.weights import MAX_AMPLIFICATION, mean_weights
from jaxsmt.sphere.harmonics import even_harmonics, n_coefficients
from jaxsmt.sphere.quadrature import fibonacci_sphere, gradient_directions


def scheme(b, n=30, **options):
    """b = 0 and n directions at each b-value."""
    b = np.atleast_1d(b)
    bvals = np.concatenate([[0.0, 0.0], np.repeat(b, n)])
    bvecs = np.concatenate([np.zeros((2, 3)), np.tile(gradient_directions(n), (len(b), 1))])
    return Acquisition(bvals, bvecs, **options)


def test_harmonics_match_scipy_and_are_orthonormal():
    directions = fibonacci_sphere(4000)
    basis = even_harmonics(directions, 8)
    theta, phi = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    column = 0
    for l in range(0, 9, 2):
        for m in range(-l, l + 1):
            complex_ = sph_harm_y(l, abs(m), theta, phi)  # with the Condon-Shortley phase, as MRtrix
            oracle = complex_.real if m == 0 else 2**0.5 * (complex_.real if m > 0 else complex_.imag)
            np.testing.assert_allclose(basis[:, column], oracle, atol=1e-12)
            column += 1
    assert column == n_coefficients(8) == basis.shape[1]
    np.testing.assert_allclose(basis.T @ basis * 4 * np.pi / 4000, np.eye(column), atol=1e-3)


@pytest.mark.parametrize("n", [6, 15, 30, 64, 90, 200])
def test_weights_integrate_the_harmonics_of_their_order(n):
    directions = gradient_directions(n)
    order, weights = mean_weights(directions)
    moments = weights @ even_harmonics(directions, order)
    np.testing.assert_allclose(moments, [(4 * np.pi) ** -0.5] + [0] * (len(moments) - 1), atol=1e-10)
    assert n_coefficients(order) <= n
    assert np.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION
    assert order >= 2


def test_uneven_directions_bias_the_plain_mean_only():
    """Directions denser about one axis: the harmonic weights undo what the plain mean suffers."""
    rng = np.random.default_rng(3)
    directions = rng.standard_normal((90, 3)) * [1, 1, 1.2]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    _, weights = mean_weights(directions)
    signal = np.exp(-2 * directions[:, 2] ** 2)
    x, w = np.polynomial.legendre.leggauss(50)
    truth = 0.5 * np.exp(-2 * x**2) @ w
    assert abs(weights @ signal - truth) < 0.1 * abs(signal.mean() - truth)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**31))
def test_weights_of_any_directions_sum_to_one_and_keep_the_noise_down(n, seed):
    directions = np.random.default_rng(seed).standard_normal((n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    _, weights = mean_weights(directions)
    assert abs(weights.sum() - 1) < 1e-9
    assert np.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION + 1e-12


def test_jitter_of_50_stays_one_shell_and_b5_is_b0():
    rng = np.random.default_rng(0)
    directions = np.tile(gradient_directions(60), (3, 1))
    nominal = np.repeat([1000.0, 2000, 3000], 60)
    bvals = np.concatenate([[0, 5, 50], nominal + rng.uniform(-50, 50, 180)])
    acquisition = Acquisition(bvals, np.concatenate([np.full((3, 3), np.nan), directions]))
    assert [len(s.volumes) for s in acquisition.shells] == [3, 60, 60, 60]
    np.testing.assert_allclose(acquisition.b * 1000, [55 / 3, 1000, 2000, 3000], atol=15)
    np.testing.assert_allclose(acquisition.weights.sum(axis=1), 1)
    assert np.all((acquisition.weights != 0).sum(axis=0) == 1)  # each volume in one shell


def test_plain_mean_on_request():
    acquisition = scheme([1000, 2000], spherical_mean="arithmetic")
    np.testing.assert_allclose(acquisition.weights[1, 2:32], 1 / 30)
    np.testing.assert_allclose(acquisition.variances, [1 / 2, 1 / 30, 1 / 30])


@pytest.mark.parametrize("directions", [gradient_directions(5), np.array([[1.0, 0.01 * i, 0] for i in range(40)])])
def test_few_or_one_sided_directions_warn_and_take_the_plain_mean(directions):
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    with pytest.warns(JaxsmtWarning, match="too few or too uneven"):
        acquisition = Acquisition(np.full(len(directions), 1000.0), directions)
    assert acquisition.shells[0].order == 0


@pytest.mark.parametrize("n", [60, 90])
def test_a_missing_cap_is_said(n):
    """No directions near the pole: low orders are all that is left, and the mean may be biased."""
    directions = gradient_directions(n)
    directions = directions[np.abs(directions[:, 2]) < 0.9]
    with pytest.warns(JaxsmtWarning, match="may be biased"):
        Acquisition(np.full(len(directions), 1000.0), directions)


def test_directions_on_a_half_sphere_are_as_good_as_on_the_whole():
    directions = gradient_directions(60)
    folded = directions * np.sign(directions[:, 2:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(mean_weights(folded)[1], mean_weights(directions)[1], atol=1e-12)


@pytest.mark.parametrize(
    ("bvals", "bvecs", "message"),
    [
        ([0, 1, 2, 3], None, "b_unit=.ms/um2"),
        ([0, 1e9, 2e9, 3e9], None, "b_unit=.s/m2"),
        ([0, 2e5, 4e5, 6e5], None, "b_unit=.s/m2"),
        ([0, -1000, 2000, 3000], None, "not negative"),
        ([0, np.inf, 2000, 3000], None, "finite"),
        ([0, 1000, 2000, 3000], [[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1]], "length 2"),
        ([0, 1000, 2000, 3000], [[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 1]], "length 0"),
        ([0, 1000, 2000, 3000], [[0, 0, 0], [np.nan, 0, 0], [0, 1, 0], [0, 0, 1]], "not finite"),
        ([0, 1000, 2000, 4000], [[0, 0, 0], [0.5, 0, 0], [0, 0.7071, 0], [0, 0, 1]], "√b"),
        ([0, 1000, 2000], np.eye(4)[:, :3], "do not match"),
    ],
)
def test_impossible_schemes_are_refused(bvals, bvecs, message):
    bvecs = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]] if bvecs is None else bvecs
    with pytest.raises(InputError, match=message):
        Acquisition(np.array(bvals, float), np.array(bvecs, float))


def test_bvalues_without_gaps_are_no_shells():
    with pytest.raises(InputError, match="not shells"):
        Acquisition(np.linspace(500, 3000, 60), gradient_directions(60))


@pytest.mark.parametrize(("unit", "factor"), [("s/mm2", 1.0), ("ms/um2", 1e-3), ("s/m2", 1e6)])
def test_units_meet(unit, factor):
    plain = scheme([1000, 2000])
    other = Acquisition(plain.bvals * factor, plain.bvecs, b_unit=unit)
    np.testing.assert_allclose(other.b, [0, 1, 2], atol=1e-12)


def test_a_wrong_unit_is_questioned():
    plain = scheme([1000, 2000])
    for unit in ("ms/um2", "s/m2"):
        with pytest.raises(InputError, match=f"are the b-values in {unit}"):
            Acquisition(plain.bvals, plain.bvecs, b_unit=unit)


def test_what_a_model_needs():
    scheme([1000, 2000]).require(2, "smt")
    with pytest.raises(InputError, match="at least 2 shells"):
        scheme([1000]).require(2, "smt")
    full = scheme([1000, 2000])
    with pytest.raises(InputError, match="no b = 0"):
        Acquisition(full.bvals[2:], full.bvecs[2:]).require(2, "smt")
