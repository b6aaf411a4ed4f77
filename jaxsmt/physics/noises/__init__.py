"""Noise distributions: a file of this folder is one, its name the option's value, its `noise(coils)` the record.

`names` and `find` look at the folder, so a new distribution is one new file. No JAX is loaded before `find`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...errors import InputError

if TYPE_CHECKING:
    from .base import Noise


def names() -> tuple[str, ...]:
    """What `noise=` and `--noise` take."""
    return tuple(sorted(m.name.replace("_", "-") for m in iter_modules(__path__) if m.name not in ("base",)))


def find(name: str, coils: int = 1) -> Noise:
    """The distribution of this name.

    Raises:
        InputError: there is none.
    """
    if name not in names():
        raise InputError(f"noise={name!r} is unknown", fix=" or ".join(f"noise={n!r}" for n in names()))
    noise: Noise = import_module(f".{name.replace('-', '_')}", __package__).noise(coils)
    return noise
