"""Panels of maps, drawn without a display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Look:
    """How a map is drawn: its title with unit, colours, and range (None: 1st to 99th percentile)."""

    title: str
    cmap: str | Colormap = "viridis"
    limits: tuple[float, float] | None = None


_STATUS_COLOURS = ListedColormap(["0.9", "tab:blue", "gold", "red", "0.4", "black"])
LOOKS = {
    "lambda_par": Look("λ∥ [µm²/ms]", "magma", (0, 3.05)),
    "lambda_perp": Look("λ⊥ [µm²/ms]", "magma", (0, 1.5)),
    "fraction": Look("λ⊥/λ∥", "viridis", (0, 1)),
    "md": Look("mean diffusivity [µm²/ms]", "magma", (0, 3)),
    "fa": Look("microscopic FA", "gray", (0, 1)),
    "fapow3": Look("microscopic FA³", "gray", (0, 1)),
    "intra": Look("intra-neurite fraction", "viridis", (0, 1)),
    "diff": Look("intrinsic diffusivity [µm²/ms]", "magma", (0, 3.05)),
    "extratrans": Look("extra-neurite λ⊥ [µm²/ms]", "magma", (0, 1.5)),
    "extramd": Look("extra-neurite MD [µm²/ms]", "magma", (0, 3)),
    "s0": Look("S0", "gray"),
    "mse": Look("mean squared error", "cividis"),
    "r2": Look("R²", "cividis", (0.9, 1)),
    "status": Look("status (2: at a bound)", _STATUS_COLOURS, (-0.5, 5.5)),
}


def title(name: str) -> str:
    """What a map is called in pictures."""
    return LOOKS[name].title if name in LOOKS else name


def slice_axis(shape: tuple[int, ...]) -> int:
    """The axis across which to cut: the thinnest if it is much thinner than the others, else the third."""
    return int(np.argmin(shape)) if min(shape) * 4 < np.median(shape) else 2


def slice_of(volume: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The 2-D slice to show of a 3-D map, first axis to the right, second up.

    Across `slice_axis`; there the slice with most voxels in `like` (the mask).
    """
    axis = slice_axis(like.shape)
    counts = np.count_nonzero(like, axis=tuple(i for i in range(3) if i != axis))
    return np.take(volume, int(np.argmax(counts)), axis=axis)


def draw_maps(rows: Sequence[tuple[str, Mapping[str, np.ndarray]]], mask: np.ndarray) -> Figure:
    """A figure with one row of panels for each (label, {map name: 3-D map}).

    Maps of the same name share one colour scale, so that rows can be compared.
    """
    inside = slice_of(mask, mask) != 0
    aspect = inside.shape[1] / inside.shape[0]
    columns = max(len(maps) for _, maps in rows)
    width, height = 2.7 * columns, (2.6 * aspect + 0.75) * len(rows)
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    # Fixed margins, in inches: a layout engine would take longer than all the rest of the picture.
    figure.subplots_adjust(0.1 / width, 0.25 / height, 1 - 0.1 / width, 1 - 0.3 / height, wspace=0.04, hspace=0.16)
    for ax in axes.flat:
        ax.set_axis_off()
    for line, (label, maps) in zip(axes, rows, strict=True):
        for ax, (name, volume) in zip(line, maps.items(), strict=False):
            look = LOOKS.get(name) or Look(name)
            low, high = look.limits or _range([maps[name] for _, maps in rows if name in maps], mask)
            picture = ax.imshow(
                np.where(inside, slice_of(volume, mask), np.nan).T,
                origin="lower",
                cmap=look.cmap,
                vmin=low,
                vmax=high,
                interpolation="nearest",
            )
            ax.set_title(f"{label}: {look.title}" if label else look.title, fontsize=9)
            figure.colorbar(picture, ax=ax, orientation="horizontal", shrink=0.8, pad=0.03, aspect=25).ax.tick_params(
                labelsize=7
            )
    return figure


def _range(volumes: Sequence[np.ndarray], mask: np.ndarray) -> tuple[float, float]:
    values = np.concatenate([volume[mask != 0] for volume in volumes])
    values = values[np.isfinite(values)]
    low, high = np.percentile(values, (1, 99)) if values.size else (0, 1)
    return float(low), float(high)


def to_png(figure: Figure) -> bytes:
    """A figure as PNG; no time stamp inside, so that equal figures are equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    return buffer.getvalue()
