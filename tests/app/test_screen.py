"""What a person sees of a fit: progress, the table at its end, and nothing of it where it is not wanted."""

import io
import re
import sys

import numpy as np
import pytest

from jaxsmt.app import cli
from jaxsmt.app.screen import COMPILE, Screen, coloured, warn
from tests.app.commands import load, run
from tests.conftest import SHAPE, mask_of


class Terminal(io.StringIO):
    """A text stream that says that it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def colours(monkeypatch):
    """A terminal that shows colours, and a user who has nothing against them."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def terminals(monkeypatch, colours):
    """A function that makes standard output and standard error terminals; a test calls it, as pytest sets both."""

    def become_terminals():
        out, error = Terminal(), Terminal()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", error)
        return out, error

    return become_terminals


def fit(folder, *extra):
    """A fit with everything said; returns its exit code."""
    command = ["fit", folder / "sub-01_dwi.nii.gz", "--mask", folder / "mask.nii.gz", "-o", folder / "out", *extra]
    return cli.main(list(map(str, command)))


def test_the_table_at_the_end(folder, capsys):
    """Its numbers are those of the maps, and its files are there."""
    assert fit(folder) == 0
    said = capsys.readouterr().out
    status = load(folder, "status").get_fdata()
    converged = int((status == 1).sum())
    total = int(mask_of(SHAPE).sum())
    assert re.search(rf"^voxels: +converged +{converged} +{100 * converged / total:.1f} %$", said, re.M)
    values = load(folder, "lambdapar").get_fdata()[(status > 0) & (status < 4)]
    assert float(re.search(r"λ∥ \[µm²/ms\] +([\d.]+)", said).group(1)) == pytest.approx(np.median(values), abs=1e-3)
    assert re.search(r"^time: +[\d.]+ s \(check ", said, re.M)
    assert re.search(r"^speed: +fit [\d,]+ voxels/s$", said, re.M)
    assert f"10 in {folder / 'out'}\n" in said
    assert said.endswith(f"report:   {folder / 'out' / 'report.html'}\n")
    assert "\033" not in said
    assert fit(folder, "--overwrite", "--no-report") == 0
    assert "report:" not in capsys.readouterr().out


def test_quiet_says_nothing_but_warnings(folder, capsys):
    assert run(folder) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert all(line.startswith("warning: ") for line in said.err.splitlines())


def test_on_a_terminal(folder, terminals):
    """Bars with rates and the time left go to standard error; headings of the table are bold."""
    out, error = terminals()
    assert fit(folder) == 0
    for stage, unit in (("read", "volumes"), ("fit", "voxels"), ("write", "maps")):
        assert re.search(rf"\r{stage}: 100% .* {unit}/s, \d\d:\d\d left", error.getvalue())
    assert f"\r{COMPILE}: programs" in error.getvalue()
    assert re.search("\033\\[1mvoxels: +\033\\[0mconverged", out.getvalue())


def test_quiet_on_a_terminal(folder, terminals):
    """No bar either."""
    out, error = terminals()
    assert run(folder) == 0
    assert out.getvalue() == ""
    assert "\r" not in error.getvalue()


def test_no_colours_where_they_are_not_wanted(folder, terminals, monkeypatch):
    """NO_COLOR is the usual way to say so."""
    monkeypatch.setenv("NO_COLOR", "1")
    out, error = terminals()
    assert fit(folder) == 0
    warn(["mind the gap"])
    assert "voxels:" in out.getvalue()
    assert "\033[3" not in error.getvalue()
    assert "\033" not in out.getvalue()


def test_colours(colours, monkeypatch):
    """On a terminal only, and not on one that shows none."""
    assert coloured("word", "yellow", Terminal()) == "\033[33mword\033[0m"
    assert coloured("word", "yellow", io.StringIO()) == "word"
    assert coloured("word", "yellow", None) == "word"
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("word", "yellow", Terminal()) == "word"


def test_a_warning_stands_out_on_a_terminal(terminals):
    _, error = terminals()
    warn(["mind the gap"])
    assert error.getvalue() == "\033[33mwarning:\033[0m mind the gap\n"


def test_off_a_terminal_a_stage_is_one_line(capsys, monkeypatch):
    """With its rate, counted from the end of the stage before; the compiler is named where it took long."""
    clock = iter([0.0, 1.0, 2.0, 5.0, 5.0, 9.0, 9.5, 9.75])
    monkeypatch.setattr("jaxsmt.app.screen.time.perf_counter", lambda: next(clock))
    screen = Screen(quiet=False)
    screen.progress("read", 0, 60)
    screen.progress("read", 60, 60)
    screen.progress(COMPILE, 0, 1)
    screen.progress(COMPILE, 1, 1)
    screen.progress("fit", 2000, 2000)
    screen.progress(COMPILE, 0, 1)
    screen.progress(COMPILE, 1, 1)
    screen.close()
    assert capsys.readouterr().err.splitlines() == [
        "read: 60 volumes in 2.0 s, 30 volumes/s",
        "compile: 3.0 s",
        "fit: 2,000 voxels in 4.0 s, 500 voxels/s",
    ]
