"""A run that can be stopped at any moment: its lock, what it was asked for, and what it has computed so far. No JAX.

A folder beside the outputs holds them until the last file, the page, is written. So the same command goes on where it
stopped, and a command that asks for something else is told what differs.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import InputError, JaxsmtWarning, ResourceError
from ..files import nifti, sidecars
from . import run_json

try:
    import fcntl
except ImportError:  # not on Windows, which has no such locks
    fcntl = None  # type: ignore[assignment]

Facts = Mapping[str, Any]


class Unfinished:
    """What is kept of a run until it is finished.

    Args:
        out: folder of the outputs. prefix: of their names; runs of other prefixes do not matter.
    """

    def __init__(self, out: Path, prefix: str):
        self._out, self._prefix = out, prefix
        self.folder = out / f".{prefix}unfinished"
        self._facts = self.folder / run_json.NAME
        self._new, self._mark = self.folder / "new", self.folder / "publishing"
        self._begun = self._published = False
        self._lock = out / f".{prefix}lock"

    @property
    def exists(self) -> bool:
        """Whether an earlier run was stopped."""
        return self._facts.exists()

    @property
    def published(self) -> bool:
        """Whether an earlier run was stopped when outputs were going to their places, so that some may be its own."""
        return self.exists and self._mark.exists()

    def is_of(self, run: Facts) -> bool:
        """Whether the earlier run is the one whose run.json says this.

        Args:
            run: what it says.
        """
        asked = (self._earlier() or {}).get("asked", {})
        hashes = {name: entry.get("sha256") for name, entry in run["inputs"].items()}
        return bool(asked.get("options") == run["asked"] and asked.get("inputs") == hashes)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes these outputs meanwhile; temporary files of a run that was killed are removed.

        Raises:
            ResourceError: another run writes them.
        """
        file = self._locked_file()
        try:
            for stale in self._out.glob(f".{_literal(self._prefix)}*.part"):
                stale.unlink(missing_ok=True)
            yield
        finally:
            self._lock.unlink(missing_ok=True)
            if file is not None:
                os.close(file)

    def begin(self, asked: Facts, machine: Facts, slab: int, anew: bool) -> int:
        """Begin the run, or go on with the one that was stopped.

        Args:
            asked: inputs, options and version, which decide what is computed. machine: what can change the last digits.
            slab: how many voxels memory has room for at once. anew: forget a run that was asked for something else.
        Returns:
            how many voxels to fit at once: those of the run that was stopped, if there is room for them.
        Raises:
            InputError: the earlier run was asked for something else.
            OutputError: the folder cannot be written.
        """
        facts = json.loads(sidecars.to_json({"asked": dict(asked), "machine": dict(machine), "slab": slab}))
        if (earlier := self._earlier()) is not None:
            changed = list(_differences(earlier.get("asked"), facts["asked"]))
            if changed and not anew:
                raise InputError(
                    f"an unfinished run is here, which was asked for something else: {'; '.join(changed)}",
                    file=self._out,
                    fix="give its command again, or overwrite=True to begin anew",
                )
            same, before = earlier.get("machine") == facts["machine"], earlier.get("slab")
            if not changed and same and isinstance(before, int) and 0 < before <= slab:
                self._begun = True
                return before
            if not changed:
                why = "needed more memory than there is now" if same else "was computed on another kind of machine"
                warnings.warn(f"the unfinished run here {why}: it begins anew", JaxsmtWarning, stacklevel=2)
        self.finish()
        try:
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise nifti.output_error(error, self.folder) from None
        self._begun = True
        nifti.write_bytes(self._facts, sidecars.to_json(facts))
        return slab

    @contextmanager
    def running(self) -> Iterator[None]:
        """At the end nothing is kept; if the run is stopped, what programs have computed so far."""
        try:
            yield
        except BaseException as error:
            shutil.rmtree(self._new, ignore_errors=True)
            worthless = isinstance(error, InputError) or not any(self.folder.glob("call-*"))
            if self._begun and worthless and not self._published:
                self.finish()
            raise
        self.finish()

    @contextmanager
    def publishing(self) -> Iterator[Path]:
        """A folder for new outputs, which go to their places when all are written, run.json last.

        Raises:
            OutputError: they cannot get there.
        """
        shutil.rmtree(self._new, ignore_errors=True)
        try:
            self._new.mkdir(mode=0o700)
        except OSError as error:
            raise nifti.output_error(error, self._new) from None
        yield self._new
        try:
            self._mark.touch()
        except OSError as error:
            raise nifti.output_error(error, self._mark) from None
        self._published = True  # at least some
        for path in sorted(self._new.iterdir(), key=lambda path: (path.name.endswith(run_json.NAME), path.name)):
            try:
                path.replace(self._out / path.name)
            except OSError as error:
                raise nifti.output_error(error, self._out / path.name) from None

    def finish(self) -> None:
        """Remove all that is kept."""
        with suppress(OSError):
            self._facts.unlink()  # first: without it the rest is nothing
        shutil.rmtree(self.folder, ignore_errors=True)

    def _earlier(self) -> dict[str, Any] | None:
        """What the earlier run was asked for; None if there is none that can be read."""
        return run_json.read(self._facts)

    def _locked_file(self) -> int | None:
        """A descriptor that holds the lock; None where the file system has no locks."""
        if fcntl is None:
            return None
        while True:
            try:
                file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise nifti.output_error(error, self._lock) from None
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = os.pread(file, 200, 0).decode("utf-8", "replace")
                os.close(file)
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    return None
                raise ResourceError(
                    f"another run writes here ({holder or 'it has just begun'})",
                    file=self._out,
                    fix="wait for it, or choose another folder or prefix=",
                ) from None
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), os.stat(self._lock)):
                    with suppress(OSError):  # who has it is only for a message
                        os.ftruncate(file, 0)
                        os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
                    return file
            os.close(file)  # the one that had it removed the file meanwhile


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What differs between two sets of facts, in words."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _differences(before.get(key), now.get(key), f"{name} {key}".strip())
    elif before != now:
        yield f"{name} was {_short(before)}, is {_short(now)}"


def _short(value: Any) -> str:
    text = "not there" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}…"


def _literal(text: str) -> str:
    """A text in which no character has a meaning for `glob`."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
