"""The picture of a model: compartments, what is free, fixed or linked, and how. No JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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

    width, row = 3.6, 0.24
    tallest = max(len(box.lines) for box in boxes)
    box_height = row * 2 * tallest + 0.75
    total_width = max(width * len(boxes), 5.0)
    height = box_height + row * len(others) + 1.15
    figure = Figure(figsize=(total_width, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_xlim(0, total_width)
    ax.set_ylim(0, height)
    ax.set_axis_off()
    ax.text(0.15, height - 0.3, title, fontsize=12, weight="bold", va="center")
    for i, (state, colour) in enumerate(_COLOURS.items()):
        ax.text(
            total_width - 0.15 - 0.6 * (2 - i), height - 0.3, state, color=colour, fontsize=9, va="center", ha="right"
        )
    top = height - 0.6
    for i, box in enumerate(boxes):
        left = 0.15 + width * i
        shape = FancyBboxPatch(
            (left + 0.08, top - box_height + 0.08), width - 0.46, box_height - 0.16,
            boxstyle="round,pad=0.08", facecolor="#f7f7f7", edgecolor="#525252",
        )  # fmt: skip
        ax.add_patch(shape)
        if i:
            ax.text(left - 0.15, top - box_height / 2, "+", fontsize=16, ha="center", va="center")
        ax.text(left + 0.12, top - 0.25, box.name or box.kind, fontsize=11, weight="bold", va="center")
        if box.name and box.name != box.kind:
            ax.text(left + width - 0.45, top - 0.25, box.kind, fontsize=9, style="italic", va="center", ha="right")
        for j, line in enumerate(box.lines):
            y = top - 0.6 - 2 * row * j
            ax.text(left + 0.12, y, line.name, fontsize=9, color=_COLOURS[line.state], va="center")
            ax.text(left + 0.3, y - row * 0.85, line.text, fontsize=8, color=_COLOURS[line.state], va="center")
    for j, line in enumerate(others):
        y = top - box_height - row * (j + 0.8)
        ax.text(0.2, y, f"{line.name}  {line.text}", fontsize=9, color=_COLOURS[line.state], va="center")
    return figure
