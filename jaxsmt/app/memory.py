"""How much memory a fit may take, and how much it will take. No JAX."""

from __future__ import annotations

import math
import os
import re
from contextlib import suppress
from pathlib import Path

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
# Volumes that are read ahead.
_AHEAD = 4
# Of JAX, its programs and a part of the voxels at work.
_KERNELS, _FODS = 350 * 2**20, 700 * 2**20
# Of the memory that is free: what a fit may take where nobody says how much.
_SHARE = 0.8


def parsed(text: str) -> int | None:
    """Bytes of a text such as "4G", "500 MB" or "2.5GiB"; units are powers of 1024. None: it is no such text.

    Example:
        >>> parsed("1.5G"), parsed("much")
        (1610612736, None)
    """
    match = _SIZE.fullmatch(text)
    return None if match is None else int(float(match[1]) * _UNITS[match[2].lower()])


def needed(
    *, shape: tuple[int, ...], itemsize: int, inside: int, shells: int, numbers: int, lobes: int, kept: bool
) -> int:
    """Bytes that a fit takes, about.

    Args:
        shape: of the series. inside: voxels in the mask. shells: with b = 0. numbers: of a voxel's results.
        lobes: of a FOD; 0 without FODs. kept: whether the voxels' data are in memory.
    """
    voxels, volumes = math.prod(shape[:3]), shape[3]
    reading = _AHEAD * voxels * itemsize + 8 * shells * (voxels + inside) + (inside * volumes * itemsize) * kept
    fitting = 8 * shells * inside + 4 * numbers * inside + (inside * volumes * itemsize) * kept
    return (_FODS if lobes else _KERNELS) + max(reading, fitting)


def limit(text: str | None) -> int:
    """The bytes that a fit may take: those that are asked for, or most of what is free."""
    asked = None if text is None else parsed(text)
    return int(_SHARE * free()) if asked is None else asked


def free() -> int:
    """Bytes of memory that this process may still get, of the machine and of its control group."""
    bounds = [_available()]
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):  # "max" is no number: no limit
            bounds.append(max(int(Path(most).read_text()) - int(Path(used).read_text()), 0))
    return min(bounds)


def _available() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 2**32
