"""A phantom as files: the series with its gradient table, the mask, the truth."""

from __future__ import annotations

from pathlib import Path

from ...files import nifti, series, sidecars
from ...simulate import Phantom


def write_phantom(folder: Path, name: str, phantom: Phantom) -> tuple[Path, Path]:
    """Write `<name>_dwi` with `.bval` and `.bvec`, `<name>_mask`, and `truth_…` for each map of the truth.

    Args:
        folder: exists.
        name: start of the names of series and mask.
        phantom: what to write.
    Returns:
        paths of series and mask.
    Raises:
        OutputError: a file cannot be written.
    """
    dwi, mask = folder / f"{name}_dwi.nii.gz", folder / f"{name}_mask.nii.gz"
    scheme, affine = phantom.acquisition, phantom.affine
    series.write_series(dwi, phantom.data, scheme.bvals, scheme.bvecs, affine)
    series.write_mask(mask, phantom.mask, affine)
    for parameter, values in phantom.truth.items():
        path = folder / f"truth_{sidecars.label(parameter)}.nii.gz"
        nifti.write_image(path, values, like=None, affine=affine)
    return dwi, mask
