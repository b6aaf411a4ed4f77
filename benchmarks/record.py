"""What all benchmarks share: their options, how they time, and the one form of their results.

A result is JSON: {"benchmark", "date", "machine": {"processor", "cores", "load", "device"}, "versions": {package:
version}, "settings": {name: value}, "rows": [{"what": text, figure: number, text or list of numbers}]}. The load is
that of the minute before.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxsmt as js

RESULTS = Path(__file__).parent / "results"
_LOAD = os.getloadavg()[0]


def options(doc: str, *, repeats: int, voxels: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options that benchmarks share. voxels: by default; None: the benchmark takes none."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if voxels is not None:
        parser.add_argument("--voxels", type=int, default=voxels)
        parser.add_argument("--dtype", default="float32")
        parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--json", type=Path, help="write the result here too")
    return parser


class Spent(NamedTuple):
    """Seconds of one call, by the clock and of all processor cores together."""

    wall: float
    cpu: float


def timed(call: Callable[[], Any]) -> Spent:
    """The seconds that a call takes in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


def in_turn(ways: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[Spent]]:
    """The seconds of each way, all of them one after the other, so often; one more round before does not count."""
    for call in ways.values():
        call()
    rounds = [{name: timed(call) for name, call in ways.items()} for _ in range(repeats)]
    return {name: [one[name] for one in rounds] for name in ways}


def median(spent: list[Spent]) -> Spent:
    return Spent(*np.median(spent, axis=0).tolist())


def speed(voxels: int, spent: list[Spent]) -> dict[str, Any]:
    """Figures of a row: medians of seconds and what follows from them."""
    middle = median(spent)
    return {
        "wall_s": round(middle.wall, 4),
        "cpu_s": round(middle.cpu, 4),
        "voxels_per_s": round(voxels / middle.wall),
        "voxels_per_cpu_s": round(voxels / max(middle.cpu, 1e-9)),
        "all_wall_s": [round(s.wall, 4) for s in spent],
    }


def outcomes(status: np.ndarray) -> dict[str, int]:
    """Figures of a row: how many voxels have each status of a fit."""
    fits = (js.Status.CONVERGED, js.Status.AT_BOUND, js.Status.NOT_CONVERGED)
    return {of.name.lower(): int(np.sum(status == of)) for of in fits}


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def publish(
    benchmark: str, settings: Mapping[str, Any], rows: list[dict[str, Any]], path: Path | None, device: Any = None
) -> None:
    """Print a result; write it to `path` too, if given. device: the `jax.Device` that computed; None: a processor."""
    versions = {"jaxsmt": js.__version__} | {name: metadata.version(name) for name in ("jax", "jaxlib", "numpy")}
    result = {
        "benchmark": benchmark,
        "date": date.today().isoformat(),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "load": round(_LOAD, 2),
            "device": "cpu" if device is None or device.platform == "cpu" else device.device_kind,
        },
        "versions": {**versions, "python": platform.python_version()},
        "settings": dict(settings),
        "rows": rows,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if path:
        path.write_text(text + "\n", encoding="utf-8")


def result_of(name: str) -> dict[str, Any]:
    """A kept result."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def row_of(name: str, what: str) -> dict[str, Any]:
    """One row of a kept result."""
    return next(row for row in result_of(name)["rows"] if row["what"] == what)
