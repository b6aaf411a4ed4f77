"""Series side by side on workers of dask.distributed: one that dies, one that fails, and what is missing."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from jaxsmt.app import memory
from jaxsmt.app.cohorts import cluster, tasks
from jaxsmt.app.cohorts.tasks import FAILED, Task, TaskResult
from jaxsmt.app.request import Request
from tests.app.cohorts.data_sets import ABOUT, bids, files_below, series_files, write_raw

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="needs dask.distributed: pip install 'jaxsmt[cluster]'"
)

# A model whose first use kills the worker, as the system does when memory is short.
_DEADLY = """
import os, pathlib
from jaxsmt.models.presets.smt import smt


def build():
    try:
        pathlib.Path({mark!r}).touch(exist_ok=False)
    except FileExistsError:
        return smt()
    os.kill(os.getpid(), 9)
"""


def run_bids(root, *words):
    """The command in a process of its own, as a cluster's logs and signals would meet those of the tests."""
    command = [sys.executable, "-m", "jaxsmt", "bids", root / "source", root / "out", "participant", *words]
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=300)


def test_a_killed_worker_costs_no_series(tmp_path, series):
    """Two workers; the first to build the model is killed. Its series is given to another, a bad one only fails."""
    write_raw(tmp_path, series[0], [f"sub-0{i}/dwi/sub-0{i}" for i in (1, 2, 3)])
    (tmp_path / "source/sub-03/dwi/sub-03_dwi.bvec").unlink()
    mark = tmp_path / "a worker has died"
    (tmp_path / "deadly.py").write_text(_DEADLY.format(mark=str(mark)))
    done = run_bids(tmp_path, "--cluster", "local", "--n-cpus", "4", "--model", tmp_path / "deadly.py:build")
    assert done.returncode == 1, done.stderr
    assert mark.exists()
    lines = done.stdout.splitlines()
    assert any("dashboard" in line for line in lines)
    assert sorted(re.sub(r"\[./3\] |: .*", "", line) for line in lines if line[0] == "[") == [
        "sub-01",
        "sub-02",
        "sub-03",
    ]
    assert lines[-1] == "3 series: 2 fitted, 1 failed"
    assert "failed: sub-03: " in done.stderr
    assert "sub-03_dwi.bvec: No such file" in done.stderr
    assert "Traceback" not in done.stderr
    fitted = series_files("sub-01", "sub-01/dwi") | series_files("sub-02", "sub-02/dwi")
    assert files_below(tmp_path / "out") == ABOUT | fitted | {"logs/sub-03.log"}


class Future:
    """What a scheduler tells of a task that has failed."""

    status = "error"

    def __init__(self, error):
        self._error = error

    def exception(self):
        return self._error


class KilledWorker(Exception):
    """As the class of that name of dask.distributed, without its arguments."""


def test_what_a_cluster_itself_finds_wrong_is_a_failure_of_the_series(tmp_path):
    """A series that kills every worker; a worker that does not know jaxsmt."""
    for error, reason in (
        (KilledWorker(), "every worker that had it died"),
        (ImportError("jaxsmt"), "ImportError: jaxsmt"),
    ):
        task = Task("sub-01", None, tmp_path)
        record = cluster._record(Future(error), task)
        assert (record.state, record.title) == (FAILED, "sub-01")
        assert reason in record.reason


def test_a_series_alone_in_its_process(monkeypatch, tmp_path):
    """Workers with several threads fit one series at a time: a fit has threads of its own."""
    held = []

    def run_task(task):
        held.append(cluster._one_at_a_time.locked())
        return TaskResult(task.title, FAILED)

    monkeypatch.setattr(cluster.tasks, "run_task", run_task)
    assert cluster.run_alone(Task("sub-01", None, tmp_path)).title == "sub-01"
    assert held == [True]


@pytest.fixture
def raw(tmp_path, series):
    write_raw(tmp_path, series[0])
    return tmp_path


def test_no_scheduler_at_the_address(raw, monkeypatch, capsys):
    """Exit code 75: the same command may succeed later."""
    monkeypatch.setattr(cluster, "_CONNECT_S", 1)
    assert bids(raw, "--cluster", "tcp://127.0.0.1:9") == 75
    assert "no scheduler at tcp://127.0.0.1:9" in capsys.readouterr().err


def test_a_missing_package_is_named_with_its_fix(raw, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    assert bids(raw, "--cluster", "local") == 2
    assert "pip install 'jaxsmt[cluster]'" in capsys.readouterr().err


def test_gpus_are_counted_without_loading_jax(monkeypatch):
    """One for each worker, where there are several."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert cluster._gpus() == ["2", "5"]
    workers = cluster._workers(2, cluster._gpus())
    assert [workers[i]["options"]["env"] for i in (0, 1)] == [{"CUDA_VISIBLE_DEVICES": n} for n in "25"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert cluster._gpus() == []
    assert cluster._workers(1, [])[0]["options"]["env"] == {}


def test_local_workers_share_memory_and_processors(tmp_path):
    request = Request(dwi=tmp_path / "d.nii", memory_limit="3000M")
    task = tasks.with_share(Task("sub-01", request, tmp_path), 2, 3)
    assert task.processors == 2
    assert memory.limit(task.request.memory_limit) == 1000 * 2**20
    free = tasks.with_share(Task("sub-01", replace(request, memory_limit=None), tmp_path), None, 3)
    assert free.processors is None
    assert 0 < memory.limit(free.request.memory_limit) < 0.5 * memory.limit(None)  # 80 % of what is free, for all
