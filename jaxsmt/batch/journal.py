"""What the programs of a run have computed so far, kept in files, so that a run that was killed can go on.

A run calls the same programs in the same order each time. A journal has a file for each call. The file holds the
results of the call's parts in the order of the voxels, each with its digest; a part that was written half is no part.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from ..errors import JaxsmtWarning

_HEADER = struct.Struct("<4sqqq32s")  # mark, first voxel, voxel after the last, bytes, their SHA-256
_MARK = b"part"

Leaves = Sequence[np.ndarray]


class Journal:
    """The results of a run's calls, in a folder that exists.

    Args:
        folder: of the files; nothing else is in it.
    """

    def __init__(self, folder: Path):
        self._folder, self._numbers = folder, itertools.count()
        self.works = True

    def recording(self) -> AbstractContextManager[None]:
        """Programs that are called inside keep their results here, and take from here what there is."""
        return _inside(self)

    def record(self, name: str) -> Record:
        """The record of the next call. name: of what it computes."""
        return Record(self._folder / f"call-{next(self._numbers):04}", self, name)

    def forget_from(self, first: str) -> None:
        """Remove the records of the call of this name and of all later ones."""
        for later in self._folder.glob("call-*"):
            if later.name >= first:
                later.unlink(missing_ok=True)

    def give_up(self, error: OSError) -> None:
        """Keep nothing any more, as nothing can be written: that must not end the run."""
        self.works = False
        with suppress(OSError):
            self.forget_from("")
        warnings.warn(
            f"{self._folder}: {error.strerror or error}: a run that is stopped has to begin anew",
            JaxsmtWarning,
            stacklevel=2,
        )


class Record:
    """The results of one call; made by `Journal.record`."""

    def __init__(self, path: Path, journal: Journal, name: str):
        self._path, self._journal, self._name = path, journal, name.encode()
        self._whole = 0  # bytes of the file that are whole parts

    def parts(self) -> Iterator[tuple[slice, list[np.ndarray]]]:
        """The parts that are whole, which follow each other from the first voxel on: voxels, and leaves (n, …)."""
        self._whole, done = 0, 0
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            while len(header := file.read(_HEADER.size)) == _HEADER.size:
                mark, start, stop, size, digest = _HEADER.unpack(header)
                follows = mark == _MARK and start == done < stop and 0 <= size <= os.fstat(file.fileno()).st_size
                content = file.read(size) if follows else b""
                if len(content) != size or hashlib.sha256(self._name + header[:-32] + content).digest() != digest:
                    return
                self._whole, done = file.tell(), stop
                yield slice(start, stop), _unpacked(content)

    def add(self, part: slice, leaves: Leaves) -> None:
        """Add the results of the part that follows."""
        if not self._journal.works:
            return
        content = _packed(leaves)
        about = _HEADER.pack(_MARK, part.start, part.stop, len(content), b"")[:-32]
        digest = hashlib.sha256(self._name + about + content).digest()
        try:
            with self._path.open("r+b" if self._whole else "wb") as file:
                file.truncate(self._whole)
                file.seek(self._whole)
                file.write(about + digest + content)
        except OSError as error:
            self._journal.give_up(error)
        self._whole += len(about) + len(digest) + len(content)

    def forget(self) -> None:
        """Remove this record and those of all later calls."""
        self._whole = 0
        self._journal.forget_from(self._path.name)


_current: ContextVar[Journal | None] = ContextVar("journal", default=None)


def record(name: str) -> Record | None:
    """The record of the next call, which computes what `name` says; None outside of `Journal.recording`."""
    journal = _current.get()
    return None if journal is None else journal.record(name)


def paused() -> AbstractContextManager[None]:
    """Programs that are called inside keep nothing: their results are large, and made again where they are needed."""
    return _inside(None)


@contextmanager
def _inside(journal: Journal | None) -> Iterator[None]:
    token = _current.set(journal)
    try:
        yield
    finally:
        _current.reset(token)


def _packed(leaves: Leaves) -> bytes:
    file = io.BytesIO()
    for leaf in leaves:
        np.save(file, leaf, allow_pickle=False)
    return file.getvalue()


def _unpacked(content: bytes) -> list[np.ndarray]:
    file, leaves = io.BytesIO(content), []
    while file.tell() < len(content):
        leaves.append(np.load(file, allow_pickle=False))
    return leaves
