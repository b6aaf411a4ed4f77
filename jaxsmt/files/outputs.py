"""Maps as files: names, sidecars, and what each map is. NumPy only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..errors import InputError, OutputError
from . import nifti
from . import sidecars as sidecar

_STATUS = "0 outside mask, 1 converged, 2 at a bound, 3 not converged, 4 no usable signal, 5 non-finite input"
#: Maps of kernel fits and what they are.
KERNEL_DESCRIPTIONS = {
    "lambda_par": "Diffusivity along the axis of the microscopic domain",
    "lambda_perp": "Diffusivity across the axis of the microscopic domain",
    "fraction": "lambdaperp over lambdapar",
    "md": "Mean diffusivity of the microscopic domain, (lambdapar + 2 lambdaperp)/3",
    "fa": "Microscopic fractional anisotropy",
    "fapow3": "Third power of the microscopic fractional anisotropy",
    "intra": "Intra-neurite volume fraction",
    "diff": "Intrinsic diffusivity, along neurites and what surrounds them",
    "extratrans": "Diffusivity across neurites in what surrounds them, (1 - intra) diff",
    "extramd": "Mean diffusivity of what surrounds neurites, diff (1 - 2/3 intra)",
    "s0": "Signal at b = 0, in units of the input",
    "mse": "Mean squared residual over b = 0 and the spherical means, of the signal over S0",
    "r2": "Coefficient of determination over b = 0 and the spherical means",
    "status": _STATUS,
}
#: Maps of a FOD fit.
FOD_DESCRIPTIONS = {
    "direction": "Axes of the lobes, x y z of each in turn, unit vectors in scanner axes; 0 for absent lobes",
    "weight": "Weight of each lobe, falling; their sum is 1",
    "odi": "Orientation dispersion index of each lobe, 2/pi arctan(1/kappa)",
    "kappa": "Concentration of each lobe",
    "beta": "Second concentration of each lobe (Bingham), 0 <= beta <= kappa",
    "fod": "Spherical harmonics of the FOD up to order 8, MRtrix basis and order, scanner axes, unit integral",
    "mse": "Mean squared residual over all volumes, of the signal over S0",
    "r2": "Coefficient of determination over all volumes",
    "status": _STATUS,
}


#: Of these there are no standard deviations.
_CERTAIN = ("mse", "r2", "status", "fod")
_SD = "standard deviation; NaN where the status (of lobes the kernel's too) is not 1, inf where not determined"


def with_sd(maps) -> tuple[str, ...]:
    """Names of maps whose standard deviations are written with `--uncertainty`."""
    return tuple(name for name in maps if name not in _CERTAIN)


def names(prefix: str, model: str, maps, description: str = "") -> list[str]:
    """File names of maps."""
    return [f"{sidecar.map_name(prefix, model, name, description)}.nii.gz" for name in maps]


def sidecar_path(path: Path) -> Path:
    """The JSON file beside a map."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def write_maps(
    folder: Path,
    prefix: str,
    model: str,
    maps: Mapping[str, np.ndarray],
    descriptions: Mapping[str, str],
    units: Mapping[str, str],
    like: nifti.Image,
    facts: Mapping[str, Any],
    progress: Callable[[], None] = lambda: None,
    sd: Mapping[str, np.ndarray] | None = None,
) -> list[Path]:
    """Write maps, float32 (status uint8), each with its sidecar; and `sd`, the standard deviations of some of them."""
    written = []

    def write(path: Path, values: np.ndarray, description: str, unit: str) -> None:
        content = {"Description": description, **facts} | ({"Units": unit} if unit else {})
        nifti.write_image(path, values, like=like)
        nifti.write_bytes(sidecar_path(path), sidecar.to_json(content))
        written.append(path)
        progress()

    for name, values in maps.items():
        path = folder / f"{sidecar.map_name(prefix, model, name)}.nii.gz"
        kept = values if name == "status" else values.astype(np.float32)
        write(path, kept, descriptions.get(name, name), units.get(name, ""))
    for name in with_sd(maps) if sd is not None else ():
        assert sd is not None
        path = folder / f"{sidecar.map_name(prefix, model, name, 'sd')}.nii.gz"
        what = "expected angle to the true axis" if name == "direction" else descriptions.get(name, name)
        unit = "degrees" if name == "direction" else units.get(name, "")
        write(path, sd[name].astype(np.float32), f"{what}: {_SD}", unit)
    return written


def save(
    folder: str | os.PathLike,
    like: str | os.PathLike,
    prefix: str | None,
    model: str,
    maps: Mapping[str, np.ndarray],
    descriptions: Mapping[str, str],
    units: Mapping[str, str],
    sd: Mapping[str, np.ndarray] | None = None,
) -> list[Path]:
    """Write maps that were fitted in Python; names, affine and codes follow the series `like`."""
    folder, image = Path(folder), nifti.open_image(like)
    space = maps["status"].shape
    if space != image.shape[:3]:
        raise InputError(
            f"maps of shape {space} for a series of {image.shape[:3]}", file=image.path, fix="fit the series' own grid"
        )
    make_folder(folder)
    prefix = sidecar.default_prefix(image.path) if prefix is None else prefix
    facts = {"software": {"name": "jaxsmt", "version": __version__}, "model": model}
    return write_maps(folder, prefix, model, maps, descriptions, units, image, facts, sd=sd)


def make_folder(path: Path) -> None:
    """Make a folder for outputs, or raise OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(error.strerror or str(error), file=path, fix="choose a folder that can be made") from None
    if not os.access(path, os.W_OK):
        raise OutputError("cannot be written", file=path, fix="choose a folder that can be written")
