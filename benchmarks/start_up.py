"""From the command to the report in fresh processes: the first of its kind, and those that find its programs kept.

    python benchmarks/start_up.py [--repeats 5] [--voxels 8865] [--json FILE]

Simulates a series of 13 b = 0 volumes, 30 at b = 1000 and 60 at b = 2000 s/mm², and runs `jaxsmt fit` on it:
SMT alone, with FODs, and with everything. Each runs with an empty start-up cache and then again, in turn. The
medians count.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import jaxsmt as js
from end_to_end import write_series
from jaxsmt.geometry.quadrature import gradient_directions
from record import publish

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


def fit(series: Path, kept: Path, *options: str) -> dict[str, float]:
    """Wall and CPU seconds of a fresh process."""
    out = series.parent / "out"
    command = [sys.executable, "-m", "jaxsmt", "fit", str(series), "-o", str(out), "--overwrite", "--quiet", *options]
    start = time.perf_counter()
    environment = {**os.environ, "JAXSMT_CACHE": str(kept)}
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"jaxsmt fit failed with status {status}")
    return {"wall": time.perf_counter() - start, "cpu": usage.ru_utime + usage.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--voxels", type=int, default=8865)
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args()

    seconds: dict[str, dict[str, list[dict[str, float]]]] = {name: {"first": [], "second": []} for name in RUNS}
    with tempfile.TemporaryDirectory() as folder:
        series, kept = Path(folder) / "series.nii.gz", Path(folder) / "kept"
        write_series(series, scheme(), (options.voxels, 1, 1), False)
        for _ in range(options.repeats):
            for name, extra in RUNS.items():
                shutil.rmtree(kept, ignore_errors=True)
                for which in ("first", "second"):
                    seconds[name][which].append(fit(series, kept, *extra))
    figures = {
        "voxels": options.voxels,
        "repeats": options.repeats,
        "median_s": {
            name: {
                which: {kind: round(float(np.median([run[kind] for run in runs])), 2) for kind in ("wall", "cpu")}
                for which, runs in each.items()
            }
            for name, each in seconds.items()
        },
    }
    publish("start_up", figures, options.json)


if __name__ == "__main__":
    main()
