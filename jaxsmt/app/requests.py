"""What a fit of files is asked for, and whether it can be: inputs opened and checked, outputs named."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..errors import InputError, JaxsmtWarning
from ..files import gradients, masks, nifti, outputs
from ..files import sidecars as sidecar
from ..models.priors import NormalPrior
from . import catalogue

if TYPE_CHECKING:
    from ..fitting.kernels import Conditions

FOD_MAPS = tuple(outputs.FOD_DESCRIPTIONS)

# Results of a kernel fit, of whichever model, that are in memory.
_MAPS_IN_MEMORY = 12


@dataclass(frozen=True)
class Request:
    """What to fit and how; the names are those of the command line's options."""

    dwi: Path
    out: Path
    bval: Path | None = None
    bvec: Path | None = None
    grad: Path | None = None
    mask: Path | None = None
    model: str = "smt"
    fod: str = "none"
    fibres: int | str | None = None  # None: 1
    spherical_mean: str = "sh"
    s0: str = "fit"
    noise: str = "gaussian"
    sigma: str = "auto"  # or a number, or the path of a map
    uncertainty: bool = False
    prior: str | None = None  # "population", or a path
    grad_dev: Path | None = None
    prefix: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    b_unit: str = "s/mm2"
    b0_threshold: float = 50.0
    overwrite: bool = False
    report: bool = True

    @property
    def entry(self) -> catalogue.Entry:
        """The model."""
        return catalogue.find(self.model)

    @property
    def n_fibres(self) -> int | str:
        return 1 if self.fibres is None else self.fibres


@dataclass(frozen=True)
class Inputs:
    """Inputs that have been opened and found fit to use; the series itself is not yet read."""

    image: nifti.Image
    acquisition: Acquisition
    mask: np.ndarray
    files: dict[str, Path]
    warnings: list[str]
    sigma: Any = "auto"  # or a number, or a map
    grad_dev: np.ndarray | None = None  # (x, y, z, 3, 3), scanner axes
    prior: NormalPrior | None = None

    def conditions(self, request: Request) -> Conditions:
        from ..fitting.kernels import Conditions

        return Conditions(request.noise == "rician", self.sigma, self.grad_dev, request.uncertainty)


@contextmanager
def collected_warnings():
    """A list that receives the text of each JaxsmtWarning raised inside."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", JaxsmtWarning)
        try:
            yield texts
        finally:
            others = [w for w in caught if not issubclass(w.category, JaxsmtWarning)]
            texts.extend(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, JaxsmtWarning)))
    for other in others:
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)


def open_inputs(request: Request) -> Inputs:
    """Open and check everything but the series' data. Reads the mask; does not load JAX.

    Raises:
        InputError: with the file, the fact and the fix.
    """
    if request.fod == "none" and request.fibres is not None:
        raise InputError("--fibres without --fod", fix="add --fod watson or --fod bingham")
    with collected_warnings() as texts:
        image = nifti.open_image(request.dwi)
        if len(image.shape) != 4 or image.shape[3] < 2:
            raise InputError(
                f"has dimensions {image.shape}", file=image.path, fix="a diffusion series has four: x, y, z, volumes"
            )
        files, bvals, bvecs = _read_gradients(request, image)
        if not len(bvals) == len(bvecs) == image.shape[3]:
            raise InputError(
                f"{image.shape[3]} volumes, {len(bvals)} b-values, {len(bvecs)} directions",
                file=image.path,
                fix="all three counts must agree",
            )
        acquisition = Acquisition(
            bvals,
            bvecs,
            b0_threshold=request.b0_threshold,
            spherical_mean=request.spherical_mean,
            b_unit=request.b_unit,
        )
        entry = request.entry
        acquisition.require(entry.shells, entry.name)
        if entry.file is not None:
            files["model"] = entry.file
        mask = _read_mask(request.mask, image)
        if request.mask is not None:
            files["mask"] = request.mask
        sigma, grad_dev, prior = _read_sigma(request, image, files), None, None
        if request.grad_dev is not None:
            files["grad_dev"] = request.grad_dev
            grad_dev = _read_grad_dev(request.grad_dev, image)
        if request.prior is not None:
            prior = NormalPrior.make(request.prior, entry.name) if request.prior == "population" else None
            if prior is None:
                files["prior"] = Path(request.prior)
                prior = NormalPrior.read(request.prior)
    return Inputs(image, acquisition, mask, {"dwi": image.path, **files}, texts, sigma, grad_dev, prior)


def _read_sigma(request: Request, image: nifti.Image, files: dict[str, Path]) -> Any:
    """ "auto", a number, or a map."""
    text = str(request.sigma)
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        files["sigma"] = Path(text)
        return _read_like(files["sigma"], image, "sigma map", ()).astype(float)
    if not 0 < value < np.inf:
        raise InputError(f"sigma is {text}", fix="the noise of one volume in units of the series, above 0")
    return value


def _read_grad_dev(path: Path, image: nifti.Image) -> np.ndarray:
    """L of gradients (I + L)g, (x, y, z, 3, 3), turned from FSL's axes, in which files have it, to the scanner's."""
    values = _read_like(path, image, "gradient deviation", (9,)).astype(np.float32)
    turn = gradients.fsl_to_scanner(np.eye(3), image.affine).T
    deviation = np.swapaxes(values.reshape(*values.shape[:3], 3, 3), -1, -2)  # stored column by column
    return turn @ deviation @ turn.T


def _read_gradients(request: Request, image: nifti.Image):
    if request.grad is not None:
        if request.bval is not None or request.bvec is not None:
            raise InputError("both --grad and --bval/--bvec are given", fix="give one of them")
        return {"grad": request.grad}, *gradients.read_mrtrix(request.grad)
    stem = image.path.with_name(image.path.name.removesuffix(".gz").removesuffix(".nii"))
    bval = request.bval or stem.with_name(stem.name + ".bval")
    bvec = request.bvec or stem.with_name(stem.name + ".bvec")
    bvals, bvecs = gradients.read_bval(bval), gradients.read_bvec(bvec)
    return {"bval": bval, "bvec": bvec}, bvals, gradients.fsl_to_scanner(bvecs, image.affine)


def _read_mask(path: Path | None, image: nifti.Image) -> np.ndarray:
    """Voxels to fit; all without a mask."""
    space = image.shape[:3]
    if path is None:
        warnings.warn("no mask: every voxel is fitted, those outside the head too", JaxsmtWarning, stacklevel=2)
        return np.ones(space, bool)
    return masks.inside(_read_like(path, image, "mask", ()), os.fspath(path))


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


def check_outputs(request: Request) -> list[Path]:
    """The files that the fit will write; the folder is made if it is missing.

    Raises:
        InputError: they exist and may not be overwritten, or the prefix is no plain name.
        OutputError: the folder cannot be written.
    """
    prefix = prefix_of(request)
    if Path(prefix + "x").name != prefix + "x":
        raise InputError(f"the prefix {prefix!r} is not a plain name", fix="leave out folders; they belong in -o")
    model = request.entry
    sets = [(model.name, model.maps)] + ([(model.name + request.fod, FOD_MAPS)] if request.fod != "none" else [])
    names = [name for own, maps in sets for name in outputs.names(prefix, own, maps)]
    if request.uncertainty:
        names += [n for own, maps in sets for n in outputs.names(prefix, own, outputs.with_sd(maps), "sd")]
    names = [*names, f"{prefix}run.json", *(["report.html"] if request.report else [])]
    taken = [n for n in names if (request.out / n).exists()]
    if taken and not request.overwrite:
        raise InputError(
            f"{taken[0]} exists" + (f", and {len(taken) - 1} more outputs" if len(taken) > 1 else ""),
            file=request.out,
            fix="--overwrite replaces them; or choose another folder or --prefix",
        )
    outputs.make_folder(request.out)
    return [request.out / n for n in names]


def prefix_of(request: Request) -> str:
    return request.prefix if request.prefix is not None else sidecar.default_prefix(request.dwi)


def memory_estimate(request: Request, inputs: Inputs) -> int:
    """Bytes for the volumes in flight, the shells' means and the maps of a fit; for FODs all voxels inside."""
    voxels, inside, shells = inputs.mask.size, int(inputs.mask.sum()), len(inputs.acquisition.shells)
    item = inputs.image.dtype.itemsize
    total = 3 * voxels * item + 8 * shells * (voxels + inside) + 4 * _MAPS_IN_MEMORY * (voxels + inside)
    if needs_volumes(request, inputs):
        total += inside * inputs.image.shape[3] * item
    if request.fod != "none":
        lobes = 3 if request.fibres == "auto" else int(request.n_fibres)
        total += 4 * (voxels + inside) * (60 + 10 * lobes) + 2**29
    return total


def expected_errors(request: Request, inputs: Inputs) -> tuple[str, dict[str, list[tuple[str, float, float, str]]]]:
    """What noise is meant; and by tissue each parameter's name, typical value, expected standard deviation and unit.

    Warns of parameters that are hardly determined. Reads volumes as far as the first at b = 0 if σ is known.
    """
    from ..models import information as uncertainty

    model = request.entry.build()
    conditions = inputs.conditions(request)
    conditions.sigmas(inputs.mask)
    conditions.deviations(inputs.mask)
    if inputs.prior is not None:
        inputs.prior.require(model.names)
    with collected_warnings() as texts:
        uncertainty.require_determined(model, inputs.acquisition)
    relative, snr = uncertainty.TYPICAL_SIGMA, "SNR 30"
    if not isinstance(inputs.sigma, str):
        relative = _relative_sigma(inputs)
        snr = f"SNR {1 / relative:.3g}"
    if request.noise == "rician":
        snr += " (Rician)"
    inputs.warnings.extend(texts)
    found = uncertainty.expected_sd(model, inputs.acquisition, relative, request.s0, request.noise == "rician")
    units = {name: " µm²/ms" if unit == "um2/ms" else "" for name, unit in model.units.items()}
    return snr, {
        tissue: [(name, value, sd, units.get(name, "")) for name, (value, sd) in each.items()]
        for tissue, each in found.items()
    }


def _relative_sigma(inputs: Inputs) -> float:
    """Median σ/S0 inside the mask, S0 as in the first volume at b = 0."""
    image, b0 = inputs.image, inputs.acquisition.b0
    assert b0 is not None
    wanted = int(b0.volumes.min())
    volume = next(volume for i, volume in enumerate(nifti.read_volumes(image)) if i == wanted)
    s0 = volume.reshape(inputs.mask.shape, order="F") * image.slope + image.inter
    ratio = (inputs.sigma / np.where(s0 > 0, s0, np.nan))[inputs.mask]
    if not np.isfinite(ratio).any():
        raise InputError("no signal at b = 0 inside the mask", file=image.path, fix="check series and mask")
    return float(np.nanmedian(ratio))


def needs_volumes(request: Request, inputs: Inputs) -> bool:
    """Whether volumes have to be kept, and not only their spherical means."""
    expected = request.noise == "rician" or inputs.grad_dev is not None
    estimated = isinstance(inputs.sigma, str) and (request.uncertainty or inputs.prior is not None)
    return request.fod != "none" or expected or estimated
