"""How a peer's script gets its data, is timed, and answers: NumPy and the standard library only.

    python SCRIPT IN.npz OUT.npz

IN holds "signals" (voxels, volumes), "bvals" in s/mm² and "bvecs", the name of a "task", "variant" (text, for scripts
that fit in several ways), "first" (how many voxels the first call fits; 0: all) and "tile" (the number of voxels of
the timed calls, the same ones again and again; 0: as they are). OUT holds the estimates by name, diffusivities in
µm²/ms, and seconds:

- cold_wall_s: from the first line of the script, through imports and compilation, to the end of the first call.
- wall_s and cpu_s: median of the calls after it; cpu_s of all cores, threads and child processes together.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib import metadata

STARTED = time.perf_counter()
TASKS = {"watson": ("watson", 1), "bingham": ("bingham", 1), "two_watson": ("watson", 2)}


def cpu_seconds() -> float:
    """Of all threads of this process, and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


def timed(call):
    """The result of a call, and its seconds by the clock and of all cores."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    result = call()
    return result, (time.perf_counter() - wall, cpu_seconds() - cpu)


def repeated(call, enough=3.0, most=5):
    """The last result and the median seconds of some calls: one if it takes long."""
    import numpy as np

    spent = []
    while not spent or (len(spent) < most and sum(wall for wall, _ in spent) < enough):
        result, seconds = timed(call)
        spent.append(seconds)
    return result, np.median(spent, axis=0)


def serve(make, package=None):
    """Answer the harness.

    make: (task, variant, bvals, bvecs) -> a function (voxels, volumes) -> estimates by name.
    package: whose version counts; None: the one that the variant names.
    """
    import numpy as np

    given = np.load(sys.argv[1])
    signals, variant = given["signals"], str(given["variant"])
    first, tile = int(given["first"]) or len(signals), int(given["tile"]) or len(signals)
    package = package or variant
    fit = make(str(given["task"]), variant, given["bvals"], given["bvecs"])
    fit(signals[:first])
    cold = time.perf_counter() - STARTED
    if tile == len(signals):
        estimates, (wall, cpu) = repeated(lambda: fit(signals))
    else:
        estimates = fit(signals)
        many = signals[np.arange(tile) % len(signals)]
        if first == len(signals):  # programs for many voxels at once may be compiled for their number
            fit(many)
        _, (wall, cpu) = repeated(lambda: fit(many))
    np.savez(
        sys.argv[2],
        **{name: np.asarray(values) for name, values in estimates.items()},
        cold_wall_s=cold,
        cold_voxels=first,
        timed_voxels=tile,
        wall_s=wall,
        cpu_s=cpu,
        version=f"{package} {version_of(package)}",
        python=platform.python_version(),
    )


def version_of(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # imported from a folder
        return sys.modules[package].__version__


def direction_of(mu):
    """Unit vectors from polar angle and azimuth (..., 2)."""
    import numpy as np

    theta, phi = mu[..., 0], mu[..., 1]
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
