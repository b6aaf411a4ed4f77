"""Small data sets of each kind in a folder, and the command on them."""

import json

import nibabel as nib
import numpy as np

from jaxsmt.app import cli
from tests.app.commands import PARAMETERS
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of


def bids(root, *words):
    """Exit code of `jaxsmt bids` from `root/source` to `root/out`."""
    return cli.main(["bids", str(root / "source"), str(root / "out"), "participant", *map(str, words)])


def write_series(path, data, tables=None, mask=None, seed=0):
    """A series with its tables and mask; each seed has other noise.

    tables: (bval, bvec), by default beside the series; mask: path, by default none is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 1, data.shape).astype(np.float32)
    nib.save(nib.Nifti1Image(data + noise, AFFINE), path)
    stem = path.name.removesuffix(".nii.gz")
    bval, bvec = tables or (path.with_name(f"{stem}.bval"), path.with_name(f"{stem}.bvec"))
    np.savetxt(bval, ACQUISITION.bvals[None], fmt="%g")
    np.savetxt(bvec, ACQUISITION.bvecs.T, fmt="%.9f")
    if mask is not None:
        mask.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(mask_of(SHAPE), AFFINE), mask)


def write_raw(root, data, names=("sub-01/dwi/sub-01", "sub-02/dwi/sub-02")):
    """A raw BIDS data set whose masks lie in its derivatives. names: of the series, without `_dwi.nii.gz`."""
    source = root / "source"
    for i, name in enumerate(names):
        mask = source / "derivatives" / "masks" / f"{name}_desc-brain_mask.nii.gz"
        write_series(source / f"{name}_dwi.nii.gz", data, mask=mask, seed=i)
    (source / "dataset_description.json").write_text(json.dumps({"Name": "A study", "BIDSVersion": "1.10.0"}))
    return source


def write_hcp(root, data, subjects=("100307",)):
    """A data set in the HCP's layout, with a gradient deviation."""
    for i, subject in enumerate(subjects):
        place = root / "source" / subject / "T1w" / "Diffusion"
        tables = (place / "bvals", place / "bvecs")
        write_series(place / "data.nii.gz", data, tables, place / "nodif_brain_mask.nii.gz", seed=i)
        deviation = np.zeros((*SHAPE, 9), np.float32)
        deviation[..., 0] = 0.02
        nib.save(nib.Nifti1Image(deviation, AFFINE), place / "grad_dev.nii.gz")


def touch(root, *names):
    """Empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def files_below(folder):
    """Paths of all files of a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


#: What describes the output data set.
ABOUT = {"dataset_description.json", "README.md", ".bidsignore", "logs/CITATION.md"}


def series_files(stem, folder, maps=PARAMETERS, model="smt"):
    """What the fit of a series writes."""
    inside = {f"{stem}_model-{model}_param-{m}_dwimap{end}" for m in maps for end in (".nii.gz", ".json")}
    inside |= {f"{stem}_run.json"}
    return {f"{folder}/{name}" for name in inside} | {f"{stem}.html", f"logs/{stem}.log"}
