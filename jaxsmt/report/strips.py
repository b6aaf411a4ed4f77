"""Pictures of a group: a dot for each series, and voxels by status; colours that everybody can tell apart."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..status import Status

_COLUMNS = 4  # panels in a row
_PANEL, _LEFT, _WIDTH, _BOTTOM, _TOP = (2.8, 2.4), 0.6, 1.0, 0.2, 0.42  # inches of a panel, and around its axes
_DOT, _ODD = "#0072B2", "#D55E00"  # of Okabe and Ito's palette
_ALL_LABELLED = 6  # series; of more only the outliers have labels
_MOST_LABELS, _LABEL_LENGTH, _LABEL_HEIGHT = 12, 18, 0.125  # of a panel; characters; inches
_BAR, _MOST_BARS = 0.17, 70  # inches of a series' bar; more series have thinner ones


@dataclass(frozen=True)
class Strip:
    """The values of one column.

    Attributes:
        title: what they are, with the unit.
        labels: of the series.
        values: of each series; not all need be finite.
        odd: indices of the outliers.
    """

    title: str
    labels: Sequence[str]
    values: Sequence[float]
    odd: Collection[int] = ()

    @property
    def text(self) -> str:
        """What the picture shows, for those who do not see it.

        Example:
            >>> Strip("FA", ["sub-01", "sub-02", "sub-03"], [0.7, 0.8, 0.2], {2}).text
            'FA: 3 values from 0.2 to 0.8, median 0.7; outliers: sub-03 0.2'
        """
        known = [value for value in self.values if np.isfinite(value)]
        if not known:
            return f"{self.title}: no values"
        text = f"{self.title}: {len(known)} values from {min(known):.4g} to {max(known):.4g}"
        odd = ", ".join(f"{self.labels[i]} {self.values[i]:.4g}" for i in sorted(self.odd))
        return f"{text}, median {np.median(known):.4g}" + (f"; outliers: {odd}" if odd else "")


def draw_strips(strips: Sequence[Strip]) -> Figure:
    """A panel for each column: a dot for each series, a box from the first to the third quartile, labelled outliers.

    Args:
        strips: at least one.
    """
    columns = min(len(strips), _COLUMNS)
    rows = -(-len(strips) // columns)
    size = np.array(_PANEL) * (columns, rows)
    figure = Figure(figsize=tuple(size))
    FigureCanvasAgg(figure)
    height = _PANEL[1] - _BOTTOM - _TOP
    for i, strip in enumerate(strips):
        corner = np.array(_PANEL) * (i % columns, rows - 1 - i // columns) + (_LEFT, _BOTTOM)
        ax = figure.add_axes((*(corner / size), *(np.array([_WIDTH, height]) / size)))
        _draw_strip(ax, strip, height)
    return figure


def _draw_strip(ax: Axes, strip: Strip, height: float) -> None:
    """One panel; `height`: inches of the axes."""
    title = "\n".join(textwrap.wrap(strip.title, 34))
    ax.text(-0.45, 1 + 0.1 / height, title, transform=ax.transAxes, fontsize=8.5, va="bottom", linespacing=1.0)
    ax.set_xlim(0, 1)
    ax.set_xticks([])
    ax.spines[["top", "right", "bottom"]].set_visible(False)
    ax.tick_params(labelsize=7)
    known = np.flatnonzero(np.isfinite(strip.values))
    if not len(known):
        ax.set_yticks([])
        ax.text(0.5, 0.5, "no values", transform=ax.transAxes, fontsize=8, ha="center")
        return
    values = np.asarray(strip.values, float)[known]
    low, high = _limits(values)
    ax.set_ylim(low, high)
    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    if len(values) >= 4:
        first, middle, third = np.percentile(values, (25, 50, 75))
        ax.fill_between([0.1, 0.9], first, third, facecolor="0.9", edgecolor="0.6", linewidth=0.8)
        ax.plot([0.1, 0.9], [middle, middle], color="0.2", linewidth=1.2)
    x = _places(values, low, high)
    odd = np.isin(known, list(strip.odd))
    ax.plot(x[~odd], values[~odd], "o", color=_DOT, markersize=4, alpha=0.75, markeredgewidth=0)
    ax.plot(x[odd], values[odd], "D", color=_ODD, markersize=5, markeredgecolor="black", markeredgewidth=0.6)
    labelled = np.flatnonzero(odd) if len(values) > _ALL_LABELLED else np.arange(len(values))
    if len(labelled):
        _label(ax, strip, known[labelled], x[labelled], height)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Range of an axis, with room around the values; at least 2 % of them, so that dust does not look large."""
    low, high = float(values.min()), float(values.max())
    room = max(0.06 * (high - low), 0.01 * abs(low + high) / 2 - (high - low) / 2) or 0.05
    return low - room, high + room


def _places(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Where dots stand across the strip, from 0 to 1: side by side where values are about equal."""
    bins = np.floor((values - low) / (high - low) * 28).astype(int)
    x = np.full(len(values), 0.5)
    for number in np.unique(bins):
        there = np.flatnonzero(bins == number)
        there = there[np.argsort(values[there], kind="stable")]
        gap = min(0.075, 0.8 / len(there))
        x[there] = 0.5 + gap * (np.arange(len(there)) - (len(there) - 1) / 2)
    return x


def _label(ax: Axes, strip: Strip, indices: np.ndarray, x: np.ndarray, height: float) -> None:
    """Labels to the right of the dots, so far apart that all can be read; the farthest outliers if they are many."""
    low, high = ax.get_ylim()
    at = (np.asarray(strip.values, float)[indices] - low) / (high - low)
    shown = np.sort(np.argsort(-np.abs(at - np.median(at)), kind="stable")[:_MOST_LABELS])
    left_out = len(indices) - len(shown)
    places = spread(at[shown], _LABEL_HEIGHT / height)
    for k, place in zip(shown, places, strict=True):
        colour = _ODD if indices[k] in strip.odd else "0.25"
        ax.plot(
            [x[k] + 0.05, 1.06, 1.1], [at[k], place, place], color="0.6", lw=0.5, transform=ax.transAxes, clip_on=False
        )
        text = shorten(strip.labels[indices[k]], _LABEL_LENGTH)
        ax.text(
            1.13, place, text, fontsize=7, va="center", color=colour, transform=ax.transAxes, parse_math=False
        )  # a name may hold a $
    if left_out:
        ax.text(1.13, -0.06, f"and {left_out} more", fontsize=7, va="center", color=_ODD, transform=ax.transAxes)


def spread(preferred: np.ndarray, gap: float) -> np.ndarray:
    """Places from 0 to 1 in the order of those that are preferred, at least `gap` apart, close to them.

    Args:
        preferred: (n,) numbers from 0 to 1. gap: at most 1/(n - 1).
    Returns:
        (n,) places.

    Example:
        >>> spread(np.array([0.5, 0.5, 0.9]), 0.1).round(3).tolist()
        [0.45, 0.55, 0.9]
    """
    order = np.argsort(preferred, kind="stable")
    groups: list[tuple[float, int]] = []  # centre and number of labels that touch each other
    for value in preferred[order]:
        centre, n = float(value), 1
        while groups and groups[-1][0] + groups[-1][1] * gap / 2 > centre - n * gap / 2:
            before, m = groups.pop()
            centre, n = (before * m + centre * n) / (m + n), m + n
        groups.append((centre, n))
    places = np.concatenate([centre + gap * (np.arange(n) - (n - 1) / 2) for centre, n in groups] or [np.empty(0)])
    for i in range(len(places)):  # away from the lower end, then from the upper
        places[i] = max(places[i], i * gap)
    for i in reversed(range(len(places))):
        places[i] = min(places[i], 1 - (len(places) - 1 - i) * gap)
    result = np.empty(len(places))
    result[order] = places
    return result


def shorten(label: str, length: int) -> str:
    """A label of at most so many characters that the font has: its middle is left out if need be.

    Example:
        >>> shorten("sub-verylongname_ses-02", 14)
        'sub-ver…ses-02'
    """
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in label)
    if len(plain) <= length:
        return plain
    behind = (length - 1) // 2
    return f"{plain[: length - 1 - behind]}…{plain[-behind:]}"


def draw_shares(labels: Sequence[str], counts: Sequence[Mapping[Status, int]]) -> Figure:
    """Voxels in the mask by status, a bar for each series.

    Args:
        labels: of the series, at least one.
        counts: of each series.
    """
    n = len(labels)
    bar = min(_BAR, _BAR * _MOST_BARS / n)
    names = [shorten(label, 28) for label in labels]
    left = 0.2 + 0.068 * max(map(len, names))
    width, height = left + 7.4, n * bar + 0.8
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((left / width, 0.35 / height, 7.0 / width, n * bar / height))
    inside = [code for code in Status if code is not Status.OUTSIDE]
    numbers = np.array([[count[code] for code in inside] for count in counts], float)
    shares = 100 * numbers / np.maximum(numbers.sum(axis=1, keepdims=True), 1)
    starts = np.cumsum(shares, axis=1) - shares
    for k, code in enumerate(inside):
        ax.barh(np.arange(n), shares[:, k], 0.8, starts[:, k], color=code.colour, label=f"{code.value} {code.text}")
    every = -(-0.13 // bar)  # as many labels as there is room for
    places = np.arange(0, n, int(every))
    ax.set_yticks(places, [names[k] for k in places], parse_math=False)  # a name may hold a $
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.tick_params(labelsize=7, length=2)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))
    ax.spines[["top", "right"]].set_visible(False)
    place = (0, 1 + 0.05 / (n * bar))
    ax.legend(loc="lower left", bbox_to_anchor=place, ncols=len(inside), fontsize=7, frameon=False, handlelength=1.2)
    return figure
