"""Turned directions against the image: found where fibres tell, and nothing said where they do not."""

import numpy as np
import pytest

from jaxsmt.geometry.coherence import TURNS, Turn, better_turns, lines_along

AXIS = np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
ONE = np.ones(3)


def tube(shape=(16, 22, 28), radius=3.0):
    """A straight bundle across a box: axes (voxels, 1, 3), and where they are."""
    at = np.argwhere(np.ones(shape, bool))
    from_middle = at - (np.array(shape) - 1) / 2
    away = np.linalg.norm(from_middle - (from_middle @ AXIS)[:, None] * AXIS, axis=1)
    at = at[away < radius]
    return np.tile(AXIS, (len(at), 1, 1)), at


def rings(slices):
    """Fibres around an axis through each slice: axes (voxels, 1, 3), and where they are."""
    at = np.argwhere(np.ones((24, 24, slices), bool))
    x, y = at[:, 0] - 11.5, at[:, 1] - 11.5
    radius = np.hypot(x, y)
    axes = np.stack([-y, x, 0 * x], axis=1) / radius[:, None]
    some = (radius > 7) & (radius < 11)
    return axes[some, None], at[some]


def undone(turn, other):
    """Whether the second of two turns undoes the first; the sign of an axis means nothing."""
    both = other.matrix @ turn.matrix
    return np.array_equal(both, np.eye(3)) or np.array_equal(both, -np.eye(3))


def test_turns_are_all_that_axes_can_have():
    """No two of the 24 are equal or opposite, and a turn does what it says."""
    matrices = [turn.matrix for turn in TURNS]
    assert len({(m * np.sign(m[m != 0][0])).tobytes() for m in matrices}) == 24
    vector = np.array([10.0, 20.0, 30.0])
    for turn in TURNS:
        expected = [turn.signs[k] * vector[turn.order[k]] for k in range(3)]
        np.testing.assert_array_equal(turn.matrix @ vector, expected)
    assert TURNS[0] == Turn((0, 1, 2), (1, 1, 1))


def test_all_turns_of_an_oblique_bundle_are_found():
    """Each with the turn that undoes it; nothing is said of the bundle as it is."""
    axes, at = tube()
    assert better_turns(axes, at, ONE, np.eye(3)) is None
    for turn in TURNS[1:]:
        better = better_turns(axes @ turn.matrix.T, at, ONE, np.eye(3))
        assert better is not None, turn
        assert len(better.turns) == 1
        assert undone(turn, better.turns[0])
        assert better.length > better.unturned / 0.9


def test_turns_are_those_of_the_frame():
    """A table in the scanner's axes is flipped along these, whatever the image's are; voxels need not be cubes."""
    frame = np.linalg.qr(np.eye(3) + 0.3 * np.random.default_rng(0).standard_normal((3, 3)))[0]
    size = np.array([2.0, 1.5, 1.5])
    axes, at = tube()
    along = AXIS * size / np.linalg.norm(AXIS * size)
    axes = np.broadcast_to(along, axes.shape)
    flip = Turn((0, 1, 2), (1, -1, 1))
    better = better_turns(axes @ (frame @ flip.matrix @ frame.T).T, at, size, frame)
    assert better is not None
    assert better.turns == (flip,)


@pytest.mark.parametrize("turn", [Turn((1, 0, 2), (1, 1, 1)), Turn((0, 1, 2), (-1, 1, 1)), Turn((0, 2, 1), (1, 1, 1))])
def test_what_fibres_cannot_tell_is_not_said(turn):
    """Rings in their plane are the same with z flipped: nothing is said of a thick image, of few slices both turns."""
    axes, at = rings(5)
    assert better_turns(axes @ turn.matrix.T, at, ONE, np.eye(3)) is None
    axes, at = rings(3)
    better = better_turns(axes @ turn.matrix.T, at, ONE, np.eye(3))
    assert better is not None
    assert len(better.turns) == 2
    assert sum(undone(turn, other) for other in better.turns) == 1
    flip = Turn((0, 1, 2), (1, 1, -1))
    assert better_turns(axes @ flip.matrix.T, at, ONE, np.eye(3)) is None


def test_nothing_is_said_of_directions_without_fibres():
    """Neither of directions by chance, nor of equal ones that fill a ball, which goes on alike in all directions."""
    rng = np.random.default_rng(0)
    at = np.argwhere(np.ones((12, 12, 12), bool))
    at = at[np.linalg.norm(at - 5.5, axis=1) < 5.5]
    axes = rng.standard_normal((len(at), 1, 3))
    axes /= np.linalg.norm(axes, axis=2, keepdims=True)
    for turn in (TURNS[0], TURNS[2], TURNS[9]):
        assert better_turns(axes @ turn.matrix.T, at, ONE, np.eye(3)) is None
        same = np.broadcast_to(turn.matrix @ AXIS, axes.shape)
        assert better_turns(same, at, ONE, np.eye(3)) is None


def test_nothing_is_said_of_few_voxels():
    """The same bundle, thinner: too few voxels for a verdict."""
    axes, at = tube(radius=1.2)
    assert 0 < len(at) < 300
    assert better_turns(axes @ TURNS[1].matrix.T, at, ONE, np.eye(3)) is None
    assert better_turns(axes[:0], at[:0], ONE, np.eye(3)) is None


def test_lines_go_on_through_crossings_along_the_nearest_lobe():
    """Where another bundle is the heavier one, a line follows the lobe that has its direction."""
    at = np.argwhere(np.ones((30, 3, 3), bool))
    axes = np.zeros((len(at), 2, 3))
    axes[:, 0, 0] = 1
    middle = (at[:, 0] >= 12) & (at[:, 0] < 18)
    axes[middle] = [[0, 1, 0], [1, 0, 0]]
    identity = np.eye(3)[None]
    crossing, _ = lines_along(axes, at, ONE, identity)
    heaviest, _ = lines_along(axes[:, :1], at, ONE, identity)
    outside = ~middle
    assert np.all(crossing[0, outside] >= 20)  # as many steps as are taken to one side
    assert np.all(heaviest[0, outside] < 13)


def test_the_border_of_the_image_is_no_end():
    """Fibres through a slice leave it at once: they are cut, not ended, or exchanging axes would seem to mend them."""
    at = np.argwhere(np.ones((20, 20, 1), bool))
    through = np.tile(np.array([0.0, 0.0, 1.0]), (len(at), 1, 1))
    _, ends = lines_along(through, at, ONE, np.eye(3)[None])
    assert not ends.any()
    hole = at[np.linalg.norm(at - [10, 10, 0], axis=1) > 4]  # a line that runs into it ends
    _, ends = lines_along(np.tile(np.array([1.0, 0.0, 0.0]), (len(hole), 1, 1)), hole, ONE, np.eye(3)[None])
    assert 0 < (ends > 0).mean() < 0.6
