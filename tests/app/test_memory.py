"""How much memory a fit takes: the plan, and that no number depends on it."""

import json
import re

import pytest

from jaxsmt.app import memory
from jaxsmt.app.memory import Needs, Place, ProgramCounts, plan
from tests.app.commands import run

MIB = 2**20
PROGRAMS = ProgramCounts(kernels=1, fods=1, lobes=1)
NEEDS = Needs(reading=100 * MIB, kernels=1000, results=400, slab=4000, data=10_000 * MIB, programs=PROGRAMS)
VOXELS = 1_000_000


@pytest.mark.parametrize(
    ("text", "size"),
    [("4G", 4 * 2**30), ("500 MB", 500 * MIB), ("2.5GiB", 5 * 2**29), ("1024", 1024), ("-1G", None), ("1e3", None)],
)
def test_sizes(text, size):
    assert memory.parsed(text) == size


def test_data_that_fit_are_in_memory_in_one_slab():
    chosen = plan(NEEDS, VOXELS, 100 * 2**30)
    assert (chosen.data, chosen.slab) == (Place.MEMORY, VOXELS)
    assert chosen.predicted > NEEDS.data
    without = plan(NEEDS._replace(data=0), VOXELS, 100 * 2**30)
    assert without.data == Place.NOWHERE
    assert without.predicted < chosen.predicted


def test_less_memory_means_a_file_and_smaller_slabs():
    """Slabs become smaller as far as that helps; what is predicted stays within the limit where it can."""
    slabs = []
    for most in (6 * 2**30, 4 * 2**30, 2 * 2**30, 2**30):
        chosen = plan(NEEDS, VOXELS, most)
        assert chosen.data == Place.FILE
        assert (chosen.predicted <= most) == ("more than" not in str(chosen)) == (most >= 2 * 2**30)
        slabs.append(chosen.slab)
    assert slabs == sorted(slabs, reverse=True)
    assert slabs[0] > slabs[-1]
    assert plan(NEEDS, VOXELS, MIB).slab >= memory._LEAST


def test_what_is_free_is_less_than_there_is():
    assert 0 < memory.free() < 2**50
    assert memory.limit(None) < memory.free() * 1.1
    assert memory.limit("2G") == 2 * 2**30


OPTIONS = ("--fod", "watson", "--noise", "rician", "--sigma", "1", "--no-report")


def test_no_number_depends_on_it(folder, monkeypatch):
    """Data in a scratch file, and voxels in slabs, give the bytes that all at once in memory give."""

    def maps():
        return {path.name: path.read_bytes() for path in (folder / "out").glob("*.nii.gz")}

    def facts():
        return json.loads((folder / "out" / "sub-01_run.json").read_text())["memory"]

    (folder / "scratch").mkdir()
    assert run(folder, *OPTIONS, "--memory-limit", "1T") == 0
    whole, said = maps(), facts()
    assert said["data_in"] == "memory"
    monkeypatch.setattr(memory, "_LEAST", 40)
    for size in ("1M", "310M"):
        assert run(folder, *OPTIONS, "--memory-limit", size, "--scratch", str(folder / "scratch"), "--overwrite") == 0
        assert facts()["data_in"] == "scratch file"
        assert facts()["slab_voxels"] < said["slab_voxels"]
        assert maps() == whole
    assert not list((folder / "scratch").iterdir())


def test_check_says_how_much(folder, capsys):
    assert run(folder, "--fod", "watson", command="check") == 0
    said = capsys.readouterr().out
    text = re.search(
        r"about (\d+) MiB of memory, (\d+) MiB once its programs are kept, the voxels' data in memory", said
    )
    first, later = map(int, text.groups())
    assert 300 < later < first < 3000


def test_programs_take_memory_by_kind_and_number():
    """Each kind adds; densities that are integrals take more, and compiling more than running."""
    few = ProgramCounts(kernels=1)
    for more in (
        few._replace(kernels=4),
        few._replace(fods=1),
        few._replace(uncertainty=2),
        few._replace(integrals=True),
    ):
        assert more.running > few.running
        assert more.compiling > more.running
    assert few._replace(fods=1, lobes=3).compiling > few._replace(fods=1, lobes=1).compiling


def test_a_size_that_is_none(folder, capsys):
    assert run(folder, "--memory-limit", "much") == 2
    assert "500M or 4G" in capsys.readouterr().err
    assert run(folder, "--memory-limit", "1M", "--scratch", str(folder / "missing"), "--fod", "watson") == 75
    assert "--scratch" in capsys.readouterr().err
