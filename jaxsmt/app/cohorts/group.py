"""The group level: one table of all series, those that differ from the others, and a page to look at. No JAX."""

from __future__ import annotations

from pathlib import Path

from ...files import nifti
from ..screen import Screen, warn
from .comparison import gather
from .summary import COMPLETE


def run_group(out: Path, screen: Screen) -> int:
    """Gather what the participant level has written: a table, its outliers, and a page.

    Writes group_dwimap.tsv, group_desc-outliers_dwimap.tsv, their JSON files, and group.html. Maps are read one at a
    time, so that memory does not grow with the number of series.

    Args:
        out: the derivative data set; the outputs go there too.
        screen: says how it goes.
    Returns:
        the exit code 0.
    Raises:
        InputError: there is no finished fit.
        OutputError: an output cannot be written.
    """
    from ...report.group import make_group_page
    from . import group_page, group_tables

    with screen:
        group = gather(out, screen)
        written = {
            **group_tables.files(group),
            "group.html": make_group_page(group_page.describe(group, out)).encode("utf-8", "backslashreplace"),
        }
        for name, content in written.items():
            nifti.write_bytes(out / name, content)
    wrong = [row for row in group.rows if row.state != COMPLETE]
    warn(f"{row.series.label}: {row.state}: {'; '.join(row.problems)}" for row in wrong)
    for i, row in enumerate(group.rows):
        for odd in group.odd_of(i):
            screen.say(f"{row.series.label}: {odd.text}")
    differing = len({odd.row for odd in group.odd})
    screen.say(
        f"{len(group.rows)} series, {len(wrong)} of them incomplete or damaged; {differing} unlike the others\n"
        f"table and page in {out / 'group_dwimap.tsv'} and {out / 'group.html'}"
    )
    return 0
