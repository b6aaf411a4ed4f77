"""Time and memory as voxels and volumes grow: file to maps, SMT alone and with one Watson lobe.

    python -m benchmarks scaling [--voxels 10000 100000 1000000] [--volumes 60 600] [--limit 2G] [--json FILE]
        [--picture FILE]

Simulates series of each number of voxels in the mask at the first number of volumes, and of each number of volumes at
the first number of voxels; fits each in a fresh process that finds its programs in the start-up cache, under one limit
of memory. The picture shows seconds and peak memory.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import jaxsmt as js

from . import record
from .whole_brain import INSIDE, SHAPE, fit, write

WAYS = {"SMT": ("--no-report",), "one Watson lobe": ("--no-report", "--fod", "watson")}


def shape_of(voxels: int) -> tuple[int, int, int]:
    """A grid like the HCP's with so many voxels in the mask, about."""
    scale = (voxels / (INSIDE * np.prod(SHAPE))) ** (1 / 3)
    x, y, z = (max(4, round(n * scale)) for n in SHAPE)
    return x, y, z


def scheme_of(volumes: int) -> js.Acquisition:
    """Two shells with so many volumes."""
    b0 = max(2, volumes // 15)
    return js.simulate.hcp_scheme(b0, (volumes - b0) // 2, (1000.0, 2500.0))


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", repeats=1)
    parser.add_argument("--voxels", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--volumes", type=int, nargs="+", default=[60, 600])
    parser.add_argument("--limit", default="2G")
    parser.add_argument("--picture", type=Path, help="draw it here")
    options = parser.parse_args(arguments)
    sizes = [(n, options.volumes[0]) for n in options.voxels]
    sizes += [(options.voxels[0], n) for n in options.volumes[1:]]
    rows: list[dict[str, Any]] = []
    for voxels, volumes in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder, cache = Path(name), Path(name) / "cache"
            acquisition = scheme_of(volumes)
            small = write(folder, "small", (12, 12, 12), acquisition)
            series = write(folder, "series", shape_of(voxels), acquisition)
            for what, extra in WAYS.items():
                fit(small, cache, *extra)
                spent = fit(series, cache, *extra, "--memory-limit", options.limit)
                size = {"voxels": series.voxels, "volumes": volumes}
                rows.append({"what": f"{what}, {series.voxels} × {volumes}", "way": what, **size, **spent})
    record.publish("scaling", {"limit": options.limit}, rows, options.json)
    if options.picture:
        draw(rows, options.picture)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds and memory over voxels: a line for each way; a cross where there are more volumes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    fewest = min(row["volumes"] for row in rows)
    for colour, what in enumerate(WAYS):
        of_way = [row for row in rows if row["way"] == what]
        for volumes in sorted({row["volumes"] for row in of_way}):
            chosen = sorted((row for row in of_way if row["volumes"] == volumes), key=lambda row: row["voxels"])
            style = {"color": f"C{colour}", "label": f"{what}, {volumes} volumes"}
            line = "o-" if volumes == fewest else "x"
            for ax, figures in ((left, "wall_s"), (right, "peak_memory_MiB")):
                ax.semilogx([row["voxels"] for row in chosen], [row[figures] for row in chosen], line, **style)
    left.set_yscale("log")
    right.set_ylim(0)
    for ax, text in ((left, "seconds from file to maps"), (right, "peak memory, MiB")):
        ax.set_xlabel("voxels in the mask")
        ax.set_ylabel(text)
    left.legend()
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)
