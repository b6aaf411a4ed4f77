"""A finished fit, read back from what it wrote: its page is drawn again without fitting."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition.volumes import VolumeResiduals
from ..errors import InputError
from ..files import map_table, masks, nifti, sidecars
from . import catalogue, run_json
from .inputs import Inputs, naming, open_inputs
from .request import Request, make_request
from .unfinished import Unfinished

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit
    from ..models.model import SphericalMeanModel

# Of a FOD's maps, those with a value, or a vector, for each lobe.
_OF_LOBES, _VECTORS = ("weight", "odi", "kappa", "beta"), ("direction", "across")
_SECOND = ("second", "second_lambda_par", "second_fraction")
_AGAIN = "fit again, with overwrite=True"


def draw_again(out: Path, prefix: str | None = None) -> Path:
    """Draw the report of a finished fit from its maps, run.json and the inputs that are named there.

    Args:
        out: folder of the maps. prefix: of the file names; None: there is one fit in the folder.
    Returns:
        path of the page.
    Raises:
        InputError: there is no finished fit, more than one, or its inputs or maps are not what they were.
        OutputError: the page cannot be written.
        ResourceError: a fit writes here at the moment.
    """
    path = _find(out, prefix)
    unfinished = Unfinished(out, path.name.removesuffix(run_json.NAME))
    with unfinished.locked():
        run = _read(path)
        request = _request(run, path)
        inputs = open_inputs(request)
        _require_same(run, inputs)
        fit, fods, volumes = _results(request, inputs, run)
        before = {name: spent for name, spent in run["timings_s"].items() if name != "write"}
        content = draw(request, inputs, fit, fods, volumes, {**run, "timings_s": before})
        target = out / str(run.get("report", run.get("page", "report.html")))
        nifti.write_bytes(target, content)
        write_facts(path, {**run, "report": os.path.relpath(target, out)})
        if unfinished.is_of(run):  # it was stopped when only the page was missing
            unfinished.finish()
    return target


def write_facts(path: Path, run: Mapping[str, Any]) -> None:
    """Write run.json; where it names a page after that, so that the next fit knows that the page belongs to its maps.

    Raises:
        OutputError: it cannot be written.
    """
    nifti.write_bytes(path, sidecars.to_json(sidecars.sealed(run)))


def draw(
    request: Request,
    inputs: Inputs,
    fit: Fit,
    fods: FodFit | None,
    volumes: VolumeResiduals | None,
    run: Mapping[str, Any],
) -> bytes:
    """The page of a fit.

    Args:
        request, inputs: what was asked for. fit, fods: of the voxels inside the mask.
        volumes: residuals of the series' volumes, if they are known. run: what run.json says before maps are written.
    """
    from ..report import page, viewer

    name = request.file_prefix.rstrip("_") or request.dwi.name
    mask, affine = inputs.mask, inputs.image.affine
    text = page.make_page(f"{name}: {fit.model.name} maps", fit, fods, mask, affine, run, volumes)
    content = text.encode("utf-8", "backslashreplace")
    if request.viewer:
        maps = fit.maps()
        shown = {name: masks.place(maps[name], mask, "F") for name in viewer.names_of(maps)}
        text = viewer.insert(text, viewer.make_viewer(shown, mask, affine, len(content)))
        content = text.encode("utf-8", "backslashreplace")
    return content


def _find(out: Path, prefix: str | None) -> Path:
    """The run.json of the fit."""
    if not out.is_dir():
        raise InputError("no such folder", file=out, fix="name the folder of the maps")
    found = sorted(out.glob(f"*{run_json.NAME}")) if prefix is None else [out / f"{prefix}{run_json.NAME}"]
    found = [path for path in found if path.is_file()]
    if not found:
        raise InputError("holds no finished fit", file=out, fix="name the folder of its maps, where run.json is")
    if len(found) > 1:
        prefixes = ", ".join(path.name.removesuffix(run_json.NAME) for path in found)
        raise InputError(f"holds {len(found)} fits: {prefixes}", file=out, fix="name one with prefix=")
    return found[0]


def _read(path: Path) -> dict[str, Any]:
    """What run.json says."""
    run = run_json.require(path, _AGAIN)
    if not {"asked", "inputs", "options", "shells", "timings_s", "warnings", "voxels", "maps"} <= run.keys():
        raise InputError("is no run.json of a fit by this version", file=path, fix=_AGAIN)
    return run


def _request(run: Mapping[str, Any], path: Path) -> Request:
    """What the fit was asked for."""
    try:
        files = {name: Path(entry["path"]) for name, entry in run["inputs"].items()}
        values = {name: str(files[name]) if value == "file" else value for name, value in run["asked"].items()}
        if "function" in run["inputs"].get("model", {}):
            values["model"] = f"{files['model']}:{run['inputs']['model']['function']}"
        values |= {name: files[name] for name in ("dwi", "mask", "bval", "bvec", "grad") if name in files}
        prefix = path.name.removesuffix(run_json.NAME)
        return make_request({**values, "out": path.parent, "prefix": prefix, "viewer": run.get("viewer", False)})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"is no run.json of a fit by this version ({error})", file=path, fix=_AGAIN) from None


def _require_same(run: Mapping[str, Any], inputs: Inputs) -> None:
    """Raise InputError if an input has changed since the fit."""
    for name, path in inputs.files.items():
        if sidecars.sha256(path) != run["inputs"].get(name, {}).get("sha256"):
            raise InputError("has changed since the fit", file=path, fix=_AGAIN)


def _results(
    request: Request, inputs: Inputs, run: Mapping[str, Any]
) -> tuple[Fit, FodFit | None, VolumeResiduals | None]:
    """The fits of the voxels inside the mask, from their maps."""
    from ..fitting.inputs import Voxels, of_voxels, sigma_of
    from ..fitting.results import Fit

    voxels = Voxels(inputs.mask, "F")
    with naming(inputs.files):
        model = of_voxels(catalogue.load(inputs.model).model, voxels)
    written = _Written(request, inputs, run["maps"])
    values = written.maps(model.name, _names(model))
    kernels = {name: of_map for name, of_map in values.items() if name not in map_table.of_fits("kernel")}
    sigma = run["options"].get("sigma")  # None: nothing needed it
    of_settings = None if sigma is None else sigma_of(inputs.settings, voxels)
    sigma = sigma or {}
    fit = Fit(
        model=model,
        acquisition=inputs.acquisition,
        settings=inputs.settings,
        parameters={**_parameters(model, kernels), **kernels},
        derived={},
        s0=values["s0"],
        quality={name: values[name] for name in ("mse", "r2")},
        status=values["status"].astype(np.uint8),
        sigma=values.get("sigma", of_settings),
        sigma_error=sigma.get("relative_error"),
        sigma_from=sigma.get("from"),
        second=_seconds(values),
        sd=written.maps(model.name, _names(model), "sd") or None,
    )
    volumes = run.get("volumes")
    return fit, _fods(request, fit, written), None if volumes is None else VolumeResiduals.of_facts(volumes)


def _seconds(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Maps of second solutions, if there are any."""
    if "second" not in values:
        return None
    return {**{name: values[name] for name in _SECOND}, "second": values["second"].astype(np.uint8)}


def _names(model: SphericalMeanModel) -> list[str]:
    """Names of the maps that a fit of a model may have written."""
    from .targets import map_names

    return list(map_names(model))


def _parameters(model: SphericalMeanModel, maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All parameters, from the maps of some of them, which may stand under another name.

    Raises:
        InputError: the maps do not tell a free parameter.
    """
    import jax

    from ..models.links import same

    known = dict(maps)
    for link in reversed(model.equations):
        if link.function is same and link.target in known:
            known.setdefault(link.sources[0], known[link.target])
    missing = [name for name in model.parameter_names if name not in known]
    if missing:
        raise InputError(f"the maps of the {model.name} model do not tell {missing[0]}", fix=_AGAIN)
    values = {name: known[name] for name in model.parameter_names}
    shape = next(iter(values.values())).shape
    values |= {name: np.broadcast_to(np.asarray(value, np.float32), shape) for name, value in model.held}
    resolved = model.resolve(jax.tree.map(jax.numpy.asarray, values))
    return {name: np.asarray(value) for name, value in resolved.items()} | known


def _fods(request: Request, fit: Fit, written: _Written) -> FodFit | None:
    """FODs, if there are any."""
    if request.fod == "none":
        return None
    from ..fitting.fod_results import FodFit

    model = fit.fod_model(request.fod, request.n_fibres)
    values = written.maps(model.name, map_table.of_fits("fod"))
    count = len(values["status"])
    lobes: dict[str, np.ndarray] = {name: values[name].reshape(count, -1) for name in _OF_LOBES}
    lobes |= {name: values[name].reshape(count, -1, 3) for name in _VECTORS if name in values}
    sd = {
        name: of_map.reshape(count, -1)
        for name, of_map in written.maps(model.name, map_table.of_fits("fod"), "sd").items()
    }
    return FodFit(
        model=model,
        parameters=lobes,
        n_fibres=values["nfibres"].astype(np.uint8),
        quality={name: values[name] for name in ("mse", "r2")},
        status=values["status"].astype(np.uint8),
        acquisition=fit.acquisition,
        sd=sd or None,
    )


class _Written:
    """The maps of a run, by name.

    Args:
        request, inputs: of the run. files: names of those that it wrote, in the order of the maps.
    """

    def __init__(self, request: Request, inputs: Inputs, files: Sequence[str]):
        self._request, self._inputs, self._files = request, inputs, files

    def maps(self, model: str, names: Iterable[str], desc: str = "") -> dict[str, np.ndarray]:
        """(voxels, …) values of those of a model's maps that the run wrote, and that the page needs.

        Raises:
            InputError: one is missing, damaged, or on another grid.
        """
        prefix = self._request.file_prefix
        of_file = {f"{sidecars.map_name(prefix, model, name, desc)}.nii.gz": name for name in names}
        written = {file: of_file[file] for file in self._files if file in of_file}
        # The page draws FODs from their lobes.
        return {name: self._read(self._request.out / file) for file, name in written.items() if name != "fod"}

    def _read(self, path: Path) -> np.ndarray:
        image, mask = nifti.open_image(path), self._inputs.mask
        if image.shape[:3] != mask.shape:
            raise InputError(f"has dimensions {image.shape}, the mask {mask.shape}", file=path, fix=_AGAIN)
        return masks.take(nifti.read_array(image), mask, "F").astype(image.dtype)
