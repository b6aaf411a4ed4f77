"""The programs of a GPU launch, move and hold no more than `benchmarks/results/programs.json` says, and a tenth.

They are compiled without a GPU, for one that is described. What XLA fuses changes with its version, so the table is
only compared with that of the same version. By hand:

    pytest -n 0 tests/test_gpu_programs.py

If a change is meant to cost more, or costs less: python -m benchmarks programs --json benchmarks/results/programs.json
"""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from benchmarks import described_gpu, record

MORE = 1.1
FIGURES = ("kernels", "copies", "megabytes")
TABLE = record.result_of("programs")
#: Loops that a row may have beside its step.
LOOPS = ("", "exchange_", "rest_", "trial_", "sigma_")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Rows of today's programs by name."""
    if absent := described_gpu.missing():
        pytest.skip(f"needs {', '.join(absent)}: pip install '.[gpu-programs]'")
    if metadata.version("jaxlib") != TABLE["versions"]["jaxlib"]:
        pytest.skip(f"the table is of jaxlib {TABLE['versions']['jaxlib']}, not {metadata.version('jaxlib')}")
    path = tmp_path_factory.mktemp("programs") / "programs.json"
    # A process of its own, as this one has computed already; without the flags of the tests.
    command = [sys.executable, "-m", "benchmarks", "programs", "--only-compile", "--json", str(path)]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    root = Path(__file__).parent.parent
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, text=True)
    return {row["what"]: row for row in json.loads(path.read_text("utf-8"))["rows"]}


@pytest.mark.parametrize("before", TABLE["rows"], ids=lambda row: row["what"])
def test_programs_of_a_gpu_do_not_grow(rows, before):
    now = rows[before["what"]]
    names = [f"{loop}{figure}" for loop in LOOPS for figure in FIGURES]
    names = [name for name in (*names, "temporary_megabytes") if name in before or name in now]
    grown = [
        f"{name}: {now[name]}, was {before.get(name)}"
        for name in names
        if name in now and now[name] > MORE * before.get(name, 0)
    ]
    assert not grown, f"{before['what']}: {'; '.join(grown)}"
