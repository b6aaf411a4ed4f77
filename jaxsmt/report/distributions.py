"""Histograms of the maps by tissue, beside what healthy adults show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..files import map_table, sidecars
from ..geometry.quadrature import icosphere
from ..models.regions import Region, tissues_of
from ..status import FITTED
from .charts import Band, Chart, VoxelGroup, histogram
from .maps import range_of
from .references import APPARENT_B, APPARENT_DIFFUSIVITIES, Bibliography

if TYPE_CHECKING:
    from ..fitting.results import Fit

#: Regions with the numbers of their voxels, (voxels,) bool.
Tissues = Sequence[tuple[Region, np.ndarray]]
_ENOUGH = 8192  # voxels whose apparent diffusivity is told
_APPARENT_LIMITS = (0.0, 3.4)


def tissues(values: Mapping[str, np.ndarray], status: np.ndarray) -> list[tuple[Region, np.ndarray]]:
    """The regions that the maps tell, and their voxels; each voxel is in one at most.

    Args:
        values: maps by name, (voxels,). status: codes.
    """
    labelled = {sidecars.label(name): of_map for name, of_map in values.items()}
    taken, found = np.zeros(status.shape, bool), []
    for region in tissues_of(labelled):
        inside = region.contains(status, labelled) & ~taken
        taken |= inside
        found.append((region, inside))
    return found


def histograms(
    fit: Fit, values: Mapping[str, np.ndarray], of_tissue: Tissues, cite: Bibliography
) -> list[tuple[str, Chart]]:
    """A chart for the apparent diffusivity, and one for each map, with their titles.

    Args:
        fit: of the voxels. values: maps to show, by name.
        of_tissue: regions and their voxels. cite: numbers the references.
    """
    found = []
    if any(inside.any() for _, inside in of_tissue):
        found.append(_apparent(fit, of_tissue, cite))
    for name, of_map in values.items():
        about = map_table.about(name)
        limits = about.limits or range_of(of_map[np.isin(fit.status, FITTED)])
        found.append((about.title, histogram(about.title, _groups(of_map, of_tissue), limits)))
    return found


def _groups(values: np.ndarray, of_tissue: Tissues) -> list[VoxelGroup]:
    """Finite values of each tissue."""
    return [VoxelGroup(r.key, r.name, values[inside & np.isfinite(values)]) for r, inside in of_tissue]


def _apparent(fit: Fit, of_tissue: Tissues, cite: Bibliography) -> tuple[str, Chart]:
    """What the fitted kernels give for the apparent diffusivity, beside its ranges in healthy adults."""
    classed = np.flatnonzero(np.logical_or.reduce([inside for _, inside in of_tissue]))
    indices = classed[:: -(-classed.size // _ENOUGH)]
    values = np.full(fit.status.shape, np.nan)
    values[indices] = apparent_diffusivity(fit.voxels(indices))
    keys = {region.key for region, _ in of_tissue}
    bands = [
        Band(r.tissue, f"{r.name} {r.low:g} to {r.high:g} {cite.cite(*r.sources)}", r.low, r.high)
        for r in APPARENT_DIFFUSIVITIES
        if r.tissue in keys
    ]
    title = f"apparent diffusivity at b = {1000 * APPARENT_B:.0f} s/mm² [µm²/ms]"
    return title, histogram(title, _groups(values, of_tissue), _APPARENT_LIMITS, bands)


def apparent_diffusivity(fit: Fit) -> np.ndarray:
    """-ln(ε)/b of the fitted kernels' spherical mean at the b-value at which ranges were measured.

    Args:
        fit: of voxels with a fit.
    Returns:
        (voxels,) in µm²/ms, whatever the b-values of the series are.
    """
    last, directions = fit.acquisition.shells[-1], icosphere(1)[0]  # any will do: means do not depend on them
    bvals, bvecs = np.r_[0, np.full(len(directions), 1000 * APPARENT_B)], np.r_[np.zeros((1, 3)), directions]
    at = Acquisition(bvals, bvecs, axes=fit.acquisition.axes, delta=last.delta, Delta=last.Delta, te=last.te)
    predicted = fit.predict(at)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-np.log(predicted[..., 1] / predicted[..., 0]) / APPARENT_B)


def about_ranges(cite: Bibliography) -> str:
    """Where the ranges come from, and what they are not.

    Args:
        cite: numbers the references.
    """
    return (
        "The bars above the histogram of the apparent diffusivity are ranges of healthy adults: of tissue the regional "
        f"values of 80 adults, measured with b = 0 and 1000 s/mm² {cite.cite('helenius2002')}, near the trace of the "
        f"diffusion tensor over 3 of about 0.7 µm²/ms in the whole parenchyma but for a higher value in the cortex "
        f"{cite.cite('pierpaoli1996')}; of ventricles the diffusivity of water {cite.cite('sakai2012')} at 37 °C and "
        f"at the highest temperature estimated in healthy adults {cite.cite('kozak2010')}. The histogram is what the "
        "fitted kernels give for the same measurement, -ln ε(b)/b at b = 1000 s/mm². Values that are many times too "
        "small or too large mean that b-values are in another unit. No range is shown for the other maps: they depend "
        "on b-values and noise, and no published range was found that holds for all."
    )
