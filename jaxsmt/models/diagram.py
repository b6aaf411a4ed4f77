"""The picture of a model: compartments, what is free, fixed or linked, and how. No JAX."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

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


def draw(title: str, boxes: Sequence[Box], others: Sequence[Line]):
    """A matplotlib figure: a box for each compartment, below them links between and beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyBboxPatch

    width, row = 3.6, 0.22
    texts = [[textwrap.wrap(line.text, 42) for line in box.lines] for box in boxes]
    box_height = 0.85 + row * max(sum(1.2 + len(text) for text in box) for box in texts)
    total = max(width * len(boxes), 5.0)
    height = box_height + row * len(others) + 0.95
    figure = Figure(figsize=(total, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, total)
    ax.set_ylim(0, height)
    ax.set_axis_off()

    def write(x: float, y: float, text: str, size: float = 9, **look) -> None:
        ax.text(x, y, text, fontsize=size, va="center", **look)

    write(0.15, height - 0.3, title, 12, weight="bold")
    for i, (state, colour) in enumerate(_COLOURS.items()):
        write(total - 1.35 + 0.6 * i, height - 0.3, state, color=colour, ha="right")
    top = height - 0.6
    for i, (box, wrapped) in enumerate(zip(boxes, texts, strict=True)):
        left = 0.15 + width * i
        edge: dict[str, Any] = {"boxstyle": "round,pad=0.08", "facecolor": "#f7f7f7", "edgecolor": "#525252"}
        ax.add_patch(FancyBboxPatch((left + 0.08, top - box_height + 0.08), width - 0.46, box_height - 0.16, **edge))
        if i:
            write(left - 0.15, top - box_height / 2, "+", 16, ha="center")
        write(left + 0.12, top - 0.25, box.name or box.kind, 11, weight="bold")
        if box.name and box.name != box.kind:
            write(left + width - 0.45, top - 0.25, box.kind, style="italic", ha="right")
        y = top - 0.6
        for line, text in zip(box.lines, wrapped, strict=True):
            write(left + 0.12, y, line.name, color=_COLOURS[line.state])
            for part in text:
                y -= row
                write(left + 0.3, y, part, 8, color=_COLOURS[line.state])
            y -= 1.2 * row
    for j, line in enumerate(others):
        write(0.2, top - box_height - row * (j + 0.6), f"{line.name}  {line.text}", color=_COLOURS[line.state])
    return figure
