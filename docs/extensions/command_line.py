"""The directive `commands`: every command of the program with its options, from the parser itself."""

import argparse
import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from jaxsmt.app.parser import make_parser


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Commands(SphinxDirective):
    """A section for each command: what it does, its usage, and its options by group."""

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        parser = make_parser()
        commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
        texts = {choice.dest: choice.help for choice in commands._choices_actions}
        return [_section(name, texts[name] or "", command) for name, command in commands.choices.items()]


def _section(name: str, text: str, parser: argparse.ArgumentParser) -> nodes.section:
    """The section of a command."""
    section = nodes.section(ids=[f"jaxsmt-{name}"])
    section += nodes.title("", f"jaxsmt {name}")
    section += nodes.paragraph("", f"{text[:1].upper()}{text[1:]}.")
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ").replace("] ]", "]]")
    section += nodes.literal_block("", _folded(usage), language="text")
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if a.help is not argparse.SUPPRESS and a.dest != "help"]
        if actions:
            section += nodes.rubric("", group.title or "")
            section += nodes.definition_list("", *map(_item, actions), classes=["options"])
    return section


def _folded(usage: str, width: int = 84) -> str:
    """A usage line in lines of at most this width, which break between options."""
    lines, line = [], ""
    for part in re.findall(r"\[(?:[^\[\]]|\[[^\]]*\])*\]|\S+", usage):
        if line and len(line) + len(part) >= width:
            lines.append(line)
            line = "   "
        line += (" " if line.strip() else "") + part
    return "\n".join([*lines, line])


def _item(action: argparse.Action) -> nodes.definition_list_item:
    """An option, what follows it, and its help."""
    term = nodes.term("", "", *_names(action))
    text = (action.help or "") % {"default": action.default, "prog": "jaxsmt"}
    return nodes.definition_list_item("", term, nodes.definition("", nodes.paragraph("", text)))


def _names(action: argparse.Action) -> Iterator[nodes.Node]:
    """The option's flags with their value, such as `-o, --out OUT`."""
    value = _value(action)
    names = action.option_strings or [value]
    for i, name in enumerate(names):
        if i:
            yield nodes.Text(", ")
        last = i == len(names) - 1
        yield nodes.literal("", f"{name} {value}".strip() if action.option_strings and last else name)


def _value(action: argparse.Action) -> str:
    """What the command line shows for the value of an option; empty for a switch."""
    if action.option_strings and action.nargs == 0:
        return ""
    metavar = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else None)
    if metavar is None:
        metavar = action.dest.upper() if action.option_strings else action.dest
    text = " ".join(metavar) if isinstance(metavar, tuple) else metavar
    if action.nargs == "?":
        return f"[{text}]"
    return f"{text} …" if action.nargs == "+" else text
