"""Panels of maps, drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure

from ..files import map_table
from ..status import Status

_STATUS_COLOURS = ListedColormap([code.colour for code in Status])
_MARGIN = 0.1  # inches left and right of the panels


def slice_axis(shape: tuple[int, ...]) -> int:
    """The axis across which to cut: the thinnest if it is much thinner than the others, else the third."""
    return int(np.argmin(shape)) if min(shape) * 4 < np.median(shape) else 2


def slice_of(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The 2-D slice to show of a 3-D map, its first axis to the right, its second up.

    The slice is cut across `slice_axis`, where the mask has most voxels.
    """
    axis = slice_axis(mask.shape)
    counts = np.count_nonzero(mask, axis=tuple(i for i in range(3) if i != axis))
    return np.take(volume, int(np.argmax(counts)), axis=axis)


def draw_maps(rows: Sequence[tuple[str, Mapping[str, np.ndarray]]], mask: np.ndarray) -> Figure:
    """A figure with one row of panels for each (label, {map name: map}); maps of one name share their colours' range.

    Args:
        rows: labels may be empty; maps are (x, y, z).
        mask: (x, y, z), 0 where nothing is shown.
    """
    inside = slice_of(mask, mask) != 0
    aspect = inside.shape[1] / inside.shape[0]
    columns = max(len(maps) for _, maps in rows)
    width, height = 2.7 * columns, (2.6 * aspect + 0.75) * len(rows)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    # Fixed margins: a layout engine would take longer than all the rest of the picture.
    left, right = _MARGIN / width, 1 - _MARGIN / width
    figure.subplots_adjust(left, 0.25 / height, right, 1 - 0.3 / height, wspace=0.04, hspace=0.16)
    for ax in axes.flat:
        ax.set_axis_off()
    for line, (label, maps) in zip(axes, rows, strict=True):
        for ax, (name, volume) in zip(line, maps.items(), strict=False):
            same_name = [other[name] for _, other in rows if name in other]
            limits = map_table.about(name).limits or _range(same_name, mask)
            title = map_table.about(name).title
            panel = np.where(inside, slice_of(volume, mask), np.nan)
            _draw_panel(ax, panel, f"{label}: {title}" if label else title, _colours(name), limits)
    return figure


def _draw_panel(ax: Axes, panel: np.ndarray, title: str, colours: str | Colormap, limits: tuple[float, float]) -> None:
    """One slice with its title and a bar of its colours."""
    picture = ax.imshow(panel.T, origin="lower", cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    ax.set_title(title, fontsize=9)
    figure = ax.figure
    bar = figure.colorbar(picture, ax=ax, orientation="horizontal", shrink=0.8, pad=0.03, aspect=25)
    bar.ax.tick_params(labelsize=7)


def _colours(name: str) -> str | Colormap:
    """Colour map of a map."""
    colours = map_table.about(name).colours
    return _STATUS_COLOURS if colours == "status" else colours


def _range(volumes: Sequence[np.ndarray], mask: np.ndarray) -> tuple[float, float]:
    """1st to 99th percentile inside the mask."""
    values = np.concatenate([volume[mask != 0] for volume in volumes])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (1, 99)) if values.size else (0, 1)
    return float(low), float(high)


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; it has no time stamp, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
