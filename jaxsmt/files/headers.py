"""What a NIfTI header may say. Each check knows the problem, how bad it is, and what to do."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import InputError, JaxsmtWarning

#: Deflate cannot compress by more than this.
_DEFLATE_LIMIT = 1032
_SIZES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MAGIC = {348: b"n+1", 540: b"n+2"}

#: Makes the error of a header that cannot be trusted, from the fact and the fix.
Fail = Callable[..., InputError]
#: Warns of a header that is read in one of several ways.
Note = Callable[[str], None]


def parse_header(raw: bytes, path: Path) -> nib.Nifti1Header:
    """The header of a single-file NIfTI-1 or NIfTI-2, in its own byte order.

    Args:
        raw: the first 540 bytes of the file, unpacked, or all of a shorter one.
        path: for the texts.
    Raises:
        InputError: these bytes are no such header.
    """
    sizes = {order: int(np.frombuffer(raw[:4].ljust(4, b"\0"), f"{order}i4")[0]) for order in "<>"}
    match = [(order, size) for order, size in sizes.items() if size in _SIZES]
    if not match:
        raise InputError("is not a NIfTI file", file=path, fix="give a NIfTI-1 or NIfTI-2 file")
    order, size = match[0]
    if len(raw) < size:
        raise InputError(f"ends after {len(raw)} bytes, inside its header", file=path, fix="copy the file again")
    header = _SIZES[size](raw[:size], endianness=order, check=False)
    if bytes(header["magic"].item())[:3] != _MAGIC[size]:
        raise InputError(
            f"has the magic {header['magic'].item()!r}", file=path, fix="give a single-file NIfTI (.nii or .nii.gz)"
        )
    return header


def check_header(header: nib.Nifti1Header, path: Path, file_size: int, compressed: bool) -> dict[str, Any]:
    """Check a header, and repair in it what can be read in one way only.

    Args:
        header: of the file.
        path: for the texts.
        file_size: bytes of the file as it is, compressed or not.
        compressed: whether it is gzip.
    Returns:
        shape, dtype, slope, inter and affine by name, as `nifti.Image` takes them.
    Raises:
        InputError: the header cannot be trusted.
    """

    def fail(fact: str, fix: str = "copy the file again, or repair its header") -> InputError:
        return InputError(fact, file=path, fix=fix)

    def note(fact: str) -> None:
        warnings.warn(f"{path}: {fact}", JaxsmtWarning, stacklevel=4)

    dtype = _dtype(header, fail, note)
    shape = _shape(header, fail, note)
    with np.errstate(invalid="ignore"):
        offset = float(header["vox_offset"])
    size = int(header["sizeof_hdr"])
    if not np.isfinite(offset) or (offset and not size <= offset < 2**40):
        raise fail(f"data offset (vox_offset) is {offset:g}")
    promised = int(offset or size + 4) + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if file_size * (_DEFLATE_LIMIT if compressed else 1) < promised or (file_size > promised and not compressed):
        kind = " compressed" if compressed else ""
        raise fail(f"the header promises {promised} bytes, the file has {file_size}{kind}", "copy the file again")
    slope, inter = _scaling(header, note)
    return {
        "shape": shape,
        "dtype": dtype,
        "slope": slope,
        "inter": inter,
        "affine": _affine(header, fail, note),
    }


def _dtype(header: nib.Nifti1Header, fail: Fail, note: Note) -> np.dtype:
    """The type of the data, with byte order: integers or floats of at most 8 bytes."""
    code = int(header["datatype"])
    try:
        dtype = np.dtype(header.get_data_dtype())
    except Exception:
        raise fail(f"has the unknown datatype {code}") from None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        name = nib.nifti1.data_type_codes.label[code]
        fact = f"holds {name} data" if dtype.kind in "fcV" and code > 1 else f"has the datatype {code} ({name})"
        raise fail(fact, "convert it to a real type, for example float32")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        note(f"bitpix {int(header['bitpix'])} contradicts datatype {dtype.name}; the datatype is used")
    return dtype


def _shape(header: nib.Nifti1Header, fail: Fail, note: Note) -> tuple[int, ...]:
    """At most four dimensions; singletons after them are dropped."""
    rank = int(header["dim"][0])
    if not 1 <= rank <= 7:
        raise fail(f"has {rank} dimensions (dim[0])")
    shape = tuple(int(d) for d in header["dim"][1 : rank + 1])
    if min(shape) < 1:
        raise fail(f"has dimensions {shape}")
    if np.prod(shape, dtype=object) > 2**42:
        raise fail(f"has dimensions {shape}: more than any memory holds")
    if rank > 4:
        if any(d != 1 for d in shape[4:]):
            raise fail(f"has dimensions {shape}", "a diffusion series has four: x, y, z, volumes")
        note(f"dimensions {shape} read as {shape[:4]}")
    return shape[:4]


def _scaling(header: nib.Nifti1Header, note: Note) -> tuple[float, float]:
    """Slope and intercept of the values."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        note(f"slope {slope:g} means unscaled data; intercept {inter:g} is not used")
        return 1.0, 0.0
    if not np.isfinite(inter):
        note(f"intercept {inter:g} is read as 0")
        inter = 0.0
    return slope, inter


def _usable(affine: np.ndarray) -> bool:
    """Whether an affine is finite and can be inverted, whatever its unit of length."""
    if not np.all(np.isfinite(affine)):
        return False
    size = np.abs(affine[:3, :3]).max()
    return bool(size > 0 and abs(np.linalg.det(affine[:3, :3] / size)) > 1e-9)


def _affine(header: nib.Nifti1Header, fail: Fail, note: Note) -> np.ndarray:
    """Voxel indices to scanner mm, (4, 4): of the sform, else of the qform, else of the voxel sizes."""
    zooms = np.asarray(header["pixdim"][1:4], float)
    if not np.all(np.isfinite(zooms)) or np.any(zooms == 0):
        raise fail(f"has voxel sizes {zooms.tolist()}", "repair the header")
    if np.any(zooms < 0):
        note(f"negative voxel sizes {zooms.tolist()}; read as positive")
        header["pixdim"][1:4] = np.abs(zooms)
    if header["pixdim"][0] not in (-1, 1):
        if int(header["qform_code"]) > 0:
            note(f"qfac {float(header['pixdim'][0]):g} read as 1")
        header["pixdim"][0] = 1

    if int(header["sform_code"]) > 0:
        sform = header.get_sform()
        if _usable(sform):
            return sform
        if int(header["qform_code"]) <= 0:
            raise fail("has a singular sform and no qform", "repair the header")
        note("the sform is singular; the qform is used")
        header["sform_code"] = 0  # so that no map inherits it
    if int(header["qform_code"]) > 0:
        qform = _qform(header)
        if qform is None:
            raise fail("has an unusable qform", "repair the header")
        return qform
    return header.get_base_affine()


# Beyond these the directions of a table may be meant otherwise: degrees, cosine of an angle, mm.
_TURNED, _SHEARED, _SMALLEST, _LARGEST = 1.0, 0.02, 0.02, 50.0


def orientation_doubts(header: nib.Nifti1Header, affine: np.ndarray) -> list[str]:
    """What may turn the directions of a gradient table, in sentences; empty if nothing does.

    Args:
        header: checked. affine: (4, 4), which is used.
    Returns:
        the sentences.
    """
    texts = []
    linear = affine[:3, :3]
    sizes = np.linalg.norm(linear, axis=0)
    axes = linear / sizes
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        texts.append(
            "the header has no orientation (sform_code and qform_code are 0): image axes are taken for the scanner's, "
            "and directions in scanner axes are a guess"
        )
    if int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0:
        qform = _qform(header)
        angle = None if qform is None else _angle(affine, qform)
        if qform is None:
            texts.append("the qform is unusable: the sform is used, and decides directions")
        elif angle is None or angle > _TURNED:
            how = "mirror each other" if angle is None else f"differ by {angle:.0f}°"
            texts.append(f"the axes of sform and qform disagree: they {how}; the sform is used, and decides directions")
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > _SHEARED:
        angle = 90 - np.degrees(np.arccos(min(shear, 1)))
        texts.append(f"the affine is sheared by {angle:.0f}°: directions are turned by the rotation nearest to it")
    if sizes.max() < _SMALLEST:
        texts.append(f"the voxels are {sizes.max():.2g} mm large: are the affine and the voxel sizes in metres?")
    if sizes.min() > _LARGEST:
        texts.append(f"the voxels are {sizes.min():.4g} mm large: are the affine and the voxel sizes in micrometres?")
    return texts


def _qform(header: nib.Nifti1Header) -> np.ndarray | None:
    """The affine of the qform, (4, 4); None where it is unusable."""
    try:
        qform: np.ndarray = header.get_qform()
    except Exception:
        return None
    return qform if _usable(qform) else None


def _angle(a: np.ndarray, b: np.ndarray) -> float | None:
    """Angle between the rotations of two affines in degrees; None if one mirrors."""
    turn = _rotation(a) @ _rotation(b).T
    if np.linalg.det(turn) < 0:
        return None
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


def _rotation(affine: np.ndarray) -> np.ndarray:
    """The orthogonal matrix nearest to the axes of an affine."""
    linear = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    u, _, vt = np.linalg.svd(linear)
    return u @ vt
