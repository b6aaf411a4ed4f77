"""Models that the command line knows by name, or finds in a user's file. Loads JAX only for the latter."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from ..models.model import SphericalMeanModel

_COMMON = ("s0", "mse", "r2", "status")


@dataclass(frozen=True)
class Entry:
    """A model before it is built.

    Attributes:
        name: as in file names. maps: that a fit writes. shells: above b = 0 that it needs.
        background: the map on which glyphs are drawn. file, function: of the user, if it is theirs.
    """

    name: str
    maps: tuple[str, ...]
    shells: int
    background: str
    build: Callable[[], SphericalMeanModel]
    file: Path | None = None
    function: str | None = None


def _preset(name: str) -> Callable[[], SphericalMeanModel]:
    def build() -> SphericalMeanModel:
        from ..models import presets

        return getattr(presets, name)()

    return build


PRESETS = {
    "smt": Entry(
        "smt",
        ("lambda_par", "lambda_perp", "fraction", "md", "fa", "fapow3", *_COMMON),
        2,
        "lambda_perp",
        _preset("smt"),
    ),
    "mcsmt": Entry("mcsmt", ("intra", "diff", "extratrans", "extramd", *_COMMON), 2, "extratrans", _preset("mcsmt")),
}


def find(text: str) -> Entry:
    """The model called "smt" or "mcsmt", or what the function of "my_model.py:build" returns.

    Raises:
        InputError: there is no such model, file or function, or it does not return a SphericalMeanModel with
            something to fit.
    """
    if text in PRESETS:
        return PRESETS[text]
    path, colon, function = text.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise InputError(f"unknown model {text!r}", fix=f"{', '.join(PRESETS)}, or FILE.py:FUNCTION that returns one")
    return _load(Path(path), function)


@cache
def _load(path: Path, function: str) -> Entry:
    from ..models.model import SphericalMeanModel

    if not path.is_file():
        raise InputError("no such file", file=path, fix="the model is FILE.py:FUNCTION")
    # A name of its own: the file may be called as another one is, or as a package.
    name = "_jaxsmt_model_" + hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    folder = os.fspath(path.parent.resolve())
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.append(folder)  # last, so that its neighbours hide no package
    try:
        spec.loader.exec_module(module)
        if not callable(getattr(module, function, None)):
            raise InputError(f"has no function {function}", file=path, fix=f"def {function}(): return ...")
        model = getattr(module, function)()
    except BaseException as error:  # whatever a user's file may raise
        del sys.modules[name]
        if isinstance(error, InputError) or not isinstance(error, Exception | SystemExit):
            raise
        fact = f"{type(error).__name__}: {error}"
        raise InputError(fact, file=path, fix=f"import it in Python and call {function}() to see where") from error
    finally:
        sys.path.remove(folder)
    if not isinstance(model, SphericalMeanModel):
        raise InputError(f"{function}() returned {type(model).__name__}", file=path, fix="return a SphericalMeanModel")
    if not model.free:
        raise InputError(f"the model of {function}() has nothing to fit", file=path, fix="leave a parameter free")
    maps = model.maps or (*model.names, *(link.target for link in model.derived))
    background = next((name for name in reversed(model.parameter_names) if name in maps), maps[0])
    return Entry(model.name, (*maps, *_COMMON), len(model.free), background, lambda: model, path, function)
