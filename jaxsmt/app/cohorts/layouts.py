"""Where each kind of data set has its diffusion series, and what belongs to a series. No JAX."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError, JaxsmtWarning
from .names import BidsFile, Tree, is_label

#: Labels of the subjects to look for; None: all.
Subjects = Collection[str] | None


@dataclass(frozen=True)
class Series:
    """A diffusion series of a data set, and the files that belong to it.

    Attributes:
        subject, session: labels, without `sub-` and `ses-`.
        entities: further entities of the file's name and their labels, in its order.
        dwi: the series. Its file, as those below, may turn out to be missing.
        bval, bvec: FSL's gradient table; grad: MRtrix's; None: those beside the series.
        mask: voxels to fit.
        grad_dev: gradient deviation.
    """

    subject: str
    session: str | None
    entities: tuple[tuple[str, str], ...]
    dwi: Path
    bval: Path | None = None
    bvec: Path | None = None
    grad: Path | None = None
    mask: Path | None = None
    grad_dev: Path | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Labels by entity, those of subject and session too, without `desc`."""
        session = {} if self.session is None else {"ses": self.session}
        others = {entity: label for entity, label in self.entities if entity != "desc"}
        return {"sub": self.subject, **session, **others}

    @property
    def stem(self) -> str:
        """Start of the names of what is written.

        Example:
            >>> Series("01", "2", (("space", "ACPC"), ("desc", "preproc")), Path("dwi.nii.gz")).stem
            'sub-01_ses-2_space-ACPC'
        """
        return "_".join(f"{entity}-{label}" for entity, label in self.labels.items())

    @property
    def title(self) -> str:
        """What the series is called in messages: `sub-01 ses-2`."""
        return self.stem.replace("_", " ")

    @property
    def folder(self) -> Path:
        """Where its maps go, in the output data set."""
        session = "" if self.session is None else f"ses-{self.session}"
        return Path(f"sub-{self.subject}") / session / "dwi"


@dataclass(frozen=True)
class _Layout:
    """A kind of data set.

    Attributes:
        name: for people.
        find: `(root, subjects) -> series`.
        has: whether a folder is of this kind.
    """

    name: str
    find: Callable[[Path, Subjects], Iterator[Series]]
    has: Callable[[Path], bool] = field(repr=False)


def kinds() -> tuple[str, ...]:
    """The kinds of data sets that are known."""
    return tuple(_LAYOUTS)


def name_of(kind: str) -> str:
    """What people call a kind of data set."""
    return _LAYOUTS[kind].name


def recognise(root: Path) -> str:
    """The kind of a data set.

    Raises:
        InputError: there is no such folder, or it is none of the kinds.
    """
    if not root.is_dir():
        raise InputError("is no folder", file=root, fix="give the folder of a data set")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxsmtWarning)  # those who find the series will say it
        for kind, layout in _LAYOUTS.items():
            if layout.has(root):
                return kind
    raise InputError(
        "no diffusion series of a known kind of data set",
        file=root,
        fix="give the folder that holds the subjects' folders, or name its kind by --input-type",
    )


def find_series(root: Path, kind: str, subjects: Subjects = None) -> list[Series]:
    """The series of a data set, by subject.

    What has no valid name, and series that are no magnitudes (`part-phase` and the like), are left out with a warning.

    Args:
        root: folder of the data set.
        kind: one of `kinds()`.
        subjects: labels of those to look for; None: all.
    Returns:
        the series, sorted.
    Raises:
        InputError: there is no such folder; two series would have outputs of the same names; several gradient tables
            or masks apply to a series equally.
    """
    if not root.is_dir():
        raise InputError("is no folder", file=root, fix="give the folder of a data set")
    found: dict[str, Series] = {}
    for series in _LAYOUTS[kind].find(root, subjects):
        if series.labels.get("part", "mag") != "mag":
            warnings.warn(f"{series.dwi}: no magnitudes; left out", JaxsmtWarning, stacklevel=2)
            continue
        other = found.setdefault(series.stem, series)
        if other is not series:
            raise InputError(
                f"its maps would have the names of those of {other.dwi}",
                file=series.dwi,
                fix="move one of the two series elsewhere",
            )
    return [found[stem] for stem in sorted(found)]


def _subjects(tree: Tree, root: Path, subjects: Subjects) -> Iterator[tuple[str, str | None, Path]]:
    """(subject, session, folder) of every session, and of what is directly in a subject's folder."""
    if subjects is None:
        folders = tree.labelled(root, "sub")
    else:
        folders = [(label, root / f"sub-{label}") for label in sorted(subjects) if is_label(label)]
    for subject, folder in folders:
        yield subject, None, folder
        for session, inner in tree.labelled(folder, "ses"):
            yield subject, session, inner


def _dwi_files(tree: Tree, folder: Path, subject: str, session: str | None) -> Iterator[BidsFile]:
    """The diffusion series in `dwi/` of a subject's or session's folder."""
    place = folder / "dwi"
    for name in tree.names(place):
        if not re.fullmatch(r".*_dwi\b.*\.nii(\.gz)?", name) or name.startswith("."):
            continue
        file = BidsFile.parse(place / name)
        if file is None or file.suffix != "dwi":
            warnings.warn(f"{str(place / name)!r}: no name after BIDS; left out", JaxsmtWarning, stacklevel=2)
        elif (file.entities.get("sub"), file.entities.get("ses")) != (subject, session):
            warnings.warn(f"{place / name}: lies in another subject's folder; left out", JaxsmtWarning, stacklevel=2)
        else:
            yield file


def _series(file: BidsFile, **files: Path | None) -> Series:
    """The record of a series that is named after BIDS."""
    others = tuple((entity, label) for entity, label in file.entities.items() if entity not in ("sub", "ses"))
    return Series(file.entities["sub"], file.entities.get("ses"), others, file.path, **files)


def _find_raw(root: Path, subjects: Subjects) -> Iterator[Series]:
    """Series of a raw BIDS data set; tables are inherited, masks may come from its derivatives."""
    tree = Tree()
    for subject, session, folder in _subjects(tree, root, subjects):
        within = folder.relative_to(root)
        pipelines = [root / "derivatives" / name / within / "dwi" for name in tree.names(root / "derivatives")]
        up = [folder / "dwi", folder, *(() if session is None else (folder.parent,)), root]
        for file in _dwi_files(tree, folder, subject, session):
            yield _series(
                file,
                bval=tree.nearest(file, up, "dwi", (".bval",)),
                bvec=tree.nearest(file, up, "dwi", (".bvec",)),
                mask=tree.nearest(file, [folder / "dwi", *pipelines], "mask", (".nii.gz", ".nii"), "brain"),
            )


def _find_qsiprep(root: Path, subjects: Subjects) -> Iterator[Series]:
    """Series that QSIPrep has preprocessed, with the mask and the tables beside them."""
    tree = Tree()
    for subject, session, folder in _subjects(tree, root, subjects):
        for file in _dwi_files(tree, folder, subject, session):
            if file.entities.get("desc") != "preproc":
                continue
            beside = [folder / "dwi"]
            bval, bvec, grad = (
                tree.nearest(file, beside, "dwi", (end,), "preproc") for end in (".bval", ".bvec", ".b")
            )
            tables = {"grad": grad} if grad and not (bval and bvec) else {"bval": bval, "bvec": bvec}
            mask = tree.nearest(file, beside, "mask", (".nii.gz", ".nii"), "brain")
            yield _series(file, mask=mask, **tables)


def _has_bids(root: Path, preprocessed: bool) -> bool:
    """Whether the first diffusion series in folders `sub-…` is one of QSIPrep's, or another."""
    tree = Tree()
    for subject, session, folder in _subjects(tree, root, None):
        files = list(_dwi_files(tree, folder, subject, session))
        if files:
            described = "qsiprep" in generators(root)
            return preprocessed == (described or any(file.entities.get("desc") == "preproc" for file in files))
    return False


def generators(root: Path) -> set[str]:
    """Names of the programs that a data set says to come from, lower case."""
    try:
        found: Any = json.loads((root / "dataset_description.json").read_text("utf-8"))["GeneratedBy"]
        return {str(entry["Name"]).lower() for entry in found}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _places(root: Path, inside: Path) -> list[tuple[str, Path]]:
    """Names and paths of the subjects' folders that hold the folder `inside`; that may be the root alone."""
    root = root.absolute()
    if (root / inside).is_dir():
        return [(root.name, root)]
    return [(name, root / name) for name in Tree().names(root) if (root / name / inside).is_dir()]


_HCP = Path("T1w", "Diffusion")
_UKB = Path("dMRI", "dMRI")


def _present(path: Path) -> Path | None:
    """A file that is there, if only as a link."""
    return path if os.path.lexists(path) else None


def _find_hcp(root: Path, subjects: Subjects) -> Iterator[Series]:
    """Series that the HCP's pipelines have preprocessed; a label has the letters and digits of the folder's name."""
    for name, folder in _places(root, _HCP):
        label, place = re.sub("[^A-Za-z0-9]", "", name), folder / _HCP
        if label and (subjects is None or label in subjects):
            yield Series(
                label,
                None,
                (),
                place / "data.nii.gz",
                place / "bvals",
                place / "bvecs",
                mask=_present(place / "nodif_brain_mask.nii.gz"),
                grad_dev=_present(place / "grad_dev.nii.gz"),
            )


def _find_ukb(root: Path, subjects: Subjects) -> Iterator[Series]:
    """Series of UK Biobank; a folder `<subject>_20250_<instance>_<array>` is a session, the instance its label."""
    for name, folder in _places(root, _UKB):
        bulk = re.fullmatch(r"([0-9]+)_[0-9]+_([0-9]+)_[0-9]+", name)
        label, session = (bulk[1], bulk[2]) if bulk else (re.sub("[^A-Za-z0-9]", "", name), None)
        place = folder / _UKB
        if label and (subjects is None or label in subjects):
            yield Series(
                label,
                session,
                (),
                place / "data_ud.nii.gz",
                place / "bvals",
                place / "bvecs",
                mask=_present(place / "nodif_brain_mask_ud.nii.gz"),
            )


_LAYOUTS = {
    "bids": _Layout("raw BIDS data set", _find_raw, lambda root: _has_bids(root, preprocessed=False)),
    "qsiprep": _Layout("data set of QSIPrep", _find_qsiprep, lambda root: _has_bids(root, preprocessed=True)),
    "hcp": _Layout("data set laid out as the HCP's", _find_hcp, lambda root: bool(_places(root, _HCP))),
    "ukb": _Layout("data set laid out as UK Biobank's", _find_ukb, lambda root: bool(_places(root, _UKB))),
}
