"""Short tables of acquisitions, models and results, as notebooks and the terminal show them. No Matplotlib."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import map_table
from ..status import FITTED, Status

if TYPE_CHECKING:
    from ..acquisition.acquisition import Acquisition
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit
    from ..models.model import SphericalMeanModel

Rows = Iterator[tuple[str, str]]  #: names and values


def html_of(value: Any) -> str:
    """A table of an object of a kind that has one: its heading, names and values; escaped.

    Args:
        value: an `Acquisition`, a `SphericalMeanModel`, a `Fit` or a `FodFit`.
    """
    heading, rows = next(_TABLES[kind.__name__] for kind in type(value).__mro__ if kind.__name__ in _TABLES)
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(text)}</td></tr>'
        for name, text in rows(value)
    )
    return f'<table><caption style="text-align:left">{html.escape(heading(value))}</caption>{cells}</table>'


def counts_of(result: Fit | FodFit) -> dict[Status, int]:
    """How many voxels have each status, of those inside the mask that there are.

    Args:
        result: of a fit.
    """
    counts = {code: result.count(code) for code in Status if code is not Status.OUTSIDE}
    return {code: count for code, count in counts.items() if count}


def fibres_of(fods: FodFit) -> dict[int, int]:
    """How many of the voxels that have a fit have how many lobes.

    Args:
        fods: of a fit.
    """
    numbers, counts = np.unique(fods.n_fibres[np.isin(fods.status, FITTED)], return_counts=True)
    return {int(n): int(count) for n, count in zip(numbers, counts, strict=True)}


def medians_of(fit: Fit) -> dict[str, float]:
    """Medians of the maps that a report shows, over the voxels that converged, by the maps' titles.

    Args:
        fit: of any model.
    """
    converged = fit.status == Status.CONVERGED
    medians = {}
    for name, values in fit.maps().items():
        about = map_table.about(name)
        if about.in_report and name != "status" and (known := values[converged & np.isfinite(values)]).size:
            medians[about.title] = float(np.median(known))
    return medians


def _shells(acquisition: Acquisition) -> Rows:
    for i, shell in enumerate(acquisition.concrete().shells):
        yield f"shell {i}", str(shell)
    yield "spherical mean", acquisition.spherical_mean
    yield "axes of directions", acquisition.axes


def _parameters(model: SphericalMeanModel) -> Rows:
    from ..models.description import line_of

    for name in model.names:
        line = line_of(name, model.structure, model.space)
        yield name, f"{line.state}, {line.text}"


def _of_status(result: Fit | FodFit) -> Rows:
    counts = counts_of(result)
    yield "voxels", f"{sum(counts.values()):,} of {result.status.size:,}"
    for code, count in counts.items():
        yield code.text, f"{count:,}"


def _of_fit(fit: Fit) -> Rows:
    yield from _of_status(fit)
    yield "noise", str(fit.settings.facts()["noise"])
    for title, median in medians_of(fit).items():
        yield f"median {title}", f"{median:.4g}"


def _of_fods(fods: FodFit) -> Rows:
    yield from _of_status(fods)
    for n, count in fibres_of(fods).items():
        yield f"{n} lobe{'' if n == 1 else 's'}", f"{count:,}"
    fitted = np.isin(fods.status, FITTED)
    for title, values in (
        ("ODI of the first lobe", fods.parameters["odi"][..., 0][fods.n_fibres > 0]),
        ("R²", fods.r2[fitted]),
    ):
        if values.size:
            yield f"median {title}", f"{np.median(values):.4g}"


_TABLES: Mapping[str, tuple[Callable[[Any], str], Callable[[Any], Rows]]] = {
    "Acquisition": (lambda acquisition: f"Acquisition of {acquisition.bvals.size} volumes", _shells),
    "SphericalMeanModel": (lambda model: f"{model.name}: {len(model.free)} free parameters and S0", _parameters),
    "Fit": (lambda fit: f"Fit of {fit.model.name}", _of_fit),
    "FodFit": (lambda fods: f"FODs of {fods.model.name}", _of_fods),
}
