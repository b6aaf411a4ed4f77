"""How a model is drawn: boxes of compartments, and lines of parameters in the colours of their states. No JAX."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"free": "#1b7837", "fixed": "#737373", "linked": "#2166ac"}


class Line(NamedTuple):
    """A parameter in a picture: its name, "free", "fixed" or "linked", and interval, value or equation."""

    name: str
    state: str
    text: str


class Box(NamedTuple):
    """A compartment in a picture: its name, what kind it is, and its parameters."""

    name: str
    kind: str
    lines: Sequence[Line]


# Inches: the width of a box with the room beside it, and the height of a line.
_WIDTH, _ROW = 3.6, 0.22


def draw(title: str, boxes: Sequence[Box], others: Sequence[Line]) -> Figure:
    """A Matplotlib figure: a box for each compartment, below them links between and beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    texts = [[textwrap.wrap(line.text, 42) for line in box.lines] for box in boxes]
    box_height = 0.85 + _ROW * max(sum(1.2 + len(text) for text in box) for box in texts)
    total = max(_WIDTH * len(boxes), 5.0)
    height = box_height + _ROW * len(others) + 0.95
    figure = Figure(figsize=(total, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, total)
    ax.set_ylim(0, height)
    ax.set_axis_off()
    _write(ax, 0.15, height - 0.3, title, 12, weight="bold")
    for i, (state, colour) in enumerate(_COLOURS.items()):
        _write(ax, total - 1.35 + 0.6 * i, height - 0.3, state, color=colour, ha="right")
    top = height - 0.6
    for i, (box, wrapped) in enumerate(zip(boxes, texts, strict=True)):
        if i:
            _write(ax, _WIDTH * i, top - box_height / 2, "+", 16, ha="center")
        _draw_box(ax, box, wrapped, 0.15 + _WIDTH * i, top, box_height)
    for j, line in enumerate(others):
        _write(ax, 0.2, top - box_height - _ROW * (j + 0.6), f"{line.name}  {line.text}", color=_COLOURS[line.state])
    return figure


def _draw_box(ax: Axes, box: Box, wrapped: Sequence[Sequence[str]], left: float, top: float, height: float) -> None:
    """A compartment: its name, its kind, and its parameters with their wrapped texts."""
    from matplotlib.patches import FancyBboxPatch

    edge: dict[str, Any] = {"boxstyle": "round,pad=0.08", "facecolor": "#f7f7f7", "edgecolor": "#525252"}
    ax.add_patch(FancyBboxPatch((left + 0.08, top - height + 0.08), _WIDTH - 0.46, height - 0.16, **edge))
    _write(ax, left + 0.12, top - 0.25, box.name or box.kind, 11, weight="bold")
    if box.name and box.name != box.kind:
        _write(ax, left + _WIDTH - 0.45, top - 0.25, box.kind, style="italic", ha="right")
    y = top - 0.6
    for line, text in zip(box.lines, wrapped, strict=True):
        _write(ax, left + 0.12, y, line.name, color=_COLOURS[line.state])
        for part in text:
            y -= _ROW
            _write(ax, left + 0.3, y, part, 8, color=_COLOURS[line.state])
        y -= 1.2 * _ROW


def _write(ax: Axes, x: float, y: float, text: str, size: float = 9, **look: Any) -> None:
    ax.text(x, y, text, fontsize=size, va="center", **look)
