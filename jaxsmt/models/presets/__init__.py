"""Models to start from: a file of this folder is one, and defines the function of its own name, which returns it.

`names` and `find` look at the folder, so a new model, on the command line too, is one new file. Read these files as
examples for a model of your own. No JAX is loaded before `find`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from ...errors import InputError, shown

if TYPE_CHECKING:
    from ..model import SphericalMeanModel


def names() -> tuple[str, ...]:
    """Names of the models, as the command line takes them."""
    return tuple(sorted(module.name for module in iter_modules(__path__)))


def find(name: str) -> Callable[[], SphericalMeanModel]:
    """The function that builds the model of this name.

    Raises:
        InputError: there is no such model.

    Example:
        >>> find("ball_stick")().parameter_names
        ['stick.lambda_par', 'weight.stick']
    """
    if name not in names():
        raise InputError(f"model={shown(name)} is unknown", fix=" or ".join(f"model={n!r}" for n in names()))
    build: Callable[[], SphericalMeanModel] = getattr(import_module(f".{name}", __package__), name)
    return build
