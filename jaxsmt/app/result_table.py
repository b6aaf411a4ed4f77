"""The short table at the end of a fit: voxels, medians of the maps, times, and where the files are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from ..report import summaries
from ..status import Status
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
    rows = [*_voxels(outcome.fit, stream), *_fibres(outcome.fods), *_medians(outcome.fit), *_times(outcome)]
    rows += _files(outcome)
    lines = (
        f"{coloured(f'{heading:<{_WIDTH}}', 'bold', stream) if heading else ' ' * _WIDTH}{text}"
        for heading, text in rows
    )
    return "\n".join(lines)


def _voxels(fit: Fit, stream: TextIO | None) -> Iterator[_Row]:
    """How many voxels became what."""
    counts = summaries.counts_of(fit)
    heading = "voxels:"
    for code, count in counts.items():
        name = f"{code.text:<18}"
        name = coloured(name, _BAD[code], stream) if code in _BAD else name
        yield heading, f"{name}{count:>10,}  {100 * count / sum(counts.values()):5.1f} %"
        heading = ""


def _fibres(fods: FodFit | None) -> Iterator[_Row]:
    """How many voxels have how many lobes."""
    if fods is None:
        return
    yield "fibres:", ", ".join(f"{n} in {count:,}" for n, count in summaries.fibres_of(fods).items()) + " voxels"


def _medians(fit: Fit) -> Iterator[_Row]:
    """Medians of the maps that the report shows, over the voxels that converged: bounds say nothing."""
    yield "medians:", "of the converged voxels"
    for title, median in summaries.medians_of(fit).items():
        yield "", f"{title:<28}{median:>10.4g}"


def _times(outcome: Outcome) -> Iterator[_Row]:
    """Seconds of all and of each stage, and how fast voxels were fitted."""
    seconds = outcome.run["timings_s"]
    stages = ", ".join(f"{stage} {spent:.1f}" for stage, spent in seconds.items())
    yield "time:", f"{sum(seconds.values()):.1f} s ({stages})"
    voxels = outcome.voxels.count
    rates = [(stage, seconds[stage]) for stage in ("fit", "fit FODs") if stage in seconds]
    speeds = ", ".join(f"{stage} {voxels / max(spent, 1e-3):,.0f} voxels/s" for stage, spent in rates)
    yield "speed:", speeds


def _files(outcome: Outcome) -> Iterator[_Row]:
    """Where the maps and the report are."""
    folder = outcome.files[0].parent
    yield "maps:", f"{len(outcome.files)} in {folder}"
    if outcome.report is not None:
        yield "report:", str(outcome.report)
