"""Files that cannot be read, told by what they are and how they are named, with the command that converts them."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from ..errors import InputError

# What it is, and the command: {file} is it, {stem} its path without what makes it one.
_MRTRIX = "an MRtrix image", "mrconvert {file} {stem}.nii.gz (a series also -export_grad_fsl {stem}.bvec {stem}.bval)"
_FREESURFER = "a FreeSurfer volume", "mri_convert {file} {stem}.nii.gz"
_NRRD = "an NRRD image", "c3d {file} -o {stem}.nii.gz (a series: 3D Slicer's DWIConvert)"
_PAIR = "half of an Analyze or NIfTI pair", "mrconvert {stem}.img {stem}.nii.gz"
_PACKED_PAIR = _PAIR[0], f"gunzip -k {{stem}}.hdr.gz {{stem}}.img.gz, then {_PAIR[1]}"
_DICOM = "a DICOM file", "dcm2niix -z y -o . {folder}"
_FORMATS = {
    ".mif": _MRTRIX,
    ".mif.gz": _MRTRIX,
    ".mih": _MRTRIX,
    ".mgz": _FREESURFER,
    ".mgh": _FREESURFER,
    ".nrrd": _NRRD,
    ".nhdr": _NRRD,
    ".hdr": _PAIR,
    ".img": _PAIR,
    ".hdr.gz": _PACKED_PAIR,
    ".img.gz": _PACKED_PAIR,
    ".nii.zst": ("compressed by zstd", "zstd -d {file}, then give {stem}.nii"),
    ".nii.bz2": ("compressed by bzip2", "bunzip2 -k {file}, then give {stem}.nii"),
    ".nii.xz": ("compressed by xz", "xz -dk {file}, then give {stem}.nii"),
    ".dcm": _DICOM,
    ".ima": _DICOM,
    ".par": ("a Philips image", "dcm2niix -z y -o . {file}"),
    ".rec": ("a Philips image", "dcm2niix -z y -o . {stem}.par"),
}
_KINDS = {
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def require_path(path: object, name: str) -> None:
    """Raise InputError unless the argument of this name is a path.

    Raises:
        InputError: it is something else than text or an `os.PathLike`.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"{name}= is of type {type(path).__name__}", fix=f"give a path as {name}=")


def require_file(path: str | os.PathLike[str]) -> None:
    """Raise InputError unless there is a file of this name; opens nothing, as opening a pipe would wait.

    Raises:
        InputError: it is missing, or a folder, pipe, socket or device.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        raise InputError(getattr(error, "strerror", None) or str(error), file=path, fix="check the path") from None
    if stat.S_ISDIR(mode):
        raise InputError("is a folder", file=path, fix="give a file")
    for is_kind, kind in _KINDS.items():
        if is_kind(mode):
            raise InputError(f"is {kind}, not a file", file=path, fix="save it as a file, which is read more than once")


def require_nifti(path: Path) -> None:
    """Raise InputError unless there is a file whose name is that of a NIfTI file.

    Raises:
        InputError: as of `require_file`, or it is named otherwise; the fix of a known format is the command that
            converts it.
    """
    if path.is_dir():
        command = _DICOM[1].format(folder=shlex.quote(os.fspath(path)))
        raise InputError("is a folder", file=path, fix=f"give a NIfTI file; if it holds DICOM files: {command}")
    require_file(path)
    lower = path.name.lower()
    for ending in sorted(_FORMATS, key=len, reverse=True):
        if lower.endswith(ending):
            what, command = _FORMATS[ending]
            raise InputError(f"is {what}, not NIfTI", file=path, fix=command.format(**_places(path, ending)))
    if not path.name.endswith((".nii", ".nii.gz")) or path.name.startswith(".nii"):
        raise InputError("is not named something.nii or something.nii.gz", file=path, fix="give a NIfTI file")


def _places(path: Path, ending: str) -> dict[str, str]:
    """What commands name: the file, its path without the ending, its folder; quoted for a shell."""
    stem = path.with_name(path.name[: -len(ending)] or path.name)
    places = {"file": path, "stem": stem, "folder": path.parent}
    return {name: shlex.quote(os.fspath(place)) for name, place in places.items()}
