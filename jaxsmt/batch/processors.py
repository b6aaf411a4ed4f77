"""How many processors a process uses. No JAX: its own threads are made when it is loaded."""

from __future__ import annotations

import os

_VARIABLE = "PJRT_NPROC"  # the compiler's runtime makes so many threads


def limit(n: int) -> None:
    """Use at most n processors from now on. To be called before JAX computes; the system chooses which processors."""
    os.environ[_VARIABLE] = str(min(n, available()))


def count() -> int:
    """Processors to use."""
    text = os.environ.get(_VARIABLE, "")
    return min(int(text), available()) if text.isdecimal() and int(text) > 0 else available()


def available() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
