"""The columns of the group's table: their names, what they mean, and which of them are compared among series."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...models import regions
from ...models.regions import Region
from ...status import Status

#: Statistics of a map, with the percentile that each is.
STATISTICS = {"median": 50, "q1": 25, "q3": 75}
# Maps that are in the table, but are not compared: S0 and σ have the units of the scanner; the number of lobes takes
# few values; the others say the same as a map that is compared.
_NOT_COMPARED = ("s0", "sigma", "nfibres", "fapow3", "mse")
#: Maps that have no median worth telling: vectors, harmonics, codes.
NOT_SUMMARISED = ("direction", "across", "fod", "status")
_SHARE_STEP = 0.002  # a spread of shares that nobody minds
_FIXED, _OF_FODS, OF_MAPS = 0, 1, 2  # order of columns


@dataclass(frozen=True)
class Column:
    """A column of numbers; columns of one name are one column.

    Attributes:
        name: in the table.
        description: for the JSON beside it.
        unit: empty if it has none.
        short: what it is, in a sentence and above pictures.
        scope: which model must be equal for series to be compared: "kernel", "fod"; empty: it is not compared.
        step: a spread that is smaller counts as this.
        order: its place among the columns.
    """

    name: str
    description: str = field(compare=False)
    unit: str = field(default="", compare=False)
    short: str = field(default="", compare=False)
    scope: str = field(default="", compare=False)
    step: float = field(default=0.0, compare=False)
    order: tuple[int, ...] = field(default=(_FIXED,), compare=False)

    @property
    def is_share(self) -> bool:
        """Whether it is a part of the voxels, from 0 to 1, which texts give in per cent."""
        return self.name.endswith("_share")


def status_columns(scope: str) -> list[Column]:
    """Numbers of voxels of kernels or of FODs by status, and the shares that are compared."""
    start, of_fods, what = ("", "", "voxels") if scope == "kernel" else ("fod_", " of the FODs", "FODs")
    order = (_FIXED,) if scope == "kernel" else (_OF_FODS,)
    columns = [
        Column(f"{start}{code.name.lower()}", f"Voxels with status{of_fods} {code.value}: {code.text}", order=order)
        for code in Status
    ]
    shares = {
        "at_bound_share": (f"share of {what} at a bound", "Voxels with status 2 over those in the mask"),
        "failed_share": (
            f"share of {what} without a sound fit",
            "Voxels with status 3, 4 or 5 over those in the mask",
        ),
    }
    columns += [
        Column(f"{start}{name}", text + of_fods * (scope == "fod"), "", short, scope, _SHARE_STEP, order)
        for name, (short, text) in shares.items()
    ]
    return columns


VOXELS = Column("voxels", "Voxels in the mask", "", "voxels in the mask", "kernel")
SIGMA = Column("sigma", "Median of the noise's standard deviation, as run.json states it", "units of the series")
SNR = Column("snr", "Median of S0 over sigma, in fitted voxels", "", "SNR at b = 0", "kernel")
WARNINGS = Column("warnings", "Number of warnings of the fit, in run.json")


def region_columns(region: Region) -> tuple[Column, Column]:
    """Number and share of the voxels of a region."""
    count = Column(f"{region.key}_voxels", f"Number of {regions.MEANINGS[region.key]}")
    share = Column(
        f"{region.key}_share",
        f"{region.name.capitalize()} over voxels in the mask",
        "",
        f"share of {region.name}",
        "kernel",
        _SHARE_STEP,
    )
    return count, share


def map_columns(scope: str, parameter: str, region: Region, description: str, unit: str) -> dict[str, Column]:
    """The columns of a map in a region, by statistic.

    Args:
        scope: "kernel" or "fod".
        parameter: the map's name in file names.
        region: where.
        description, unit: what the map's sidecar says.
    """
    known = list(regions.TEXTS)
    place = known.index(parameter) if parameter in known else len(known)
    title, _, title_unit = regions.title(parameter).partition(" [")
    of_fods = "" if scope == "kernel" else " of the FODs"
    compared = scope if parameter not in _NOT_COMPARED else ""
    where = (
        f"{region.name} (see {region.key}_voxels)"
        if region is not regions.FITTED_VOXELS
        else f"{region.name} (status 1, 2 or 3)"
    )
    where += ", where the status of the FOD is such too" * (scope == "fod")
    return {
        statistic: Column(
            f"{'' if scope == 'kernel' else 'fod_'}{parameter}_{region.key}_{statistic}",
            f"{_STATISTIC_TEXTS[statistic]} of {parameter}{of_fods} ({description or title}) in {where}",
            title_unit.rstrip("]") or unit,
            f"median {title}{of_fods if parameter in ('mse', 'r2') else ''} in {region.name}",
            compared if statistic == "median" else "",
            0.0,
            (OF_MAPS, ("kernel", "fod").index(scope), place, int(region is not regions.FITTED_VOXELS), percentile),
        )
        for statistic, percentile in STATISTICS.items()
    }


_STATISTIC_TEXTS = {"median": "Median", "q1": "First quartile", "q3": "Third quartile"}
