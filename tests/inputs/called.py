"""What the texts of wrong calls name: data, models, results, and calls that need files."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax  # noqa: F401  in the texts of calls
import nibabel as nib
import numpy as np
import optax  # noqa: F401

import jaxsmt as js
from tests.conftest import ACQUISITION

B, G = ACQUISITION.bvals, ACQUISITION.bvecs
SMT = js.smt()
DATA = np.ones((2, 3, len(B)), np.float32)
VOXEL = DATA[0, 0]
MASK = np.ones((2, 3), bool)
NAN = float("nan")
PARAMETERS = {"lambda_par": 2.0, "fraction": 0.2}


@cache
def fitted() -> js.Fit:
    """A fit of two by three voxels, made of arrays, as nothing has to be computed to refuse a call."""
    shape = MASK.shape
    parameters = {name: np.full(shape, value, np.float32) for name, value in SMT_VALUES.items()}
    derived = {name: np.full(shape, 0.5, np.float32) for name in ("md", "fa", "fapow3")}
    one = np.ones(shape, np.float32)
    quality = {"mse": 0 * one, "r2": one}
    return js.Fit(SMT, ACQUISITION, js.Settings(), parameters, derived, one, quality, one.astype(np.uint8))


SMT_VALUES = {"lambda_par": 2.0, "lambda_perp": 0.4, "fraction": 0.2}


@cache
def fods() -> js.FodFit:
    """FODs of one lobe, made of arrays."""
    one = np.ones((*MASK.shape, 1), np.float32)
    parameters = {"weight": one, "odi": 0.1 * one, "kappa": 6 * one, "beta": 0 * one}
    parameters["direction"] = np.broadcast_to(np.array([0, 0, 1], np.float32), (*MASK.shape, 1, 3))
    kernels = fitted()
    status = kernels.status
    return js.FodFit(kernels.fod_model("watson"), parameters, status, kernels.quality, status, ACQUISITION)


def turned(affine: Any) -> Any:
    """An acquisition of files that are there, and an affine that is none."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        bval, bvec = Path(folder, "a.bval"), Path(folder, "a.bvec")
        np.savetxt(bval, B[None])
        np.savetxt(bvec, G.T)
        return js.Acquisition.from_fsl(bval, bvec, affine=affine)


def saved(prefix: Any) -> Any:
    """A fit saved like a series of another grid."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        dwi = Path(folder, "dwi.nii.gz")
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2, 3), np.float32), np.eye(4)), dwi)
        return fitted().save(Path(folder, "out"), like=dwi, prefix=prefix)


def replace_axes() -> js.Acquisition:
    """The acquisition with directions in other axes than those of the fit."""
    return js.Acquisition(B, G, axes="fsl")
