"""Write the table of cases: `python -m tests.inputs` makes `docs/inputs.md`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from tests.app.test_users_models import FILES
from tests.inputs.cases import CASES
from tests.inputs.python_calls import CALLS
from tests.inputs.test_environment import ENVIRONMENTS, PLATFORMS, STREAMS

TABLE = Path(__file__).parents[2] / "docs" / "inputs.md"

_HEAD = """# What happens with each kind of input

<!-- This page is made by `python -m tests.inputs`, from the cases that the tests try. -->

{count} cases, each of them a test. Exit codes of the command line: 0 done; 2 bad input, one message that names the
file, the fact and the fix, and nothing is written; 73 the result cannot be written; 75 no resources. A warning stands
in the log, in the sidecars and in the report. In Python the same errors are a `jaxsmt.InputError`, which is a
`ValueError`. Never a traceback, never a silent change of the numbers.

What is said is shortened to the words that tell one case from another; … stands for more of them.
"""


def page() -> str:
    """The whole page."""
    count = len(CASES) + len(FILES) + len(CALLS)
    count += len(ENVIRONMENTS) + len(STREAMS) + len(PLATFORMS)
    return "\n".join([_HEAD.format(count=count), *_of_files(), *_of_models(), *_of_surroundings(), *_of_calls()])


def _of_files() -> Iterator[str]:
    for topic, cases in groupby(CASES, key=lambda case: case.topic):
        rows = [(_text(case.name), case.outcome, _words(case.says)) for case in cases]
        yield _table(topic, ("given", "exit code", "said"), rows)


def _of_models() -> Iterator[str]:
    rows = [(_text(name), "2", _words(says)) for name, (_, says) in FILES.items()]
    yield _table("Models of your own (`--model FILE.py:FUNCTION`)", ("what the file does", "exit code", "said"), rows)


def _of_surroundings() -> Iterator[str]:
    rows = [(_text(name), "0", "") for name in (*STREAMS, *ENVIRONMENTS)]
    rows += [(f"`JAX_PLATFORMS={name}`, which is not there", "75", "JAX_PLATFORMS") for name in PLATFORMS]
    yield _table("Where the program runs (`fit`)", ("where", "exit code", "said"), rows)


def _of_calls() -> Iterator[str]:
    for topic, calls in groupby(CALLS, key=lambda call: call.topic):
        rows = [(f"`{call.text}`".replace("|", "\\|"), _words(call.says)) for call in calls]
        yield _table(topic, ("call", "said"), rows)


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"## {title}\n", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _words(says: str) -> str:
    """A regular expression as words: the first of its alternatives, … for what may be anything."""
    first = re.split(r"(?<!\\)\|(?![^(]*\))", says)[0]
    first = re.sub(r"\(([^()|\\]*)\|[^()]*\)", r"\1", first)
    plain = re.sub(r"\\(.)", r"\1", first.replace(".*", " … "))
    return _text(" ".join(plain.split()))


def _text(words: str) -> str:
    """Words for a cell of a table."""
    return html.escape(words, quote=False).replace("|", "\\|")


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(page(), "utf-8")
    print(f"wrote {TABLE}")
