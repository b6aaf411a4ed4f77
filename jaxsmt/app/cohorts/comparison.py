"""All series of a group side by side: their numbers, and which of these differ from the others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError
from ...models import regions
from ..screen import Screen
from . import columns, outliers
from .columns import Column
from .outliers import Outlier
from .summary import INCOMPLETE, SeriesSummary, summarise
from .written import find_series


@dataclass(frozen=True)
class Odd:
    """A number of a series that differs from those of the others.

    Attributes:
        row: of the series, in the table.
        column: of the number.
        outlier: the number, and what the others have.
    """

    row: int
    column: Column
    outlier: Outlier

    @property
    def text(self) -> str:
        """What differs, in words."""
        scale, unit = (100, " %") if self.column.is_share else (1, f" {self.column.unit}" * bool(self.column.unit))
        value, low, high = (_number(scale * x) for x in (self.outlier.value, self.outlier.low, self.outlier.high))
        others = low if low == high else f"{low} to {high}"
        return f"{self.column.short} is {value}{unit}, the others {others}, z = {_signed(self.outlier.z)}"


@dataclass(frozen=True)
class Group:
    """All series of a data set.

    Attributes:
        rows: of each series.
        odd: numbers that differ, by row, the farthest first.
    """

    rows: Sequence[SeriesSummary]
    odd: Sequence[Odd]

    @property
    def columns(self) -> list[Column]:
        """The columns that a series has, in the order of the table."""
        return sorted({column: None for row in self.rows for column in row.statistics}, key=lambda column: column.order)

    def odd_of(self, row: int) -> list[Odd]:
        """What differs in one series."""
        return [odd for odd in self.odd if odd.row == row]

    def compared(self, scope: str) -> dict[str, list[int]]:
        """Rows that are compared with each other, by the model of kernels or FODs, the most frequent first."""
        models: dict[str, list[int]] = {}
        for i, row in enumerate(self.rows):
            if model := row.model(scope):
                models.setdefault(model, []).append(i)
        return dict(sorted(models.items(), key=lambda item: (-len(item[1]), item[0])))


def gather(out: Path, screen: Screen) -> Group:
    """The numbers of all series, and those that differ.

    Args:
        out: the derivative data set.
        screen: says how it goes.
    Raises:
        InputError: there is no finished fit.
    """
    fix = "run the participant level first: jaxsmt bids INPUT OUT participant"
    if not out.is_dir():
        raise InputError("is no folder", file=out, fix=fix)
    series = find_series(out)
    rows = []
    for i, one in enumerate(series):
        rows.append(summarise(one))
        screen.progress("gather", i + 1, len(series))
    if all(row.state == INCOMPLETE for row in rows):
        fact = f"holds no finished fit; {len(rows)} incomplete" if rows else "holds no maps of participants"
        raise InputError(fact, file=out, fix=fix)
    found = Group(rows, ())
    odd = [odd for scope in ("kernel", "fod") for indices in found.compared(scope).values()
           for odd in _differing(rows, indices, scope)]  # fmt: skip
    return Group(rows, sorted(odd, key=lambda odd: (odd.row, -abs(odd.outlier.z), odd.column.name)))


def _differing(rows: Sequence[SeriesSummary], indices: Sequence[int], scope: str) -> list[Odd]:
    """The numbers that differ among series of one model."""
    there = {column: None for i in indices for column in rows[i].statistics if column.scope == scope}
    odd = []
    for column in there:
        values = [rows[i].statistics.get(column, float("nan")) for i in indices]
        odd += [Odd(indices[o.index], column, o) for o in outliers.find_outliers(values, column.step)]
    return odd


def _number(value: float) -> str:
    """Three digits, but all of those before the point.

    Example:
        >>> _number(0.71234), _number(902629.0), _number(0.0)
        ('0.712', '902,629', '0')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _signed(z: float) -> str:
    """A robust z with its sign."""
    return f"{'−' if z < 0 else '+'}{abs(z):.3g}"


#: What the page and the files say of how series are compared.
DEFINITIONS = (
    (
        "series",
        "One diffusion series of a participant. Series of one model are compared with each other, whatever "
        "their sessions and other entities.",
    ),
    (regions.FITTED_VOXELS.name, regions.FITTED_VOXELS.text),
    (
        "outlier",
        "|z| above the larger of 4.5 and 4 + 30/n among n series; normally distributed numbers exceed it in one column "
        f"of about a hundred. z = 0.6745 (value - median)/MAD; if more than half of the values are equal (MAD = 0), "
        "0.7979 (value - median)/(mean absolute deviation) and 4.5. Differences are measured against no less than "
        f"0.5 % of the median, shares against no less than 0.2 %. Fewer than {outliers.FEWEST} series are not "
        "compared. The others are those that are no outliers in this column. (Iglewicz & Hoaglin 1993.)",
    ),
    ("SNR", f"{columns.SNR.description}: the map of sigma if it was estimated, else the median of what was given."),
)
