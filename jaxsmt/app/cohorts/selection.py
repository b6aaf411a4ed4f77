"""Which series of a data set are asked for: labels, and the filters of a file. No JAX."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import InputError
from .layouts import Series
from .names import is_label

# Names of entities in filter files, as PyBIDS has them, and in file names.
_ENTITIES = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
    "part": "part",
    "space": "space",
    "description": "desc",
}
_ALWAYS = {"datatype": "dwi", "suffix": "dwi"}


def labels(texts: Sequence[str] | None, entity: str) -> frozenset[str] | None:
    """Labels from the words of a command line, with or without `sub-` or `ses-`.

    Example:
        >>> sorted(labels(["sub-01", "02"], "sub"))
        ['01', '02']

    Raises:
        InputError: one has other characters than letters and digits.
    """
    if texts is None:
        return None
    found = [text.removeprefix(f"{entity}-") for text in texts]
    for label in found:
        if not is_label(label):
            raise InputError(f"the label {entity}-{label!r} is not valid", fix="labels have letters and digits only")
    return frozenset(found)


def read_filters(path: Path | None) -> dict[str, Any]:
    """What a filter file, as of fMRIPrep and QSIPrep, asks of diffusion series: values by entity.

    Raises:
        InputError: it cannot be read, or names what is no entity of a series.
    """
    if path is None:
        return {}
    fix = 'as an example: {"dwi": {"session": "1", "run": [1, 2]}}'
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path, fix="check the path") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"is no JSON ({error})", file=path, fix=fix) from None
    filters = content.get("dwi") if isinstance(content, dict) else None
    if not isinstance(filters, dict):
        raise InputError("has no filters of diffusion series", file=path, fix=fix)
    short = {**_ENTITIES, **{entity: entity for entity in _ENTITIES.values()}}
    for name, value in filters.items():
        if name not in short and name not in _ALWAYS and name != "extension":
            raise InputError(f"{name!r} is no entity", file=path, fix=f"one of {', '.join(_ENTITIES)}")
        for one in _values(value):
            if not isinstance(one, str | int | None) or isinstance(one, bool):
                raise InputError(f"{name} cannot be {one!r}", file=path, fix=fix)
    return {str(short.get(name, name)): value for name, value in filters.items()}


def choose(
    series: Sequence[Series],
    subjects: Collection[str] | None,
    sessions: Collection[str] | None,
    filters: Mapping[str, Any],
) -> list[Series]:
    """The series that are asked for.

    Args:
        series: those that there are.
        subjects, sessions: labels; None: all.
        filters: of `read_filters`.
    Returns:
        the series, in their order.
    Raises:
        InputError: none is left, or a label has no series.
    """
    groups: tuple[tuple[Collection[str] | None, set[str | None], str, str], ...] = (
        (subjects, {s.subject for s in series}, "sub", ""),
        (sessions, {s.session for s in series}, "ses", " of these subjects"),
    )
    for asked, there, entity, of in groups:
        missing = sorted(set(asked or ()) - there)
        if missing:
            known = sorted(label for label in there if label is not None)[:20]
            raise InputError(
                f"no diffusion series{of} of {', '.join(f'{entity}-{label}' for label in missing)}",
                fix=f"there are {', '.join(known)}" if known else "check the folder and its kind, --input-type",
            )
    chosen = [s for s in series if subjects is None or s.subject in subjects]
    chosen = [s for s in chosen if sessions is None or s.session in sessions]
    chosen = [s for s in chosen if all(_passes(s, entity, value) for entity, value in filters.items())]
    if not chosen:
        rest = f"; {len(series)} do not pass the filters" if series else ""
        raise InputError(f"no diffusion series to fit{rest}", fix="check the folder, --input-type and the filters")
    return chosen


def _values(value: Any) -> list[Any]:
    """A filter's alternatives."""
    return value if isinstance(value, list) else [value]


def _passes(series: Series, entity: str, value: Any) -> bool:
    """Whether a series has a label that a filter asks for; null: it has none; "*": it has any."""
    extension = ".nii" if series.dwi.name.endswith(".nii") else ".nii.gz"
    labels = dict(series.entities) | series.labels | _ALWAYS | {"extension": extension}
    label = labels.get(entity)
    for one in _values(value):
        if one is None or label is None:
            if one is None and label is None:
                return True
        elif one == "*" or _plain(entity, str(one)) == _plain(entity, label):
            return True
    return False


def _plain(entity: str, label: str) -> str:
    """A label as it is compared: runs are numbers, whose leading zeros do not matter; `ses-1` and `.nii.gz` stay."""
    label = label.removeprefix(f"{entity}-")
    return str(int(label)) if entity == "run" and label.isascii() and label.isdigit() else label.lstrip(".")
