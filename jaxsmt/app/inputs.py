"""The input files: opened, checked, and read, all but the series. No JAX: bad input is refused at once."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..errors import InputError, JaxsmtWarning
from ..files import gradients, headers, masks, nifti
from ..files.series import beside
from ..fitting.settings import BACKGROUND, SMOOTH, Settings
from ..models.priors import NormalPrior
from . import catalogue, words
from .request import Request

# Options of a request that are those of its acquisition.
_SCHEME = ("b0_threshold", "spherical_mean", "b_unit", "shell_gap", "delta", "Delta")
# Options that are a number or a file of one for each volume, and what they are called in Python.
_OF_VOLUMES = {"b_shape": "b_delta", "echo_time": "te"}


@dataclass(frozen=True)
class Inputs:
    """Inputs that have been opened and checked.

    Attributes:
        image: the series, whose data are not read yet.
        acquisition: directions in scanner axes.
        mask: (x, y, z) bool, voxels to fit.
        settings: how to fit, arrays read from their files, of the voxels inside; the device is still the default.
        model: where the model comes from.
        files: paths of all inputs by the option that names them.
        warnings: what the user should know, in the words of the command line.
    """

    image: nifti.Image
    acquisition: Acquisition
    mask: np.ndarray
    settings: Settings
    model: catalogue.Source
    files: dict[str, Path]
    warnings: list[str]


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """A list that receives the text of each JaxsmtWarning raised inside, in the words of the command line."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JaxsmtWarning)
        try:
            yield texts
        finally:
            others = [w for w in caught if not issubclass(w.category, JaxsmtWarning)]
            ours = (words.in_flags(str(w.message)) for w in caught if issubclass(w.category, JaxsmtWarning))
            texts.extend(dict.fromkeys(ours))
    for other in others:
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


@contextmanager
def naming(files: Mapping[str, Path], otherwise: Iterable[str] = ()) -> Iterator[None]:
    """Errors raised inside name the file of the option that they are about.

    Args:
        files: by option. otherwise: options whose files are named where the error names none.
    """
    try:
        yield
    except InputError as error:
        about = [name for name in files if error.fact.startswith(f"{name}=")] or [n for n in otherwise if n in files]
        if error.file is not None or not about:
            raise
        raise InputError(error.fact, fix=error.fix, file=" and ".join(os.fspath(files[n]) for n in about)) from None


def open_inputs(request: Request, problems: list[InputError] | None = None) -> Inputs:
    """Open and check everything but the data of the series.

    Args:
        problems: receives every error that is found; None: the first one ends it.
    Raises:
        InputError: with the file, the fact and the fix; of several the last.
    """
    all_problems: list[InputError] = [] if problems is None else problems

    @contextmanager
    def part() -> Iterator[None]:
        try:
            yield
        except InputError as error:
            if problems is None:
                raise
            all_problems.append(error)

    files: dict[str, Path] = {}
    with collected_warnings() as texts:
        with part():
            source = source_of(request)
            if source.file is not None:
                files["model"] = source.file
        with part():
            image = _open_series(request.dwi)
            files["dwi"] = image.path
        if "dwi" in files:
            with part():
                acquisition = _read_acquisition(request, image, files)
                with naming(files, ("grad", "bval", "bvec")):
                    acquisition.require(shells=1, model=request.model)
            mask = np.ones(image.shape[:3], bool)
            with part():
                if request.mask is not None:
                    files["mask"] = request.mask
                mask = _read_mask(request.mask, image)
            with part(), naming(files):
                settings = _read_settings(request, image, mask, files)
    if all_problems:
        raise all_problems[-1]
    return Inputs(image, acquisition, mask, settings, source, files, texts)


def _open_series(path: Path) -> nifti.Image:
    """The series, four-dimensional."""
    image = nifti.open_image(path)
    if len(image.shape) != 4 or image.shape[3] < 2:
        raise InputError(
            f"has dimensions {image.shape}", file=image.path, fix="a diffusion series has four: x, y, z, volumes"
        )
    for text in headers.orientation_doubts(image.header, image.affine):
        warnings.warn(f"{image.path}: {text}", JaxsmtWarning, stacklevel=2)
    return image


def source_of(request: Request) -> catalogue.Source:
    """Where the model comes from, once the options have proved to go together. Opens no file.

    Raises:
        InputError: they do not, or there is no such model.
    """
    if request.fod == "none" and request.fibres is not None:
        raise InputError(f"fibres={request.fibres} without an FOD", fix="give fod='watson' or fod='bingham' too")
    if request.viewer and request.no_report:
        raise InputError("viewer=True is part of the report that no_report=True leaves out", fix="give one of the two")
    Settings(**{name: value for name, value in request.settings.items() if name not in _READERS})
    return catalogue.locate(request.model)


def _read_acquisition(request: Request, image: nifti.Image, files: dict[str, Path]) -> Acquisition:
    """The scheme of the series, from its gradient table."""
    if request.grad is not None:
        if request.bval is not None or request.bvec is not None:
            raise InputError("grad= stands beside bval= or bvec=", fix="name one gradient table")
        files["grad"] = request.grad
        bvals, bvecs = gradients.read_mrtrix(request.grad)
    else:
        files["bval"] = request.bval or _table_beside(image.path, ".bval")
        files["bvec"] = request.bvec or _table_beside(image.path, ".bvec")
        bvals = gradients.read_bval(files["bval"])
        bvecs = gradients.fsl_to_scanner(gradients.read_bvec(files["bvec"]), image.affine)
    if not len(bvals) == len(bvecs) == image.shape[3]:
        raise InputError(
            f"{image.shape[3]} volumes, {len(bvals)} b-values, {len(bvecs)} directions",
            file=image.path,
            fix="all three counts must agree",
        )
    options = {name: getattr(request, name) for name in _SCHEME}
    for name, argument in _OF_VOLUMES.items():
        options[argument] = _read_of_volumes(name, getattr(request, name), len(bvals), files)
    with naming(files, ("grad", "bval", "bvec")):
        return Acquisition(bvals, bvecs, **options)


def _table_beside(series: Path, suffix: str) -> Path:
    """The half of FSL's gradient table that has the series' name.

    Raises:
        InputError: it is not there.
    """
    path = beside(series, suffix)
    if not path.exists():
        raise InputError(
            "No such file or directory", file=path, fix="name the gradient table with bval= and bvec=, or with grad="
        )
    return path


def _read_of_volumes(name: str, text: str | None, volumes: int, files: dict[str, Path]) -> Any:
    """A number, or those of a file with one for each volume."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        files[name] = Path(text)
    values = gradients.read_bval(files[name])
    if len(values) != volumes:
        raise InputError(f"{len(values)} numbers for {volumes} volumes", file=files[name], fix="one for each volume")
    return values


def _read_mask(path: Path | None, image: nifti.Image) -> np.ndarray:
    """Voxels to fit; all without a mask."""
    if path is None:
        warnings.warn("no mask: every voxel is fitted, those outside the head too", JaxsmtWarning, stacklevel=2)
        return np.ones(image.shape[:3], bool)
    return masks.inside(_read_like(path, image, "mask", ()), os.fspath(path))


def _read_settings(request: Request, image: nifti.Image, mask: np.ndarray, files: dict[str, Path]) -> Settings:
    """Settings from the flags' values, with numbers, and arrays of the voxels inside, in place of texts and paths."""
    values = dict(request.settings)
    for name, read in _READERS.items():
        if values.get(name) is not None:
            values[name] = read(str(values[name]), image, mask, files)
    return Settings(**values)


def _read_sigma(text: str, image: nifti.Image, mask: np.ndarray, files: dict[str, Path]) -> Any:
    """None for "auto", another way to estimate it, a number, or those of the voxels inside."""
    if text in ("auto", SMOOTH, BACKGROUND):
        return None if text == "auto" else text
    try:
        return float(text)
    except ValueError:
        files["sigma"] = Path(text)
        return masks.take(_read_like(files["sigma"], image, "sigma map", ()), mask, "F").astype(float)


def _read_grad_dev(text: str, image: nifti.Image, mask: np.ndarray, files: dict[str, Path]) -> np.ndarray:
    """L of gradients (I + L)g, (voxels, 3, 3), turned from FSL's axes, in which files have it, to the scanner's."""
    files["grad_dev"] = Path(text)
    values = masks.take(_read_like(files["grad_dev"], image, "gradient deviation", (9,)), mask, "F").astype(np.float32)
    turn = gradients.fsl_to_scanner(np.eye(3), image.affine).T
    deviation = np.swapaxes(values.reshape(-1, 3, 3), -1, -2)  # stored column by column
    return turn @ deviation @ turn.T


def _read_prior(text: str, image: nifti.Image, mask: np.ndarray, files: dict[str, Path]) -> str | NormalPrior:
    """ "population", which depends on the model, or the prior of a JSON file."""
    if text == "population":
        return text
    files["prior"] = Path(text)
    return NormalPrior.read(files["prior"])


# Settings that the command line has as texts or paths; the others are as they are.
_READERS: dict[str, Callable[[str, nifti.Image, np.ndarray, dict[str, Path]], Any]] = {
    "sigma": _read_sigma,
    "grad_dev": _read_grad_dev,
    "prior": _read_prior,
}


def _read_like(path: Path, image: nifti.Image, what: str, more: tuple[int, ...]) -> np.ndarray:
    """A map on the grid of the series, with `more` axes behind it."""
    space = image.shape[:3]
    other = nifti.open_image(path)
    shape = other.shape
    if shape[:3] != space or tuple(d for d in shape[3:] if d != 1) != more:
        also = f" and should have {more[0]} volumes" if more else ""
        raise InputError(
            f"the {what} has dimensions {shape}, the series {space}{also}", file=path, fix="use one of its grid"
        )
    corners = np.array([[i, j, k, 1] for i in (0, space[0]) for j in (0, space[1]) for k in (0, space[2])]).T
    apart = np.abs((other.affine - image.affine) @ corners)[:3].max()
    if apart > 0.1 * np.linalg.norm(image.affine[:3, :3], axis=0).min():
        raise InputError(
            f"the affine of the {what} puts its voxels up to {apart:.3g} mm away from the series'",
            file=path,
            fix="use one in the space of the series",
        )
    return nifti.read_array(other).reshape(*space, *more)
