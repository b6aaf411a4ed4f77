"""Names of files and folders after BIDS, and which of them belong to a series. No JAX."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputError, JaxsmtWarning

_NAME = re.compile(r"((?:[A-Za-z0-9]+-[A-Za-z0-9+]+_)*)([A-Za-z0-9]+)((?:\.[A-Za-z0-9]+)+)")


@dataclass(frozen=True)
class BidsFile:
    """A file whose name is `<entity>-<label>_…_<suffix><extension>`, with any number of entities.

    Attributes:
        path: of the file.
        entities: labels by entity, in the order of the name.
        suffix: what kind of data it holds.
        extension: with its dots.
    """

    path: Path
    entities: Mapping[str, str]
    suffix: str
    extension: str

    @classmethod
    def parse(cls, path: Path) -> BidsFile | None:
        """The parts of a file's name; None if it is no such name.

        Example:
            >>> BidsFile.parse(Path("sub-01_run-2_dwi.nii.gz")).entities
            {'sub': '01', 'run': '2'}
        """
        match = _NAME.fullmatch(path.name)
        if match is None:
            return None
        pairs = [pair.split("-") for pair in match[1].split("_")[:-1]]
        entities: dict[str, str] = dict(pairs)
        return cls(path, entities, match[2], match[3]) if len(entities) == len(pairs) else None


def is_label(text: str) -> bool:
    """Whether a subject or session may be called so: letters and digits only, so that no label leads elsewhere.

    Example:
        >>> is_label("01"), is_label("../01")
        (True, False)
    """
    return re.fullmatch("[A-Za-z0-9]+", text) is not None


class Tree:
    """A data set's folders, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, list[str]] = {}

    def names(self, folder: Path) -> list[str]:
        """Sorted names of what is in a folder; none if it is missing or, with a warning, if it may not be read."""
        if folder not in self._read:
            try:
                self._read[folder] = sorted(os.listdir(folder))
            except (FileNotFoundError, NotADirectoryError):
                self._read[folder] = []
            except OSError as error:
                warnings.warn(f"{folder}: {error.strerror}; left out", JaxsmtWarning, stacklevel=2)
                self._read[folder] = []
        return self._read[folder]

    def labelled(self, folder: Path, entity: str) -> list[tuple[str, Path]]:
        """Labels and paths of the folders `<entity>-<label>`; others that begin so are left out with a warning."""
        found = []
        for name in self.names(folder):
            before, dash, label = name.partition("-")
            if before == entity and dash and (folder / name).is_dir():
                if is_label(label):
                    found.append((label, folder / name))
                else:
                    text = f"{str(folder / name)!r}: a label has letters and digits only; left out"
                    warnings.warn(text, JaxsmtWarning, stacklevel=2)
        return found

    def files(self, folder: Path) -> list[BidsFile]:
        """The files of a folder that have a name after BIDS."""
        parsed = (BidsFile.parse(folder / name) for name in self.names(folder))
        return [file for file in parsed if file is not None]

    def nearest(
        self, series: BidsFile, folders: Iterable[Path], suffix: str, extensions: Iterable[str], desc: str | None = None
    ) -> Path | None:
        """The file that applies to a series by the inheritance principle: in the first folder that has one.

        A file applies if it has no entity beside `desc` that the series has not. Of several in one folder the one with
        most entities applies.

        Args:
            series: whose file is looked for.
            folders: the nearest first.
            suffix, extensions, desc: of the file; without `desc` it may have that of the series.
        Raises:
            InputError: several files apply equally.
        """
        for folder in folders:
            fitting = [
                file
                for file in self.files(folder)
                if file.suffix == suffix and file.extension in extensions and _applies(file, series, desc)
            ]
            most = max((len(file.entities) for file in fitting), default=0)
            best = [file.path for file in fitting if len(file.entities) == most]
            if len(best) > 1:
                raise InputError(
                    f"{best[0].name} and {best[1].name} both apply to {series.path.name}",
                    file=folder,
                    fix="remove one of them",
                )
            if best:
                return best[0]
        return None


def _applies(file: BidsFile, series: BidsFile, desc: str | None) -> bool:
    """Whether all entities of a file are those of the series, and `desc` what it must be."""
    labels = {**series.entities} if desc is None else {**series.entities, "desc": desc}
    if desc is not None and file.entities.get("desc") != desc:
        return False
    return all(labels.get(entity) == label for entity, label in file.entities.items())
