"""A BIDS data set of simulated brains that differ: series, and as derivatives their masks and truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import simulate
from ...files import map_table, nifti, series, sidecars
from ...simulate import Phantom
from .options import Simulation

_SUBJECTS = 2
# How far subjects may be from the mean brain: factors are uniform between 1 - spread and 1 + spread.
_SPREAD = {"lambda_par": 0.08, "fraction": 0.15, "s0": 0.1}
_ABOUT_FACTORS = {
    "lambda_par": "lambda_par of white and grey matter over that of the mean brain",
    "fraction": "lambda_perp / lambda_par of white and grey matter over that of the mean brain",
    "s0": "S0 over that of the mean brain",
}
_FOD_MAPS = ("nfibres", "direction", "weight", "odi")
_UNITS = {"lambda_par": "um2/ms", "lambda_perp": "um2/ms"}
_README = """\
{title}
{line}

Made by jaxsmt {version} (jaxsmt simulate --bids). The data are not of people: each series is a brain-like phantom
whose tissue is known, with Rician noise. Subjects differ in the diffusivities of their tissue and in S0, by the factors
in participants.tsv. Sessions of a subject differ in the noise.

derivatives/masks holds the brain masks; derivatives/truth holds the maps that the series were made from.
"""


@dataclass(frozen=True)
class Scan:
    """One series of the data set.

    Attributes:
        subject: number from 1.
        session: number from 1, or None if sessions have no names.
        digits: of a subject's label.
    """

    subject: int
    session: int | None
    digits: int = 2

    @property
    def entities(self) -> list[str]:
        """Parts of its names: subject and session."""
        return [f"sub-{self.subject:0{self.digits}}", *([] if self.session is None else [f"ses-{self.session}"])]

    @property
    def folder(self) -> Path:
        """Its folder in each data set."""
        return Path(*self.entities, "dwi")

    @property
    def prefix(self) -> str:
        """Start of the names of its files."""
        return "".join(f"{entity}_" for entity in self.entities)

    @property
    def uri(self) -> str:
        """The series, as sidecars of derivatives name it."""
        return f"bids:raw:{(self.folder / f'{self.prefix}dwi.nii.gz').as_posix()}"


def scans_of(simulation: Simulation) -> Iterator[Scan]:
    """The series of a data set, subject by subject."""
    subjects = simulation.subjects or _SUBJECTS
    sessions: list[int | None] = [None] if simulation.sessions is None else [*range(1, simulation.sessions + 1)]
    for subject in range(1, subjects + 1):
        for session in sessions:
            yield Scan(subject, session, max(2, len(str(subjects))))


def factors_of(seed: int, subject: int) -> dict[str, float]:
    """Factors by which a subject differs from the mean brain, with four decimals."""
    rng = np.random.default_rng([seed, subject])
    return {name: round(1 + spread * rng.uniform(-1, 1), 4) for name, spread in _SPREAD.items()}


def phantom_of(simulation: Simulation, scan: Scan) -> Phantom:
    """The brain of a subject with the noise of a session."""
    seeds = np.random.SeedSequence([simulation.seed, scan.subject, scan.session or 0])
    return simulate.phantom(
        tuple(simulation.shape),  # type: ignore[arg-type]
        simulation.snr,
        int(seeds.generate_state(1)[0]),
        simulation.acquisition,
        factors_of(simulation.seed, scan.subject),
    )


def write_dataset(simulation: Simulation, say: Callable[[str], None]) -> None:
    """Write all series with masks and truth, then what is said of the data set.

    Args:
        simulation: the options; its folder exists.
        say: told of each series.
    Raises:
        InputError: there can be no such phantom.
        OutputError: a file cannot be written.
    """
    scans, out = list(scans_of(simulation)), simulation.out
    for scan in scans:
        phantom = phantom_of(simulation, scan)
        _write_series(out, scan, phantom, simulation)
        _write_mask(out / "derivatives" / "masks", scan, phantom)
        _write_truth(out / "derivatives" / "truth", scan, phantom)
        size = " × ".join(map(str, phantom.data.shape))
        say(f"{out / scan.folder}: {size}, {phantom.mask.sum()} voxels in the mask, σ = {phantom.sigma:g}")
    _describe(out, "Simulated diffusion MRI", DatasetType="raw")
    for name, title in (("masks", "Brain masks of simulated brains"), ("truth", "Truth of simulated brains")):
        folder = out / "derivatives" / name
        _describe(folder, title, DatasetType="derivative", DatasetLinks={"raw": "../../"})
    nifti.write_bytes(out / "derivatives" / "truth" / ".bidsignore", b"*_dwimap.*\n")  # the validator knows none
    _write_participants(out, simulation.seed, sorted({scan.subject for scan in scans}), scans[0].digits)


def _write_series(out: Path, scan: Scan, phantom: Phantom, simulation: Simulation) -> None:
    """Write the series, its gradient table and its sidecar."""
    path = _path(out, scan, "dwi.nii.gz")
    scheme = phantom.acquisition
    series.write_series(path, phantom.data, scheme.bvals, scheme.bvecs, phantom.affine)
    facts = {
        "seed": simulation.seed,
        "sigma": phantom.sigma,
        "factors": factors_of(simulation.seed, scan.subject),
        "software": sidecars.SOFTWARE,
    }
    _write_json(path, {"Description": "Simulated series with Rician noise", "Units": "arbitrary", "Simulation": facts})


def _write_mask(masks: Path, scan: Scan, phantom: Phantom) -> None:
    """Write the brain mask and its sidecar."""
    path = _path(masks, scan, "desc-brain_mask.nii.gz")
    series.write_mask(path, phantom.mask, phantom.affine)
    _write_json(path, {"Type": "Brain", "Sources": [scan.uri]})


def _write_truth(truth: Path, scan: Scan, phantom: Phantom) -> None:
    """Write the maps of the truth under the names of fitted ones, with `desc-truth`."""
    for name, values in phantom.truth.items():
        model = "smtwatson" if name in _FOD_MAPS else "smt"
        path = _path(truth, scan, sidecars.map_name("", model, name, "truth") + ".nii.gz")
        nifti.write_image(path, values, like=None, affine=phantom.affine)
        facts: dict[str, Any] = {"Description": f"Truth: {map_table.about(name).description}", "Sources": [scan.uri]}
        encoding = sidecars.orientation_encoding(name, values.shape[-1])
        facts |= {} if encoding is None else {"OrientationEncoding": encoding}
        facts |= {"Units": _UNITS[name]} if name in _UNITS else {}
        _write_json(path, facts)


def _path(folder: Path, scan: Scan, name: str) -> Path:
    """The path of a file of a scan in a data set, whose folder is made."""
    path = folder / scan.folder / f"{scan.prefix}{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_json(image: Path, content: Mapping[str, Any]) -> None:
    """Write the sidecar of an image."""
    nifti.write_bytes(series.beside(image, ".json"), sidecars.to_json(content))


def _describe(folder: Path, name: str, **more: Any) -> None:
    """Write what a data set is."""
    made_by = {"Name": sidecars.SOFTWARE["name"], "Version": sidecars.SOFTWARE["version"]}
    content = {"Name": name, "BIDSVersion": sidecars.BIDS_VERSION, "GeneratedBy": [made_by], **more}
    nifti.write_bytes(folder / "dataset_description.json", sidecars.to_json(content))


def _write_participants(out: Path, seed: int, subjects: list[int], digits: int) -> None:
    """Write the table of subjects with what its columns mean, and the README."""
    rows = [["participant_id", *(f"{name}_factor" for name in _SPREAD)]]
    for subject in subjects:
        factors = (f"{value:.4f}" for value in factors_of(seed, subject).values())
        rows.append([f"sub-{subject:0{digits}}", *factors])
    nifti.write_bytes(out / "participants.tsv", "".join("\t".join(row) + "\n" for row in rows).encode())
    about = {"participant_id": {"Description": "Simulated brain"}}
    about |= {f"{name}_factor": {"Description": text, "Units": "1"} for name, text in _ABOUT_FACTORS.items()}
    nifti.write_bytes(out / "participants.json", sidecars.to_json(about))
    title = f"Simulated diffusion MRI of {len(subjects)} brain{'s' if len(subjects) > 1 else ''}"
    text = _README.format(title=title, line="=" * len(title), version=sidecars.SOFTWARE["version"])
    nifti.write_bytes(out / "README", text.encode())
