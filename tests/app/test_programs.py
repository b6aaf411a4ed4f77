"""The other commands, and the program as a process: exit codes, interruption, what a terminal shows."""

import contextlib
import dataclasses
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
import types

import numpy as np
import pytest

from jaxsmt import simulate
from jaxsmt.app import cli, screen
from jaxsmt.app.screen import Screen
from jaxsmt.files import nifti, voxels
from tests.app.commands import run
from tests.conftest import SHAPE, mask_of


def test_check_says_what_fit_would_do(folder, capsys):
    assert run(folder, command="check") == 0
    said = capsys.readouterr().out
    assert "b = 1000 s/mm²: 30 volumes, harmonic order 6" in said
    assert "least standard deviations to expect at SNR 30:" in said
    for tissue in ("white", "grey"):
        assert re.search(rf"{tissue} matter: lambda_par [\d.]+ ± 0\.\d+ µm²/ms, fraction [\d.]+ ± 0\.\d+", said)
    assert f"{mask_of(SHAPE).sum()} of 120 voxels" in said
    assert run(folder, command="check", mask=False) == 0
    assert "no mask" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_program_runs_as_a_module(folder):
    done = subprocess.run(
        [sys.executable, "-m", "jaxsmt", "fit", str(folder / "no.nii.gz"), "-o", str(folder / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no.nii.gz: No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_progress_is_plain_lines_off_a_terminal(folder, capsys, monkeypatch):
    """One for each stage; how long this machine waits for the compiler does not matter here."""
    monkeypatch.setattr(screen, "_LONG", float("inf"))
    arguments = ["fit", str(folder / "sub-01_dwi.nii.gz"), "-o", str(folder / "out"), "--no-report"]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["read", "fit", "write", "warning"]


def test_demo(tmp_path, capsys, monkeypatch):
    """With four columns of the slices in the mask."""
    whole = simulate.coronal_slab()
    few = dataclasses.replace(whole, mask=whole.mask & (np.arange(len(whole.mask)) % 32 == 16)[:, None, None])
    monkeypatch.setattr(simulate, "coronal_slab", lambda: few)
    assert cli.main(["demo", "-o", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\d voxels/s", said)
    for name in ("maps_and_truth.png", "fods.png", "report.html", "slab_model-smt_param-lambdapar_dwimap.nii.gz"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000
    median = float(re.search(r"\|lambda_par - truth\|: median ([\d.]+)", said).group(1))
    assert median < 0.15
    # What the demo wrote is an input like any other.
    dwi = tmp_path / "demo" / "slab_dwi.nii.gz"
    assert cli.main(["check", str(dwi)]) == 0
    assert cli.main(["check", str(dwi), "--grad", str(dwi.with_name("slab_dwi.b"))]) == 0
    assert cli.main(["demo", "-o", str(tmp_path / "demo")]) == 2  # never into a used folder
    assert cli.main(["demo", "-o", str(tmp_path / "demo" / "report.html")]) == 73


def test_doctor(capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "BAD" not in said
    assert said.count("ok ") == 12


def wait_for(process, text, seconds=120):
    """Lines of a process's standard error up to one with this text."""
    lines = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        lines.append(process.stderr.readline())
        if text in lines[-1]:
            return lines
        assert lines[-1], f"ended without {text!r}: {lines}"
    raise AssertionError(f"no {text!r} in {seconds} s: {lines}")


@pytest.fixture
def interruptible():
    """Ctrl-C has its usual effect here and in child processes, even where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_fit_leaves_nothing(folder, interruptible):
    """Ctrl-C while FODs are compiled: exit code 130, at once; the new folder is gone."""
    words = ["fit", folder / "sub-01_dwi.nii.gz", "-o", folder / "out", "--fod", "bingham", "--fibres", "auto"]
    command = [sys.executable, "-m", "jaxsmt", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        wait_for(process, "read: ")
        assert (folder / "out").is_dir()
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert "Traceback" not in error
    assert "interrupted" in error
    assert not (folder / "out").exists()


def test_an_interrupt_that_python_drops_ends_the_run_all_the_same(interruptible):
    """As one that comes while a callback of the garbage collector runs."""
    with pytest.raises(KeyboardInterrupt), Screen(quiet=True) as screen:  # noqa: PT012
        screen.progress("read", 1, 2)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            screen.progress("read", 2, 2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_bar_on_a_terminal(folder):
    """The same program on a pseudo-terminal draws bars, one for each stage."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 100))
    words = ["fit", folder / "sub-01_dwi.nii.gz", "-o", folder / "out", "--no-report", "--mask", folder / "mask.nii.gz"]
    command = [sys.executable, "-m", "jaxsmt", *map(str, words)]
    with subprocess.Popen(command, stderr=inner, stdout=subprocess.DEVNULL) as process:
        os.close(inner)
        shown = b""
        while True:
            try:
                part = os.read(outer, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(outer)
    assert process.returncode == 0
    text = shown.decode()
    stages = [("read", 62, "volumes"), ("fit", int(mask_of(SHAPE).sum()), "voxels"), ("write", 10, "maps")]
    for stage, total, unit in stages:
        assert re.search(rf"\r{stage}: 100% \|.*\| {total}(\.0)? of {total}(\.0)?, .* {unit}/s, 00:00 left", text)


def fit_process(folder, *extra, **environment):
    """A fit in a process of its own."""
    command = [sys.executable, "-m", "jaxsmt", "fit", str(folder / "sub-01_dwi.nii.gz"), "-o", str(folder / "out")]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", **environment}
    return subprocess.run([*command, *extra], env=environment, capture_output=True, text=True, check=False)


def test_no_device(folder):
    """Exit code 75: the same command may succeed elsewhere. JAX_PLATFORMS hides a GPU that there may be."""
    done = fit_process(folder, "--device", "gpu")
    assert done.returncode == 75
    assert "no gpu device" in done.stderr
    assert "--device cpu" in done.stderr
    assert not (folder / "out").exists()


def test_no_cache_keeps_nothing(folder, tmp_path):
    """Nothing is written to the start-up cache; without the option programs are."""
    for extra, kept in ((["--no-cache"], False), (["--overwrite"], True)):
        assert fit_process(folder, "--no-report", *extra, JAXSMT_CACHE=str(tmp_path / "kept")).returncode == 0
        assert bool(list((tmp_path / "kept").rglob("*.program"))) == kept


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99 bytes")]
)
def test_out_of_memory(folder, monkeypatch, capsys, error):
    """NumPy's and JAX's errors: exit code 75, one message, and no empty folder stays."""

    def read(image, tell):
        raise error
        yield

    monkeypatch.setattr(nifti, "read_volumes", read)
    assert run(folder) == 75
    assert "out of memory" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_voxels_that_do_not_fit_into_memory(folder, monkeypatch, capsys):
    """More than the machine said that it has: the message says what needs less."""

    def empty(*_):
        raise MemoryError

    monkeypatch.setattr(voxels, "np", types.SimpleNamespace(empty=empty))
    assert run(folder, "--fod", "watson", "--memory-limit", "1T") == 75
    assert "--memory-limit" in capsys.readouterr().err
    assert not (folder / "out").exists()
