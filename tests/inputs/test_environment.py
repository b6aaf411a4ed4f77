"""Where the program runs: no terminal, no reader, no home, no network, another language; and what it never does."""

import ast
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxsmt
from jaxsmt.files import nifti
from tests.app.commands import run
from tests.conftest import SHAPE
from tests.inputs.files import Inputs

SOURCES = sorted(Path(jaxsmt.__file__).parent.rglob("*.py"))
#: Modules that run what a file holds, or reach the network.
FORBIDDEN = {
    "pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml",
    "xmlrpc", "urllib.request", "http", "ftplib", "requests", "httpx", "aiohttp",
}  # fmt: skip


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_file_is_run_or_fetched(path):
    """No pickle, no eval or exec, no unsafe loader, no shell, no network, anywhere in the source."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not [m for m in modules if m in FORBIDDEN or m.split(".")[0] in FORBIDDEN]
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in ("eval", "exec", "os.system", "os.popen", "__import__")
            given = {word.arg: word.value for word in node.keywords}
            assert not name.startswith("subprocess.") or "shell" not in given
            if name in ("np.load", "numpy.load"):
                assert isinstance(given["allow_pickle"], ast.Constant)
                assert given["allow_pickle"].value is False


@pytest.fixture
def no_sockets(monkeypatch):
    """Whoever opens a connection or looks up an address fails the test."""

    def refuse(*arguments, **options):
        raise AssertionError("the network is used")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse, raising=False)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


def test_check_needs_no_network(folder, no_sockets):
    assert run(folder, "--data", command="check") == 0


@pytest.mark.slow
def test_a_fit_needs_no_network(folder, no_sockets):
    """With a page, which holds all that it shows."""
    assert run(folder) == 0
    page = (folder / "out" / "report.html").read_text("utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_markup_in_a_header_stays_there(folder, series, tmp_path):
    """A map has the geometry of the series, and none of its texts."""
    inputs = Inputs(folder, series[0])
    mark = b"<script>x"
    inputs.patch(descrip=mark, aux_file=mark, intent_name=mark, db_name=mark, data_type=mark)
    image = nifti.open_image(inputs.dwi)
    nifti.write_image(tmp_path / "map.nii.gz", np.zeros(SHAPE, np.float32), image)
    header = nifti.open_image(tmp_path / "map.nii.gz").header
    assert b"script" not in header.binaryblock


def command(folder, *words, how="check"):
    """Words of a command in a process of its own."""
    more = ["-o", folder / "out"] if how == "fit" else []
    words = [how, folder / "sub-01_dwi.nii.gz", "--mask", folder / "mask.nii.gz", *more, *words]
    return [sys.executable, "-m", "jaxsmt", *map(str, words)]


def with_variables(**changed):
    """The environment with other variables; None takes one away."""
    environment = {**os.environ, **{name: value for name, value in changed.items() if value is not None}}
    return {name: value for name, value in environment.items() if changed.get(name, "") is not None}


def shell(text, folder, **variables):
    """A line of a shell, in which `$COMMAND` is a fit."""
    line = " ".join(f"'{word}'" for word in command(folder, "--no-report", how="fit"))
    whole = f"set -o pipefail; {text.replace('$COMMAND', line)}"
    return subprocess.run(
        ["bash", "-c", whole], capture_output=True, text=True, check=False, env=with_variables(**variables)
    )


def test_a_reader_that_leaves_does_not_change_the_exit_code(folder):
    """`| head -0` of a complete run is 0: the maps are what counts."""
    done = shell("$COMMAND 2>&1 | head -0", folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "out" / "sub-01_run.json").exists()


#: What a shell does with standard streams, by name.
STREAMS = {
    "standard output closed": ">&-",
    "standard error closed": "2>&-",
    "standard output and error closed": ">&- 2>&-",
    "all standard streams closed": "<&- >&- 2>&-",
    "read by `head -0`": "2>&1 | head -0",
}


@pytest.mark.slow
@pytest.mark.parametrize("closed", [text for text in STREAMS.values() if "head" not in text])
def test_closed_streams_lead_nowhere(folder, closed):
    """And no file of the run gets their descriptors, into which libraries print."""
    done = shell(f"$COMMAND {closed}", folder)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    for path in (folder / "out").glob("*.nii.gz"):
        nifti.read_array(nifti.open_image(path))


@pytest.mark.slow
def test_a_full_disk_behind_standard_output_is_told(folder):
    done = shell("$COMMAND > /dev/full", folder)
    assert done.returncode == 73


#: Variables of the environment by what they mean.
ENVIRONMENTS = {
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "`LANG=C`": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": None},
    "`LANG=C`, ASCII alone": {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
    "no home folder": {"HOME": None, "JAXSMT_CACHE": None, "XDG_CACHE_HOME": "/dev/null/none"},
    "a home that cannot be written": {"HOME": "/dev/null/none", "JAXSMT_CACHE": None, "XDG_CACHE_HOME": None},
    "a start-up cache that cannot be written": {"JAXSMT_CACHE": "/proc/none"},
    "no start-up cache": {"JAXSMT_CACHE": "off"},
    "no terminal": {"TERM": None, "COLUMNS": "0"},
    "Matplotlib's settings of a notebook": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "no folder for temporary files": {"TMPDIR": "/dev/null/none"},
}
#: That are not there.
PLATFORMS = ("cuda", "nothing")


@pytest.mark.slow
@pytest.mark.parametrize("variables", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_a_fit_in_another_environment_is_done(folder, variables):
    """Warnings as errors, no language, no home, a home or cache that cannot be written, no terminal."""
    environment = with_variables(**variables)
    done = subprocess.run(command(folder, how="fit"), capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert (folder / "out" / "sub-01_run.json").exists()


@pytest.mark.parametrize(
    ("platform", "how"),
    [
        ("cuda", "fit"),
        *(pytest.param(p, h, marks=pytest.mark.slow) for p, h in (("cuda", "check"), ("nothing", "fit"))),
    ],
)
def test_a_platform_that_is_not_there(folder, platform, how):
    """75, as the same command may run elsewhere; no traceback, nothing left."""
    environment = with_variables(JAX_PLATFORMS=platform)
    done = subprocess.run(command(folder, how=how), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    assert "fix: " in done.stderr
    assert "JAX_PLATFORMS" in done.stderr
    assert not (folder / "out").exists()
