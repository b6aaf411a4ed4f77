"""What is given as the series, and what must be said of it."""

from __future__ import annotations

import bz2
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import nibabel as nib
import numpy as np

from tests.conftest import AFFINE, SHAPE
from tests.inputs.case import INF, NAN, B, Case, patched, with_mask
from tests.inputs.files import VOLUMES, Inputs


def _series() -> Iterator[Case]:
    topic = "The series: a file at all"
    for name, make, says in (
        ("missing", lambda i: i.dwi.unlink(), "sub-01_dwi.nii.gz: No such file"),
        ("empty", lambda i: i.dwi.write_bytes(b""), "is empty"),
        ("a folder", lambda i: i.folder_at(i.dwi), "is a folder.*dcm2niix"),
        ("a link to nowhere", lambda i: i.link(i.dwi, "nowhere.nii.gz"), "No such file"),
        ("a link to itself", lambda i: i.link(i.dwi, i.dwi.name), "symbolic links|too many"),
        ("a pipe", lambda i: i.pipe(i.dwi), "is a pipe"),
        ("a socket", lambda i: i.socket(i.dwi), "is a socket"),
        ("a device", lambda i: i.link(i.dwi, "/dev/zero"), "is a device"),
        ("text", lambda i: i.pack(b"this is no image " * 100), "not a NIfTI file"),
        ("HTML that a download page sent", lambda i: i.dwi.write_bytes(b"<!DOCTYPE html><html>"), "is not gzip"),
        ("not compressed but named .gz", lambda i: i.dwi.write_bytes(i.raw()), "is not gzip"),
        ("bzip2 named .gz", lambda i: i.dwi.write_bytes(bz2.compress(i.raw())), "is not gzip"),
        ("zlib named .gz", lambda i: i.dwi.write_bytes(zlib.compress(i.raw())), "is not gzip"),
        ("zeros", lambda i: i.pack(b"\0" * 1000), "not a NIfTI file"),
        ("three bytes", lambda i: i.dwi.write_bytes(b"\x1f\x8b\x08"), "cut|damaged|not a NIfTI"),
        ("gzip of nothing", lambda i: i.pack(b""), "not a NIfTI file|inside its header"),
    ):
        yield Case(topic, name, make, says)
    for ending, command in {
        "mif": "mrconvert", "mif.gz": "mrconvert", "mih": "mrconvert", "mgz": "mri_convert", "mgh": "mri_convert",
        "nrrd": "c3d", "nhdr": "c3d", "hdr": "mrconvert", "img": "mrconvert", "img.gz": "gunzip", "nii.zst": "zstd -d",
        "nii.bz2": "bunzip2", "nii.xz": "xz -dk", "dcm": "dcm2niix", "ima": "dcm2niix", "par": "dcm2niix",
        "rec": "dcm2niix", "txt": "give a NIfTI file", "json": "give a NIfTI file", "NII.GZ": "NIfTI",
    }.items():  # fmt: skip
        yield Case(topic, f"named .{ending}", _renamed(f"sub-01_dwi.{ending}"), command)
    yield Case(topic, "compressed but named .nii", _renamed("sub-01_dwi.nii"), "is gzip but is not named .gz")
    yield Case(topic, "named .nii.gz alone", _renamed(".nii.gz"), "NIfTI file")


def _renamed(name: str) -> Callable[[Inputs], None]:
    def make(i: Inputs) -> None:
        i.dwi = i.dwi.rename(i.folder / name)

    return make


def _header() -> Iterator[Case]:
    topic = "The series: its header"
    for cut in (4, 100, 347):
        yield Case(topic, f"cut after {cut} bytes", lambda i, n=cut: i.pack(i.raw()[:n]), "inside its header")
    for magic in (b"n-1", b"ni1", b"xyz", b""):
        yield Case(topic, f"magic {magic.decode()!r}", patched(magic=magic), "magic")
    for size in (0, 349, -348):
        yield Case(topic, f"sizeof_hdr {size}", patched(sizeof_hdr=size), "not a NIfTI file")
    for code in (9999, 3, -4):
        yield Case(topic, f"datatype {code}", patched(datatype=code), "unknown datatype")
    for code, what in (
        (0, "none|unknown"),
        (1, "binary|unknown"),
        (32, "complex64"),
        (128, "RGB"),
        (255, "all|unknown"),
    ):
        yield Case(topic, f"datatype {code}", patched(datatype=code), what)
    yield Case(topic, "datatype 1792, complex128", patched(datatype=1792, bitpix=128), "complex128")
    yield Case(topic, "datatype 1536, float128", patched(datatype=1536, bitpix=128), "float128|longdouble")
    yield Case(topic, "bitpix 16 of float32", patched(bitpix=16), "bitpix 16 contradicts", 0)
    for rank in (0, 8, 9, -1):
        yield Case(topic, f"dim[0] = {rank}", patched(dim_0=rank), f"{rank} dimensions")
    for index in (1, 2, 3, 4):
        yield Case(topic, f"dim[{index}] = 0", patched(**{f"dim_{index}": 0}), "has dimensions")
        yield Case(topic, f"dim[{index}] = -5", patched(**{f"dim_{index}": -5}), "has dimensions")
    yield Case(
        topic, "32767 voxels in each dimension", patched(**{f"dim_{k}": 32767 for k in (1, 2, 3, 4)}), "dimensions"
    )
    yield Case(topic, "32767 in two dimensions", patched(dim_1=32767, dim_2=32767), "promises")
    yield Case(topic, "more volumes than data", patched(dim_4=VOLUMES + 1), "promises|volumes")
    yield Case(topic, "three dimensions", patched(dim_0=3), "a diffusion series has four|four")
    yield Case(topic, "two dimensions", patched(dim_0=2), "four")
    yield Case(topic, "one volume", patched(dim_4=1), "four|more data")
    yield Case(topic, "five dimensions, the last 1", patched(dim_0=5, dim_5=1), "read as", 0)
    yield Case(topic, "five dimensions, the last 2", patched(dim_0=5, dim_5=2, dim_4=VOLUMES // 2), "four: x, y, z")
    for offset in (NAN, INF, 1e12, 1.0, -352.0):
        yield Case(topic, f"vox_offset {offset:g}", patched(vox_offset=offset), "vox_offset|promises")
    yield Case(
        topic, "vox_offset past the data", lambda i: i.patch(vox_offset=1e6) or ["--data"], "promises|bytes of data"
    )
    yield Case(topic, "vox_offset 0", patched(vox_offset=0), "", 0)
    for slope in (0, NAN, INF):
        yield Case(topic, f"slope {slope:g}", patched(scl_slope=slope), "unscaled", 0)
    yield Case(topic, "intercept NaN", patched(scl_inter=NAN), "intercept", 0)
    yield Case(
        topic, "negative voxel size", patched(pixdim_1=-2, sform_code=0, qform_code=1), "negative voxel sizes", 0
    )
    for size in (0, NAN, INF):
        yield Case(topic, f"voxel size {size:g}", patched(pixdim_2=size), "voxel sizes")
    yield Case(topic, "qfac 0", patched(pixdim_0=0, qform_code=1), "qfac 0", 0)
    yield Case(topic, "qfac NaN", patched(pixdim_0=NAN, qform_code=1), "qfac", 0)
    singular = {"srow_x": (0, 0, 0, 0)}
    yield Case(topic, "singular sform, no qform", patched(**singular, qform_code=0), "singular sform")
    yield Case(topic, "singular sform, good qform", patched(**singular, qform_code=1, **_qform()), "singular", 0)
    yield Case(topic, "NaN sform, no qform", patched(srow_x=(NAN, 0, 0, 0), qform_code=0), "sform")
    bad = {"quatern_b": 2.0, "sform_code": 0, "qform_code": 1}
    yield Case(topic, "impossible quaternion", patched(**bad), "unusable qform")
    yield Case(topic, "NaN quaternion", patched(**{**bad, "quatern_b": NAN}), "unusable qform")
    yield Case(topic, "no orientation", with_mask(sform_code=0, qform_code=0), "no orientation", 0)
    other = {**_qform(), "qform_code": 1, "quatern_d": 0.0}
    yield Case(topic, "sform and qform that disagree", patched(**other), "disagree", 0)
    yield Case(topic, "a sheared sform", with_mask(srow_x=(0.9, -2.0, 0, 3), qform_code=0), "shear", 0)
    metres = {f"srow_{a}": tuple(AFFINE[k] * 1e-3) for k, a in enumerate("xyz")}
    sizes = {f"pixdim_{k + 1}": 1e-3 * v for k, v in enumerate((2.0, 2.0, 2.5))}
    yield Case(topic, "voxel sizes in metres", with_mask(**metres, **sizes, qform_code=0), "metres", 0)
    micro = {f"srow_{a}": tuple(AFFINE[k] * 1e3) for k, a in enumerate("xyz")}
    micro |= {f"pixdim_{k + 1}": 1e3 * v for k, v in enumerate((2.0, 2.0, 2.5))}
    yield Case(topic, "voxel sizes in micrometres", with_mask(**micro, qform_code=0), "micrometres", 0)
    script = b"<script>alert(1)</script>"
    yield Case(topic, "markup in its texts", patched(descrip=script, aux_file=b"../../etc", intent_name=b"<b>"), "", 0)
    for dtype in (np.int16, np.uint16, np.int32, np.uint8, np.float64, np.int8, np.uint64):
        limit = 100 if np.dtype(dtype).itemsize == 1 else 1000
        scaled = lambda i, d=dtype, m=limit: i.pack(i.raw(i.data * (m / i.data.max()), d))  # noqa: E731
        yield Case(topic, f"stored as {np.dtype(dtype).name}", scaled, "", 0)
    yield Case(topic, "big-endian", lambda i: i.pack(i.raw(order=">")), "", 0)
    yield Case(topic, "NIfTI-2", lambda i: nib.save(nib.Nifti2Image(i.data, AFFINE), i.dwi), "", 0)
    yield Case(topic, "not compressed", _plain, "", 0)
    yield Case(topic, "not compressed, with garbage behind", lambda i: _plain(i, b"garbage"), "promises")
    yield Case(topic, "not compressed, and cut", lambda i: _plain(i, cut=1000), "promises")


def _qform() -> dict[str, Any]:
    """The fields of a good qform."""
    header = nib.Nifti1Header()
    header.set_data_shape((*SHAPE, VOLUMES))
    header.set_qform(AFFINE, 1)
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    return {name: float(header[name]) for name in names} | {"pixdim_0": float(header["pixdim"][0])}


def _plain(i: Inputs, more: bytes = b"", cut: int = 0) -> None:
    raw = i.raw()
    i.dwi.unlink()
    i.dwi = i.folder / "sub-01_dwi.nii"
    i.dwi.write_bytes(raw[: len(raw) - cut] + more)


def _stream() -> Iterator[Case]:
    topic = "The series: its data (`check --data`; `fit` reads them too)"
    data = ["--data"]

    def of(name: str, change: Any, says: str, code: int = 2) -> Case:
        def make(i: Inputs) -> list[str]:
            i.spoil_packed(change)
            return data

        return Case(topic, name, make, says, code)

    for part in (0.1, 0.3, 0.6, 0.9, 0.99):
        yield of(f"cut at {part:.0%}", lambda c, p=part: c[: int(p * len(c))], "cut|damaged|header")
    for n in (1, 4, 8):
        yield of(f"the last {n} bytes missing", lambda c, n=n: c[:-n], "cut|checksum")
    for at in (-8, -5, -4, -1):
        yield of(f"byte {at} of the checksum changed", lambda c, a=at: _flipped(c, len(c) + a), "checksum|damaged")
    for part in (0.2, 0.5, 0.8):
        yield of(f"a bit flipped at {part:.0%}", lambda c, p=part: _flipped(c, int(p * len(c))), "damaged|checksum|cut")
    yield of("garbage behind", lambda c: c + b"garbage" * 20, "garbage follows")
    yield of("a little garbage behind", lambda c: c + b"x", "garbage follows|cut")
    yield of("zeros behind", lambda c: c + b"\0" * 512, "zeros follow", 0)
    yield of("garbage in front", lambda c: b"x" + c, "is not gzip")
    yield of("an empty gzip member behind", lambda c: c + gzip.compress(b""), "", 0)
    yield of("a second gzip member with more data", lambda c: c + gzip.compress(b"more"), "more data follow")

    def members(i: Inputs) -> list[str]:
        raw = i.raw()
        parts = [raw[k : k + 5000] for k in range(0, len(raw), 5000)]
        i.dwi.write_bytes(b"".join(gzip.compress(part) + gzip.compress(b"") for part in parts))
        return data

    yield Case(topic, "many gzip members, every second empty (bgzip, pigz)", members, "", 0)
    yield Case(topic, "data shorter than the header says", lambda i: i.pack(i.raw()[:-1000]) or data, "promises")
    yield Case(
        topic, "data longer than the header says", lambda i: i.pack(i.raw() + b"1" * 50) or data, "more data follow"
    )
    yield Case(
        topic, "a bomb of 100 MB of zeros", lambda i: i.pack(i.raw() + bytes(100_000_000)) or data, "more data follow"
    )


def _flipped(content: bytearray, at: int) -> bytearray:
    content[at] ^= 0x10
    return content


def _values() -> Iterator[Case]:
    topic = "The series: its values (`check --data`; `fit` warns of them too)"

    def of(name: str, change: Callable[[np.ndarray], Any], says: str, dtype: Any = np.float32) -> Case:
        def make(i: Inputs) -> list[str]:
            data = np.array(i.data, float)
            changed = change(data)
            i.save(data if changed is None else changed, dtype)
            return ["--data"]

        return Case(topic, name, make, says, 0)

    def put(index: Any, value: Any) -> Callable[[np.ndarray], None]:
        return lambda d: d.__setitem__(index, value)

    yield of("a volume empty", put((..., 7), 0), "volume 7 has the same value everywhere")
    yield of("a volume constant", put((..., 9), 55), "volume 9 has the same value")
    yield of("a volume copied", lambda d: put((..., 3), d[..., 2])(d), "volume 3 is a copy of volume 2")
    yield of("one b = 0 volume twice as bright", lambda d: put((..., 1), 2 * d[..., 1])(d), "differ by")
    yield of("cut off at 32767", lambda d: np.minimum(d * 200, 32767), "largest number that int16", np.int16)
    yield of(
        "wrapped around in int16", lambda d: (d * 60).astype(np.int64).astype(np.int16), "wrapped around", np.int16
    )
    yield of(
        "noise alone", lambda d: np.abs(np.random.default_rng(0).normal(0, 9, d.shape)), "SNR|diffuses|falls|rises"
    )
    yield of("the shells exchanged", lambda d: d[..., _exchanged()], "rises from")
    yield of("signal 3 everywhere added", lambda d: d + 5000, "diffuses slower|hardly falls")
    yield of("NaN in some voxels", put((2, 2, 2), NAN), "")
    yield of("infinity in some voxels", put((2, 2, 2), INF), "")
    yield of("negative voxels", put((2, 2, 2), -5), "")
    yield of("a voxel of zeros", put((2, 2, 2), 0), "")


def _exchanged() -> np.ndarray:
    """Numbers of volumes with the two shells in each other's place."""
    b0, one, two = (np.flatnonzero(np.isclose(B, b, atol=60)) for b in (0, 1000, 2000))
    order = np.arange(len(B))
    order[one], order[two] = two, one
    order[b0] = b0
    return order


CASES: list[Case] = [case for part in (_series, _header, _stream, _values) for case in part()]
