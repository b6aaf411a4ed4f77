"""Messages in the words of the command line: `sigma=` of Python is `--sigma` there. No JAX."""

from __future__ import annotations

import re
import shlex

from ..errors import JaxsmtError
from ..fitting.settings import Settings, options_of
from .request import Request
from .simulation.options import Simulation

# What Python calls otherwise.
_ALIASES = {
    "bvals": "bval",
    "bvecs": "bvec",
    "density": "fod",
    "n_fibres": "fibres",
    "b_delta": "b_shape",
    "te": "echo_time",
}
_FLAGS = {
    name: "--" + name.replace("_", "-")
    for record in (Settings, Request, Simulation)
    for name, (declared, _) in options_of(record).items()
    if declared.flag is not None
}
_FLAGS |= {name: _FLAGS[flag] for name, flag in _ALIASES.items()} | {"dwi": "DWI"}
# Not inside of paths and longer names. A value is quoted, or goes on to the next space or punctuation.
_ARGUMENT = re.compile(
    rf"(?<![\w./-])(?P<name>{'|'.join(sorted(_FLAGS, key=len, reverse=True))})="
    r"(?P<value>'[^']*'|\"[^\"]*\"|[^\s,;:()'\"=]+)?"
)


def in_flags(text: str) -> str:
    """A text in which Python's `name=`, `name=value` and `name='value'` are flags.

    Example:
        >>> in_flags("give sigma= a number, or noise='gaussian'; b_unit='ms/um2'")
        'give --sigma a number, or --noise gaussian; --b-unit ms/um2'
    """
    return _ARGUMENT.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    """The flag of one argument."""
    flag, value = _FLAGS[match["name"]], match["value"]
    if value is None or value == "True":
        return flag
    plain = value[1:-1] if value[0] in "'\"" else value
    return f"{flag} {shlex.quote(plain) if any(map(str.isspace, plain)) else plain}"


def message(error: JaxsmtError) -> str:
    """What the command line prints of an error: file, fact and fix."""
    place = "" if error.file is None else f"{error.file}: "
    return f"{place}{in_flags(error.fact)}" + (f"\n  fix: {in_flags(error.fix)}" if error.fix else "")
