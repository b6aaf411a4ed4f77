"""What goes wrong, said so that the user can mend it: the file, the fact, the fix."""

from __future__ import annotations

import os
import reprlib
from numbers import Integral
from typing import Any

_short = reprlib.Repr()
_short.maxlong, _short.maxstring, _short.maxother = 40, 80, 80


def shown(value: Any) -> str:
    """A value that a caller gave, as texts show it: one line at most.

    Example:
        >>> print(shown("rician"), shown(10**99))
        'rician' 100000000000000000...0000000000000000000
    """
    try:
        return _short.repr(value)
    except Exception:  # Python writes no integer of thousands of digits; a user's class may raise anything
        return f"something of type {type(value).__name__}"


def is_whole(value: Any, least: int = 0, most: float = float("inf")) -> bool:
    """Whether a value that a caller gave is a whole number, Python's or NumPy's, from `least` to `most`.

    Example:
        >>> is_whole(3), is_whole(True), is_whole(3.0), is_whole(3, least=4)
        (True, False, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most


class JaxsmtError(Exception):
    """Base of all errors raised on purpose.

    Args:
        fact: what was found, with the numbers that matter.
        fix: what the user can do about it.
        file: the file that the fact is about, if there is one.
    """

    exit_code = 1

    def __init__(self, fact: str, *, fix: str = "", file: str | os.PathLike[str] | None = None):
        self.fact, self.fix, self.file = fact, fix, None if file is None else os.fspath(file)
        place = "" if self.file is None else f"{self.file}: "
        super().__init__(f"{place}{fact}" + (f"\n  fix: {fix}" if fix else ""))


class InputError(JaxsmtError, ValueError):
    """Bad input; nothing has been written."""

    exit_code = 2


class OutputError(JaxsmtError, OSError):
    """The result cannot be written; nothing partial stands under a final name."""

    exit_code = 73


class ResourceError(JaxsmtError, RuntimeError):
    """Out of memory or device; the same command can be run again."""

    exit_code = 75


class JaxsmtWarning(UserWarning):
    """Something about the input that the user should know; the numbers stand."""


class NotCoveredError(InputError, NotImplementedError):
    """Something of another program's interface that jaxsmt does not offer."""
