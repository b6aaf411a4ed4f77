"""The facts of a run, run.json: what it is called, and how it is read. No JAX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import sidecars

#: What the file is called, after the prefix.
NAME = sidecars.RUN


def read(path: Path) -> dict[str, Any] | None:
    """What the file says; None if there is none that can be read."""
    try:
        run = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return run if isinstance(run, dict) else None


def require(path: Path, fix: str) -> dict[str, Any]:
    """What the file says, as it was written.

    Args:
        path: of the file. fix: what to do if it is damaged.
    Raises:
        InputError: it cannot be read, is no such file, or has changed since it was written.
    """
    try:
        run = json.loads(path.read_text("utf-8"))
        whole = sidecars.is_whole(run)
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path, fix="check the disk") from None
    except (ValueError, TypeError, RecursionError):
        run = None
    if not isinstance(run, dict):
        raise InputError("is no run.json of a fit", file=path, fix=fix)
    if not whole:
        raise InputError("has changed since it was written", file=path, fix=fix)
    return run
