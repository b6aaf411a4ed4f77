"""How objects show themselves in notebooks and pictures: by a room above theirs, which `jaxsmt` names.

Results may not import the pictures, which are made of results. So they ask here, and the package, which knows all its
rooms, says at the start where to find them. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

_find: Callable[[str], ModuleType] | None = None


def found_by(find: Callable[[str], ModuleType]) -> None:
    """Name the function that finds the modules that draw and write.

    Args:
        find: of a name, such as "pictures", the module.
    """
    global _find
    _find = find


def module(name: str) -> ModuleType:
    """The module that draws ("pictures") or writes tables ("summaries").

    Example:
        >>> import jaxsmt
        >>> module("summaries").__name__
        'jaxsmt.report.summaries'
    """
    assert _find is not None, "the package names it when it is imported"
    return _find(name)


class Shown:
    """What notebooks show as a short table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        """The table as HTML; notebooks call this."""
        table: str = module("summaries").html_of(self)
        return table
