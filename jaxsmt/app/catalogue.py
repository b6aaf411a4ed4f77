"""Models that the command line knows by name, or finds in a user's file. Only `load` needs JAX."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..models import presets
from . import users_models

if TYPE_CHECKING:
    from ..models.model import SphericalMeanModel


@dataclass(frozen=True)
class Source:
    """Where a model comes from: the function that makes it, of a preset or of a user's file with this content."""

    function: str
    file: Path | None = None
    content: bytes = b""


@dataclass(frozen=True)
class LoadedModel:
    """A model, and what the docstring of its function says: a sentence, and the address of its source."""

    model: SphericalMeanModel
    description: str = ""
    url: str = ""


def names() -> tuple[str, ...]:
    """Models that the command line knows by name."""
    return presets.names()


def locate(text: str) -> Source:
    """Where the model is that the user calls "smt", or "my_model.py:build".

    Raises:
        InputError: there is no such model or file.
    """
    if text in names():
        return Source(text)
    path, colon, function = text.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise InputError(f"unknown model {text!r}", fix=f"{', '.join(names())}, or FILE.py:FUNCTION that returns one")
    if not Path(path).is_file():
        raise InputError("no such file", file=path, fix="the model is FILE.py:FUNCTION")
    try:
        return Source(function, Path(path), Path(path).read_bytes())
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path, fix="the model is FILE.py:FUNCTION") from None


@cache
def load(source: Source) -> LoadedModel:
    """Build a model.

    Raises:
        InputError: the user's file has no such function, or raises; the function returns no SphericalMeanModel, or one
            with nothing to fit, or whose functions cannot be traced.
    """
    if source.file is None:
        build = presets.find(source.function)
        return LoadedModel(build(), *_about(build))
    from ..models.model import SphericalMeanModel

    file, function = source.file, source.function
    model, build = users_models.run(file, function)
    if not isinstance(model, SphericalMeanModel):
        raise InputError(f"{function}() returned {type(model).__name__}", file=file, fix="return a SphericalMeanModel")
    if not model.free:
        raise InputError(f"the model of {function}() has nothing to fit", file=file, fix="leave a parameter free")
    users_models.require_traceable(model, file)
    return LoadedModel(model, *_about(build))


def _about(build: Callable[[], Any]) -> tuple[str, str]:
    """First sentence of a function's docstring, and the address of the first DOI in it; empty where there is none."""
    text = inspect.getdoc(build) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    sentence = re.match(r".*?[.](?=\s|$)", paragraph)
    doi = re.search(r"doi:(10\.[^\s,;]+)", text)
    return (
        sentence.group() if sentence else paragraph,
        "" if doi is None else "https://doi.org/" + doi.group(1).rstrip(".)"),
    )
