"""The journal: what is in it is not computed again, what is damaged or belongs to something else is."""

from functools import partial

import jax
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch import journal
from jaxsmt.batch.journal import Journal
from jaxsmt.batch.runner import Runner
from jaxsmt.batch.sizes import BatchSize

COUNT, CHUNK = 100, 16


@partial(jax.jit, static_argnames=("lanes",))
def doubled(voxels, shared, count, *, lanes):
    return {"doubled": 2 * voxels, "sum": (voxels.sum(axis=1), None)}


class Run:
    """Calls a program twice, as a run does; remembers the parts that were computed."""

    def __init__(self, folder, x=None, stop_after=None):
        self.x = np.arange(2.0 * COUNT).reshape(COUNT, 2) if x is None else x
        self.parts, self._stop_after = [], stop_after
        program = Runner().program(doubled, BatchSize(CHUNK, 4), ())
        with Journal(folder).recording():
            self.results = [program(self._voxels, COUNT, self._tell) for _ in range(2)]

    def _voxels(self, part):
        self.parts.append(part)
        return self.x[part]

    def _tell(self, voxels):
        if self._stop_after is not None:
            self._stop_after -= voxels
            if self._stop_after <= 0:
                raise KeyboardInterrupt


@pytest.fixture
def whole(tmp_path):
    """A run that nobody stops."""
    (tmp_path / "whole").mkdir()
    return Run(tmp_path / "whole")


def equal(a, b):
    leaves = zip(jax.tree.leaves(a.results), jax.tree.leaves(b.results), strict=True)
    return all(x.dtype == y.dtype and x.tobytes() == y.tobytes() for x, y in leaves)


@pytest.mark.parametrize("stop_after", [1, 40, COUNT, COUNT + 30])
def test_a_stopped_run_goes_on_where_it_stopped(tmp_path, whole, stop_after):
    """At most a part of each call is computed twice."""
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path, stop_after=stop_after)
    again = Run(tmp_path)
    assert equal(again, whole)
    known = [stop_after // COUNT, stop_after % COUNT // CHUNK * CHUNK]
    assert len(again.parts) <= len(whole.parts) - (known[0] * COUNT + known[1]) // CHUNK + 2
    assert Run(tmp_path).parts != whole.parts  # all is known: one part of each call, to compare


def test_a_finished_call_computes_one_part(tmp_path, whole):
    Run(tmp_path)
    again = Run(tmp_path)
    assert len(again.parts) == 2
    assert equal(again, whole)


def test_a_journal_is_read_once(tmp_path, monkeypatch):
    """It may be gigabytes on a slow disk."""
    parts = len(Run(tmp_path).parts)
    read, unpacked = [], journal._unpacked
    monkeypatch.setattr(journal, "_unpacked", lambda content: read.append(content) or unpacked(content))
    Run(tmp_path)
    assert len(read) == parts


def test_damage_is_found(tmp_path, whole):
    """A journal that is cut or has a wrong bit anywhere gives the same numbers: what follows is computed again."""
    Run(tmp_path)
    first = tmp_path / "call-0000"
    content, rng = first.read_bytes(), np.random.default_rng(0)
    for _ in range(20):
        at = int(rng.integers(len(content)))
        first.write_bytes(content[:at])
        assert equal(Run(tmp_path), whole)
        spoilt = bytearray(content)
        spoilt[at] ^= 1 << int(rng.integers(8))
        first.write_bytes(spoilt)
        assert equal(Run(tmp_path), whole)


def test_results_of_other_voxels_are_not_taken(tmp_path):
    """The last part is computed again; where it differs, everything is."""
    Run(tmp_path)
    (tmp_path / "other").mkdir()
    x = np.random.default_rng(0).uniform(size=(COUNT, 2))
    assert equal(Run(tmp_path, x), Run(tmp_path / "other", x))


def test_a_journal_that_cannot_be_written_does_not_stop_the_run(tmp_path, whole, monkeypatch):
    folder = tmp_path / "gone"
    with pytest.warns(js.JaxsmtWarning, match="has to begin anew"):
        assert equal(Run(folder), whole)


def test_results_of_another_shape_are_not_taken(tmp_path, whole):
    """As when another model is fitted in the folder."""
    Run(tmp_path, np.ones((COUNT, 3)))
    assert equal(Run(tmp_path), whole)


def test_a_call_of_no_voxels_leaves_the_others_as_they_are(tmp_path):
    """A slab may have no voxel for a program."""
    program = Runner().program(doubled, BatchSize(CHUNK, 4), ())
    parts = []

    def voxels(part):
        parts.append(part)
        return np.ones((part.stop - part.start, 2))

    for _ in range(2):
        parts.clear()
        with Journal(tmp_path).recording():
            for count in (COUNT, 0, COUNT):
                program(voxels, count)
    assert len(parts) == 3  # one part of each call with voxels, to compare, and that of none
