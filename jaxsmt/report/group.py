"""The page of a group: what is odd first, in words, then pictures, then a row for each series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..status import Status
from .html import fill, to_base64
from .maps import plain_style
from .strips import Strip, draw_shares, draw_strips

_PIXELS = 100  # of the page, for an inch of a picture: letters of all pictures are equally large


@dataclass(frozen=True)
class Bars:
    """Voxels by status of several series.

    Attributes:
        labels: of the series.
        counts: of each series.
    """

    labels: Sequence[str]
    counts: Sequence[Mapping[Status, int]]

    @property
    def text(self) -> str:
        """What the picture shows, for those who do not see it."""
        parts = []
        for code in Status:
            shares = [count[code] / max(sum(count.values()) - count[Status.OUTSIDE], 1) for count in self.counts]
            if code is not Status.OUTSIDE and max(shares):
                parts.append(f"{code.text} {100 * min(shares):.3g} to {100 * max(shares):.3g} %")
        return f"Bars of the voxels by status of {len(self.labels)} series: " + ", ".join(parts)


@dataclass(frozen=True)
class Picture:
    """A picture and what is said of it.

    Attributes:
        heading: above it.
        caption: below the heading.
        shown: columns, or voxels by status.
    """

    heading: str
    caption: str
    shown: Sequence[Strip] | Bars


@dataclass(frozen=True)
class SeriesRemarks:
    """What is said of one series.

    Attributes:
        label: of the series.
        texts: one for each thing.
    """

    label: str
    texts: Sequence[str]


@dataclass(frozen=True)
class SeriesRow:
    """A series in the table.

    Attributes:
        label: of the series.
        report: its page, as the address of a link from this page; empty if there is none.
        cells: the other columns.
        kind: "", or why it stands out: "odd", "missing".
    """

    label: str
    report: str
    cells: Sequence[str]
    kind: str = ""


@dataclass(frozen=True)
class GroupPage:
    """What the page of a group tells.

    Attributes:
        title: heading.
        summary: one or two sentences.
        remarks: what the reader should know before all else.
        missing: series without numbers, or without all of them.
        outliers: series that differ from the others.
        pictures: by the group of series that are compared.
        head: headings of the table's columns, after that of the labels.
        rows: of the table.
        warnings: of the fits.
        notes: names and definitions.
    """

    title: str
    summary: str
    remarks: Sequence[str]
    missing: Sequence[SeriesRemarks]
    outliers: Sequence[SeriesRemarks]
    pictures: Sequence[tuple[str, Sequence[Picture]]]
    head: Sequence[str]
    rows: Sequence[SeriesRow]
    warnings: Sequence[SeriesRemarks]
    notes: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Image:
    """A part of a picture.

    Attributes:
        text: instead of it. content: PNG in base64. width: in pixels of the page.
    """

    text: str
    content: str
    width: int


@dataclass(frozen=True)
class _Drawn:
    """A picture that has been drawn.

    Attributes:
        heading, caption: above it. images: its parts, side by side where there is room.
    """

    heading: str
    caption: str
    images: Sequence[_Image]


def make_group_page(page: GroupPage) -> str:
    """The page as HTML; equal facts are equal text.

    Args:
        page: what it tells.
    Returns:
        one file with everything in it but the pages of the series.
    """
    with plain_style():
        drawn = [(heading, [_draw(picture) for picture in pictures]) for heading, pictures in page.pictures]
    return fill("group.html", page=page, drawn=drawn)


def _draw(picture: Picture) -> _Drawn:
    """The picture as the page has it."""
    shown = picture.shown
    if isinstance(shown, Bars):
        parts = [(shown.text, draw_shares(shown.labels, shown.counts))]
    else:
        parts = [(strip.text, draw_strips([strip])) for strip in shown]
    images = [
        _Image(f"{picture.heading}. {text}", to_base64(figure), round(_PIXELS * figure.get_figwidth()))
        for text, figure in parts
    ]
    return _Drawn(picture.heading, picture.caption, images)
