"""Standard output and error that nobody may read: what is printed is lost then, and nothing else."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class _Unbroken(io.RawIOBase):
    """A file that takes everything once its pipe has no reader any more."""

    def __init__(self, raw: Any):
        super().__init__()
        self._raw, self._broken = raw, False

    def writable(self) -> bool:
        """It is written."""
        return True

    def fileno(self) -> int:
        """Descriptor of the file."""
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return bool(self._raw.isatty())

    def write(self, content: Any) -> int:
        """Write, as far as somebody reads."""
        if not self._broken:
            try:
                return int(self._raw.write(content) or 0)
            except BrokenPipeError:
                self._broken = True
        return len(content)


def prepare() -> None:
    """Make standard streams that end no run: closed ones lead nowhere, pipes without a reader too.

    A name that is no text must not end the program either. Descriptors 0 to 2 are taken, so that no file of a run gets
    one of them, into which libraries may print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout, sys.stderr = _prepared(sys.stdout), _prepared(sys.stderr)


def _prepared(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    raw = getattr(stream.buffer, "raw", stream.buffer)
    buffer = io.BufferedWriter(_Unbroken(raw))
    lines = stream.line_buffering or stream is sys.stderr
    return io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", line_buffering=lines)
