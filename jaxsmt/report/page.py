"""The page of a fit: what is odd first, in words; then methods, maps, distributions, fit quality, FODs, facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition.volumes import VolumeResiduals
from ..files import map_table
from ..status import FITTED
from . import distributions, figures, maps, methods, orientations, residuals, tables
from .charts import Chart
from .figures import MapFigure
from .html import fill
from .references import Bibliography, Reference
from .slices import Slice, choose_slices, lay_out
from .tables import Table

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit

# Maps that tell how good a fit is, and that are shown with its numbers.
_OF_QUALITY = ("sigma", "r2")


@dataclass(frozen=True)
class StatusFigure:
    """A map of statuses and what they mean.

    Attributes:
        title: above it. src: PNG as an address. text: instead of it. table: voxels by status.
    """

    title: str
    src: str
    text: str
    table: Table


@dataclass(frozen=True)
class Orientations:
    """Pictures of FODs.

    Attributes:
        directions, glyphs: PNG as addresses. directions_text, glyphs_text: instead of them.
        over: title of the map below the glyphs. where: the slice of the glyphs.
        maps: of FODs. fibres: voxels by number of lobes.
    """

    directions: str
    directions_text: str
    glyphs: str
    glyphs_text: str
    over: str
    where: str
    maps: Sequence[MapFigure]
    fibres: Table | None


@dataclass(frozen=True)
class Page:
    """What the page of a fit tells.

    Attributes:
        title: heading. summary: one sentence. warnings: of the fit. remarks: what the page itself finds odd.
        methods: paragraph. slices: what the maps show.
        maps, uncertain: of estimates and their standard deviations.
        tissues: numbers by tissue. histograms: of them. definitions: of tissues. ranges: where ranges come from.
        status: maps and counts. shells: residuals by shell. volumes: by volume; volumes_text: what they are.
        quality: R², σ, SNR. noise: maps of R², σ, SNR and gradient deviation.
        orientations: of FODs, if there are any.
        stages: times. facts: options, inputs, command. references: in the order of citation.
    """

    title: str
    summary: str
    warnings: Sequence[str]
    remarks: Sequence[str]
    methods: str
    slices: str
    maps: Sequence[MapFigure]
    uncertain: Sequence[MapFigure]
    tissues: Table
    histograms: Sequence[tuple[str, Chart]]
    definitions: Sequence[tuple[str, str, str]]
    ranges: str
    status: Sequence[StatusFigure]
    shells: Table
    volumes: Chart | None
    volumes_text: str
    quality: Table
    noise: Sequence[MapFigure]
    orientations: Orientations | None
    stages: Table
    facts: Sequence[tuple[str, Table]]
    references: Sequence[Reference]


def make_page(
    title: str,
    fit: Fit,
    fods: FodFit | None,
    mask: np.ndarray,
    affine: np.ndarray,
    run: Mapping[str, Any],
    volumes: VolumeResiduals | None = None,
) -> str:
    """The page of a fit as HTML; equal facts are equal text.

    Args:
        title: heading.
        fit: of the voxels inside the mask, in the order of the file (Fortran's).
        fods: FODs of the same voxels, if there are any.
        mask: (x, y, z) bool.
        affine: (4, 4), voxels to scanner axes.
        run: what run.json says.
        volumes: what each volume is less what the others tell, if that is known.
    """
    with maps.plain_style():
        return fill("report.html", page=_describe(title, fit, fods, mask, affine, run, volumes))


def _describe(
    title: str,
    fit: Fit,
    fods: FodFit | None,
    mask: np.ndarray,
    affine: np.ndarray,
    run: Mapping[str, Any],
    volumes: VolumeResiduals | None,
) -> Page:
    """What the page tells."""
    cite = Bibliography()
    values, fitted = fit.maps(), np.isin(fit.status, FITTED)
    shown = {name: of_map for name, of_map in values.items() if map_table.about(name).in_report and name != "status"}
    slices = choose_slices(mask, affine)
    draw = figures.Drawer(lay_out(slices), fitted, _named(slices))
    tissues = distributions.tissues(values, fit.status)
    text = methods.paragraph(run, fit.model.parameter_names, cite)
    outside = int(mask.size - np.count_nonzero(mask))
    chart, volumes_text = residuals.of_volumes(volumes, fit.acquisition)
    of_tissue = {name: of_map for name, of_map in shown.items() if name not in ("s0", "sigma", "r2")}
    histograms = distributions.histograms(fit, of_tissue, tissues, cite)
    return Page(
        title=title,
        summary=_summary(fit, fods, run),
        warnings=run["warnings"],
        remarks=residuals.remarks(volumes),
        methods=text,
        slices=_named(slices),
        maps=[draw.of_map(name, of_map) for name, of_map in shown.items() if name not in _OF_QUALITY],
        uncertain=_uncertain(fit, shown, draw),
        tissues=tables.medians(of_tissue, tissues, fitted),
        histograms=histograms,
        definitions=[(region.key, region.name, region.text) for region, _ in tissues],
        ranges=distributions.about_ranges(cite),
        status=_statuses(fit, fods, outside, draw),
        shells=tables.shells(fit, volumes, run),
        volumes=chart,
        volumes_text=volumes_text,
        quality=tables.quality(fit, fods, volumes, run),
        noise=_noise(fit, fods, draw),
        orientations=None if fods is None else _orientations(fods, fit, slices, draw, run, affine),
        stages=tables.stages(run),
        facts=tables.facts(run),
        references=cite.references,
    )


def _named(slices: Sequence[Slice]) -> str:
    """Slices in words.

    Example:
        >>> _named([Slice("axial", n, np.zeros((2, 2), int), np.eye(4)) for n in (3, 5)])
        'axial 3 and 5'
    """
    planes = [cut.plane for cut in slices]
    names = [str(cut.position) if i and planes[i] == planes[i - 1] else cut.text for i, cut in enumerate(slices)]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _summary(fit: Fit, fods: FodFit | None, run: Mapping[str, Any]) -> str:
    """What was fitted where."""
    with_fods = "" if fods is None else f" with {run['options'].get('fod', '')} FODs"
    share = 100 * np.mean(np.isin(fit.status, FITTED)) if fit.status.size else 0
    return f"{fit.model.name}{with_fods}: {fit.status.size:,} voxels, {share:.1f} % with a fit."


def _uncertain(fit: Fit, shown: Mapping[str, np.ndarray], draw: figures.Drawer) -> list[MapFigure]:
    """Standard deviations, if there are any."""
    if fit.sd is None:
        return []
    names = [name for name in map_table.with_sd(shown) if name in fit.sd]
    return [draw.of_values("sd of " + map_table.about(name).title, fit.sd[name], "cividis") for name in names]


def _statuses(fit: Fit, fods: FodFit | None, outside: int, draw: figures.Drawer) -> list[StatusFigure]:
    """Maps of statuses of kernels and FODs."""
    found = []
    for title, result in (("Kernels", fit), ("FODs", fods)):
        if result is not None:
            table = tables.statuses(result, outside, f"{title}: voxels by status", result is fods)
            rows = [f"{row.cells[1]} {row.head[2:]}" for row in table.rows[1:] if row.cells[0] != "0"]
            text = f"Status of the {title if result is fods else 'kernels'} in {draw.where}: {', '.join(rows)}"
            found.append(StatusFigure(title, draw.of_status(result.status), text, table))
    return found


def _noise(fit: Fit, fods: FodFit | None, draw: figures.Drawer) -> list[MapFigure]:
    """Maps of R², σ, SNR, and what gradient deviations change."""
    r2 = map_table.about("r2")
    found = [draw.of_values(f"{r2.title} of the kernels", fit.r2, r2.colours, r2.limits)]
    if fods is not None:
        found.append(draw.of_values(f"{r2.title} of the FODs", fods.r2, r2.colours, r2.limits))
    if fit.sigma is not None:
        sigma = np.broadcast_to(fit.sigma, fit.s0.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(sigma > 0, fit.s0 / sigma, np.nan)
        if np.ptp(sigma) > 0:
            found.append(draw.of_values(map_table.about("sigma").title, sigma, "cividis"))
        found.append(draw.of_values("SNR at b = 0, S0/σ", ratio, "cividis"))
    if fit.settings.grad_dev is not None and fit.settings.grad_dev.ndim == 3:
        deviation = fit.settings.grad_dev  # |(I + L)g|², mean over g, less 1
        trace, squares = np.einsum("...ii", deviation), np.einsum("...ij,...ij", deviation, deviation)
        change = 100 * (2 * trace + squares) / 3
        found.append(draw.of_values("change of b by gradient deviations, mean over directions [%]", change, "cividis"))
    return found


def _orientations(
    fods: FodFit,
    fit: Fit,
    slices: Sequence[Slice],
    draw: figures.Drawer,
    run: Mapping[str, Any],
    affine: np.ndarray,
) -> Orientations:
    """Pictures of FODs."""
    patch = orientations.find_patch(fods, slices, affine)
    cut, over = slices[patch.nth], background(fit)
    odi = np.where(fods.n_fibres > 0, fods.parameters["odi"][:, 0], np.nan)
    maps_of_fods = [
        draw.of_values("ODI of the heaviest lobe", odi, "viridis", (0, 1)),
        draw.of_values("number of lobes", fods.n_fibres.astype(float), "viridis", (0, 3)),
    ]
    crossing = f"{100 * patch.crossing:.0f} % of its voxels have a second lobe of a weight of 0.2 or more"
    return Orientations(
        directions=orientations.direction_picture(fods, draw.sheet, patch, affine),
        directions_text=f"Directions of the lobes as colours in {_named(slices)}; the glyphs' patch is framed",
        glyphs=orientations.glyph_picture(fods, fit.maps()[over], cut, patch, affine),
        glyphs_text=f"Glyphs of the FODs of {patch.size[0]} by {patch.size[1]} voxels in {cut.text}: {crossing}",
        over=map_table.about(over).title,
        where=cut.text,
        maps=maps_of_fods,
        fibres=tables.fibres(run),
    )


def background(fit: Fit) -> str:
    """The map over which FODs are drawn: one that the table marks, else the last free parameter, else the first map.

    Args:
        fit: of any model.
    """
    names = list(fit.maps())
    marked = [name for name in names if map_table.about(name).background]
    free = [name for name in reversed(fit.model.parameter_names) if name in names]
    return [*marked, *free, *names][0]
