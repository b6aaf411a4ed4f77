"""What the report shows of a fit: pictures of its maps and FODs, and the facts of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from ..files import map_table, masks
from . import glyphs, maps
from .html import Table, render

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit

_COLUMNS = 4  # panels in a row


def make_page(
    title: str, fit: Fit, fods: FodFit | None, mask: np.ndarray, affine: np.ndarray, run: Mapping[str, Any]
) -> str:
    """The page of a fit.

    Args:
        title: heading.
        fit: of the voxels inside the mask, in the order of the file (Fortran's).
        fods: FODs of the same voxels, if there are any.
        mask: (x, y, z) bool.
        affine: (4, 4), voxels to scanner axes.
        run: what run.json says.
    """
    with maps.plain_style():
        return render(title, _figures(fit, fods, mask, affine), _tables(fit, run), run["warnings"])


def _figures(fit: Fit, fods: FodFit | None, mask: np.ndarray, affine: np.ndarray) -> list[tuple[str, Figure]]:
    """Pictures, and what they show."""
    values = fit.maps()
    shown = {name: volume for name, volume in values.items() if map_table.about(name).in_report}
    figures = [("parameter maps", _panels(shown, mask))]
    if fit.sd is not None:
        uncertain = {
            "sd of " + map_table.about(name).title: fit.sd[name] for name in map_table.with_sd(shown) if name in fit.sd
        }
        figures.append(("standard deviations (none at bounds)", _panels(uncertain, mask)))
    if fods is not None:
        seen, sheet, grey = _in_slice(fods, values[background(fit)], mask)
        figures.append(("fibre orientations", glyphs.draw_directions(seen, sheet, affine)))
        figures.append(("FOD glyphs", glyphs.draw_glyphs(seen, grey, sheet, affine)))
    return figures


def _in_slice(fods: FodFit, grey: np.ndarray, mask: np.ndarray) -> tuple[FodFit, np.ndarray, np.ndarray]:
    """FODs, mask and a map in the slice that is shown: (x, y, z) with one voxel across."""
    axis, nth = maps.slice_axis(mask.shape), maps.slice_number(mask)
    numbers = masks.place(np.arange(len(grey)), mask, "F").take([nth], axis)
    sheet = mask.take([nth], axis)
    numbers = masks.take(numbers, sheet)
    shown = fods.voxels(numbers).changed(lambda values: masks.place(values, sheet))
    return shown, sheet, masks.place(grey[numbers], sheet)


def _panels(values: Mapping[str, np.ndarray], mask: np.ndarray) -> Figure:
    """Maps in rows of a few."""
    volumes = {name: masks.place(of_voxels, mask, "F") for name, of_voxels in values.items()}
    names = list(volumes)
    rows = [names[i : i + _COLUMNS] for i in range(0, len(names), _COLUMNS)]
    return maps.draw_maps([("", {name: volumes[name] for name in row}) for row in rows], mask)


def background(fit: Fit) -> str:
    """The map over which FODs are drawn: one that the table marks, else the last free parameter, else the first map."""
    names = list(fit.maps())
    marked = [name for name in names if map_table.about(name).background]
    free = [name for name in reversed(fit.model.parameter_names) if name in names]
    return [*marked, *free, *names][0]


def _tables(fit: Fit, run: Mapping[str, Any]) -> list[Table]:
    """The facts of the run, by subject."""
    tables: list[Table] = [
        ("Acquisition", [(f"shell {i}", str(shell)) for i, shell in enumerate(fit.acquisition.shells)]),
        ("Options", list(_flat(run["options"]))),
        ("Voxels", _counts(run["voxels"])),
    ]
    if "fod_voxels" in run:
        fibres = [(f"{n} fibres", voxels) for n, voxels in run["fibres"].items()]
        tables.append(("FODs", [*_counts(run["fod_voxels"]), *fibres]))
    inputs = [(name, f"{entry['path']} (SHA-256 {entry['sha256']})") for name, entry in run["inputs"].items()]
    seconds = [(f"{stage}, s", f"{spent:.2f}") for stage, spent in run["timings_s"].items()]
    facts = [("command", " ".join(run["command"])), ("version", run["software"]["version"]), ("device", run["device"])]
    return [*tables, ("Inputs", inputs), ("Run", [*facts, *seconds])]


def _counts(voxels: Mapping[str, int]) -> list[tuple[str, Any]]:
    """Numbers of voxels by status."""
    return [(name.replace("_", " "), count) for name, count in voxels.items()]


def _flat(facts: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Options and what belongs to them, one line each: {"sigma": {"median": 2}} is ("sigma, median", "2")."""
    for name, value in facts.items():
        label = f"{above}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label}, ")
        else:
            yield label, _text(value)


def _text(value: Any) -> str:
    """A number with the digits that matter, a switch in words, or the text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "; ".join(map(_text, value))
    return str(value)
