"""Panels of maps, drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import map_table, masks
from ..status import Status
from .slices import choose_slice

_STATUS_COLOURS = ListedColormap([code.colour for code in Status])
_WIDTH, _SIDE, _BELOW, _ABOVE = 2.4, 0.15, 0.6, 0.32  # inches of a panel's slice, and of what is around it


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib as it comes, whatever the user has set: no LaTeX, the usual fonts and sizes."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def draw_maps(
    rows: Sequence[tuple[str, Mapping[str, np.ndarray]]], mask: np.ndarray, affine: np.ndarray | None = None
) -> Figure:
    """A figure with one row of panels for each (label, {map name: map}); maps of one name share their colours' range.

    Args:
        rows: labels may be empty; maps are (x, y, z).
        mask: (x, y, z), 0 where nothing is shown. affine: of `slices.choose_slice`, which chooses what is shown.
    """
    inside = mask != 0
    cut = choose_slice(inside, affine)
    (width, height), shown = cut.inside.shape, cut.inside
    cell = np.array([_WIDTH + 2 * _SIDE, _WIDTH * height / width * cut.aspect + _BELOW + _ABOVE])
    size = cell * (max(len(maps) for _, maps in rows), len(rows))
    figure = Figure(figsize=tuple(size))
    FigureCanvasAgg(figure)
    for i, (label, maps) in enumerate(rows):
        for j, (name, volume) in enumerate(maps.items()):
            same_name = [other[name][inside] for _, other in rows if name in other]
            limits = map_table.about(name).limits or range_of(np.concatenate(same_name))
            title = map_table.about(name).title
            # Fixed places: a layout engine would take longer than all the rest of the picture.
            corner = j * cell[0], (len(rows) - 1 - i) * cell[1]
            ax = figure.add_axes((*(corner / size), *(cell / size)), xlim=(0, cell[0]), ylim=(0, cell[1]))
            ax.set_axis_off()
            panel = np.where(shown, cut.of(masks.take(volume, inside, "F")), np.nan)
            _draw_panel(ax, panel, f"{label}: {title}" if label else title, _colours(name), limits)
    return figure


def _draw_panel(ax: Axes, panel: np.ndarray, title: str, colours: str | Colormap, limits: tuple[float, float]) -> None:
    """One slice with its title and a bar of its colours; Matplotlib's colour bar would take most of the time.

    ax: has inches as its coordinates.
    """
    (_, width), (_, height) = ax.get_xlim(), ax.get_ylim()
    left, right, bottom, top = _SIDE + 0.1, width - _SIDE - 0.1, _BELOW - 0.22, _BELOW - 0.14
    how: dict[str, Any] = {"cmap": colours, "vmin": limits[0], "vmax": limits[1], "aspect": "auto"}
    place = (left, right, _BELOW, height - _ABOVE)
    ax.imshow(panel.T, origin="lower", interpolation="nearest", extent=place, **how)
    ax.set_title(title, fontsize=9, y=1 - 0.22 / height, pad=0)
    ax.imshow(np.linspace(*limits, 256)[None], extent=(left, right, bottom, top), **how)
    ticks = round_ticks(*limits)
    x = np.interp(ticks, limits, (left, right))
    frame = [[(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]]
    marks = [[(at, bottom), (at, bottom - 0.04)] for at in x]
    ax.add_collection(LineCollection(frame + marks, colors="black", linewidths=0.8), autolim=False)
    for at, tick in zip(x, ticks, strict=True):
        ax.text(at, bottom - 0.07, f"{tick:g}", fontsize=7, ha="center", va="top")


def round_ticks(low: float, high: float, most: int = 7) -> np.ndarray:
    """Round numbers from low to high: fewer if they are long.

    Args:
        low, high: ends. most: how many there may be.
    """
    for n in (most, 4):
        values = np.asarray(MaxNLocator(n, steps=(1, 2, 2.5, 5, 10)).tick_values(low, high))
        slack = 1e-6 * (high - low)
        ticks = values[(values >= low - slack) & (values <= high + slack)]
        if max((len(f"{tick:g}") for tick in ticks), default=0) <= 4:
            break
    return ticks


def _colours(name: str) -> str | Colormap:
    """Colour map of a map."""
    colours = map_table.about(name).colours
    return _STATUS_COLOURS if colours == "status" else colours


def range_of(values: np.ndarray) -> tuple[float, float]:
    """1st to 99th percentile of the finite values.

    Args:
        values: of voxels inside the mask.
    """
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (1, 99)) if values.size else (0, 1)
    if low == high:  # the same everywhere, as σ may be: a range about it, so that its bar has numbers
        low, high = low - 0.1 * abs(low) - 1e-3 * (low == 0), high + 0.1 * abs(high) + 1e-3 * (high == 0)
    return float(low), float(high)


def to_png(figure: Figure, transparent: bool = False) -> bytes:
    """A figure as PNG; it has no time stamp, so that equal figures are equal bytes.

    Args:
        figure: drawn. transparent: on no background.
    """
    buffer = io.BytesIO()
    how: dict[str, Any] = {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}}
    figure.savefig(buffer, format="png", dpi=120, transparent=transparent, **how)
    return buffer.getvalue()
