"""File to maps against only decompressing the file, in one run.

    python -m benchmarks end_to_end [--gigabytes 1.0] [--repeated] [--json FILE]

Simulates a float32 series under the HCP scheme, writes it as .nii.gz in a temporary folder and
times, in turn, (a) reading it to the end with isal, (b) `jaxsmt fit` on it in a fresh process, and
(c) `jaxsmt fit` on a series of a few voxels in a fresh process: the start-up. Noise is
incompressible; with --repeated, small tiles repeat inside gzip's window, so that the file
compresses and decompresses many times better than any measured series.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

import jaxsmt as js
from jaxsmt.simulate import hcp_scheme, rician

from . import record


def write_series(path: Path, acquisition: js.Acquisition, shape: tuple[int, int, int], repeated: bool) -> None:
    """Zeppelins of random orientation and size in Rician noise, volume after volume."""
    rng = np.random.default_rng(0)
    n = int(np.prod(shape))
    tile = 1_000 if repeated else n
    par, fraction = rng.uniform(0.5, 3, tile).astype(np.float32), rng.uniform(0, 1, tile).astype(np.float32)
    axes = rng.standard_normal((tile, 3)).astype(np.float32)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((*shape, len(acquisition.bvals)))
    header.set_sform(np.eye(4), code=1)
    header.set_slope_inter(1, 0)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with igzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + b"\0" * 4)
        for b, g in zip(acquisition.bvals / 1000, acquisition.bvecs, strict=True):
            x2 = (axes @ g.astype(np.float32)) ** 2
            signal = 1000 * np.exp(-np.float32(b) * par * (fraction + (1 - fraction) * x2))
            file.write(np.resize(rician(signal, 1000 / 30, rng).astype(np.float32), n).tobytes())
    np.savetxt(str(path).replace(".nii.gz", ".bval"), acquisition.bvals[None], fmt="%g")
    np.savetxt(str(path).replace(".nii.gz", ".bvec"), acquisition.bvecs.T, fmt="%.9f")


def decompress(path: Path) -> float:
    """Seconds to read the stream to its end and do nothing with it."""
    start, buffer = time.perf_counter(), bytearray(8 << 20)
    with igzip.open(path, "rb") as file:
        while file.readinto(buffer):
            pass
    return time.perf_counter() - start


def fit(path: Path, *extra: str) -> tuple[float, float]:
    """Wall seconds of `jaxsmt fit` in a fresh process, and its peak memory in MiB."""
    out = path.parent / "out"
    command = [sys.executable, "-m", "jaxsmt", "fit", str(path), "-o", str(out), "--overwrite", "--quiet", *extra]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"jaxsmt fit failed with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", repeats=3)
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of raw data")
    parser.add_argument("--repeated", action="store_true")
    options = parser.parse_args(arguments)

    acquisition = hcp_scheme()
    slices = max(1, round(options.gigabytes * 1e9 / (4 * 288 * 120 * 120)))
    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large.nii.gz", Path(folder) / "small.nii.gz"
        write_series(large, acquisition, (120, 120, slices), options.repeated)
        write_series(small, acquisition, (4, 4, 1), False)
        rows, memory = [], 0.0
        for _ in range(options.repeats):
            whole, peak = fit(large)
            rows.append((decompress(large), whole, fit(small)[0]))
            memory = max(memory, peak)
        compressed = large.stat().st_size
        timings = json.loads((Path(folder) / "out" / "large_run.json").read_text())["timings_s"]
    only_reading, whole, start_up = np.median(rows, axis=0)
    settings = {
        "raw_bytes": 120 * 120 * slices * 288 * 4,
        "compressed_bytes": compressed,
        "voxels": 120 * 120 * slices,
    }
    rows = [
        {"what": "decompress only", "wall_s": round(only_reading, 2)},
        {"what": "start-up", "wall_s": round(start_up, 2)},
        {
            "what": "file to maps",
            "wall_s": round(whole, 2),
            "beyond_start_up_over_decompress": round((whole - start_up) / only_reading, 2),
            "peak_memory_MiB": round(memory),
            **{f"last_{stage}_s": seconds for stage, seconds in timings.items()},
        },
    ]
    record.publish("end_to_end", settings, rows, options.json)
