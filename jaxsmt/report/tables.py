"""Tables of a page: numbers of the fit and facts of the run, as text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition.volumes import VolumeResiduals
from ..files import map_table
from ..models.regions import Region
from ..status import FITTED, Status
from . import images

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit

#: What each status means for those who use the maps.
MEANINGS = {
    Status.OUTSIDE: "not in the mask: nothing was fitted, all maps are 0",
    Status.CONVERGED: "the estimate is inside all bounds",
    Status.AT_BOUND: "an estimate is at the edge of what it may be, as in fluid, or where the data do not determine "
    "it: leave these voxels out of averages",
    Status.NOT_CONVERGED: "the search ended before the estimate had settled: do not use it",
    Status.NO_SIGNAL: "the mean at b = 0 or S0 is not positive: nothing was fitted, all maps are 0",
    Status.NON_FINITE: "the data have NaN or infinite values: nothing was fitted, all maps are 0",
}
# As a run goes through them.
_STAGES = (
    "check",
    "read",
    "wait for compilation",
    "fit",
    "wait for compilation of the FODs",
    "fit FODs",
)
_AT_BOUND_OF_FODS = (
    "a weight or concentration is at its bound, or the kernel is isotropic within 5 %, so that directions mean nothing"
)


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        head: what it is about. cells: the other columns. colour: #rrggbb of a mark before the head; empty: none.
    """

    head: str
    cells: Sequence[str]
    colour: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows. head: headings of the columns; empty: a list of names and values. rows: below them.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]


def number(value: float) -> str:
    """A number with three digits, in plain notation where that is short.

    Example:
        >>> number(0.12345), number(999.7), number(0.0000123)
        ('0.123', '1,000', '1.23e-05')
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def _quartiles(values: np.ndarray, text: Callable[[float], str] = number) -> str:
    """Median and quartiles of the finite values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return "–"
    first, middle, third = (text(value) for value in np.percentile(finite, (25, 50, 75)))
    return f"{middle} ({first} to {third})"


def medians(
    values: Mapping[str, np.ndarray], tissues: Sequence[tuple[Region, np.ndarray]], fitted: np.ndarray
) -> Table:
    """Medians and quartiles of the maps by tissue.

    Args:
        values: maps by name, (voxels,).
        tissues: regions with their voxels. fitted: (voxels,) that have a fit.
    """
    groups = [(region.name, inside) for region, inside in tissues] + [("all fitted voxels", fitted)]
    rows = [Row("voxels", [f"{np.count_nonzero(inside):,}" for _, inside in groups])]
    for name, of_map in values.items():
        rows.append(Row(map_table.about(name).title, [_quartiles(of_map[inside]) for _, inside in groups]))
    head = ["map", *(name for name, _ in groups)]
    return Table("Median, and in brackets the first and third quartile", head, rows)


def statuses(result: Fit | FodFit, outside: int, caption: str, fods: bool) -> Table:
    """Voxels by status, and what each means.

    Args:
        result: of the voxels inside the mask. outside: number of the others.
        caption: of the table. fods: whether they are those of FODs.
    """
    inside = max(result.status.size, 1)
    rows = []
    for code in Status:
        count = outside if code is Status.OUTSIDE else result.count(code)
        share = "" if code is Status.OUTSIDE else f"{100 * count / inside:.2f} %"
        meaning = _AT_BOUND_OF_FODS if fods and code is Status.AT_BOUND else MEANINGS[code]
        rows.append(Row(f"{code.value} {code.text}", [f"{count:,}", share, meaning], images.status_colour(code)))
    return Table(caption, ["status", "voxels", "of the mask", "meaning"], rows)


def shells(fit: Fit, volumes: VolumeResiduals | None, run: Mapping[str, Any]) -> Table:
    """The shells of the acquisition, and what the model leaves of their means.

    Args:
        fit: of the voxels. volumes: residuals of the series' volumes, if they are known. run: what run.json says.
    """
    rows, count = [], 0
    for i, shell in enumerate(fit.acquisition.shells):
        cells = [str(len(shell.volumes)), str(shell.order) if shell.order else "plain mean"]
        level = np.nan if volumes is None else volumes.level[shell.volumes[0]]
        cells.append(f"{100 * level:.1f}" if np.isfinite(level) else "–")
        left = run["shells"][i].get("residuals")
        if left is None:
            cells += ["–", "–"]
        else:
            mean = round(100 * left["mean"], 2) + 0.0  # not -0.00
            cells += [f"{mean:+.2f}", f"{100 * left['sd']:.2f}"]
            count = left["voxels"]
        rows.append(Row(_setting(shell), cells))
    head = ["shell", "volumes", "harmonic order", "mean signal", "mean residual", "sd between voxels"]
    caption = f"Signals in % of S0 at b = 0; residuals: measured less fitted spherical means, of {count:,} voxels"
    return Table(caption, head, rows)


def _setting(shell: Any) -> str:
    """A shell in words, without its volumes."""
    return str(shell).partition(": ")[0]


def quality(fit: Fit, fods: FodFit | None, volumes: VolumeResiduals | None, run: Mapping[str, Any]) -> Table:
    """R², mean squared error, σ and SNR.

    Args:
        fit, fods: of the voxels. volumes: residuals of the series' volumes. run: what run.json says.
    """
    rows = []
    for what, result in (("kernel: b = 0 and shells' means", fit), ("FODs: all volumes", fods)):
        if result is not None:
            fitted = np.isin(result.status, FITTED)
            rows.append(Row(f"R² of the {what}", [_quartiles(result.r2[fitted], "{:.4f}".format)]))
            rows.append(Row(f"mean squared error of the {what}", [_quartiles(result.mse[fitted])]))
    fitted = np.isin(fit.status, FITTED)
    sigma = run["options"].get("sigma", {})
    if fit.sigma is not None:
        level = np.broadcast_to(fit.sigma, fit.s0.shape)[fitted]
        origin = f", from {sigma['from']}" if sigma.get("from") else ""
        error = f", standard error {100 * sigma['relative_error']:.2g} %" if "relative_error" in sigma else ""
        rows.append(Row("σ in units of the series", [_quartiles(level) + origin + error]))
        with np.errstate(divide="ignore", invalid="ignore"):
            rows.append(Row("SNR at b = 0, S0/σ", [_quartiles(fit.s0[fitted] / level)]))
    if volumes is not None and volumes.noise > 0:
        text = f"{1 / volumes.noise:.1f}, of the median voxel"
        rows.append(Row("SNR at b = 0, from its repeats", [text]))
    return Table("Median, and in brackets the first and third quartile", [], rows)


def _when(stage: str) -> tuple[int, str]:
    """Where a stage stands in time; one that is not listed after all that are."""
    return (_STAGES.index(stage) if stage in _STAGES else len(_STAGES), stage)


def stages(run: Mapping[str, Any]) -> Table:
    """Time of each stage and voxels per second.

    Args:
        run: what run.json says.
    """
    inside = sum(count for name, count in run["voxels"].items() if name != "outside")
    times = {name: run["timings_s"][name] for name in sorted(run["timings_s"], key=_when)}
    rows = [Row(name, [f"{spent:.2f}", _rate(inside, spent)]) for name, spent in times.items()]
    total = sum(times.values())
    rows.append(Row("all", [f"{total:.2f}", _rate(inside, total)]))
    return Table(
        f"{inside:,} voxels; without the writing of maps and of this page", ["stage", "seconds", "voxels/s"], rows
    )


def _rate(voxels: int, seconds: float) -> str:
    """Voxels per second."""
    return f"{voxels / seconds:,.0f}" if seconds >= 0.005 else "–"


def fibres(run: Mapping[str, Any]) -> Table | None:
    """Voxels by number of lobes; None without FODs.

    Args:
        run: what run.json says.
    """
    counts = run.get("fibres")
    if not counts:
        return None
    total = max(sum(counts.values()), 1)
    rows = [Row(n, [f"{count:,}", f"{100 * count / total:.1f} %"]) for n, count in counts.items()]
    return Table("Voxels with a FOD by number of lobes; 0 is a uniform FOD", ["lobes", "voxels", "share"], rows)


def facts(run: Mapping[str, Any]) -> list[tuple[str, Table]]:
    """Options, inputs, command and versions, each with its heading.

    Args:
        run: what run.json says.
    """
    options = Table("As they were used", [], [Row(name, [text]) for name, text in _flat(run["options"])])
    inputs = [Row(name, [entry["path"], entry["sha256"]]) for name, entry in run["inputs"].items()]
    versions = [Row(name, [text]) for name, text in run.get("versions", {}).items()]
    of_run = [
        Row("command", [" ".join(run["command"])]),
        Row("jaxsmt", [run["software"]["version"]]),
        *versions,
        Row("device", [run["device"]]),
    ]
    return [
        ("Options", options),
        ("Inputs", Table("Files, and the SHA-256 of their content", ["input", "path", "SHA-256"], inputs)),
        ("Run", Table("Command and software", [], of_run)),
    ]


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
