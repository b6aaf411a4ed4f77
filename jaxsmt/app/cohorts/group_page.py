"""What the page of a group says, from its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from ...models import regions
from ...report.group import Bars, GroupPage, Picture, SeriesRemarks, SeriesRow
from ...report.strips import Strip
from . import columns, outliers
from .columns import Column
from .comparison import DEFINITIONS, Group
from .summary import COMPLETE, INCOMPLETE, SeriesSummary

_FEW = 5  # labels that a sentence names
_LONG = 60  # characters of an option's value that a sentence shows
_DOTS = (
    " Each dot is a series, and each diamond one that is unlike the others; the box goes from the first to the third "
    "quartile of the series, the line is their median."
)
_OF_FODS = " The status of the FOD is such too; of several lobes the heaviest counts."


def describe(group: Group, out: Path) -> GroupPage:
    """The facts of the page.

    Args:
        group: all series.
        out: the derivative data set, where the pages of the series are.
    """
    rows = group.rows
    compared = [column for column in group.columns if column.scope and _tells(column, rows)]
    shown = [column for column in compared if column.order[0] == columns.OF_MAPS and "_mask_" not in column.name]
    cells = [columns.VOXELS, *_named(compared, "at_bound_share", "failed_share"), columns.SNR, *shown, columns.WARNINGS]
    return GroupPage(
        title="Group of " + _count(len({row.series.participant for row in rows}), "participant", "participants"),
        summary=_summary(group, compared),
        remarks=list(_remarks(group)),
        missing=[
            SeriesRemarks(f"{row.series.label}, {row.state}", row.problems) for row in rows if row.state != COMPLETE
        ],
        outliers=[
            SeriesRemarks(row.series.label, [odd.text for odd in group.odd_of(i)])
            for i, row in enumerate(rows)
            if group.odd_of(i)
        ],
        pictures=list(_pictures(group, compared)),
        head=["state", "model", *(_head(column) for column in cells), "outliers"],
        rows=[_row(group, i, cells, out) for i in range(len(rows))],
        warnings=[SeriesRemarks(row.series.label, row.run.warnings) for row in rows if row.run and row.run.warnings],
        notes=[*DEFINITIONS, *_regions(rows)],
    )


def _count(n: int, one: str, many: str) -> str:
    """A number and its noun."""
    return f"{n} {one if n == 1 else many}"


def _named(all_columns: Sequence[Column], *names: str) -> list[Column]:
    """Columns by name, those that there are."""
    return [column for column in all_columns if column.name in names]


def _tells(column: Column, rows: Sequence[SeriesSummary]) -> bool:
    """Whether a column says something: that of a map that is 0 everywhere, such as β of Watson lobes, does not."""
    return column.order[0] != columns.OF_MAPS or any(row.statistics.get(column) for row in rows)


def _summary(group: Group, compared: Sequence[Column]) -> str:
    """How many series there are, and whether any differs."""
    sound = sum(row.state == COMPLETE for row in group.rows)
    text = f"{_count(len(group.rows), 'series', 'series')}, {sound} of them complete and sound. "
    differing = len({odd.row for odd in group.odd})
    if differing:
        return text + f"{differing} unlike the others in at least one of {len(compared)} columns."
    if all(len(rows) < outliers.FEWEST for rows in group.compared("kernel").values()):
        return text + f"They are too few to be compared: at least {outliers.FEWEST} of one model are needed."
    return text + f"None is unlike the others in any of {len(compared)} columns."


def _remarks(group: Group) -> Iterator[str]:
    """What is unequal among the series, and which of them could not be compared."""
    runs = [(row.series.label, row.run) for row in group.rows if row.run]
    models = group.compared("kernel")
    if len(models) > 1:
        parts = ", ".join(f"{model} of {_count(len(rows), 'series', 'series')}" for model, rows in models.items())
        yield f"The models differ: {parts}. Only series of one model are compared with each other."
        for model, rows in models.items():
            if len(rows) < outliers.FEWEST <= max(map(len, models.values())):
                yield f"Series of the model {model} are too few to be compared ({len(rows)} of {outliers.FEWEST})."
    unequal = {
        "shells in s/mm²": [run.shells for _, run in runs],
        "version of jaxsmt": [run.version for _, run in runs],
    }
    for name in sorted({name for _, run in runs for name in run.options}):
        unequal[f"option {name.replace('_', '-')}"] = [run.options.get(name, "not given") for _, run in runs]
    for name, values in unequal.items():
        if len(set(values)) > 1:
            yield f"The {name} differ{'s' * ('shells' not in name)}: {_variants([label for label, _ in runs], values)}."


def _variants(labels: Sequence[str], values: Sequence[str]) -> str:
    """Which value how many series have; of the rarer ones also which series."""
    counts = sorted({value: values.count(value) for value in values}.items(), key=lambda item: (-item[1], item[0]))
    parts = []
    for i, (value, n) in enumerate(counts):
        whose = [label for label, other in zip(labels, values, strict=True) if other == value]
        named = ", ".join(whose[:_FEW]) + (f" and {n - _FEW} more" if n > _FEW else "")
        short = value if len(value) <= _LONG else f"{value[:_LONG]}…"
        parts.append(f"{short} in {n}" + (f" ({named})" if i or n == counts[-1][1] else ""))
    return "; ".join(parts)


def _pictures(group: Group, compared: Sequence[Column]) -> Iterator[tuple[str, list[Picture]]]:
    """Pictures of the series of each model: kernels and, where there are any, FODs."""
    for scope in ("kernel", "fod"):
        for model, indices in group.compared(scope).items():
            rows = [group.rows[i] for i in indices]
            labels = _tags([row.series.label for row in rows])
            there = [
                column for column in compared if column.scope == scope and any(column in r.statistics for r in rows)
            ]
            pictures: list[Picture] = []
            for heading, caption, some in _panels(rows, there, scope):
                strips = [_strip(group, indices, labels, column) for column in some]
                pictures.append(Picture(heading, caption + _DOTS * (not pictures), strips))
            counts = [row.run.counts[scope] for row in rows if row.run]
            pictures.append(Picture("Voxels by status", "Of those in the mask.", Bars(labels, counts)))
            what = "maps" if scope == "kernel" else "FODs"
            yield f"{model} {what} of {_count(len(rows), 'series', 'series')}", pictures


def _panels(
    rows: Sequence[SeriesSummary], there: Sequence[Column], scope: str
) -> Iterator[tuple[str, str, list[Column]]]:
    """Heading, caption and columns of each picture."""
    used = list(dict.fromkeys(row.region for row in rows if row.region))
    for region in (*used, regions.FITTED_VOXELS):
        some = [column for column in there if column.order[0] == columns.OF_MAPS and f"_{region.key}_" in column.name]
        if some:
            caption = f"{region.text[0].upper()}{region.text[1:]}." + _OF_FODS * (scope == "fod")
            yield f"Medians in {region.name}", caption, some
    others = [column for column in there if column.order[0] != columns.OF_MAPS]
    if others:
        yield "Series", "What tells whether data, mask and fit are sound.", others


def _strip(group: Group, indices: Sequence[int], labels: Sequence[str], column: Column) -> Strip:
    """The values of a column."""
    scale = 100 if column.is_share else 1
    values = [scale * group.rows[i].statistics.get(column, float("nan")) for i in indices]
    places = {row: k for k, row in enumerate(indices)}
    odd = {places[odd.row] for odd in group.odd if odd.column == column and odd.row in places}
    return Strip(_head(column) + " [%]" * column.is_share, labels, values, frozenset(odd))


def _head(column: Column) -> str:
    """The heading of a column; the region of a map is told elsewhere."""
    if column.order[0] == columns.OF_MAPS:
        what = column.short.removeprefix("median ").rpartition(" in ")[0]
        return f"{what} [{column.unit}]" if column.unit else what
    return column.short or column.name


def _tags(labels: Sequence[str]) -> list[str]:
    """Labels without the entities that all have in common."""
    parts = [label.split("_") for label in labels]
    common = set(parts[0]).intersection(*parts[1:]) if len(parts) > 1 else set()
    return ["_".join(part for part in own if part not in common) or "_".join(own) for own in parts]


def _row(group: Group, i: int, cells: Sequence[Column], out: Path) -> SeriesRow:
    """A series in the table of the page."""
    row = group.rows[i]
    odd = group.odd_of(i)
    texts = [_cell(row.statistics.get(column), column) for column in cells]
    page = f"{row.series.label}.html"
    report = quote(os.fsencode(page)) if (out / page).is_file() else ""
    kind = "missing" if row.state == INCOMPLETE else "odd" if odd or row.state != COMPLETE else ""
    model = row.model("fod") or row.model("kernel") or "–"
    return SeriesRow(row.series.label, report, [row.state, model, *texts, str(len(odd)) if row.run else "–"], kind)


def _cell(value: float | None, column: Column) -> str:
    """A number of the page's table."""
    if value is None:
        return "–"
    if column.is_share:
        return f"{100 * value:.1f} %"
    digits = 0 if isinstance(value, int) or abs(value) >= 1000 else 3 if abs(value) < 10 else 1
    return f"{value:,.{digits}f}"


def _regions(rows: Sequence[SeriesSummary]) -> list[tuple[str, str]]:
    """The definitions of the regions that were used, by model if they differ."""
    used = sorted({(row.model("kernel"), row.region) for row in rows if row.region}, key=lambda item: item[0])
    some = len({region for _, region in used}) > 1
    return list(dict.fromkeys((region.name + f" of {model}" * some, region.text) for model, region in used))
