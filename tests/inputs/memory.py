"""How much memory a part of a test takes at its peak."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
#: Bytes beyond those of the process before: with the interpreter and JAX, 0.3 GB, less than 1 GB.
MOST = 700_000_000


@contextmanager
def at_most(bytes_: int = MOST) -> Iterator[None]:
    """Fail where what is inside takes more memory than this at its peak; systems without /proc are not looked at."""
    try:
        _RESET.write_text("5")  # the peak is the present size
    except OSError:
        yield
        return
    before = _size("VmRSS")
    yield
    taken = _size("VmHWM") - before
    assert taken <= bytes_, f"{taken / 1e6:.0f} MB at the peak"


def _size(name: str) -> int:
    """A line of the process's status in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024
