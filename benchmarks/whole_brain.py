"""A whole brain from file to maps: time against only decompressing the file, and memory under a limit.

    python -m benchmarks whole_brain [--scale 0.125] [--limits 1G 2G 4G] [--repeats 1] [--json FILE]

Simulates a series of the size of the HCP's, 145 × 174 × 145 voxels of 288 volumes, about 900,000 voxels in the mask,
or a part of it with the same ratios; `--scale 1` is the whole. Then in fresh processes: SMT, and everything on (Rician
noise, 0 to 3 lobes, standard deviations), without a limit of memory and with several. A run on a few voxels comes
first, so that all find their programs in the start-up cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip

import jaxsmt as js
from jaxsmt.files.gradients import fsl_texts

from . import record
from .end_to_end import decompress

SHAPE, INSIDE = (145, 174, 145), 0.246
EVERYTHING = ("--fod", "watson", "--fibres", "auto", "--noise", "rician", "--uncertainty", "--no-report")
_SNR = 30


class Series(NamedTuple):
    """A simulated series and its mask, and how many voxels are inside."""

    dwi: Path
    mask: Path
    voxels: int


def write(folder: Path, name: str, shape: tuple[int, int, int], acquisition: js.Acquisition) -> Series:
    """A series whose voxels are those of a phantom, in any order, each with its own noise; volume after volume."""
    rng = np.random.default_rng(0)
    phantom = js.simulate.phantom(shape=(24, 28, 20), snr=np.inf, acquisition=acquisition)
    tissue = phantom.data[phantom.mask]
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    inside = sum(axis**2 for axis in grid) < (INSIDE * 6 / np.pi) ** (2 / 3)
    which = rng.integers(len(tissue), size=int(inside.sum()))
    at = inside.ravel(order="F")
    dwi, mask = folder / f"{name}.nii.gz", folder / f"{name}_mask.nii.gz"
    affine = np.diag([-1.25, 1.25, 1.25, 1])
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), mask)
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape((*shape, tissue.shape[1]))
    header.set_sform(affine, code=1)
    header.set_slope_inter(1, 0)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with igzip.open(dwi, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + b"\0" * 4)
        for values in tissue.T:
            volume = np.zeros(at.size, np.float32)  # as where a brain mask was applied
            volume[at] = js.simulate.rician(values[which], 1000 / _SNR, rng)
            file.write(volume.tobytes())
    texts = fsl_texts(acquisition.bvals, acquisition.bvecs)  # this affine's axes are FSL's
    for suffix, text in zip((".bval", ".bvec"), texts, strict=True):
        dwi.with_name(name + suffix).write_text(text)
    return Series(dwi, mask, int(inside.sum()))


def fit(series: Series, cache: Path, *extra: str) -> dict[str, Any]:
    """Figures of a fit in a fresh process: wall and CPU seconds, peak memory, and seconds of its stages."""
    out = series.dwi.parent / "out"
    command = [sys.executable, "-m", "jaxsmt", "fit", str(series.dwi), "--mask", str(series.mask), "-o", str(out)]
    environment = {**os.environ, "JAXSMT_CACHE": str(cache)}
    start = time.perf_counter()
    process = subprocess.Popen([*command, "--overwrite", "--quiet", *extra], env=environment, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"jaxsmt fit failed with status {status}")
    wall = time.perf_counter() - start
    facts = json.loads((out / f"{series.dwi.name.partition('.')[0]}_run.json").read_text())
    return {
        "wall_s": round(wall, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_MiB": round(usage.ru_maxrss / 1024),
        "predicted_memory_MiB": facts["memory"]["predicted_with_kept_programs_MiB"],
        "data_in": facts["memory"]["data_in"],
        **{f"{stage}_s": seconds for stage, seconds in facts["timings_s"].items()},
    }


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", repeats=1)
    parser.add_argument("--scale", type=float, default=0.125, help="of the number of voxels")
    parser.add_argument("--limits", nargs="*", default=["1G", "2G", "4G"])
    options = parser.parse_args(arguments)
    shape = tuple(max(4, round(n * options.scale ** (1 / 3))) for n in SHAPE)
    acquisition = js.simulate.hcp_scheme()
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name), Path(name) / "cache"
        large = write(folder, "large", shape, acquisition)
        small = write(folder, "small", (12, 12, 12), acquisition)
        fit(small, cache, "--no-report")
        fit(small, cache, *EVERYTHING)
        rows = []
        for _ in range(options.repeats):
            reading = decompress(large.dwi)
            rows.append({"what": "decompress only", "wall_s": round(reading, 2)})
            smt = fit(large, cache, "--no-report")
            rows.append({"what": "SMT", **smt, "over_decompress": round(smt["wall_s"] / reading, 2)})
            whole = fit(large, cache, *EVERYTHING)
            rows.append({"what": "everything", **whole, "voxels_per_s": round(large.voxels / whole["wall_s"])})
            for limit in options.limits:
                limited = fit(large, cache, *EVERYTHING, "--memory-limit", limit)
                over = round(limited["wall_s"] / whole["wall_s"], 2)
                rows.append({"what": f"everything, limit {limit}", **limited, "over_unlimited": over})
        compressed = large.dwi.stat().st_size
    settings = {"shape": list(shape), "voxels": large.voxels, "volumes": 288, "compressed_bytes": compressed}
    record.publish("whole_brain", settings, rows, options.json)
