"""The report: one HTML file with everything in it; all text from outside is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jinja2
from matplotlib.figure import Figure

from .maps import to_png

Table = tuple[str, Sequence[tuple[str, Any]]]  #: heading, and rows of names and values


def render(title: str, figures: Sequence[tuple[str, Figure]], tables: Sequence[Table], warnings: Sequence[str]) -> str:
    """The page.

    Args:
        title: heading of the page.
        figures: what each shows, and the figure, which is embedded.
        tables: what follows the figures.
        warnings: stand before the figures.
    """
    pictures = [(text, to_base64(figure)) for text, figure in figures]
    return fill("template.html", title=title, pictures=pictures, tables=tables, warnings=warnings)


def fill(template: str, **values: Any) -> str:
    """A page from one of the templates beside this file.

    Args:
        template: its name.
        values: what it names.
    """
    loader = jinja2.FunctionLoader(_source)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(values)


def _source(template: str) -> str:
    """The text of a template."""
    assert __package__ is not None
    return files(__package__).joinpath(template).read_text("utf-8")


def to_base64(figure: Figure) -> str:
    """A figure as a page embeds it."""
    return base64.b64encode(to_png(figure)).decode()
