"""Noise distributions: each file of this folder is one, and its function `noise(coils)` returns the record.

The file's name is the option's value. `names` and `find` look at the folder, so a new distribution is one new file;
`base` says what a record holds. No JAX is loaded before `find`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...errors import InputError, shown

if TYPE_CHECKING:
    from .base import Noise


def names() -> tuple[str, ...]:
    """The values that `noise=` takes."""
    return tuple(sorted(m.name.replace("_", "-") for m in iter_modules(__path__) if m.name != "base"))


def find(name: str, coils: int = 1) -> Noise:
    """The distribution of this name, for so many coils.

    Raises:
        InputError: there is no such distribution, or it is not one of so many coils.
    """
    if name not in names():
        raise InputError(f"noise={shown(name)} is unknown", fix=" or ".join(f"noise={n!r}" for n in names()))
    noise: Noise = import_module(f".{name.replace('-', '_')}", __package__).noise(coils)
    return noise
