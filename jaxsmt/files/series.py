"""A diffusion series as files: the volumes, the gradient table beside them, and masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import gradients, nifti


def write_series(path: Path, data: np.ndarray, bvals: np.ndarray, bvecs: np.ndarray, affine: np.ndarray) -> None:
    """Write a series, and its gradient table as FSL's `.bval` and `.bvec` beside it.

    Args:
        path: of the series, `….nii.gz`.
        data: (x, y, z, volumes).
        bvals: (volumes,) s/mm².
        bvecs: (volumes, 3), in scanner axes.
        affine: (4, 4) voxel indices to scanner mm.
    Raises:
        OutputError: a file cannot be written.
    """
    nifti.write_image(path, data, like=None, affine=affine)
    texts = gradients.fsl_texts(bvals, gradients.scanner_to_fsl(bvecs, affine))
    for suffix, text in zip((".bval", ".bvec"), texts, strict=True):
        nifti.write_bytes(beside(path, suffix), text.encode())


def write_mrtrix_table(path: Path, bvals: np.ndarray, bvecs: np.ndarray) -> None:
    """Write MRtrix's `.b` table beside a series.

    Args:
        path: of the series, `….nii.gz`.
        bvals: (volumes,) s/mm².
        bvecs: (volumes, 3), in scanner axes.
    Raises:
        OutputError: the file cannot be written.
    """
    nifti.write_bytes(beside(path, ".b"), gradients.mrtrix_text(bvals, bvecs).encode())


def write_mask(path: Path, mask: np.ndarray, affine: np.ndarray) -> None:
    """Write a mask as 0 and 1.

    Args:
        path: `….nii.gz`.
        mask: (x, y, z) booleans.
        affine: (4, 4) voxel indices to scanner mm.
    Raises:
        OutputError: the file cannot be written.
    """
    nifti.write_image(path, mask.astype(np.uint8), like=None, affine=affine)


def beside(path: Path, suffix: str) -> Path:
    """A file beside an image, of the same stem.

    Example:
        >>> beside(Path("sub-01_dwi.nii.gz"), ".bval").name
        'sub-01_dwi.bval'
    """
    return path.with_name(path.name.removesuffix(".gz").removesuffix(".nii") + suffix)
