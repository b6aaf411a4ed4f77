"""Maps as figures of a page: a picture of pixels, a bar of its colours, and its numbers in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..files import map_table
from . import images
from .maps import range_of, round_ticks
from .slices import Sheet
from .tables import number

_STOPS = 16  # colours of a bar, between which a page blends
_BEYOND = 0.01  # part of the voxels beyond the colours' range that is told


@dataclass(frozen=True)
class MapFigure:
    """A map in a page.

    Attributes:
        title: with the unit. src: PNG as an address. width, height: its pixels.
        text: instead of the picture. note: its numbers, below it.
        colours: of the bar, from low to high. ticks: places from 0 to 100 and texts.
    """

    title: str
    src: str
    width: int
    height: int
    text: str
    note: str
    colours: Sequence[str]
    ticks: Sequence[tuple[float, str]]


class Drawer:
    """Makes the figures of maps in the same slices.

    Args:
        sheet: the slices. fitted: (voxels,) that have a fit. where: the slices in words.
    """

    def __init__(self, sheet: Sheet, fitted: np.ndarray, where: str):
        self.sheet, self.where = sheet, where
        self._fitted, self._inside = fitted, sheet.indices >= 0

    def of_map(self, name: str, values: np.ndarray) -> MapFigure:
        """The figure of a map of the table.

        Args:
            name: of the map. values: (voxels,).
        """
        about = map_table.about(name)
        return self.of_values(about.title, values, about.colours, about.limits)

    def of_values(
        self, title: str, values: np.ndarray, colours: str, limits: tuple[float, float] | None = None
    ) -> MapFigure:
        """The figure of any values.

        Args:
            title: with the unit. values: (voxels,). colours: Matplotlib's name of a colour map.
            limits: range of the colours; None: 1st to 99th percentile.
        """
        known = values[self._fitted & np.isfinite(values)]
        low, high = limits or range_of(known)
        note = "no values"
        if known.size:
            lowest, middle, highest = (number(value) for value in np.percentile(known, (5, 50, 95)))
            note = f"median {middle}, 5th to 95th percentile {lowest} to {highest}"
            beyond = float(np.mean((known < low) | (known > high)))
            if limits and beyond > _BEYOND:
                note += f"; {100 * beyond:.0f} % beyond the colours"
        ticks = [(100 * float((t - low) / (high - low)), f"{t:g}") for t in round_ticks(low, high)]
        return MapFigure(
            title=title,
            src=images.map_picture(self._pixels(np.asarray(values, float)), self._inside, colours, (low, high)),
            width=self._inside.shape[1],
            height=self._inside.shape[0],
            text=f"{title} in {self.where}: {note}",
            note=note,
            colours=images.colour_list(colours, _STOPS),
            ticks=ticks,
        )

    def of_status(self, codes: np.ndarray) -> str:
        """The picture of statuses.

        Args:
            codes: (voxels,).
        """
        return images.status_picture(self._pixels(codes))

    def _pixels(self, values: np.ndarray) -> np.ndarray:
        """(height, width) values of the pixels; 0 outside the mask."""
        pixels = np.zeros(self._inside.shape, values.dtype)
        pixels[self._inside] = values[self.sheet.indices[self._inside]]
        return pixels
