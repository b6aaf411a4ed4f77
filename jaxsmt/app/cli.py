"""The command line. JAX is loaded only by the commands that compute, and only after they have checked their files."""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

# Before NumPy is loaded. The fit has threads of its own; those of BLAS would keep the cores busy with waiting.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "agg"  # the program draws into files; that of a notebook may not even be there

from ..errors import JaxsmtError, JaxsmtWarning
from . import parser, streams, words
from .request import make_request
from .screen import Screen, Stopped, warn
from .simulation.options import make_simulation

# What JAX says where there is no device of the kind that JAX_PLATFORMS names.
_NO_PLATFORM = re.compile(
    "Unable to initialize backend|Unknown backend|no platforms? .*(are|is) present", re.IGNORECASE
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: its words, without the program's name; None: those of the process.
    Returns:
        the exit code: 0 done, 1 the self-test or a series of many failed, 2 bad input, 73 cannot write, 75 no
        resources; stopped: 130 by Ctrl-C, 143 by SIGTERM.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    options = parser.make_parser().parse_args(argv)
    try:
        return _COMMANDS[options.command](options, ["jaxsmt", *argv])
    except JaxsmtError as error:
        print(f"jaxsmt: {words.message(error)}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"jaxsmt: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
        return 73
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and _NO_PLATFORM.search(str(error)):
            fact = str(error).splitlines()[0]
            fix = "unset JAX_PLATFORMS, or install the 'cuda12' or 'cuda13' extra on a machine with an NVIDIA GPU"
            print(f"jaxsmt: JAX finds no device: {fact}\n  fix: {fix}", file=sys.stderr)
            return 75
        if isinstance(error, RuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):  # JAX's word for it
            raise
        print("jaxsmt: out of memory\n  fix: free some memory and run the same command again", file=sys.stderr)
        return 75
    except KeyboardInterrupt as stop:
        goes_on = options.command in ("fit", "bids")
        fix = "the same command goes on where it stopped" if goes_on else "remove its folder, or choose another"
        print(f"jaxsmt: interrupted\n  fix: {fix}", file=sys.stderr)
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def _fit(options: argparse.Namespace, command: list[str]) -> int:
    """Fit a series of volumes."""
    from . import result_table, workflow

    screen = Screen(options.quiet)
    with screen:
        outcome = workflow.run_fit(make_request(vars(options)), screen.progress, command)
    warn(outcome.run["warnings"])
    screen.say(result_table.text_of(outcome, sys.stdout))
    return 0


def _check(options: argparse.Namespace, command: list[str]) -> int:
    """Say what a fit would do."""
    from . import check

    check.check(make_request(vars(options)), options.data)
    return 0


def _bids(options: argparse.Namespace, command: list[str]) -> int:
    """Fit every series of a data set, or compare those that were fitted."""
    screen = Screen(options.quiet)
    if options.level == "group":
        from .cohorts import group

        group.run_group(options.out, screen)
        return 0
    from .cohorts import participants

    return participants.run_participants(options, screen, command)


def _demo(options: argparse.Namespace, command: list[str]) -> int:
    """Simulate and fit a slice."""
    from . import demo

    demo.run_demo(options.out, options.device, Screen(options.quiet), command, options.viewer)
    return 0


def _report(options: argparse.Namespace, command: list[str]) -> int:
    """Draw the page of a finished fit again."""
    from . import finished

    print(finished.draw_again(options.out, options.prefix))
    return 0


def _simulate(options: argparse.Namespace, command: list[str]) -> int:
    """Simulate brains."""
    from .simulation.command import run_simulate

    run_simulate(make_simulation(vars(options)), Screen(options.quiet))
    return 0


def _doctor(options: argparse.Namespace, command: list[str]) -> int:
    """Examine this machine."""
    from ..batch.runner import find_device
    from . import doctor

    good = True
    for finding in doctor.examine(find_device(options.device)):
        print(f"{'ok ' if finding.good else 'BAD'}  {finding.what}: {finding.fact}", flush=True)
        if not finding.good and finding.fix:
            print(f"     fix: {finding.fix}", flush=True)
        good = good and finding.good
    print("this machine computes what it should" if good else "this machine computes wrong numbers: do not use it")
    return 0 if good else 1


_COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "fit": _fit,
    "check": _check,
    "bids": _bids,
    "demo": _demo,
    "report": _report,
    "simulate": _simulate,
    "doctor": _doctor,
}


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as the command line does."""
    warn([words.in_flags(str(message))])


def entry() -> None:
    """The `jaxsmt` program."""
    gc.set_threshold(200_000)  # while JAX is loaded and programs are read, nearly everything made is kept
    warnings.filterwarnings("always", category=JaxsmtWarning)
    warnings.showwarning = _show_warning
    streams.prepare()
    _end(main())


def _end(code: int) -> NoReturn:
    """End the process now: a compiler at work cannot be interrupted, and clearing up after JAX takes long."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # a full disk, nobody reads any more, or it is closed
            code = code or 73
    os._exit(code)
