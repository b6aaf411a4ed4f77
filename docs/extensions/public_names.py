"""The directive `names`: public names of jaxsmt with their docstrings, and docstrings as reStructuredText wants them.

Docstrings are plain text for `help()`: `|x|`, `*` and a trailing `_` are no markup there, and one line may hold
"name: text. other: text.", which napoleon cannot read.
"""

import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Callable

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import jaxsmt as js


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive, and the change of docstrings."""
    app.add_directive("names", Names)
    app.connect("autodoc-process-docstring", _to_rst)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Names(SphinxDirective):
    """Documentation of the public names in the directive's lines; a module is all it defines."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Let autodoc document each name."""
        lines: list[str] = []
        for name in " ".join(self.content).split():
            lines += _lines(name)
        parsed = nodes.section()
        parsed.document = self.state.document
        text = "\n".join(["```{eval-rst}", *lines, "```"])
        self.state.nested_parse(StringList(text.splitlines(), source=f"public names of {self.env.docname}"), 0, parsed)
        return parsed.children


def _lines(name: str) -> list[str]:
    """Directives of autodoc for a public name."""
    value = getattr(js, name)
    if isinstance(value, types.ModuleType):
        return [
            line for member in _members(value) for line in _directive(value.__name__, member, getattr(value, member))
        ]
    return _directive("jaxsmt", name, value)


def _members(module: types.ModuleType) -> list[str]:
    """What a module defines for users."""
    listed = getattr(module, "__all__", None)
    return list(listed) if listed else [n for n, v in vars(module).items() if _is_public(module, n, v)]


def _is_public(module: types.ModuleType, name: str, value: object) -> bool:
    return not name.startswith("_") and getattr(value, "__module__", "") == module.__name__ and callable(value)


def _directive(module: str, name: str, value: object) -> list[str]:
    kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
    members = ["   :members:"] if kind == "class" and not issubclass(value, BaseException) else []  # type: ignore[arg-type]
    shown = str(inspect.signature(value)) if typing.get_overloads(value) else ""  # autodoc cannot join those
    return [f".. auto{kind}:: {module}.{name}{shown}", *members, ""]


_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example|Examples):\s*(.*)")
_TITLES = {"Args": "Arguments"}
# "name: text" or "name, other: text" at the start of an entry, or after a sentence within it.
_ENTRY = re.compile(r"(?:^|(?<=[.] )(?!None))((?:\*{0,2}\w+)(?:, \*{0,2}\w+)*): ")


def _to_rst(app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText: paragraphs, and a list for each section of arguments and the like."""
    blocks: list[str] = []
    rest = list(lines)
    while rest:
        found = _SECTION.fullmatch(rest[0])
        if found is None:
            text = _before(rest, lambda line: bool(_SECTION.fullmatch(line)))
            blocks += _paragraphs(text)
        else:
            rest.pop(0)
            body = _before(rest, lambda line: bool(line) and not line.startswith(" "))
            blocks += [
                "",
                f".. rubric:: {_TITLES.get(found[1], found[1])}",
                "",
                *_section(found[1], found[2], body),
                "",
            ]
    lines[:] = blocks


def _before(lines: list[str], ends: Callable[[str], bool]) -> list[str]:
    """Take the lines before the first one that ends them."""
    n = next((i for i, line in enumerate(lines) if ends(line)), len(lines))
    taken, lines[:] = lines[:n], lines[n:]
    return taken


def _section(title: str, first: str, body: list[str]) -> list[str]:
    """The body of a section: examples as they are, the rest as a list."""
    body = [*([first] if first else []), *textwrap.dedent("\n".join(body)).splitlines()]
    if title.startswith("Example"):
        return body
    entries: list[str] = []
    for line in filter(str.strip, body):
        if line.startswith(" ") or not entries or (title == "Returns" and not _ENTRY.match(line)):
            entries[len(entries) - 1 :] = [f"{entries[-1]} {line.strip()}" if entries else line.strip()]
        else:
            entries.append(line)
    return [f"- {text}" for entry in entries for text in _named(entry)]


def _named(entry: str) -> list[str]:
    """An entry, or each of several in one line, with the names as literals."""
    starts = [found.start(1) for found in _ENTRY.finditer(entry)]
    if not starts or starts[0] > 0:
        return [_escaped(entry)]
    pieces = [entry[a:b].strip() for a, b in itertools.pairwise([*starts, len(entry)])]
    split = (piece.partition(": ") for piece in pieces)
    return [f"{', '.join(f'``{n}``' for n in names.split(', '))}: {_escaped(text)}" for names, _, text in split]


def _paragraphs(lines: list[str]) -> list[str]:
    """Lines of text, escaped but for examples; indented ones are shown as they are."""
    blocks: list[str] = []
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        text = paragraph.strip("\n")
        if text.startswith((">>> ", "- ")):
            blocks += [text, ""]
        elif text.startswith("  "):
            blocks += ["::", "", *text.splitlines(), ""]
        elif text:
            blocks += [" ".join(_escaped(text).split()), ""]
    return "\n".join(blocks).splitlines()


def _escaped(text: str) -> str:
    """Text without what reStructuredText would take for markup, outside of literals."""
    pieces = text.split("`")
    for i, piece in enumerate(pieces):
        outside = re.sub(r"([|*])|(?<=\w)_(?=\W|$)", r"\\\g<0>", piece)
        pieces[i] = outside if i % 2 == 0 else f"``{piece}``" if piece else ""
    return "".join(pieces)
