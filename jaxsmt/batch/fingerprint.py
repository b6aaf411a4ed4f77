"""What a program is compiled for, as text that another process can compare."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from ..version import LOADED

# Packages whose classes and functions are known by their names: the key of a program has their versions.
_KNOWN = (__name__.split(".")[0], "jax", "builtins")


class Unknown(Exception):
    """Something whose meaning the next process cannot know, such as a function of the user's."""


def fingerprint(value: Any) -> str:
    """A digest that is equal in two processes only if the values mean the same there.

    Args:
        value: numbers, text, arrays, containers and dataclasses of these, and functions of this package and of JAX.
    Raises:
        Unknown: something else is within.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(f"{len(part)}:".encode() + part)
    return digest.hexdigest()


@cache
def of_package() -> str:
    """A digest of the package's source: programs of another version are other programs.

    Raises:
        Unknown: the source is not what this process runs.
    """
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if path.stat().st_mtime > LOADED:
            raise Unknown(f"{path} has changed since it was loaded")
        digest.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return digest.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    """The value as pieces: what it is, then what is in it."""
    kind = type(value)
    yield f"{kind.__module__}.{kind.__qualname__}".encode()
    if value is None or isinstance(value, bool | int | float | str | bytes | np.dtype | np.generic):
        yield repr(value).encode()
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        yield f"{value.dtype.str}{value.shape}".encode()
        yield np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping | tuple | list):
        items = value.items() if isinstance(value, Mapping) else value
        yield str(len(items)).encode()
        for item in items:
            yield from _parts(item)
    elif isinstance(value, partial):
        yield from _parts((value.func, value.args, value.keywords))
    elif isinstance(value, MethodType):
        yield from _parts((value.__self__, value.__func__))
    elif isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, type) and _known(value):
        yield f"{value.__module__}.{value.__qualname__}".encode()
    elif kind.__module__.split(".")[0] in ("jax", "jaxlib") and hasattr(value, "__wrapped__"):  # jit, custom_jvp
        yield from _parts(value.__wrapped__)
    elif is_dataclass(value) and not isinstance(value, type) and _known(kind):
        for field in fields(value):
            yield from _parts((field.name, getattr(value, field.name)))
    else:
        raise Unknown(f"{kind.__module__}.{kind.__qualname__}")


def _parts_of_function(function: FunctionType) -> Iterator[bytes]:
    """Where the package defines it, and the values that it encloses; `of_package` stands for its text."""
    home = str(function.__globals__.get("__name__")).split(".")[0]  # `functools.wraps` copies the other's module
    if not _known(function) or home not in _KNOWN:
        raise Unknown(f"{function.__module__}.{function.__qualname__}")
    yield f"{function.__module__}.{function.__qualname__}:{function.__code__.co_firstlineno}".encode()
    yield function.__code__.co_code
    yield from _parts((function.__defaults__, function.__kwdefaults__))
    yield from _parts(tuple(cell.cell_contents for cell in function.__closure__ or ()))


def _known(thing: Any) -> bool:
    return str(thing.__module__).split(".")[0] in _KNOWN
