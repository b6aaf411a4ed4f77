"""Which voxels are summarised together; what tells white matter, grey matter and fluid depends on the model. No JAX."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..files import map_table, sidecars
from ..status import FITTED, Status

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

    @property
    def is_bounded(self) -> bool:
        """Whether it leaves anything out; one that does not only says that there must be such a map."""
        return math.isfinite(self.low) or math.isfinite(self.high)

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
        return ", ".join([*parts, *(limit.text for limit in self.limits if limit.is_bounded)])

    def contains(self, status: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
        """Where the voxels are within the region.

        Args:
            status: codes. maps: those of `limits`, by their names in file names.
        """
        inside = np.isin(status, self.statuses)
        for limit in self.limits:
            inside = inside & limit.contains(maps[limit.map])
        return inside


def title(name: str) -> str:
    """What a map is called, with its unit."""
    return TEXTS[name].title if name in TEXTS else _OTHER_TITLES.get(name, name)


_OTHER_TITLES = {"weightstick": "weight of the sticks"}
#: Every voxel that has a fit.
FITTED_VOXELS = Region("mask", "fitted voxels", FITTED)
_CONVERGED = Region("converged", "converged voxels", (Status.CONVERGED,))
# The first one whose maps there are is taken. Thresholds are about halfway between white and grey matter (see `tissues`
# of the models); the second map keeps out voxels of fluid whose noise looks anisotropic.
_LIMITS_OF_WHITE_MATTER = (
    (Limit("fa", low=0.6), Limit("md", high=1.5)),
    (Limit("intra", low=0.45), Limit("extramd", high=2.0)),
    (Limit("weightstick", low=0.45),),
)
# Of the same models in the same order; the first whose maps there are. Between tissue and fluid voxels hold both.
_LIMITS_OF_GREY_MATTER = (
    (Limit("fa", high=0.6), Limit("md", high=1.5)),
    (Limit("intra", high=0.45), Limit("extramd", high=2.0)),
    (Limit("weightstick", high=0.45), Limit("weightball", high=0.5), Limit("weightzeppelin")),
    (Limit("weightstick", high=0.45), Limit("sticklambdapar", high=2.0), Limit("balldiffusivity")),
)
_LIMITS_OF_FLUID = (
    (Limit("md", low=2.0),),
    (Limit("extramd", low=2.0),),
    (Limit("weightball", low=0.5), Limit("weightzeppelin")),
    (Limit("weightstick", high=0.45), Limit("sticklambdapar", low=2.5), Limit("balldiffusivity")),
)
_WHITE_MATTER = tuple(
    Region("wm", "white-matter-like voxels", (Status.CONVERGED,), limits) for limits in _LIMITS_OF_WHITE_MATTER
)
_GREY_MATTER = tuple(
    Region("gm", "grey-matter-like voxels", (Status.CONVERGED,), limits) for limits in _LIMITS_OF_GREY_MATTER
)
# The diffusivity of free water is the bound, so that voxels of fluid often end there.
_FLUID = tuple(
    Region("fluid", "fluid-like voxels", (Status.CONVERGED, Status.AT_BOUND), limits) for limits in _LIMITS_OF_FLUID
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
    return _first(_WHITE_MATTER, maps) or _CONVERGED


def tissues_of(maps: Collection[str]) -> tuple[Region, ...]:
    """White-matter-like, grey-matter-like and fluid-like voxels, those that the maps tell; else all that converged.

    Args:
        maps: names, as in file names.
    Returns:
        regions; a voxel on a limit belongs to the first that holds it.

    Example:
        >>> [region.key for region in tissues_of(["fa", "md", "s0"])]
        ['wm', 'gm', 'fluid']
        >>> tissues_of(["fa", "md", "s0"])[2].text
        'status 1 (converged) or 2 (at a bound), mean diffusivity at least 2 µm²/ms'
    """
    found = [_first(regions, maps) for regions in (_WHITE_MATTER, _GREY_MATTER, _FLUID)]
    return tuple(region for region in found if region) or (_CONVERGED,)


def _first(regions: Iterable[Region], maps: Collection[str]) -> Region | None:
    """The first region whose maps there are."""
    return next((region for region in regions if all(limit.map in maps for limit in region.limits)), None)
