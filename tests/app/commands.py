"""Commands on a small set of inputs, what they write, and how inputs are spoiled."""

import nibabel as nib
import numpy as np

from jaxsmt.app import cli
from tests.conftest import ACQUISITION, AFFINE, SHAPE, write_table

PARAMETERS = ["lambdapar", "lambdaperp", "fraction", "md", "fa", "fapow3", "s0", "mse", "r2", "status"]
FOD_MAPS = ["direction", "weight", "odi", "kappa", "beta", "nfibres", "fod", "mse", "r2", "status"]


def run(folder, *extra, command="fit", mask=True):
    """Exit code of a command on the inputs of `folder`; maps go to its folder `out`."""
    arguments = [command, str(folder / "sub-01_dwi.nii.gz"), *(["--mask", str(folder / "mask.nii.gz")] if mask else [])]
    if command == "fit":
        arguments += ["-o", str(folder / "out"), "--quiet"]
    return cli.main([*arguments, *map(str, extra)])


def load(folder, parameter, prefix="sub-01_"):
    """A map that was written."""
    return nib.load(folder / "out" / f"{prefix}model-smt_param-{parameter}_dwimap.nii.gz")


def map_files(maps, model="smt", desc=""):
    """Names of the files of maps and of their sidecars."""
    return {f"sub-01_model-{model}_param-{m}{desc}_dwimap{e}" for m in maps for e in (".nii.gz", ".json")}


def fod_files(density):
    """Names of the files of a FOD fit."""
    return map_files([*FOD_MAPS, *(["across"] if density == "bingham" else [])], f"smt{density}")


def spoil(folder, series, what):
    """Replace one input by a bad one."""
    data, _ = series
    dwi, mask = folder / "sub-01_dwi.nii.gz", folder / "mask.nii.gz"
    if what == "one shell":
        keep = ACQUISITION.bvals < 1500
        nib.save(nib.Nifti1Image(data[..., keep], AFFINE), dwi)
        write_table(folder, ACQUISITION.bvals[keep], ACQUISITION.bvecs[keep])
    elif what == "no b = 0":
        keep = ACQUISITION.bvals > 0
        nib.save(nib.Nifti1Image(data[..., keep], AFFINE), dwi)
        write_table(folder, ACQUISITION.bvals[keep], ACQUISITION.bvecs[keep])
    elif what == "3-D":
        nib.save(nib.Nifti1Image(data[..., 0], AFFINE), dwi)
    elif what == "counts":
        write_table(folder, ACQUISITION.bvals[1:], ACQUISITION.bvecs)
    elif what == "cut":
        dwi.write_bytes(dwi.read_bytes()[: int(0.6 * dwi.stat().st_size)])
    elif what == "bit":
        content = bytearray(dwi.read_bytes())
        content[len(content) // 2] ^= 4
        dwi.write_bytes(content)
    elif what == "empty mask":
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), mask)
    elif what == "mask shape":
        nib.save(nib.Nifti1Image(np.ones((6, 5, 5), np.uint8), AFFINE), mask)
    elif what == "mask affine":
        nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 3), mask)
    elif what == "no bval":
        (folder / "sub-01_dwi.bval").unlink()
    elif what == "no dwi":
        dwi.unlink()
    elif what == "units":
        write_table(folder, ACQUISITION.bvals / 1000, ACQUISITION.bvecs)
