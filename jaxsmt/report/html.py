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
    assert __package__ is not None
    template = jinja2.Template(
        files(__package__).joinpath("template.html").read_text("utf-8"), autoescape=True, trim_blocks=True
    )
    return template.render(
        title=title,
        pictures=[(text, base64.b64encode(to_png(figure)).decode()) for text, figure in figures],
        tables=tables,
        warnings=warnings,
    )
