"""What the participant level has written: which series there are, and what run.json says of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import outputs
from ...status import Status
from .. import run_json
from .dataset import LOGS

_MAP = re.compile(r"(?P<prefix>.*?)model-[^_]+_(?:[^_]+_)*dwimap\.nii\.gz", re.DOTALL)
_AGAIN = "fit this participant again"
_LOG = ".log"
_FOLDERS = re.compile(r"sub-[^_]+_(ses-[^_]+_)?")  # of a prefix, what names its folders
_ENTITY = re.compile(r"([A-Za-z0-9]+)-(.+)", re.DOTALL)


@dataclass(frozen=True)
class FittedSeries:
    """One series of a participant, whose fit may be complete or not.

    Attributes:
        folder: of its maps.
        prefix: start of the names of its files.
        participant: name of the participant's folder, "sub-…".
        session: name of the session's folder, "ses-…"; empty if there is none.
    """

    folder: Path
    prefix: str
    participant: str
    session: str

    @property
    def label(self) -> str:
        """What tells the series from the others: its prefix, else its folders."""
        return self.prefix.rstrip("_") or "_".join(filter(None, (self.participant, self.session)))

    @property
    def entities(self) -> dict[str, str]:
        """Values of further BIDS entities of the prefix, by key.

        Example:
            >>> FittedSeries(Path(), "sub-01_acq-hi_run-2_", "sub-01", "").entities
            {'acq': 'hi', 'run': '2'}
        """
        pairs = (_ENTITY.fullmatch(part) for part in self.prefix.split("_"))
        return {pair[1]: pair[2] for pair in pairs if pair and pair[1] not in ("sub", "ses")}

    @property
    def is_complete(self) -> bool:
        """Whether its fit has ended: run.json is written last."""
        return (self.folder / f"{self.prefix}{run_json.NAME}").is_file()

    @property
    def has_maps(self) -> bool:
        """Whether there is any map of it."""
        return any((match := _MAP.fullmatch(path.name)) and match["prefix"] == self.prefix for path in _in(self.folder))

    def maps(self, model: str) -> dict[str, Path]:
        """Paths of the maps of a model by parameter; standard deviations are not among them."""
        start, end = f"{self.prefix}model-{model}_param-", "_dwimap.nii.gz"
        names = {path.name: path for path in self.folder.iterdir() if path.name.startswith(start)}
        found = {name[len(start) : -len(end)]: path for name, path in sorted(names.items()) if name.endswith(end)}
        return {parameter: path for parameter, path in found.items() if "_" not in parameter}


def find_series(out: Path) -> list[FittedSeries]:
    """All series under the participants' folders, sorted; those that have only a log, and folders without maps, count.

    Args:
        out: the derivative data set.
    """
    found = []
    logs = out / LOGS
    logged = [path.name.removesuffix(_LOG) + "_" for path in _in(logs) if path.name.endswith(_LOG)]
    for participant in _folders(out, "sub-"):
        sessions = _folders(participant, "ses-")
        places = [(session.name, session / "dwi") for session in sessions]
        if (participant / "dwi").is_dir() or not sessions:
            places.insert(0, ("", participant / "dwi"))
        for session, folder in places:
            usual = "".join(f"{name}_" for name in (participant.name, session) if name)
            begun = [prefix for prefix in logged if (match := _FOLDERS.match(prefix)) and match[0] == usual]
            prefixes = sorted({*_prefixes(folder), *begun}) or [usual]
            found += [FittedSeries(folder, prefix, participant.name, session) for prefix in prefixes]
    return found


def _folders(above: Path, start: str) -> list[Path]:
    """Folders whose names begin so."""
    return sorted(path for path in above.iterdir() if path.name.startswith(start) and path.is_dir())


def _in(folder: Path) -> Iterator[Path]:
    """What is in a folder; nothing if there is none."""
    return folder.iterdir() if folder.is_dir() else iter(())


def _prefixes(folder: Path) -> Iterator[str]:
    """The prefix of each map and each run.json of a folder."""
    for path in _in(folder):
        if path.name.endswith(run_json.NAME):
            yield path.name.removesuffix(run_json.NAME)
        elif match := _MAP.fullmatch(path.name):
            yield match["prefix"]


@dataclass(frozen=True)
class Run:
    """What the group needs of a run.json.

    Attributes:
        model: of the kernels.
        density: of the FODs; empty if there are none.
        counts: voxels of each status, of the kernels and, where there are FODs, of them: "kernel", "fod".
        sigma: median σ; None if it is not known.
        options: how the fit was done, without what was measured.
        shells: b-values in s/mm², rounded to 50, as a text.
        warnings: of the run.
        version: of jaxsmt.
    """

    model: str
    density: str
    counts: Mapping[str, Mapping[Status, int]]
    sigma: float | None
    options: Mapping[str, str]
    shells: str
    warnings: tuple[str, ...]
    version: str


def read_run(series: FittedSeries) -> Run:
    """The facts of a finished fit.

    Raises:
        InputError: run.json cannot be read, or is none of a fit.
    """
    path = series.folder / f"{series.prefix}{run_json.NAME}"
    run = run_json.require(path, _AGAIN)
    try:
        options = run["options"]
        counts = {"kernel": _counts(run["voxels"])}
        if "fod_voxels" in run:
            counts["fod"] = _counts(run["fod_voxels"])
        sigma = options["sigma"]["median"] if "sigma" in options else None
        return Run(
            model=_text(run["model"]),
            density=_text(options["fod"]) if "fod" in counts else "",
            counts=counts,
            sigma=None if sigma is None else float(sigma),
            options=_choices(options),
            shells=_shells(run["shells"]),
            warnings=tuple(map(_text, run["warnings"])),
            version=_text(run["software"]["version"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError("is no run.json of a fit", file=path, fix=_AGAIN) from None


def _counts(voxels: Mapping[str, Any]) -> dict[Status, int]:
    """Voxels of each status."""
    return {code: int(voxels[code.name.lower()]) for code in Status}


def _shells(shells: Sequence[Mapping[str, Any]]) -> str:
    """b-values above 0; rounded, as those of one protocol scatter."""
    rounded = (50 * round(shell["b_s_per_mm2"] / 50) for shell in shells)
    return ", ".join(str(b) for b in rounded if b)


def _text(value: Any) -> str:
    """A text that JSON holds.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError
    return value


def _choices(options: Mapping[str, Any]) -> dict[str, str]:
    """Options as texts that can be compared: of arrays only whether they were given, as each series has its own."""
    choices = {name: value if isinstance(value, str) else json.dumps(value) for name, value in options.items()}
    if "sigma" in options:
        choices["sigma"] = "estimated" if "relative_error" in options["sigma"] else "given"
    if "grad_dev" in options:
        choices["grad_dev"] = "given"
    if "prior" in options:
        prior = options["prior"]
        choices["prior"] = json.dumps({name: prior[name] for name in sorted(prior) if name != "median_shrinkage"})
    return choices


def about_map(path: Path) -> tuple[str, str]:
    """Description and unit of a map, as its sidecar says; empty where it says nothing."""
    try:
        side = json.loads(outputs.sidecar_path(path).read_text("utf-8"))
        texts = (side.get("Description", ""), side.get("Units", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return "", ""
    return str(texts[0]), str(texts[1])
