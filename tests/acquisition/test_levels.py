"""Which tables have shells: levels of b by clear gaps, for any scheme that a scanner makes; and what has none."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxsmt import Acquisition, InputError, JaxsmtWarning
from jaxsmt.acquisition.levels import levels_of, on_grid
from jaxsmt.geometry.quadrature import gradient_directions

RNG = np.random.default_rng(0)


def table(levels, n, jitter=None, b0=3):
    """b = 0 and n directions at each level, moved by `jitter(n)`."""
    moved = [level + (0 if jitter is None else jitter(n)) for level in levels]
    bvals = np.concatenate([np.zeros(b0), *(np.broadcast_to(b, n) for b in moved)])
    return bvals, np.concatenate([np.zeros((b0, 3)), np.tile(gradient_directions(n), (len(levels), 1))])


def acquisition_of(bvals, bvecs, **options):
    """The acquisition, without warnings of few directions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxsmtWarning)
        return Acquisition(bvals, bvecs, **options)


def grid_table(largest, radius=5, half=False):
    """The gradients of diffusion spectrum imaging: the points of a Cartesian grid inside a ball."""
    q = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    square = np.sum(q**2, axis=1)
    q = q[square <= radius**2]
    if half:
        q = q[len(q) // 2 :]
    square = np.sum(q**2, axis=1)
    return largest * square / radius**2, q / np.sqrt(np.where(square, square, 1))[:, None]


@pytest.mark.parametrize("n", [6, 45])
@pytest.mark.parametrize("width", [0, 5])
def test_36_shells_50_apart(n, width):
    """As in the ISBI 2015 challenge, with b-values as planned or scattered."""
    levels = np.arange(100, 1900, 50)
    acquisition = acquisition_of(*table(levels, n, lambda n: RNG.uniform(-width, width, n)))
    assert [len(shell.volumes) for shell in acquisition.shells] == [3] + [n] * 36
    np.testing.assert_allclose(1000 * acquisition.b[1:], levels, atol=width)


@pytest.mark.parametrize(("width", "told"), [(18, True), (24, False)])
def test_close_levels_need_gaps_as_wide_as_their_spread(width, told):
    """Levels 90 apart, of a spread of 36 with gaps of 54, or of 48 with gaps of 42."""
    levels = np.arange(100, 1900, 90)
    close = table(levels, 12, lambda n: np.linspace(-width, width, n))
    if told:
        np.testing.assert_allclose(1000 * acquisition_of(*close).b[1:], levels, atol=0.02)
    else:
        with pytest.raises(InputError, match="without clear gaps"):
            acquisition_of(*close)


def test_close_levels_of_two_volumes_each_are_none():
    """With three they are, see `test_many_shells_of_few_directions_are_one_warning`; two may be anything."""
    with pytest.raises(InputError, match="without clear gaps"):
        acquisition_of(*table(np.arange(100, 1900, 50), 2))


@pytest.mark.parametrize(
    "levels", [[100, 200, 300, 400, 1000, 2000, 3000, 5000], [1000, 1050, 1100], [60, 700, 9900, 10200, 17800]]
)
def test_levels_close_to_others(levels):
    acquisition = acquisition_of(*table(levels, 20))
    np.testing.assert_allclose(1000 * acquisition.b[1:], levels)


def test_one_direction_is_a_shell_beside_others():
    bvals, bvecs = table([1000, 2000], 30)
    acquisition = acquisition_of(np.append(bvals, 3000), np.concatenate([bvecs, [[1.0, 0, 0]]]))
    assert [len(shell.volumes) for shell in acquisition.shells] == [3, 30, 30, 1]


def test_scattered_large_b_values_are_one_shell():
    """Scatter of 2 % of 10000 s/mm² is 200, and few directions leave gaps above 100."""
    scattered = np.array([9800.0, 9960, 10060, 10080, 10100, 10200])
    bvals = np.concatenate([[0, 0], np.full(6, 1000.0), scattered])
    acquisition = acquisition_of(bvals, np.concatenate([np.zeros((2, 3)), np.tile(gradient_directions(6), (2, 1))]))
    assert [len(shell.volumes) for shell in acquisition.shells] == [2, 6, 6]


def test_scatter_may_be_as_large_as_a_part_of_b():
    """A tenth of 20000 s/mm² is one shell, a sixth of 3000 is not."""

    def spread(level, width):
        return acquisition_of(*table([level], 30, lambda n: np.linspace(-width, width, n)))

    assert [len(shell.volumes) for shell in spread(20_000, 900).shells] == [3, 30]
    with pytest.raises(InputError, match="without clear gaps"):
        spread(3000, 260)


@given(st.integers(0, 2**31), st.sampled_from([6, 7, 10, 20, 60]), st.sampled_from([1, 5, 10]))
@settings(max_examples=40, deadline=None)
def test_drift_of_50_is_told_as_by_a_fixed_gap_of_100(seed, n, step):
    """Whatever the directions' number, and if b-values are multiples of 5 or 10, as HCP's."""
    rng = np.random.default_rng(seed)
    bvals, bvecs = table([700, 1500, 3000], n, lambda n: step * np.round(rng.uniform(-50, 50, n) / step))
    found, fixed = (acquisition_of(bvals, bvecs, **gap) for gap in ({}, {"shell_gap": 100.0}))
    assert found.groups == fixed.groups


@given(st.integers(0, 2**31), st.sampled_from([(1000, 2000, 3000), (100, 150, 200, 250, 300, 350, 400, 450, 500, 550)]))
@settings(max_examples=20, deadline=None)
def test_the_order_of_volumes_only_renumbers_them(seed, levels):
    rng = np.random.default_rng(seed)
    bvals, bvecs = table(levels, 12, lambda n: rng.uniform(-4, 4, n))
    settings = {"te": np.where(np.arange(bvals.size) % 2, 60.0, 90.0), "b_delta": np.where(bvals > 250, 0.5, 1.0)}
    order = rng.permutation(bvals.size)
    plain = acquisition_of(bvals, bvecs, **settings)
    mixed = acquisition_of(bvals[order], bvecs[order], **{name: values[order] for name, values in settings.items()})
    renumbered = [(frozenset(order[list(g.volumes)].tolist()), g.order, g.zero) for g in mixed.groups]
    assert renumbered == [(frozenset(g.volumes), g.order, g.zero) for g in plain.groups]


@pytest.mark.parametrize("largest", [2000.0, 8000.0])
@pytest.mark.parametrize("half", [False, True])
def test_a_cartesian_grid_is_no_set_of_shells(largest, half):
    """Turned by any rotation, with rounded b-values and directions off by a degree."""
    bvals, bvecs = grid_table(largest, half=half)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    off = bvecs @ turn + np.random.default_rng(4).normal(scale=0.01, size=bvecs.shape)
    off /= np.maximum(np.linalg.norm(off, axis=1, keepdims=True), 1e-9)
    for b, g in ((bvals, bvecs), (5 * np.round(bvals / 5), off)):
        with pytest.raises(InputError, match=r"Cartesian grid \(DSI\): these are not shells") as error:
            acquisition_of(b, g)
        assert "shell_gap= names the gap" in str(error.value)


def test_a_named_gap_takes_the_levels_of_a_grid():
    acquisition = acquisition_of(*grid_table(4000.0), shell_gap=100.0)
    assert len(acquisition.shells) == 23  # sums of three squares up to 25, 0 among them


def test_three_axes_at_many_b_values_are_no_grid():
    """Right angles alone make no grid."""
    bvals = np.repeat(np.arange(0, 1001, 100.0), 3)
    assert len(acquisition_of(bvals, np.tile(np.eye(3), (11, 1))).shells) == 11


def test_b_values_of_no_levels_are_refused():
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="without clear gaps: these are not shells"):
        acquisition_of(rng.uniform(60, 3000, 100), gradient_directions(100))
    with pytest.raises(InputError, match="without a gap of 200: these are not shells"):
        acquisition_of(*table(np.arange(100, 1900, 50), 12), shell_gap=200.0)


def test_settings_may_have_levels_of_their_own():
    """All together have no gaps; each setting has."""
    one, other = np.arange(1000.0, 2000.0, 140), np.arange(1070.0, 2070.0, 140)
    bvals, bvecs = table([*one, *other], 6, lambda n: np.linspace(-20, 20, n))
    assert levels_of(bvals[3:], None) is None
    Delta = np.repeat([20.0, 20.0, 40.0], [3, 6 * len(one), 6 * len(other)])
    acquisition = acquisition_of(bvals, bvecs, delta=10.0, Delta=Delta)
    np.testing.assert_allclose(1000 * acquisition.b[1:], np.sort(np.concatenate([one, other])))
    assert [shell.Delta for shell in acquisition.shells[1:]] == [20.0, 40.0] * len(one)


def test_volumes_without_a_direction_do_not_hide_a_grid():
    """Spherical encoding beside diffusion spectrum imaging: only what has a direction can lie on a grid."""
    bvals, bvecs = grid_table(4000.0)
    weighted = bvals > 0
    bvals, bvecs = bvals[weighted], bvecs[weighted]
    assert on_grid(bvals, bvecs)
    assert on_grid(np.append(bvals, [70.0, 90.0]), np.concatenate([bvecs, np.zeros((2, 3))]))
    assert not on_grid(bvals, 0 * bvecs)


def test_volumes_of_other_shapes_and_echo_times_are_shells_of_their_own():
    bvals, bvecs = table([1000, 1000, 1000], 12)
    shapes, te = np.repeat([1.0, 1.0, -0.5, 1.0], [3, 12, 12, 12]), np.repeat([60.0, 60.0, 60.0, 90.0], [3, 12, 12, 12])
    te[2] = 90
    acquisition = Acquisition(bvals, bvecs, b_delta=shapes, te=te)
    assert [str(shell).split(":")[0] for shell in acquisition.shells] == [
        "b = 0 s/mm², TE = 60 ms",
        "b = 0 s/mm², TE = 90 ms",
        "b = 1000 s/mm², TE = 60 ms",
        "b = 1000 s/mm², TE = 60 ms, b_Δ = -0.5",
        "b = 1000 s/mm², TE = 90 ms",
    ]


def test_directions_of_spherical_encoding_do_not_matter():
    """They may be zero or NaN, and one volume is enough: no warning says that directions are few."""
    bvals, bvecs = table([1000, 2000], 30)
    bvals, shapes = np.append(bvals, [1000, 1500]), np.repeat([1.0, 0.0], [63, 2])
    rows = ([[0, 0, 0], [np.nan] * 3], [[1, 0, 0], [0, 1, 0]])
    one, other = (Acquisition(bvals, np.concatenate([bvecs, more]), b_delta=shapes) for more in rows)
    assert one == other
    assert [len(shell.volumes) for shell in one.shells] == [3, 30, 1, 1, 30]


def test_many_shells_of_few_directions_are_one_warning():
    with pytest.warns(
        JaxsmtWarning, match="directions of 36 shells are too few .*3 at b = 100 s/mm².* and 32 more"
    ) as w:
        Acquisition(*table(np.arange(100, 1900, 50), 3))
    assert len(w) == 1
