"""Orientation densities: a file of this folder is one, its name what `fod=` takes, its `density()` the record.

`names` and `find` look at the folder, so a new density is one new file. No JAX is loaded before `find`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...errors import InputError, shown

if TYPE_CHECKING:
    from .base import Density


def names() -> tuple[str, ...]:
    """What `FodModel` takes, and `fod=` on the command line."""
    return tuple(sorted(m.name for m in iter_modules(__path__) if m.name != "base"))


def find(name: str) -> Density:
    """The density of this name.

    Raises:
        InputError: there is none.
    """
    if name not in names():
        raise InputError(f"unknown density {shown(name)}", fix=" or ".join(map(repr, names())))
    density: Density = import_module(f".{name}", __package__).density()
    return density
