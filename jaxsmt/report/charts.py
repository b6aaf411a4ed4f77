"""Charts as SVG that is part of a page: they take the page's colours, light or dark, and are sharp in print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from .maps import round_ticks

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _BELOW = 360.0, 120.0, 8.0, 8.0, 22.0
_BINS = 60
_BAND = 13.0  # height of a range with its text
_WIDE, _PANEL, _MARGIN = 1000.0, 120.0, 52.0  # of the chart of volumes


@dataclass(frozen=True)
class VoxelGroup:
    """Values of one kind of voxels.

    Attributes:
        key: names its colour in the page's style. name: in texts. values: finite ones.
    """

    key: str
    name: str
    values: np.ndarray


@dataclass(frozen=True)
class Band:
    """A range that is shown above a histogram.

    Attributes:
        key: as of a group. text: what it is. low, high: its ends.
    """

    key: str
    text: str
    low: float
    high: float


@dataclass(frozen=True)
class Chart:
    """A chart, and what it shows in words.

    Attributes:
        svg: the picture. text: instead of it.
    """

    svg: Markup
    text: str


def histogram(
    title: str, groups: Sequence[VoxelGroup], limits: tuple[float, float], bands: Sequence[Band] = ()
) -> Chart:
    """Histograms of several groups, each of the same area; values beyond the limits are in the outermost bins.

    An outermost bin that is higher than all others is cut.

    Args:
        title: what the values are, with the unit.
        groups: at least one value in all.
        limits: of the axis. bands: ranges to compare with.
    """
    low, high = limits
    top = _BAND * len(bands) + 4
    height = top + _HEIGHT + _BELOW

    def x(value: float) -> float:
        return _LEFT + (min(max(value, low), high) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    filled = [group for group in groups if len(group.values)]
    counts = [np.histogram(np.clip(g.values, low, high), _BINS, (low, high))[0] / len(g.values) for g in filled]
    # The outermost bins, where bounds are, may hold most of a group: they would make all others flat.
    most = max((float(count[1:-1].max()) for count in counts), default=0.0) or 1.0
    edges = [x(low + (high - low) * i / _BINS) for i in range(_BINS + 1)]
    parts = []
    for i, band in enumerate(bands):
        left, right, y = x(band.low), x(band.high), 2 + _BAND * i
        place = f'x="{left:.1f}" y="{y:.1f}" width="{max(right - left, 2):.1f}" height="9"'
        parts.append(f'<rect class="band {band.key}" {place}/>')
        end = right > 0.6 * _WIDTH
        parts.append(_text(left - 4 if end else right + 4, y + 8, band.text, "end" if end else "start"))
    for group, count in zip(filled, counts, strict=True):
        points = [f"{edges[0]:.1f},{top + _HEIGHT:.1f}"]
        for i, part in enumerate(count):
            y = top + _HEIGHT * (1 - min(part / most, 1))
            points += [f"{edges[i]:.1f},{y:.1f}", f"{edges[i + 1]:.1f},{y:.1f}"]
        points.append(f"{edges[-1]:.1f},{top + _HEIGHT:.1f}")
        parts.append(f'<polygon class="area {group.key}" points="{" ".join(points)}"/>')
    parts.append(f'<path class="axis" d="M{_LEFT} {top + _HEIGHT:.1f}H{_WIDTH - _RIGHT}"/>')
    for tick in round_ticks(low, high):
        parts.append(f'<path class="axis" d="M{x(tick):.1f} {top + _HEIGHT:.1f}v4"/>')
        anchor = "start" if x(tick) < 12 else "end" if x(tick) > _WIDTH - 12 else "middle"
        parts.append(_text(x(tick), top + _HEIGHT + 16, f"{tick:g}", anchor))
    text = f"Histogram of {title}. " + "; ".join(_of_group(group) for group in groups)
    if bands:
        text += ". Ranges of healthy adults: " + "; ".join(band.text for band in bands)
    return Chart(_svg(_WIDTH, height, text, parts), text)


def _of_group(group: VoxelGroup) -> str:
    """A group in words."""
    if not len(group.values):
        return f"{group.name}: none"
    first, middle, third = np.percentile(group.values, (25, 50, 75))
    return f"{group.name}: median {middle:.3g}, quartiles {first:.3g} and {third:.3g}, {len(group.values):,} voxels"


@dataclass(frozen=True)
class Panel:
    """Numbers of all volumes.

    Attributes:
        title: what they are, with the unit. values: (volumes,), NaN where there are none.
    """

    title: str
    values: np.ndarray


def volumes_chart(panels: Sequence[Panel], shells: np.ndarray, outlying: np.ndarray, text: str) -> Chart:
    """A dot for each volume, in the colour of its shell; those that stand out are ringed and have their numbers.

    Args:
        panels: one below the other, at least one.
        shells: (volumes,) number of each volume's shell.
        outlying: numbers of the volumes that stand out.
        text: what the chart shows.
    """
    count = len(shells)
    height = len(panels) * (_PANEL + 34) + 24
    parts = []

    def x(volume: float) -> float:
        return _MARGIN + (volume + 0.5) / count * (_WIDE - _MARGIN - 12)

    for nth, panel in enumerate(panels):
        top = 22 + nth * (_PANEL + 34)
        known = panel.values[np.isfinite(panel.values)]
        low, high = (min(0.0, float(known.min())), max(0.0, float(known.max()))) if known.size else (0.0, 1.0)
        room = 0.12 * (high - low) or 1.0
        low, high = (low - room if low < 0 else low), high + room

        def y(value: float, top: float = top, low: float = low, high: float = high) -> float:
            return top + _PANEL * (high - value) / (high - low)

        parts.append(_text(_MARGIN, top - 8, panel.title, "start", "title"))
        for tick in round_ticks(low, high, most=4):
            kind = "axis" if tick == 0 else "grid"
            parts.append(f'<path class="{kind}" d="M{_MARGIN} {y(tick):.1f}H{_WIDE - 12:g}"/>')
            parts.append(_text(_MARGIN - 6, y(tick) + 4, f"{tick:g}", "end"))
        for volume in np.flatnonzero(np.isfinite(panel.values)).tolist():
            place = f'cx="{x(volume):.1f}" cy="{y(panel.values[volume]):.1f}"'
            parts.append(f'<circle class="shell{shells[volume] % 6}" {place} r="3"/>')
            if volume in outlying:
                parts.append(f'<circle class="ring" {place} r="7"/>')
                end = x(volume) > _WIDE - 90
                at = x(volume) + (-11 if end else 11)
                parts.append(_text(at, y(panel.values[volume]) + 4, f"{volume}", "end" if end else "start"))
    for tick in round_ticks(0, count - 1):
        parts.append(_text(x(tick), height - 8, f"{tick:g}", "middle"))
    return Chart(_svg(_WIDE, height, text, parts), text)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    """A text."""
    name = f' class="{kind}"' if kind else ""
    return f'<text{name} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: float, height: float, text: str, parts: Sequence[str]) -> Markup:
    """A picture from its parts, which are escaped already."""
    head = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(text)}">'
    return Markup(head + "".join(parts) + "</svg>")  # `_text` and this function escape all that is not ours
