"""The command line's grammar, made from the options that `Settings` and `Request` declare. No JAX."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any, NoReturn

from ..fitting.settings import Option, Settings, options_of
from ..version import __version__
from .cohorts import layouts
from .request import Request
from .simulation.options import Simulation

_POSITIONAL = ("dwi",)
_SHORT = {"out": ("-o",)}
# Options of what comes after the fit; `check` has none of them.
_OUTPUTS = (
    "out",
    "prefix",
    "overwrite",
    "memory_limit",
    "scratch",
    "no_cache",
    "no_report",
    "viewer",
    "device",
    "quiet",
)
# Options that each series of a data set has of its own.
_OF_ONE_SERIES = ("dwi", "bval", "bvec", "grad", "mask", "grad_dev")

_Group = argparse.ArgumentParser | argparse._ArgumentGroup


class _Parser(argparse.ArgumentParser):
    """A parser that refuses as the rest of the program does: the fact, and what to do."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and end the program."""
        self.exit(2, f"jaxsmt: {message}\n  fix: {self.prog} --help tells what there is\n")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the command's name is in `command`."""
    parser = _Parser(
        prog="jaxsmt", description="Microstructure maps from multi-shell diffusion MRI (Spherical Mean Technique)."
    )
    parser.add_argument("--version", action="version", version=f"jaxsmt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")

    fit = commands.add_parser("fit", help="fit a model in every voxel and write its maps")
    _add_fit_options(fit)
    _add_options(fit.add_argument_group("outputs and run"), Request, _OUTPUTS)

    check = commands.add_parser("check", help="say what fit would do with these files; fits nothing")
    _add_fit_options(check)
    _add_options(check, Request, ("memory_limit",))
    check.add_argument("--data", action="store_true", help="read the series too, and say what speaks against it")

    _add_bids(commands.add_parser("bids", help="fit every series of a data set, or compare the series of a group"))

    demo = commands.add_parser("demo", help="simulate brain slices, fit them, show the truth beside")
    _add_options(demo, Request, ("out",), default=Path("jaxsmt-demo"), required=False)
    _add_options(demo, Request, ("device", "viewer", "quiet"))

    report = commands.add_parser("report", help="draw the page of a finished fit again, from its maps")
    report.add_argument("out", type=Path, metavar="OUT", help="folder of the maps")
    report.add_argument("--prefix", help="start of the file names, where the folder holds several fits")

    simulate = commands.add_parser("simulate", help="write a simulated brain, or a BIDS data set of several")
    _add_options(simulate, Simulation, options_of(Simulation))

    doctor = commands.add_parser("doctor", help="versions, devices and a numeric self-test")
    _add_options(doctor, Request, ("device",))
    return parser


def _add_bids(parser: argparse.ArgumentParser) -> None:
    """The arguments of a BIDS App, and every option of a fit that changes the maps."""
    parser.add_argument("input", type=Path, metavar="INPUT", help="folder of the data set")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of the output, a derivative data set")
    parser.add_argument("level", choices=("participant", "group"), help="fit the series; or compare those fitted")
    which = parser.add_argument_group("series")
    which.add_argument(
        "--input-type", choices=layouts.kinds(), help="kind of the data set (default: found out from the folder)"
    )
    which.add_argument("--participant-label", nargs="+", metavar="LABEL", help="subjects, with or without sub-")
    which.add_argument("--session-id", nargs="+", metavar="LABEL", help="sessions, with or without ses-")
    which.add_argument(
        "--bids-filter-file", type=Path, metavar="F", help='JSON as of fMRIPrep and QSIPrep: {"dwi": {"run": 1}}'
    )
    _add_fit_options(parser, without=_OF_ONE_SERIES)
    parser.add_argument(
        "--grad-dev",
        choices=("auto", "none"),
        default="auto",
        help="gradient deviation: that of the data set, which the HCP has, or none (default: auto)",
    )
    run = parser.add_argument_group("run")
    run.add_argument("-w", "--work-dir", type=Path, metavar="DIR", help="folder for temporary files")
    run.add_argument("--n-cpus", type=int, metavar="N", help="processors to use (default: all)")
    run.add_argument("--mem-mb", type=int, metavar="N", help="memory to use, in MB")
    run.add_argument(
        "--cluster",
        metavar="local|ADDRESS",
        help="fit side by side on workers of dask.distributed: on this machine, or of the scheduler at ADDRESS",
    )
    run.add_argument("--stop-on-first-crash", action="store_true", help="stop when a series fails")
    _add_options(run, Request, ("no_cache", "no_report", "viewer", "device", "quiet"))


def _add_fit_options(parser: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    """Every option that says what to fit and how, but for those named."""
    names = [name for name in options_of(Request) if name not in (*_OUTPUTS, *without)]
    positional = [name for name in names if name in _POSITIONAL]
    _add_options(parser, Request, positional)
    group = parser.add_argument_group("inputs and model")
    _add_options(group, Request, [name for name in names if name not in positional])
    _add_options(parser.add_argument_group("fit"), Settings, [n for n in options_of(Settings) if n not in without])


def _add_options(parser: _Group, record: type, names: Iterable[str], **changed: Any) -> None:
    """Add options that a record declares; `changed`: arguments of argparse that differ here."""
    declared = options_of(record)
    for name in names:
        entry, field = declared[name]
        if entry.flag is not None:
            _add_option(parser, name, entry, field, changed)


def _add_option(parser: _Group, name: str, entry: Option, field: Field[Any], changed: dict[str, Any]) -> None:
    """Add one option; its help ends with its default, where there is one to tell."""
    arguments: dict[str, Any] = {"default": None if field.default is MISSING else field.default, **(entry.flag or {})}
    if entry.choices:
        arguments["choices"] = entry.choices
    arguments |= changed
    text = entry.help.replace("%", "%%")
    default = arguments["default"]
    if default is not None and default is not False and not arguments.get("required"):
        text += f" (default: {_shown(default)})"
    if name in _POSITIONAL:
        del arguments["default"]
        parser.add_argument(name, help=text, **arguments)
        return
    flag = "--" + name.replace("_", "-")
    parser.add_argument(*_SHORT.get(name, ()), flag, dest=name, help=text, **arguments)


def _shown(value: Any) -> str:
    """A default as help texts show it."""
    if isinstance(value, tuple):
        return " ".join(map(_shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
