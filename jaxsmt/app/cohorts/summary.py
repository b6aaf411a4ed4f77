"""The statistics of one series: its maps are read one after another."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import InputError, JaxsmtWarning
from ...files import nifti
from ...models import regions
from ...models.regions import FITTED_VOXELS, Region
from ...status import FITTED, Status
from . import columns
from .columns import Column
from .written import FittedSeries, Run, about_map, read_run

COMPLETE, INCOMPLETE, DAMAGED = "complete", "incomplete", "damaged"
_SCOPES = {"kernel": "", "fod": "FODs: "}


@dataclass(frozen=True)
class SeriesSummary:
    """What the table says of a series.

    Attributes:
        series: which one.
        state: "complete", "incomplete" (no run.json) or "damaged" (something cannot be read, or does not fit together).
        problems: what is wrong, in sentences.
        run: what run.json says; None if there is none that can be read.
        region: where maps are summarised, besides all fitted voxels; None if that cannot be told.
        statistics: by column; what is missing is not known.
    """

    series: FittedSeries
    state: str
    problems: tuple[str, ...] = ()
    run: Run | None = None
    region: Region | None = None
    statistics: Mapping[Column, float] = field(default_factory=dict)

    def model(self, scope: str) -> str:
        """Name of the model of kernels or of FODs, as in file names; empty if there is none."""
        if self.run is None or (scope == "fod" and not self.run.density):
            return ""
        return self.run.model + (self.run.density if scope == "fod" else "")


def summarise(series: FittedSeries) -> SeriesSummary:
    """The statistics of a series. What is damaged is said, and left out.

    Args:
        series: one that was found.
    """
    if not series.is_complete:
        fact = "has maps but no run.json: its fit has not ended" if series.has_maps else "has no maps"
        return SeriesSummary(series, INCOMPLETE, (fact,))
    try:
        run = read_run(series)
    except InputError as error:
        return SeriesSummary(series, DAMAGED, (f"{Path(error.file or '').name}: {error.fact}",))
    reader = _Reader(series, run)
    reader.read()
    state = DAMAGED if reader.problems else COMPLETE
    return SeriesSummary(series, state, tuple(reader.problems), run, reader.region, reader.statistics)


class _Reader:
    """Reads the maps of a series. Only one map is in memory at a time, besides the statuses and the regions."""

    def __init__(self, series: FittedSeries, run: Run) -> None:
        self.problems: list[str] = []
        self.statistics: dict[Column, float] = {}
        self.region: Region | None = None
        self._run = run
        self._paths = {"kernel": series.maps(run.model)}
        if run.density:
            self._paths["fod"] = series.maps(run.model + run.density)
        self._shape: tuple[int, ...] = ()

    def read(self) -> None:
        """Fill `statistics`, `region` and `problems`."""
        self._count()
        status = self._status("kernel")
        if status is None:
            return
        self._shape = status.shape
        inside = {FITTED_VOXELS: np.isin(status, FITTED)}
        region = regions.region_of(self._paths["kernel"])
        chosen = self._voxels(region, status)
        if chosen is not None:
            self.region = region
            inside[region] = chosen
            count, share = columns.region_columns(region)
            self.statistics[count] = voxels = int(chosen.sum())
            self.statistics[share] = voxels / max(int(np.count_nonzero(status)), 1)
        self._snr(inside[FITTED_VOXELS])
        for scope in self._paths:
            self._summarise(scope, self._of_scope(scope, inside))

    def _count(self) -> None:
        """Voxels by status, σ and warnings, as run.json states them."""
        for scope, counts in self._run.counts.items():
            names = dict(zip(Status, columns.status_columns(scope), strict=False))
            at_bound, failed = columns.status_columns(scope)[len(Status) :]
            in_mask = sum(counts.values()) - counts[Status.OUTSIDE]
            if scope == "kernel":
                self.statistics[columns.VOXELS] = in_mask
            self.statistics |= {names[code]: count for code, count in counts.items()}
            self.statistics[at_bound] = counts[Status.AT_BOUND] / max(in_mask, 1)
            bad = (Status.NOT_CONVERGED, Status.NO_SIGNAL, Status.NON_FINITE)
            self.statistics[failed] = sum(counts[code] for code in bad) / max(in_mask, 1)
        if self._run.sigma is not None:
            self.statistics[columns.SIGMA] = self._run.sigma
        self.statistics[columns.WARNINGS] = len(self._run.warnings)

    def _status(self, scope: str) -> np.ndarray | None:
        """The status map, which must be that of the run; None if it cannot be used."""
        values = self._map(scope, "status")
        if values is None:
            return None
        counts = self._run.counts[scope]
        there = {code: int(np.count_nonzero(values == code)) for code in Status}
        differing = [code for code in Status if there[code] != counts[code]]
        if differing:
            code = differing[0]
            self.problems.append(
                f"{self._paths[scope]['status'].name}: {there[code]} voxels {code.text}, run.json says "
                f"{counts[code]}: they are not of one fit"
            )
            return None
        return values

    def _map(self, scope: str, parameter: str) -> np.ndarray | None:
        """A map of the series' shape; None, and a problem, if it cannot be read."""
        path = self._paths[scope].get(parameter)
        if path is None:
            self.problems.append(f"{_SCOPES[scope]}the {parameter} map is missing")
            return None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", JaxsmtWarning)  # of headers, which jaxsmt itself has written
                values = nifti.read_array(nifti.open_image(path))
        except InputError as error:
            self._add_once(f"{path.name}: {error.fact}")
            return None
        self._shape = self._shape or values.shape[:3]
        if values.shape[:3] != self._shape or (parameter == "status" and values.ndim != 3):
            self._add_once(f"{path.name}: dimensions {values.shape}, the status map {self._shape}")
            return None
        return values

    def _add_once(self, problem: str) -> None:
        """Note a problem; a map may be read twice."""
        if problem not in self.problems:
            self.problems.append(problem)

    def _voxels(self, region: Region, status: np.ndarray) -> np.ndarray | None:
        """The voxels of a region of the kernels; None if a map that tells them cannot be read."""
        chosen = np.isin(status, region.statuses)
        for limit in region.limits:
            values = self._map("kernel", limit.map)
            if values is None:
                return None
            chosen &= limit.contains(values)
        return chosen

    def _of_scope(self, scope: str, inside: Mapping[Region, np.ndarray]) -> dict[Region, np.ndarray]:
        """The voxels of each region; for FODs only where the FOD has such a status too."""
        if scope == "kernel":
            return dict(inside)
        status = self._status("fod")
        if status is None:
            return {}
        return {region: chosen & np.isin(status, region.statuses) for region, chosen in inside.items()}

    def _snr(self, fitted: np.ndarray) -> None:
        """SNR, by the map of σ if there is one, else by its median."""
        if "sigma" not in self._paths["kernel"] and self._run.sigma is None:
            return
        s0 = self._map("kernel", "s0")
        if s0 is None:
            return
        if "sigma" in self._paths["kernel"]:
            sigma = self._map("kernel", "sigma")
            if sigma is None:
                return
            sigma = sigma[fitted].astype(float)
        else:
            sigma = np.asarray(self._run.sigma, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = s0[fitted] / sigma
        if np.isfinite(ratio).any():
            self.statistics[columns.SNR] = float(np.median(ratio[np.isfinite(ratio)]))

    def _summarise(self, scope: str, inside: Mapping[Region, np.ndarray]) -> None:
        """Median and quartiles of each map in each region."""
        if not inside:
            return
        lobes = self._map("fod", "nfibres") if "nfibres" in self._paths[scope] else None
        for parameter, path in self._paths[scope].items():
            if parameter in columns.NOT_SUMMARISED:
                continue
            values = self._map(scope, parameter)
            if values is None:
                continue
            there = True if lobes is None or values.ndim == 3 else lobes > 0
            heaviest = values if values.ndim == 3 else values[..., 0]
            description, unit = about_map(path)
            for region, chosen in inside.items():
                named = columns.map_columns(scope, parameter, region, description, unit)
                for statistic, value in _statistics(heaviest[chosen & there]):
                    self.statistics[named[statistic]] = value


def _statistics(values: np.ndarray) -> Iterator[tuple[str, float]]:
    """Median and quartiles of the finite values; nothing if there are none."""
    finite = values[np.isfinite(values)].astype(float)
    if finite.size:
        found = np.percentile(finite, list(columns.STATISTICS.values()))
        yield from zip(columns.STATISTICS, map(float, found), strict=True)
