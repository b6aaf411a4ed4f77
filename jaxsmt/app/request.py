"""What a fit of files is asked for: the options of the command line that `Settings` does not have. No JAX.

An option is declared here once: its flag, default, help, and what sidecars say of it follow.
"""

# ruff: noqa: RUF009  `option` makes dataclass fields
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..acquisition.acquisition import Acquisition
from ..acquisition.units import B_TO_MS_PER_UM2
from ..files import sidecars
from ..fitting.settings import Settings, option, options_of
from ..physics import densities
from . import catalogue, memory

_SCHEME = {f.name: f.default for f in fields(Acquisition)}


def _path(help: str, metavar: str = "F", **flag: Any) -> Any:
    """An option that names a file, which sidecars list among the inputs."""
    return option(None, help, flag={"type": Path, "metavar": metavar, **flag}, fact=None)


def _switch(help: str) -> Any:
    """An option that is on or off, and does not change the numbers."""
    return option(False, help, flag={"action": "store_true"}, fact=None)


@dataclass(frozen=True)
class Request:
    """What to fit, where the files are, and where the maps go; names as of the flags, with `_` for `-`.

    Attributes:
        settings: options of `Settings` as the command line has them, text where those hold arrays.
    Raises:
        InputError: an invalid value.
    """

    dwi: Path = option(MISSING, "diffusion series, .nii or .nii.gz", flag={"type": Path, "metavar": "DWI"}, fact=None)
    bval: Path | None = _path("FSL b-values (default: beside DWI, same stem)")
    bvec: Path | None = _path("FSL directions (default: beside DWI, same stem)")
    grad: Path | None = _path("MRtrix gradient table instead of bval and bvec", "F.b")
    mask: Path | None = _path("voxels to fit: integers above 0, or floats above 0.5")
    b_unit: str = option(_SCHEME["b_unit"], "unit of the b-values", choices=tuple(B_TO_MS_PER_UM2))
    b0_threshold: float = option(
        _SCHEME["b0_threshold"], "s/mm²; volumes up to it are b = 0", flag={"type": float, "metavar": "B"}
    )
    shell_gap: float | None = option(
        _SCHEME["shell_gap"],
        "s/mm²; b-values further apart belong to different shells (default: found from the gaps in the table)",
        flag={"type": float, "metavar": "B"},
    )
    delta: float | None = option(
        None, "duration of the gradient pulses; sandi needs it", flag={"type": float, "metavar": "MS"}
    )
    Delta: float | None = option(
        None, "separation of the gradient pulses; sandi needs it", flag={"type": float, "metavar": "MS"}
    )
    b_shape: str | None = option(
        None,
        "shape of the encoding, 1 linear, 0 spherical, -0.5 planar: a number, or a text file of one for each volume",
        flag={"metavar": "NUMBER|FILE"},
    )
    echo_time: str | None = option(
        None,
        "echo time, if it differs between volumes: a number, or a text file of one for each volume",
        flag={"metavar": "MS|FILE"},
    )
    spherical_mean: str = option(
        _SCHEME["spherical_mean"],
        "spherical mean of a shell: least squares with spherical harmonics, or the plain mean",
        choices=("sh", "arithmetic"),
    )
    model: str = option(
        "smt",
        f"{', '.join(catalogue.names())}, or FILE.py:FUNCTION, a function of yours that returns a SphericalMeanModel",
        flag={"metavar": "MODEL"},
        fact=None,
    )
    fod: str = option("none", "also fit fibre orientation distributions", choices=("none", *densities.names()))
    fibres: str | None = option(
        None,
        "lobes of a FOD: 1, 2, 3, or auto, which chooses 0 to 3 by BIC in each voxel (default: 1)",
        choices=("1", "2", "3", "auto"),
        flag={"metavar": "N"},
    )
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "gpu", "all"), fact=None)
    out: Path = option(Path(), "folder for the maps", flag={"type": Path, "required": True}, fact=None)
    prefix: str | None = option(None, "start of the file names (default: from DWI's name)", fact=None)
    overwrite: bool = _switch("replace outputs that exist")
    memory_limit: str | None = option(
        None,
        "most memory to take, such as 4G; data that do not fit go to a scratch file (default: 80 % of what is free)",
        check=lambda size: memory.parsed(size) is not None,
        rule="a size such as 500M or 4G",
        flag={"metavar": "SIZE"},
        fact=None,
    )
    scratch: Path | None = option(
        None,
        "folder for the scratch file (default: that of the maps)",
        flag={"type": Path, "metavar": "DIR"},
        fact=None,
    )
    no_cache: bool = _switch("compile all programs anew, and keep none for the next run")
    no_report: bool = _switch("write no report.html")
    viewer: bool = _switch("the report also has a viewer, which scrolls through maps in the browser: up to 8 MB")
    quiet: bool = _switch("say only what is wrong")
    report: Path | None = option(None, "the page of the fit; None: report.html beside the maps", flag=None, fact=None)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (declared, _) in options_of(Request).items():
            value = getattr(self, name)
            if value is not None:
                declared.require(name, value)

    @property
    def n_fibres(self) -> int | str:
        """Number of lobes, or "auto"."""
        return self.fibres if self.fibres == "auto" else int(self.fibres or 1)

    @property
    def file_prefix(self) -> str:
        """Start of the names of all files."""
        return sidecars.default_prefix(self.dwi) if self.prefix is None else self.prefix

    def deciding(self) -> dict[str, Any]:
        """The options that decide the maps, beside the input files, as they were asked for."""
        deciding = (name for name, (declared, _) in options_of(Request).items() if declared.fact is not None)
        return {"model": self.model, **{name: getattr(self, name) for name in deciding}, **self.settings}

    def facts(self) -> dict[str, Any]:
        """What sidecars and run.json say of the options."""
        stated = {
            name: declared.fact(getattr(self, name))
            for name, (declared, _) in options_of(Request).items()
            if declared.fact is not None and getattr(self, name) is not None
        }
        return stated | ({} if self.fod == "none" else {"fibres": self.n_fibres})


def make_request(values: Mapping[str, Any]) -> Request:
    """A request from the values of flags by name; options that are not among them keep their defaults."""
    settings = {name: values[name] for name in options_of(Settings) if name in values and name not in _FIELDS}
    return Request(**{name: values[name] for name in _FIELDS if name in values}, settings=settings)


_FIELDS = tuple(options_of(Request))
