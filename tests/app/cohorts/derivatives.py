"""Small data sets as the participant level leaves them, written by hand."""

import numpy as np

from jaxsmt.app.cohorts import group
from jaxsmt.app.screen import Screen
from jaxsmt.files import nifti, sidecars
from jaxsmt.status import Status

SHAPE = (8, 7, 6)
OPTIONS = {"noise": "rician", "fod": "none", "uncertainty": False, "b0_threshold": 50.0}


def status_map(rng, bad=(0.1, 0.02, 0.01, 0.0)):
    """A mask with a margin, and shares of voxels at a bound, not converged, without signal and not finite."""
    status = rng.choice([1, 2, 3, 4, 5], p=[1 - sum(bad), *bad], size=SHAPE).astype(np.uint8)
    status[0] = 0
    return status


def smt_maps(rng, shift=0.0):
    """Maps of a subject whose white matter is the first part of the image; its λ∥ is moved by `shift`."""
    white = np.arange(SHAPE[0])[:, None, None] < 5
    noise = rng.standard_normal(SHAPE).astype(np.float32)
    fa = np.where(white, 0.78, 0.35) + 0.05 * noise
    return {
        "lambda_par": (np.where(white, 2.0, 1.3) + shift + 0.1 * rng.standard_normal(SHAPE)).astype(np.float32),
        "fa": fa.astype(np.float32),
        "md": (np.where(white, 0.95, 1.0) + 0.05 * rng.standard_normal(SHAPE)).astype(np.float32),
        "s0": (1000 + 30 * rng.standard_normal(SHAPE)).astype(np.float32),
        "r2": (0.99 + 0.002 * rng.standard_normal(SHAPE)).astype(np.float32),
    }


def counts_of(status):
    """Voxels of each status, as run.json has them."""
    return {code.name.lower(): int(np.count_nonzero(status == code)) for code in Status}


def run_of(status, model="smt", fod=None, warnings=(), **options):
    """The content of run.json; `fod`: density and status of the FODs."""
    run = {
        "model": model,
        "options": OPTIONS | options | ({} if fod is None else {"fod": fod[0]}),
        "shells": [{"b_s_per_mm2": b, "volumes": n} for b, n in ((0.0, 6), (1000.0, 30), (2000.0, 30))],
        "software": {"name": "jaxsmt", "version": "1"},
        "voxels": counts_of(status),
        "warnings": list(warnings),
    }
    return run if fod is None else run | {"fod_voxels": counts_of(fod[1])}


def write_maps(folder, prefix, model, maps):
    """Maps with their sidecars."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in maps.items():
        path = folder / f"{sidecars.map_name(prefix, model, name)}.nii.gz"
        nifti.write_image(path, values, like=None, affine=np.eye(4))
        side = {"Description": f"about {name}", "Units": "furlong"}
        path.with_name(path.name.replace(".nii.gz", ".json")).write_bytes(sidecars.to_json(side))


def write_series(out, name, maps, status, report=True, model="smt", **run):
    """A complete series; `name`: its entities, those of subject and session first."""
    parts = name.split("_")
    folder = out.joinpath(*(part for part in parts[:2] if part.startswith(("sub-", "ses-"))), "dwi")
    write_maps(folder, f"{name}_", model, maps | {"status": status})
    (folder / f"{name}_run.json").write_bytes(sidecars.to_json(run_of(status, model, **run)))
    if report:
        (out / f"{name}.html").write_text("a report")
    return folder


def write_cohort(out, n, odd=None, **run):
    """n subjects that differ as chance has it; λ∥ of the subject `odd` is lower by 0.7."""
    for i in range(n):
        rng = np.random.default_rng(i)
        shift = 0.03 * rng.standard_normal() - 0.7 * (i == odd)
        write_series(out, f"sub-{i + 1:02d}", smt_maps(rng, shift), status_map(rng), **run)


def gather(out):
    """Run the group level; returns its exit code."""
    return group.run_group(out, Screen(quiet=True))


def read_table(path):
    """Rows of a TSV file, as dicts of texts."""
    head, *rows = (line.split("\t") for line in path.read_text("utf-8").splitlines())
    assert all(len(row) == len(head) for row in rows)
    return [dict(zip(head, row, strict=True)) for row in rows]
