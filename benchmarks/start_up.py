"""From the command to the report in fresh processes: the first of its kind, and those that find its programs kept.

    python -m benchmarks start_up [--repeats 5] [--voxels 8865] [--json FILE]

Simulates a series of 13 b = 0 volumes, 30 at b = 1000 and 60 at b = 2000 s/mm², and runs `jaxsmt fit` on it:
SMT alone, with FODs, and with everything. Each runs with an empty start-up cache and then again, in turn. The
medians count.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import jaxsmt as js
from jaxsmt.geometry.quadrature import gradient_directions

from . import record
from .end_to_end import write_series

RUNS = {
    "SMT": (),
    "FODs": ("--fod", "watson", "--fibres", "auto"),
    "everything": ("--fod", "watson", "--fibres", "auto", "--noise", "rician", "--uncertainty"),
}


def scheme() -> js.Acquisition:
    """103 volumes on two shells."""
    bvals = np.repeat([0.0, 1000.0, 2000.0], [13, 30, 60])
    bvecs = np.concatenate([np.zeros((13, 3)), gradient_directions(30), gradient_directions(60)])
    return js.Acquisition(bvals, bvecs)


def fit(series: Path, kept: Path, *options: str) -> record.Spent:
    """Wall and CPU seconds of a fresh process."""
    out = series.parent / "out"
    command = [sys.executable, "-m", "jaxsmt", "fit", str(series), "-o", str(out), "--overwrite", "--quiet", *options]
    start = time.perf_counter()
    environment = {**os.environ, "JAXSMT_CACHE": str(kept)}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"jaxsmt fit failed with status {status}")
    return record.Spent(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", repeats=5)
    parser.add_argument("--voxels", type=int, default=8865)
    options = parser.parse_args(arguments)

    spent: dict[tuple[str, str], list[record.Spent]] = {}
    with tempfile.TemporaryDirectory() as folder:
        series, kept = Path(folder) / "series.nii.gz", Path(folder) / "kept"
        write_series(series, scheme(), (options.voxels, 1, 1), False)
        for _ in range(options.repeats):
            for name, extra in RUNS.items():
                shutil.rmtree(kept, ignore_errors=True)
                for which in ("first", "second"):
                    spent.setdefault((name, which), []).append(fit(series, kept, *extra))
    rows = [
        {
            "what": f"{name}, {which} process",
            **{f"{kind}_s": round(value, 2) for kind, value in record.median(each)._asdict().items()},
            "all_wall_s": [round(one.wall, 2) for one in each],
        }
        for (name, which), each in spent.items()
    ]
    record.publish("start_up", {"voxels": options.voxels}, rows, options.json)
