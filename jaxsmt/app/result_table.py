"""The short table at the end of a fit: voxels, medians of the maps, times, and where the files are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import numpy as np

from ..files import map_table
from ..status import FITTED, Status
from .screen import coloured

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit
    from .workflow import Outcome

#: Codes that a user should look at.
_BAD = {Status.NOT_CONVERGED: "red", Status.NO_SIGNAL: "red", Status.NON_FINITE: "red", Status.AT_BOUND: "yellow"}
_WIDTH = 10  # of the headings

_Row = tuple[str, str]  # heading, and text; the heading of a row that goes on is empty


def text_of(outcome: Outcome, stream: TextIO | None = None) -> str:
    """What a fit did, and where its files are, as a table.

    Args:
        outcome: of the fit.
        stream: where the table goes; in colours if it is a terminal that shows them.
    """
    rows = [*_voxels(outcome.fit, stream), *_fibres(outcome.fods), *_medians(outcome), *_times(outcome)]
    rows += _files(outcome)
    lines = (
        f"{coloured(f'{heading:<{_WIDTH}}', 'bold', stream) if heading else ' ' * _WIDTH}{text}"
        for heading, text in rows
    )
    return "\n".join(lines)


def _voxels(fit: Fit, stream: TextIO | None) -> Iterator[_Row]:
    """How many voxels became what."""
    total = sum(fit.count(code) for code in Status if code is not Status.OUTSIDE)
    heading = "voxels:"
    for code in Status:
        count = fit.count(code)
        if count and code is not Status.OUTSIDE:
            name = f"{code.text:<18}"
            name = coloured(name, _BAD[code], stream) if code in _BAD else name
            yield heading, f"{name}{count:>10,}  {100 * count / max(total, 1):5.1f} %"
            heading = ""


def _fibres(fods: FodFit | None) -> Iterator[_Row]:
    """How many voxels have how many lobes."""
    if fods is None:
        return
    fitted = np.isin(fods.status, FITTED)
    numbers, counts = np.unique(fods.n_fibres[fitted], return_counts=True)
    parts = (f"{n} in {count:,}" for n, count in zip(numbers, counts, strict=True))
    yield "fibres:", ", ".join(parts) + " voxels"


def _medians(outcome: Outcome) -> Iterator[_Row]:
    """Medians of the maps that the report shows, over the voxels that have a fit."""
    fit = outcome.fit
    fitted = np.isin(fit.status, FITTED)
    heading = "medians:"
    for name, values in fit.maps().items():
        text = map_table.about(name)
        known = values[fitted & np.isfinite(values)] if text.in_report and name != "status" else values[:0]
        if known.size:
            yield heading, f"{text.title:<28}{np.median(known):>10.4g}"
            heading = ""


def _times(outcome: Outcome) -> Iterator[_Row]:
    """Seconds of all and of each stage, and how fast voxels were fitted."""
    seconds = outcome.run["timings_s"]
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    yield "time:", f"{sum(seconds.values()):.1f} s ({stages})"
    voxels = outcome.voxels.count
    rates = [(stage, seconds[stage]) for stage in ("fit", "fit FODs") if stage in seconds]
    told = ", ".join(f"{stage} {voxels / max(spent, 1e-3):,.0f} voxels/s" for stage, spent in rates)
    yield "speed:", told


def _files(outcome: Outcome) -> Iterator[_Row]:
    """Where the maps and the report are."""
    folder = outcome.files[0].parent
    yield "maps:", f"{len(outcome.files)} in {folder}"
    if outcome.report is not None:
        yield "report:", str(outcome.report)
