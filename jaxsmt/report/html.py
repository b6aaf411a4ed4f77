"""The report: one HTML file with everything in it; every text from outside is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib.resources import files

import jinja2
from matplotlib.figure import Figure

from .maps import to_png


def render(
    title: str,
    figures: Sequence[tuple[str, Figure]],
    tables: Sequence[tuple[str, Sequence]],
    warnings: Sequence[str],
) -> str:
    """HTML with (what it shows, figure) embedded and (heading, [(name, value), …]) tables."""
    template = jinja2.Template(
        files(__package__).joinpath("template.html").read_text("utf-8"), autoescape=True, trim_blocks=True
    )
    return template.render(
        title=title,
        pictures=[(text, base64.b64encode(to_png(figure)).decode()) for text, figure in figures],
        tables=tables,
        warnings=warnings,
    )
