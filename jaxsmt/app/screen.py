"""What a person sees of a run: a bar on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

_UNITS = {"read": "volumes", "write": "maps", "gather": "series"}  # of progress; voxels otherwise


# Signals that stop a run, and what handles them where nobody has changed it.
_STOPS = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int):
        super().__init__()
        self.number = number


class Screen:
    """Says what happens, unless it shall be quiet. Texts go to standard output, progress to standard error.

    As a context it sees to it that Ctrl-C and SIGTERM end the run: Python drops an exception that is raised in a
    callback of its garbage collector, and JAX has such callbacks.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bar: Any = None
        self._stage = self._line = ""  # the line is what is still to be printed
        self._since = 0.0
        self._stop: Stopped | None = None
        self._handlers: dict[int, Any] = {}

    def say(self, text: str) -> None:
        """Print a text."""
        if not self._quiet:
            print(text, flush=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is.

        Raises:
            Stopped: a signal came, whatever became of it.
        """
        if self._stop is not None:
            raise self._stop
        if self._quiet:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._since = stage, time.perf_counter()
            if self._terminal:
                from tqdm import tqdm

                unit = f" {_UNITS.get(stage, 'voxels')}"
                self._bar = tqdm(total=total, desc=stage, unit=unit, file=sys.stderr)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        elif done == total:
            self._line = f"{stage}: {total} in {time.perf_counter() - self._since:.1f} s"
            if stage in _UNITS:  # of voxels there may be more to come
                self._print_line()

    def close(self) -> None:
        """End the bar or the line of a stage."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._print_line()

    def _print_line(self) -> None:
        if self._line:
            print(self._line, file=sys.stderr, flush=True)
        self._line = ""

    def __enter__(self) -> Screen:
        if threading.current_thread() is threading.main_thread():
            for number, usual in _STOPS.items():
                if signal.getsignal(number) is usual:  # not where it is ignored
                    self._handlers[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.close()
        if self._stop is not None and kind is None:
            raise self._stop

    def _interrupt(self, number: int, frame: object) -> None:
        self._stop = Stopped(number)
        raise self._stop


def warn(texts: Iterable[str]) -> None:
    """Print warnings to standard error."""
    for text in texts:
        print(f"warning: {text}", file=sys.stderr)
