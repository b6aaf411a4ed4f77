"""Maps as files: names, sidecars, and how they are written. NumPy only."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, OutputError, shown
from . import map_table, nifti, sidecars
from .formats import require_path

_SD = "standard deviation; NaN where the status (of lobes the kernel's too) is not 1, inf where not determined"
_AT_ONCE = 4  # files that are written side by side
_Planned = tuple[str, str, np.ndarray, dict[str, Any]]  # name, "sd" or "", values, and facts for its sidecar


@dataclass(frozen=True)
class MapSet:
    """The maps of one model, as they are written.

    Attributes:
        model: name, as in file names.
        maps: by name, (x, y, z) or (x, y, z, values); with `inside` (voxels,) or (voxels, values).
        units: of the maps that have one.
        sd: standard deviations of some of the maps, in the same units.
        about_model: BEP016's `Model`, see `sidecars.about_model`.
        inside: (x, y, z) bool, where the maps' voxels are, in the order of the file (Fortran's).
    """

    model: str
    maps: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    sd: Mapping[str, np.ndarray] | None = None
    about_model: Mapping[str, Any] = field(default_factory=dict)
    inside: np.ndarray | None = None

    @property
    def is_masked(self) -> bool:
        """Whether voxels were left out, which are 0 in all maps."""
        return bool(np.any(self.maps["status"] == 0) if self.inside is None else not self.inside.all())

    def write(self, path: Path, name: str, values: np.ndarray, like: nifti.Image) -> None:
        """Write the values of a map, volume by volume."""
        dtype = np.dtype(np.uint8 if name == "status" else np.float32)
        if self.inside is None:
            nifti.write_image(path, values.astype(dtype), like)
            return
        inside, more = self.inside.ravel(order="F"), values.shape[1:]

        def placed() -> Iterator[np.ndarray]:
            volume = np.zeros(inside.size, dtype)
            for column in values.reshape(len(values), -1).T:
                volume[inside] = column
                yield volume

        nifti.write_volumes(path, placed(), (*self.inside.shape, *more), dtype, like)

    @property
    def with_sd(self) -> tuple[str, ...]:
        """Names of the maps whose standard deviations are written."""
        sd = self.sd
        return () if sd is None else tuple(name for name in map_table.with_sd(self.maps) if name in sd)

    def __len__(self) -> int:
        return len(self.maps) + len(self.with_sd)


def file_names(prefix: str, model: str, maps: Iterable[str], sd: bool = False) -> list[str]:
    """Names of the files of maps, and with `sd` of their standard deviations.

    Raises:
        InputError: two maps have the same file name.
    """
    maps = list(maps)
    names = [sidecars.map_name(prefix, model, name) for name in maps]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InputError(
                f"the maps {maps[names.index(name)]} and {maps[i]} of the {model} model have the same file name",
                fix="names must differ in more than case, dots and underscores",
            )
    names += [sidecars.map_name(prefix, model, name, "sd") for name in map_table.with_sd(maps) if sd]
    return [f"{name}.nii.gz" for name in names]


def remove_stale(folder: Path, prefix: str, model: str, maps: Iterable[str], keep: Collection[str]) -> None:
    """Remove what an earlier fit of a model has left: files of these maps.

    keep: names of files that stay.
    """
    for name in set(file_names(prefix, model, maps, sd=True)) - set(keep):
        for path in (folder / name, sidecar_path(folder / name)):
            path.unlink(missing_ok=True)


def sidecar_path(path: Path) -> Path:
    """The JSON file beside a map."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def write_maps(
    folder: Path,
    prefix: str,
    maps: MapSet,
    like: nifti.Image,
    facts: Mapping[str, Any],
    progress: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write maps and standard deviations, float32 (status: uint8), each with its sidecar.

    Args:
        folder: exists.
        prefix: of the file names.
        maps: what to write.
        like: the series, whose affine, codes and units the maps get.
        facts: of the run, for every sidecar.
        progress: called after each map.
    Returns:
        paths of the NIfTI files.
    """
    common = {**facts, "model": maps.model, "Model": dict(maps.about_model), "SkullStripped": maps.is_masked}
    reference = sidecars.spatial_reference(like.path, prefix)
    if reference is not None:
        common["SpatialReference"] = reference

    def write(planned: _Planned) -> Path:
        name, desc, values, side = planned
        path = folder / f"{sidecars.map_name(prefix, maps.model, name, desc)}.nii.gz"
        maps.write(path, name, values, like)
        nifti.write_bytes(sidecar_path(path), sidecars.to_json(common | side))
        return path

    written = []
    pool = ThreadPoolExecutor(_AT_ONCE)  # for the most part they wait for the disk
    try:
        for path in pool.map(write, _planned(maps)):
            written.append(path)
            progress()
    except BaseException as error:
        # Whoever removes the others after a failure finds them all; who interrupts does not wait.
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    pool.shutdown()
    return written


def _planned(maps: MapSet) -> Iterator[_Planned]:
    """Maps and standard deviations in the order in which they are listed, and what their own sidecars say."""

    def said(text: str, unit: str, **more: Any) -> dict[str, Any]:
        return {"Description": text, **more, **({"Units": unit} if unit else {})}

    for name, values in maps.maps.items():
        encoding = sidecars.orientation_encoding(name, values.shape[-1] if values.ndim > 1 else 1)
        text = map_table.about(name)
        more = {**text.facts, **({} if encoding is None else {"OrientationEncoding": encoding})}
        yield name, "", values, said(text.description, maps.units.get(name, ""), **more)
    for name in maps.with_sd:
        assert maps.sd is not None
        text = map_table.about(name)
        unit = text.sd_unit or maps.units.get(name, "")
        yield name, "sd", maps.sd[name], said(f"{text.sd_description or text.description}: {_SD}", unit)


def save(
    folder: str | os.PathLike[str],
    like: str | os.PathLike[str],
    prefix: str | None,
    model: str,
    maps: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    sd: Mapping[str, np.ndarray] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write maps that were fitted in Python; names, affine and codes follow the series `like`.

    They replace those of an earlier fit of the model, of which nothing stays, but not those of the command line.

    Args:
        folder: is made if it is missing.
        like: path of the series.
        prefix: of the file names; None: from the series' name.
        model: its name, as in file names.
        maps: by name, (x, y, z) or (x, y, z, values); "status" is among them.
        units: of the maps that have one.
        sd: standard deviations of some of the maps.
        facts: more for the sidecars, such as {"options": settings.facts()}.
    Returns:
        paths of the NIfTI files.
    Raises:
        InputError: the maps have another shape than the series, or the command line has written maps here.
        OutputError: the folder or a file cannot be written.
    """
    require_path(folder, "folder")
    require_path(like, "like")
    folder, image = Path(folder), nifti.open_image(like)
    prefix = sidecars.default_prefix(image.path) if prefix is None else prefix
    check_prefix(prefix)
    space = maps["status"].shape
    if space != image.shape[:3]:
        raise InputError(
            f"maps of shape {space} for a series of {image.shape[:3]}", file=image.path, fix="fit the series' own grid"
        )
    of_model = MapSet(model, maps, units, sd, sidecars.about_model(model))
    written = file_names(prefix, model, maps)  # which must differ
    written += [f"{sidecars.map_name(prefix, model, name, 'sd')}.nii.gz" for name in of_model.with_sd]
    run = folder / f"{prefix}{sidecars.RUN}"
    if run.exists():
        fact = "tells of maps that the command line wrote here"
        raise InputError(fact, file=run, fix="choose another folder or prefix=")
    make_folder(folder)
    known = dict.fromkeys([*maps, *map_table.of_fits("kernel"), *map_table.of_fits("fod")])
    remove_stale(folder, prefix, model, known, written)
    stated = {"software": sidecars.SOFTWARE, "Sources": [os.fspath(like)], **(facts or {})}
    return write_maps(folder, prefix, of_model, image, stated)


def check_prefix(prefix: str) -> None:
    """Raise InputError unless a prefix keeps files in their folder."""
    if not isinstance(prefix, str) or Path(prefix + "x").name != prefix + "x" or "\0" in prefix:
        raise InputError(
            f"prefix={shown(prefix)} is not a plain name", fix="leave out folders: they are named elsewhere"
        )


def make_folder(path: Path) -> None:
    """Make a folder for outputs.

    Raises:
        OutputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(error.strerror or str(error), file=path, fix="choose a folder that can be made") from None
    if not os.access(path, os.W_OK):
        raise OutputError("cannot be written", file=path, fix="choose a folder that can be written")


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """A new or empty folder for outputs that stand alone; it is gone if nothing was written when something fails.

    Raises:
        InputError: it is there and holds something.
        OutputError: it cannot be made or written.
    """
    with removed_if_empty(path):
        make_folder(path)
        if any(path.iterdir()):
            raise InputError("is not empty", file=path, fix="choose another folder with out=")
        yield


@contextmanager
def removed_if_empty(path: Path) -> Iterator[None]:
    """Remove a folder that is not there yet, if what is done inside fails before it has written anything."""
    is_new = not path.exists()
    try:
        yield
    except BaseException:
        if is_new:
            with suppress(OSError):  # it is not empty, or was never made
                path.rmdir()
        raise
