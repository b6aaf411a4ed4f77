"""Runs that are stopped: the same command goes on, anything else is told what differs; nobody else writes meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxsmt.app import unfinished
from jaxsmt.app.unfinished import Unfinished
from jaxsmt.batch.journal import Record
from tests.app.commands import run

FODS = ("--fod", "watson", "--uncertainty", "--sigma", "1", "--no-report")


def contents(folder, out="out"):
    """The bytes of every file but run.json, which has times."""
    files = sorted((folder / out).iterdir())
    return {path.name: path.read_bytes() for path in files if not path.name.endswith("run.json")}


def stop_at(monkeypatch, nth):
    """Stop the next run when it has recorded the nth part; returns a list that receives each part."""
    parts, real = [], Record.add

    def add(self, part, leaves):
        real(self, part, leaves)
        parts.append(part)
        if len(parts) == nth:
            raise KeyboardInterrupt

    monkeypatch.setattr(Record, "add", add)
    return parts


@pytest.fixture(scope="module")
def undisturbed():
    """The files of a run that nobody stops, once they are there."""
    return {}


@pytest.mark.parametrize("nth", [1, 3, 6])
def test_the_same_command_goes_on(folder, monkeypatch, capsys, undisturbed, nth):
    """Maps are those of an undisturbed run, byte for byte, and what was computed is not computed again."""
    if not undisturbed:
        parts = stop_at(monkeypatch, None)
        assert run(folder, *FODS) == 0
        undisturbed.update(contents(folder), parts=len(parts))
        for path in (folder / "out").iterdir():
            path.unlink()
    stop_at(monkeypatch, nth)
    assert run(folder, *FODS) == 130
    assert "goes on where it stopped" in capsys.readouterr().err
    assert [path.name for path in (folder / "out").iterdir()] == [".sub-01_unfinished"]
    parts = stop_at(monkeypatch, None)
    assert run(folder, *FODS, "--device", "cpu") == 0  # where it computes is no option of the numbers
    assert len(parts) == undisturbed["parts"] - nth
    made = contents(folder)
    assert {**made, "parts": undisturbed["parts"]}.keys() == undisturbed.keys()
    # Sidecars tell the inputs' paths, which are those of this folder.
    assert all(undisturbed[name] == made[name] for name in made if name.endswith(".nii.gz"))


def test_other_options_are_told(folder, monkeypatch, capsys):
    """What has changed is named; the folder can be used again with --overwrite."""
    stop_at(monkeypatch, 1)
    assert run(folder, *FODS) == 130
    monkeypatch.undo()
    capsys.readouterr()
    assert run(folder, *FODS[2:]) == 2
    said = capsys.readouterr().err
    assert "options fod was watson, is none" in said
    assert "--overwrite" in said
    assert run(folder, *FODS[2:], "--overwrite") == 0
    assert not (folder / "out" / ".sub-01_unfinished").exists()


def test_another_machine_begins_anew(folder, monkeypatch, capsys):
    """Its last digits may differ, and maps of two machines would be mixed."""
    stop_at(monkeypatch, 1)
    assert run(folder, *FODS) == 130
    facts = folder / "out" / ".sub-01_unfinished" / "run.json"
    kept = json.loads(facts.read_text())
    kept["machine"]["processor"] = "another"
    facts.write_text(json.dumps(kept))
    monkeypatch.undo()
    assert run(folder, *FODS) == 0
    assert "another kind of machine" in capsys.readouterr().err


def test_bad_input_leaves_nothing(folder):
    """What is refused has nothing to go on with."""
    content = (folder / "sub-01_dwi.nii.gz").read_bytes()
    (folder / "sub-01_dwi.nii.gz").write_bytes(content[: len(content) // 2])
    assert run(folder, *FODS) == 2
    assert not (folder / "out").exists()


def test_two_runs_do_not_write_the_same_outputs(folder, capsys):
    """The second is told who has the lock; when the first is gone, even killed, it can run."""
    (folder / "out").mkdir()
    first = unfinished.Unfinished(folder / "out", "sub-01_")
    with first.locked():
        assert run(folder) == 75
        assert f"process {os.getpid()}" in capsys.readouterr().err
        assert run(folder, "--prefix", "other_", "--no-report") == 0
    (folder / "out" / ".sub-01_param-x.nii.gz.123.part").touch()  # of a run that was killed
    (folder / "out" / ".sub-01_lock").touch()
    assert run(folder) == 0
    assert not list((folder / "out").glob(".*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_loses_nothing(folder, undisturbed, number):
    """The real thing: a signal in the middle of a fit, and the same command again."""
    words = ["fit", folder / "sub-01_dwi.nii.gz", "-o", folder / "out", "--mask", folder / "mask.nii.gz", *FODS]
    command = [sys.executable, "-m", "jaxsmt", *map(str, words)]
    kept = folder / "out" / ".sub-01_unfinished"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not (kept / "call-0002").exists() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        began = time.monotonic()
        _, error = process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL), error
    assert time.monotonic() - began < 5
    assert not list((folder / "out").glob("*.nii.gz"))
    assert kept.exists()
    subprocess.run(command, check=True, capture_output=True)
    killed = contents(folder)
    subprocess.run([*command, "--overwrite"], check=True, capture_output=True)
    assert contents(folder) == killed


@pytest.mark.parametrize("sigma", ["2", "auto"])
def test_another_sigma_is_told(folder, monkeypatch, capsys, sigma):
    """An option that is a number or an array in Python is compared as it was asked for."""
    stop_at(monkeypatch, 1)
    assert run(folder, *FODS) == 130
    monkeypatch.undo()
    capsys.readouterr()
    changed = ["--sigma", sigma]
    assert run(folder, *FODS, *changed) == 2
    assert f"options sigma was 1, is {sigma}" in capsys.readouterr().err
    assert run(folder, *FODS, *changed, "--overwrite") == 0


def test_a_run_that_was_stopped_before_it_wrote_gives_no_right_to_overwrite(tmp_path):
    """What lies there then is another fit's; from the first output on it may be the run's own."""
    out = tmp_path / "out"
    out.mkdir()
    unfinished = Unfinished(out, "x_")
    unfinished.begin({"options": {}}, {}, 1, anew=False)
    assert unfinished.exists
    assert not unfinished.published
    with unfinished.publishing() as folder:
        (folder / "x_map.nii.gz").write_bytes(b"map")
        assert not unfinished.published
    assert unfinished.published
    unfinished.finish()
    assert not unfinished.published
