"""How much memory a fit may take, and how much it will take. No JAX."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

_Item = TypeVar("_Item")
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", re.IGNORECASE)
_ARTICLE = {"memory": "memory", "scratch file": "a scratch file"}
#: Volumes in memory while a series is read.
AHEAD = 4
_LEAST = 32_768  # voxels of a slab
# MiB of Python and JAX, of each program by its kind, of a lobe that is looked for, and of densities of two axes, which
# are integrals: where programs are compiled, and where they only run. Peaks of 16 fits, told within 17 and 8 %.
_COMPILING = {"python": 410, "kernels": 75, "fods": 150, "uncertainty": 0, "lobes": 55, "integrals": 80}
_RUNNING = {"python": 300, "kernels": 28, "fods": 60, "uncertainty": 21, "lobes": 0, "integrals": 220}
# By version of control groups: limit, use, and what of it can be dropped.
_FILES_OF_GROUP = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
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


class Place(StrEnum):
    """Where the data of the voxels are while they are fitted."""

    NOWHERE = "nowhere"  # spherical means are enough
    MEMORY = "memory"
    FILE = "scratch file"


@dataclass(frozen=True)
class Plan:
    """How much memory a fit takes, and may take, in bytes; where the data go; how many voxels are in a slab.

    predicted: where its programs are compiled. kept: where they are in the start-up cache.
    """

    predicted: int
    kept: int
    limit: int
    data: Place
    slab: int

    def facts(self) -> dict[str, Any]:
        """What run.json says."""
        mib = 2**20
        return {
            "predicted_MiB": round(self.predicted / mib),
            "predicted_with_kept_programs_MiB": round(self.kept / mib),
            "limit_MiB": round(self.limit / mib),
            "data_in": self.data.value,
            "slab_voxels": self.slab,
        }

    def __str__(self) -> str:
        where = "" if self.data == Place.NOWHERE else f", the voxels' data in {_ARTICLE[self.data]}"
        more = "" if self.predicted <= self.limit else f": more than the {self.limit / 2**20:.0f} MiB that it may take"
        kept = f", {self.kept / 2**20:.0f} MiB once its programs are kept" if self.kept < self.predicted else ""
        return f"about {self.predicted / 2**20:.0f} MiB of memory{kept}{where}{more}"


class ProgramCounts(NamedTuple):
    """How many programs a fit has of each kind; how many lobes all its FODs have; whether their density is an integral.

    Example:
        >>> ProgramCounts(kernels=1, fods=1, lobes=1).running // 2**20
        388
    """

    kernels: int
    fods: int = 0
    uncertainty: int = 0
    lobes: int = 0
    integrals: bool = False

    @property
    def compiling(self) -> int:
        """Bytes of the process while they are compiled."""
        return self._bytes(_COMPILING)

    @property
    def running(self) -> int:
        """Bytes of the process when they are there."""
        return self._bytes(_RUNNING)

    def _bytes(self, each: Mapping[str, int]) -> int:
        return 2**20 * (each["python"] + sum(each[kind] * count for kind, count in self._asdict().items()))


class Needs(NamedTuple):
    """What a fit needs, in bytes.

    reading: volumes at work, and the shells' means. kernels, results, slab: of a voxel, see `pipeline.Footprint`.
    data: of the voxels; 0 if nobody needs them. programs: of the fit.
    """

    reading: int
    kernels: int
    results: int
    slab: int
    data: int
    programs: ProgramCounts

    def fitting(self, voxels: int, slab: int) -> int:
        """Bytes beside the data when programs are there, for so many voxels, so many of them in a slab."""
        at_work = max(self.reading, self.kernels * voxels, self.results * voxels + self.slab * slab)
        return self.programs.running + at_work


def plan(needs: Needs, voxels: int, most: int) -> Plan:
    """Decide where the data go, into memory if they fit, and how many voxels are in a slab. most: bytes to take."""

    def planned(place: Place, slab: int) -> Plan:
        kept = needs.fitting(voxels, slab)
        data = needs.data if place == Place.MEMORY else 0
        compiling = needs.programs.compiling + needs.reading
        return Plan(data + max(compiling, kept), data + kept, most, place, slab)

    whole = planned(Place.MEMORY if needs.data else Place.NOWHERE, voxels)
    if not needs.data or whole.predicted <= most:
        return whole
    slab = voxels
    while slab > _LEAST and needs.fitting(voxels, slab) > max(most, needs.fitting(voxels, _LEAST)):
        slab = max(slab // 2, _LEAST)
    return planned(Place.FILE, slab)


def release() -> None:
    """Give freed memory back to the system: what the compiler took is as much as a fit needs."""
    with suppress(OSError, AttributeError):  # of the GNU C library alone
        ctypes.CDLL(None).malloc_trim(0)


def released(items: Iterable[_Item]) -> Iterator[_Item]:
    """The items, after each of which freed memory is given back: its pieces would add up."""
    for item in items:
        yield item
        release()


def limit(text: str | None) -> int:
    """The bytes that a fit may take: those that are asked for, or most of what is free."""
    asked = None if text is None else parsed(text)
    return int(_SHARE * free()) if asked is None else asked


def free() -> int:
    """Bytes of memory that this process may still get, of the machine and of its control groups."""
    return min([_available(), *_left_in_groups()])


def _left_in_groups() -> Iterator[int]:
    """What the limits of this process's control groups leave, in either version; pages of files can be dropped."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                root, most, used, droppable = Path("/sys/fs/cgroup/memory"), *_FILES_OF_GROUP[1]
            elif not controllers:
                root, most, used, droppable = Path("/sys/fs/cgroup"), *_FILES_OF_GROUP[2]
            else:
                continue
            inner = root / path.lstrip("/")
            for group in (inner, *inner.parents):
                with suppress(OSError, ValueError, StopIteration):  # "max" is no number: no limit
                    taken = int((group / used).read_text())
                    lines = (group / "memory.stat").read_text().splitlines()
                    pages = int(next(line for line in lines if line.startswith(f"{droppable} ")).split()[1])
                    yield max(int((group / most).read_text()) - taken + pages, 0)
                if group == root:
                    break


def _available() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return 2**32
