"""What a person sees of a run: a bar on a terminal, a line for each stage elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from typing import Any, TextIO

_UNITS = {"read": "volumes", "write": "maps", "gather": "series"}  # of progress; voxels otherwise
#: The stage in which nothing can be counted: the compiler's.
COMPILE = "compile"
_BAR = "{desc}: {percentage:.0f}% |{bar}| {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"
_LONG = 1.0  # s; off a terminal a shorter wait is not told
_CODES = {"bold": "1", "yellow": "33", "red": "31"}


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
        self._since = self._latest = time.perf_counter()  # since when the stage runs; when progress was told last
        self._stop: Stopped | None = None
        self._handlers: dict[int, Any] = {}

    def say(self, text: str) -> None:
        """Print a text."""
        if not self._quiet:
            print(text, flush=True)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show how far a stage is: with a bar, its rate and the time left on a terminal, in a line elsewhere.

        Args:
            stage: its name. done, total: in units of its own.
        Raises:
            Stopped: a signal came, whatever became of it.
        """
        if self._stop is not None:
            raise self._stop
        if self._quiet:
            return
        if stage != self._stage:
            self.close()
            self._stage, self._since = stage, self._latest
            if self._terminal:
                self._bar = _bar(stage, total)
        self._latest = time.perf_counter()
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        elif done == total:
            self._line = _line(stage, total, self._latest - self._since)
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
        self._latest = time.perf_counter()
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


def _bar(stage: str, total: int) -> Any:
    """A new bar of a stage; of the compiler's a line that stands until it has ended."""
    from tqdm import tqdm

    shown = "{desc}: programs, which are kept for the next run; {elapsed}" if stage == COMPILE else _BAR
    unit = _unit(stage)
    how = {"unit_scale": unit == "voxels", "dynamic_ncols": True, "bar_format": shown}
    return tqdm(total=total, desc=stage, unit=f" {unit}", file=sys.stderr, **how)


def _line(stage: str, total: int, seconds: float) -> str:
    """What is said of a stage that has ended, off a terminal."""
    if stage == COMPILE:
        return f"{stage}: {seconds:.1f} s" if seconds >= _LONG else ""
    unit = _unit(stage)
    return f"{stage}: {total:,} {unit} in {seconds:.1f} s, {total / max(seconds, 1e-3):,.0f} {unit}/s"


def _unit(stage: str) -> str:
    return _UNITS.get(stage, "voxels")


def warn(texts: Iterable[str]) -> None:
    """Print warnings to standard error."""
    word = coloured("warning:", "yellow", sys.stderr)
    for text in texts:
        print(f"{word} {text}", file=sys.stderr)


def coloured(text: str, look: str, stream: TextIO | None) -> str:
    """A text in a colour, for a terminal that shows colours, unless NO_COLOR is set (https://no-color.org).

    Args:
        text: without line breaks.
        look: "bold", "yellow" or "red".
        stream: where the text goes.

    Example:
        >>> coloured("done", "bold", None)
        'done'
    """
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or stream is None or not stream.isatty():
        return text
    return f"\033[{_CODES[look]}m{text}\033[0m"
