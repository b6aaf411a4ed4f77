"""NIfTI files: headers by nibabel, bytes by isal to the verified end of the stream."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import queue
import threading
import warnings
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib

from ..errors import InputError, JaxsmtWarning, OutputError
from . import formats, headers
from .gradients import FilePath

_Stream = io.RawIOBase | io.BufferedIOBase
_STREAM_ERRORS: Any = (EOFError, isal_zlib.error, OSError)  # BadGzipFile is an OSError
_GZIP_MAGIC = b"\x1f\x8b"
# Bytes at the end of a file, among which an empty member is looked for: its zeros are no padding.
_TAIL = 512
# Bytes that are unpacked at a time: between two pieces a thread may have to wait for the interpreter.
igzip.READ_BUFFER_SIZE = 4 << 20


@dataclass(frozen=True)
class Image:
    """A NIfTI file whose header has been checked and whose data have not been read yet.

    Attributes:
        path: of the file.
        header: nibabel's, checked and repaired.
        shape: without singleton fifth and later dimensions.
        dtype: on disk, with byte order.
        slope, inter: values are slope·raw + inter.
        affine: (4, 4) voxel indices to scanner mm.
        compressed: whether the file is gzip.
    """

    path: Path
    header: nib.Nifti1Header
    shape: tuple[int, ...]
    dtype: np.dtype
    slope: float
    inter: float
    affine: np.ndarray
    compressed: bool

    @property
    def offset(self) -> int:
        """Bytes before the data."""
        return int(self.header["vox_offset"]) or int(self.header["sizeof_hdr"]) + 4

    @property
    def data_bytes(self) -> int:
        """Bytes of the data, unpacked."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def open_image(path: FilePath) -> Image:
    """Read and check the header of a `.nii` or `.nii.gz` file (NIfTI-1 or -2, either byte order).

    Raises:
        InputError: not a readable NIfTI file, or a header that cannot be trusted; the fix of another known format is
            the command that converts it.
    """
    path = Path(path)
    formats.require_nifti(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
        compressed = start[:2] == _GZIP_MAGIC
    except OSError as error:
        raise InputError(error.strerror or str(error), file=path, fix="check the path") from None
    if not start:
        raise InputError("is empty", file=path, fix="copy or download the file again")
    if path.name.endswith(".gz") and not compressed:
        raise InputError("is named .gz but is not gzip", file=path, fix="rename it or compress it")
    if not path.name.endswith(".gz") and compressed:
        raise InputError("is gzip but is not named .gz", file=path, fix="rename it to .nii.gz")
    with _stream(path, compressed) as stream:
        raw = stream.read(540)
    header = headers.parse_header(raw, path)
    facts = headers.check_header(header, path, path.stat().st_size, compressed)
    return Image(path=path, header=header, compressed=compressed, **facts)


def _warn(text: str) -> None:
    warnings.warn(text, JaxsmtWarning, stacklevel=3)


def read_volumes(
    image: Image, depth: int = 3, tell: Callable[[str], None] = _warn
) -> Generator[np.ndarray, None, None]:
    """The volumes of a 4-D image one after another, each (voxels,) raw values in file order.

    A thread reads ahead by up to `depth` volumes, and calls `tell` with what the user should know of the file. The
    stream is read to its end, so that a cut file, a wrong checksum or trailing garbage raises InputError: use no number
    before the iteration ends. An array is valid only until the next one is asked for.
    """
    voxels = int(np.prod(image.shape[:3], dtype=object))
    n = image.shape[3] if len(image.shape) > 3 else 1
    free: queue.Queue[np.ndarray | None] = queue.Queue()
    full: queue.Queue[np.ndarray | BaseException | None] = queue.Queue()
    for _ in range(depth):
        free.put(np.empty(voxels, image.dtype))

    def read() -> None:
        try:
            with _stream(image.path, image.compressed) as stream:
                _skip(stream, image)
                for i in range(n):
                    buffer = free.get()
                    if buffer is None:
                        return
                    _read_into(stream, buffer, image, i * buffer.nbytes)
                    full.put(buffer)
                _expect_end(stream, image, tell)
            full.put(None)
        except BaseException as error:  # handed to the reader of the iterator
            full.put(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while (item := full.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
            free.put(item)
    finally:
        free.put(None)
        thread.join()


def read_array(image: Image) -> np.ndarray:
    """All data of an image, scaled, in its shape; verified to the end of the stream."""
    raw = np.empty(image.shape, image.dtype, order="F")
    flat = raw.reshape(-1, order="F")
    with _stream(image.path, image.compressed) as stream:
        _skip(stream, image)
        _read_into(stream, flat, image, 0)
        _expect_end(stream, image)
    return raw if (image.slope, image.inter) == (1, 0) else raw * image.slope + image.inter


def write_image(path: FilePath, data: np.ndarray, like: Image | None, affine: np.ndarray | None = None) -> None:
    """Write a map as `.nii.gz`: complete under its name or not at all, the same bytes every time.

    Args:
        path: of the file.
        data: float or uint8 array in the image's spatial shape, with further axes or not.
        like: the image whose affine, qform and sform with their codes, and units are kept, or None.
        affine: (4, 4) voxel indices to scanner mm, where `like` is None.
    Raises:
        OutputError: the file cannot be written.
    """
    further = data.shape[3:]
    flat = (data[(..., *reversed(at))].ravel(order="F") for at in np.ndindex(*reversed(further)))
    write_volumes(path, flat, data.shape, data.dtype, like, affine)


def write_volumes(
    path: FilePath,
    volumes: Iterable[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    like: Image | None,
    affine: np.ndarray | None = None,
) -> None:
    """Write a map that comes volume by volume, as `write_image` does.

    Args:
        volumes: (voxels,) each, in file order (Fortran's). shape, dtype: of the whole map.
    """
    header = _header_of(shape, dtype, like, affine)
    how: dict[str, Any] = {"filename": "", "mode": "wb", "compresslevel": 1}
    # No time stamp and no file name inside, so that equal maps are equal files.
    with _replacing(Path(path)) as file, igzip.IGzipFile(fileobj=file, mtime=0, **how) as stream:
        stream.write(header.binaryblock + b"\0" * 4)
        for volume in volumes:
            stream.write(np.ascontiguousarray(volume, dtype).view(np.uint8).data)


def to_bytes(data: np.ndarray, affine: np.ndarray, slope: float = 1.0, inter: float = 0.0) -> bytes:
    """An image as the content of a `.nii.gz` file, packed to be small; the same bytes every time.

    Args:
        data: (x, y, z), as it is stored.
        affine: (4, 4) voxel indices to scanner mm.
        slope, inter: values are slope·data + inter.
    """
    header = _header_of(data.shape, data.dtype, None, affine)
    header["scl_slope"], header["scl_inter"] = slope, inter
    return gzip.compress(header.binaryblock + b"\0" * 4 + data.tobytes(order="F"), compresslevel=6, mtime=0)


def _header_of(
    shape: tuple[int, ...], dtype: np.dtype, like: Image | None, affine: np.ndarray | None
) -> nib.Nifti1Header:
    """The header of a map of a series, or of an image with this affine."""
    if like is None:
        header = nib.Nifti1Header()
        header.set_xyzt_units("mm", "sec")
        header.set_sform(affine, code=1)
        header.set_qform(affine, code=1)
    else:
        header = like.header.as_byteswapped("<")  # a copy
        header.extensions.clear()
        for text in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
            if text in header.keys():  # noqa: SIM118  of nibabel; NIfTI-2 has not all of them
                header[text] = b""
        header["intent_code"] = 0
        header["cal_min"] = header["cal_max"] = 0
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_slope_inter(1, 0)
    size = int(header["sizeof_hdr"]) + 4
    header["vox_offset"] = size
    header["magic"] = b"n+1" if size == 352 else b"n+2\0\r\n\x1a\n"
    return header


def write_bytes(path: FilePath, content: bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it: all or nothing.

    Raises:
        OutputError: it cannot be written; the temporary file is gone again.
    """
    with _replacing(Path(path)) as file:
        file.write(content)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file under a temporary name in the folder of `path`, which gets this name at the end: all or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError) or isinstance(error, OutputError):
            raise
        raise output_error(error, path) from None


def output_error(error: OSError, path: Path) -> OutputError:
    """What to say of a file or folder that cannot be written."""
    fix = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "choose another folder or name"
    return OutputError(error.strerror or str(error), file=path, fix=fix)


@contextlib.contextmanager
def _stream(path: Path, compressed: bool) -> Iterator[_Stream]:
    """An open binary stream; errors of the compression become InputErrors with byte counts."""
    file = path.open("rb", buffering=0)
    try:
        with file, igzip.IGzipFile(fileobj=file, mode="rb") if compressed else file as stream:
            yield stream
    except _STREAM_ERRORS as error:
        size = path.stat().st_size
        text = str(error).lower()
        if getattr(error, "errno", None) is not None:
            raise InputError(os.strerror(error.errno), file=path, fix="check the disk or the connection") from None
        if "end-of-stream" in text:
            fact = f"the compressed data end too early, after {size} bytes: the file is cut"
        elif "not a gzipped file" in text:
            fact = "garbage follows the compressed data"
        elif "crc" in text or "length" in text or "incorrect data check" in text:
            fact = "the checksum of the data is wrong: the file is damaged"
        else:
            fact = f"the compressed data are damaged ({error})"
        raise InputError(fact, file=path, fix="copy or download the file again") from None


def _skip(stream: _Stream, image: Image) -> None:
    """Read to where the data begin."""
    left = image.offset
    while left > 0:
        got = len(stream.read(min(left, 1 << 20)))
        if not got:
            raise _too_short(image, 0)
        left -= got


def _read_into(stream: _Stream, buffer: np.ndarray, image: Image, done: int) -> None:
    """Fill an array with the stream's next bytes; `done` bytes of the data have been read before."""
    view = buffer.view(np.uint8).data
    filled = 0
    while filled < len(view):
        got = stream.readinto(view[filled : filled + (8 << 20)])
        if not got:
            raise _too_short(image, done + filled)
        filled += got


def _too_short(image: Image, present: int) -> InputError:
    """The error of a file that holds fewer bytes of data than its header promises."""
    return InputError(
        f"the header promises {image.data_bytes} bytes of data, {present} are there",
        file=image.path,
        fix="copy or download the file again",
    )


def _expect_end(stream: _Stream, image: Image, tell: Callable[[str], None] = _warn) -> None:
    """One read past the data: verifies the checksum and finds what does not belong there."""
    if stream.read(1):
        raise InputError(
            f"more data follow the {image.data_bytes} bytes that the header promises",
            file=image.path,
            fix="the header and the data do not belong together",
        )
    if image.compressed:
        with image.path.open("rb") as file:
            file.seek(-min(_TAIL, image.path.stat().st_size), os.SEEK_END)
            tail = file.read()
        # A gzip file ends in its length: zeros there are padding that some tools append.
        padded = tail.endswith(b"\0\0\0\0") and (image.offset + image.data_bytes) % 2**32
        if padded and not _ends_in_empty_member(tail):
            tell(f"{image.path}: zeros follow the compressed data; ignored")


def _ends_in_empty_member(tail: bytes) -> bool:
    """Whether the last member of a gzip file holds nothing, as bgzip and pigz write it."""
    at = tail.rfind(_GZIP_MAGIC)
    while at >= 0:
        member = zlib.decompressobj(wbits=31)
        with contextlib.suppress(zlib.error):
            if not member.decompress(tail[at:], 1) and member.eof and not member.unused_data:
                return True
        at = tail.rfind(_GZIP_MAGIC, 0, at)
    return False
