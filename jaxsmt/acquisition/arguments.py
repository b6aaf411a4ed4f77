"""Arguments that should be an acquisition."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from .acquisition import Acquisition


def require_acquisition(acquisition: Any) -> None:
    """Raise InputError unless the argument `acquisition=` is an `Acquisition`.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(acquisition, Acquisition):
        fix = "js.Acquisition(bvals, bvecs); the arguments are model, acquisition, data or signal"
        raise InputError(f"acquisition= is of type {type(acquisition).__name__}", fix=fix)
