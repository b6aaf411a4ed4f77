"""The tables of a group as files, each with a JSON file that says what its columns mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...files import sidecars
from .columns import Column
from .comparison import DEFINITIONS, Group
from .summary import SeriesSummary

_NONE = "n/a"
_STATES = {
    "complete": "All maps have been read",
    "incomplete": "There is no run.json: the fit has not ended",
    "damaged": "Something cannot be read, or does not fit together; what depends on it is n/a",
}
_ABOUT: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "Participant"},
    "session_id": {"Description": "Session"},
    "state": {"Description": "Whether the fit is complete and sound", "Levels": _STATES},
    "model": {"Description": "Model of the kernels"},
    "fod": {"Description": "Orientation density of the FODs"},
}
_FINDING: dict[str, dict[str, Any]] = {
    "column": {"Description": "Column of group_dwimap.tsv"},
    "value": {"Description": "Value of this series"},
    "lowest_other": {"Description": "Smallest value of the series that are no outliers in this column"},
    "highest_other": {"Description": "Largest value of the series that are no outliers in this column"},
    "z": {"Description": dict(DEFINITIONS)["outlier"]},
    "limit": {"Description": "Largest |z| that is no outlier, for this number of series"},
    "reason": {"Description": "The finding in words"},
}


def files(group: Group) -> dict[str, bytes]:
    """The content of each file by its name.

    Args:
        group: all series.
    """
    entities = sorted({name for row in group.rows for name in row.series.entities} - set(_ABOUT) - set(_FINDING))
    columns = group.columns
    names = ["participant_id", "session_id", *entities, "state", "model", "fod", *(column.name for column in columns)]
    whose = [{**dict.fromkeys(entities, _NONE), **_whose(row)} for row in group.rows]
    table = [
        {**whose[i], **{column.name: _value(row.statistics.get(column)) for column in columns}}
        for i, row in enumerate(group.rows)
    ]
    found = [
        {
            **whose[odd.row],
            "column": odd.column.name,
            "value": _value(odd.outlier.value),
            "lowest_other": _value(odd.outlier.low),
            "highest_other": _value(odd.outlier.high),
            "z": f"{odd.outlier.z:.4g}",
            "limit": f"{odd.outlier.limit:.4g}",
            "reason": odd.text,
        }
        for odd in group.odd
    ]
    about = _ABOUT | {name: {"Description": f"BIDS entity {name}-"} for name in entities}
    about_found = {name: text for name, text in about.items() if name != "state"} | _FINDING
    return {
        "group_dwimap.tsv": _tsv(names, table),
        "group_dwimap.json": sidecars.to_json(about | {column.name: _about(column) for column in columns}),
        "group_desc-outliers_dwimap.tsv": _tsv(
            ["participant_id", "session_id", *entities, "model", "fod", *_FINDING], found
        ),
        "group_desc-outliers_dwimap.json": sidecars.to_json(about_found),
    }


def _whose(row: SeriesSummary) -> dict[str, str]:
    """The columns that tell which series a row is of, and its state."""
    series = row.series
    return {
        **series.entities,
        "participant_id": series.participant,
        "session_id": series.session or _NONE,
        "state": row.state,
        "model": row.run.model if row.run else _NONE,
        "fod": (row.run.density if row.run else "") or _NONE,
    }


def _about(column: Column) -> dict[str, str]:
    """What a column means, as BIDS has it."""
    return {"Description": column.description} | ({"Units": column.unit} if column.unit else {})


def _value(value: float | None) -> str:
    """A number as the table holds it."""
    if value is None or not math.isfinite(value):
        return _NONE
    return str(value) if isinstance(value, int) else f"{value:.7g}"


def _tsv(names: Sequence[str], rows: Sequence[Mapping[str, str]]) -> bytes:
    """Rows under a head. Characters that would end a cell are written as \\t and the like."""
    lines = ["\t".join(names), *("\t".join(_cell(row[name]) for name in names) for row in rows)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _cell(text: str) -> str:
    """A text without control characters."""
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else repr(c)[1:-1] for c in text)
