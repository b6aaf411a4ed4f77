"""A good set of inputs in a folder, and the ways to spoil it."""

from __future__ import annotations

import gzip
import os
import socket
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of

VOLUMES = len(ACQUISITION.bvals)


class Inputs:
    """Inputs of a command in a folder: `sub-01_dwi.nii.gz`, `.bval`, `.bvec` and `mask.nii.gz`.

    Args:
        folder: of the files. data: (x, y, z, volumes) of the series.
    """

    def __init__(self, folder: Path, data: np.ndarray):
        self.folder, self.data = folder, data
        self.dwi = folder / "sub-01_dwi.nii.gz"
        self.bval, self.bvec = folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec"
        self.mask = folder / "mask.nii.gz"
        self.out = folder / "out"

    # The series.

    def raw(self, data: np.ndarray | None = None, dtype: Any = np.float32, order: str = "<") -> bytes:
        """The bytes of the unpacked series."""
        values = self.data if data is None else data
        image = nib.Nifti1Image(values.astype(np.float32), AFFINE)
        image.header.set_data_dtype(dtype)
        header = image.header.as_byteswapped(order)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header["scl_slope"], header["scl_inter"] = 1, 0
        body = values.astype(np.dtype(dtype).newbyteorder(order)).tobytes(order="F")
        return header.binaryblock + b"\0" * 4 + body

    def patched(self, raw: bytes | None = None, **fields: Any) -> bytes:
        """The unpacked series with other fields in its header; `dim_3=5` is dim[3]."""
        raw = self.raw() if raw is None else raw
        header = np.frombuffer(raw[:348], nib.nifti1.header_dtype).copy()
        for name, value in fields.items():
            field, _, index = name.rpartition("_")
            with np.errstate(all="ignore"):
                if index.isdigit():
                    header[0][field][int(index)] = value
                else:
                    header[0][name] = value
        return header.tobytes() + raw[348:]

    def pack(self, raw: bytes) -> None:
        """Write the series, compressed."""
        self.dwi.write_bytes(gzip.compress(raw, 1, mtime=0))

    def patch(self, **fields: Any) -> None:
        """Write the series with other fields in its header."""
        self.pack(self.patched(**fields))

    def save(self, data: np.ndarray, dtype: Any = np.float32, affine: np.ndarray = AFFINE) -> None:
        """Write other data as the series."""
        nib.save(nib.Nifti1Image(data.astype(dtype), affine), self.dwi)

    def spoil_packed(self, change: Any) -> None:
        """Change the bytes of the compressed file."""
        self.dwi.write_bytes(bytes(change(bytearray(self.dwi.read_bytes()))))

    # The tables.

    def tables(self, bvals: Any = ACQUISITION.bvals, bvecs: Any = ACQUISITION.bvecs) -> None:
        """Write the gradient table."""
        np.savetxt(self.bval, np.asarray(bvals)[None], fmt="%g")
        np.savetxt(self.bvec, np.asarray(bvecs).T, fmt="%.9f")

    def keep(self, which: np.ndarray) -> None:
        """Keep some of the volumes."""
        self.save(self.data[..., which])
        self.tables(ACQUISITION.bvals[which], ACQUISITION.bvecs[which])

    def text(self, path: Path, change: Any) -> None:
        """Change the text of a file."""
        path.write_text(change(path.read_text()))

    # Other images.

    def image(self, name: str, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
        """Write an image beside the series."""
        path = self.folder / name
        nib.save(nib.Nifti1Image(values, affine), path)
        return path

    def inside(self) -> np.ndarray:
        """The values of the mask."""
        return mask_of(SHAPE)

    def deviation(self, values: float = 0.01) -> np.ndarray:
        """Nine volumes of a gradient deviation."""
        return np.full((*SHAPE, 9), values, np.float32)

    # What is no file.

    def pipe(self, path: Path) -> None:
        """A named pipe in the place of a file."""
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    def socket(self, path: Path) -> None:
        """A socket in the place of a file."""
        path.unlink(missing_ok=True)
        before = os.getcwd()
        os.chdir(path.parent)  # the names of sockets are short
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(path.name)
        finally:
            os.chdir(before)

    def link(self, path: Path, target: str) -> None:
        """A link in the place of a file."""
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    def folder_at(self, path: Path) -> None:
        """A folder in the place of a file."""
        path.unlink(missing_ok=True)
        path.mkdir()
