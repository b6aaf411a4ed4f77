"""Pages from the templates beside this file: one HTML file with everything in it; all text from outside is escaped."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

import jinja2
from matplotlib.figure import Figure

from .maps import to_png


def fill(template: str, **values: Any) -> str:
    """A page from one of the templates beside this file.

    Args:
        template: its name.
        values: what it names.
    """
    loader = jinja2.FunctionLoader(_source)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(values)


def _source(template: str) -> str:
    """The text of a template."""
    assert __package__ is not None
    return files(__package__).joinpath(template).read_text("utf-8")


def to_base64(figure: Figure) -> str:
    """A figure as a page embeds it, on no background: that of the page is seen."""
    return base64.b64encode(to_png(figure, transparent=True)).decode()
