"""Which voxels a group is compared in; what tells white matter depends on the model."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ...files import map_table, sidecars
from ...status import FITTED, Status

#: Texts of maps by their names in file names.
TEXTS = {sidecars.label(name): text for name, text in map_table.MAPS.items()}


@dataclass(frozen=True)
class Limit:
    """The values of a map that are within a region.

    Attributes:
        map: its name in file names.
        low, high: smallest and largest value.
    """

    map: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def text(self) -> str:
        """The limit in words."""
        what, _, unit = title(self.map).partition(" [")
        bounds = [f"at least {self.low:g}"] * math.isfinite(self.low)
        bounds += [f"at most {self.high:g}"] * math.isfinite(self.high)
        return f"{what} {' and '.join(bounds)} {unit.rstrip(']')}".rstrip()

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Where the map is within the limit; nowhere where it is NaN."""
        inside: np.ndarray = (values >= self.low) & (values <= self.high)
        return inside


@dataclass(frozen=True)
class Region:
    """Voxels that are summarised together.

    Attributes:
        key: part of the names of columns.
        name: in sentences, after "in".
        statuses: codes of its voxels.
        limits: names of maps, as in file names, with their smallest and largest values.
    """

    key: str
    name: str
    statuses: tuple[Status, ...]
    limits: tuple[Limit, ...] = ()

    @property
    def text(self) -> str:
        """Its definition."""
        parts = ["status " + " or ".join(f"{code.value} ({code.text})" for code in self.statuses)]
        return ", ".join([*parts, *(limit.text for limit in self.limits)])


def title(name: str) -> str:
    """What a map is called, with its unit."""
    return TEXTS[name].title if name in TEXTS else _OTHER_TITLES.get(name, name)


_OTHER_TITLES = {"weightstick": "weight of the sticks"}
#: Every voxel that has a fit.
FITTED_VOXELS = Region("mask", "fitted voxels", FITTED)
_CONVERGED = Region("converged", "converged voxels", (Status.CONVERGED,))
# The first one whose maps there are is taken. Thresholds are about halfway between white and grey matter (see `tissues`
# of the models); the second map keeps out voxels of fluid whose noise looks anisotropic.
_WHITE_MATTER = tuple(
    Region("wm", "white-matter-like voxels", (Status.CONVERGED,), limits)
    for limits in (
        (Limit("fa", low=0.6), Limit("md", high=1.5)),
        (Limit("intra", low=0.45), Limit("extramd", high=2.0)),
        (Limit("weightstick", low=0.45),),
    )
)
#: What the regions mean, by key, whatever the model.
MEANINGS = {
    **{region.key: f"{region.name}: {region.text}" for region in (FITTED_VOXELS, _CONVERGED)},
    "wm": "white-matter-like voxels: " + "; or, where there are no such maps, ".join(r.text for r in _WHITE_MATTER),
}


def region_of(maps: Collection[str]) -> Region:
    """White-matter-like voxels where the maps tell them, else all that converged.

    Args:
        maps: names, as in file names.

    Example:
        >>> region_of(["fa", "md", "s0"]).text
        'status 1 (converged), microscopic FA at least 0.6, mean diffusivity at most 1.5 µm²/ms'
        >>> region_of(["radius"]).name
        'converged voxels'
    """
    fitting = (region for region in _WHITE_MATTER if all(limit.map in maps for limit in region.limits))
    return next(fitting, _CONVERGED)
