"""Where a fit writes: the names of its files, checked before anything is computed. No JAX."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, JaxsmtWarning
from ..files import map_table, outputs
from ..physics import densities
from . import run_json
from .request import Request

if TYPE_CHECKING:
    from ..models.model import SphericalMeanModel


def map_names(model: SphericalMeanModel) -> tuple[str, ...]:
    """Names of the maps that a fit of a model may write."""
    shown = model.maps or (*model.names, *(link.target for link in model.derived))
    return (*shown, *map_table.of_fits("kernel"))


def path_of_run(request: Request) -> Path:
    """The summary of the run."""
    return request.out / f"{request.file_prefix}{run_json.NAME}"


def path_of_page(request: Request) -> Path:
    """The page with the maps."""
    return request.out / "report.html" if request.report is None else request.report


def page_from_maps(request: Request) -> str:
    """The page as run.json names it: from the folder of the maps."""
    return os.path.relpath(path_of_page(request), request.out)


def check_targets(
    request: Request, model: SphericalMeanModel, uncertainty: bool, inputs: Mapping[str, Path], resumed: bool = False
) -> None:
    """Check that the fit may write its files, into a folder that is there; make that of the page if it is missing.

    resumed: files that are there may be those of the run that goes on.

    Raises:
        InputError: files exist and may not be overwritten, or are among the inputs; two maps have the same file name.
        OutputError: the folder cannot be written.
    """
    prefix = request.file_prefix
    names = outputs.file_names(prefix, model.name, map_names(model), uncertainty)
    if request.fod != "none":
        names += outputs.file_names(prefix, model.name + request.fod, map_table.of_fits("fod"), uncertainty)
    paths = [request.out / name for name in names]
    paths += [path_of_run(request), *([] if request.no_report else [path_of_page(request)])]
    _refuse_inputs(paths, inputs)
    paths += [outputs.sidecar_path(path) for path in paths if path.name.endswith(".nii.gz")]
    taken = [path.name for path in paths if os.path.lexists(path)]
    if taken and not request.overwrite and not resumed:
        raise InputError(
            f"{taken[0]} exists" + (f", and {len(taken) - 1} more outputs" if len(taken) > 1 else ""),
            file=request.out,
            fix="overwrite=True replaces them; or choose another folder"
            + (", or no_report=True" if taken == [path_of_page(request).name] else ", or prefix= with no_report=True"),
        )
    if not request.no_report:
        outputs.make_folder(path_of_page(request).parent)


def tell_of_others(request: Request, model: SphericalMeanModel) -> None:
    """Warn of maps of another model, which stay where run.json and the page are replaced."""
    earlier = (run_json.read(path_of_run(request)) or {}).get("model")
    if earlier not in (None, model.name):
        warnings.warn(
            f"maps of the {earlier} model, which an earlier fit wrote here, stay; {path_of_run(request).name} and the "
            f"page will tell of the {model.name} model alone",
            JaxsmtWarning,
            stacklevel=2,
        )


def _refuse_inputs(paths: Iterable[Path], inputs: Mapping[str, Path]) -> None:
    """Raise InputError if an input would be overwritten."""
    targets = {path.resolve() for path in paths}
    for option, path in inputs.items():
        if path.resolve() in targets:
            raise InputError(f"is {option}= and would be an output too", file=path, fix="choose another folder")


def remove_earlier(request: Request, model: SphericalMeanModel, keep: Iterable[str]) -> None:
    """Remove what an earlier fit of the model wrote under the same prefix: it would seem to belong to this one.

    keep: names that stay, of its inputs.
    """
    prefix, kept = request.file_prefix, set(keep)
    stated = (run_json.read(path_of_run(request)) or {}).get("report")
    with suppress(OSError):
        # A page that is younger than the facts of the run is another prefix's.
        if stated and path_of_page(request).stat().st_mtime_ns <= path_of_run(request).stat().st_mtime_ns:
            path_of_page(request).unlink()
    path_of_run(request).unlink(missing_ok=True)
    outputs.remove_stale(request.out, prefix, model.name, map_names(model), kept)
    for density in densities.names():
        outputs.remove_stale(request.out, prefix, model.name + density, map_table.of_fits("fod"), kept)
