"""A fit that is stopped at random moments, and the same command again: what is left, and whether maps are the same.

    python -m benchmarks interruptions [--kills 20] [--terms 5] [--json FILE]

Simulates a small brain and fits everything on (Rician noise, 0 to 3 lobes, standard deviations) once undisturbed. Then
the fit is stopped, by SIGKILL and by SIGTERM, at moments drawn evenly from its time, and started again. A moment
passes if no map stands under its final name after the stop, or all do; and if all maps of the second run are those of
the undisturbed one, byte for byte.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import jaxsmt as js

from . import record
from .whole_brain import EVERYTHING, Series, write


class Fits:
    """Runs of one command on one series, in folders of their own."""

    def __init__(self, folder: Path, series: Series):
        self._folder, self._series = folder, series
        self._environment = {**os.environ, "JAXSMT_CACHE": str(folder / "cache")}

    def start(self, out: str) -> subprocess.Popen[bytes]:
        """The command, running."""
        words = ["fit", str(self._series.dwi), "--mask", str(self._series.mask), "-o", str(self._folder / out)]
        command = [sys.executable, "-m", "jaxsmt", *words, *EVERYTHING, "--quiet"]
        return subprocess.Popen(command, env=self._environment, stderr=subprocess.DEVNULL)

    def whole(self, out: str) -> float:
        """Seconds of the command, undisturbed."""
        start = time.perf_counter()
        if self.start(out).wait():
            raise SystemExit("jaxsmt fit failed")
        return time.perf_counter() - start

    def stopped(self, out: str, after: float, number: int) -> float:
        """Seconds that the command takes to end when a signal comes after so many."""
        process = self.start(out)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        start = time.perf_counter()
        process.wait()
        return time.perf_counter() - start

    def maps(self, out: str) -> dict[str, bytes]:
        """Maps under their final names."""
        return {path.name: path.read_bytes() for path in (self._folder / out).glob("*.nii.gz")}

    def forget(self, out: str) -> None:
        """Remove a folder."""
        shutil.rmtree(self._folder / out, ignore_errors=True)


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", repeats=1)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--terms", type=int, default=5)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = write(folder, "brain", (30, 36, 30), js.simulate.hcp_scheme())
        fits = Fits(folder, series)
        fits.whole("first")  # fills the start-up cache
        fits.forget("first")
        seconds = fits.whole("undisturbed")
        whole = fits.maps("undisturbed")
        rows = []
        for signal_name, count in (("SIGKILL", options.kills), ("SIGTERM", options.terms)):
            moments = np.sort(rng.uniform(0, seconds, count))
            sound, same, ends, again = 0, 0, [], []
            for moment in moments:
                ends.append(fits.stopped("out", moment, getattr(signal, signal_name)))
                sound += fits.maps("out") in ({}, whole)
                again.append(fits.whole("out") if fits.maps("out") != whole else 0.0)
                same += fits.maps("out") == whole
                fits.forget("out")
            rows.append(
                {
                    "what": signal_name,
                    "moments": count,
                    "none_or_all_maps_after_it": sound,
                    "same_maps_at_the_end": same,
                    "longest_end_s": round(max(ends, default=0), 2),
                    "moments_s": [round(m, 2) for m in moments],
                    "second_run_s": [round(s, 2) for s in again],
                }
            )
    settings = {"voxels": series.voxels, "undisturbed_s": round(seconds, 2)}
    record.publish("interruptions", settings, rows, options.json)
