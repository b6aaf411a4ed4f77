"""Tables of figures, made from the results that are kept: all on the page about benchmarks, a few in the README.

    python -m benchmarks tables [--write]

Prints them; with --write they replace those of the page and of the README, between their marks.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from .record import RESULTS, result_of, row_of

_TOP = Path(__file__).parent.parent
README, PAGE = _TOP / "README.md", _TOP / "docs" / "benchmarks.md"
BEGIN, END = "<!-- figures: python -m benchmarks tables --write -->", "<!-- end of figures -->"


class Line(NamedTuple):
    """One line of the table. what: is measured. figure: its text, from the results. benchmark: that measures it.

    headline: whether the README has it too.
    """

    what: str
    figure: Callable[[], str]
    benchmark: str
    headline: bool = False


class Program(NamedTuple):
    """A program beside jaxsmt. fits, fibres: what it estimates. speed: jaxsmt's over its own, where it was measured."""

    name: str
    fits: str
    fibres: str
    speed: Callable[[], str]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into the page and the README")
    options = parser.parse_args(arguments)
    for path, text in pages().items():
        if options.write:
            path.write_text(with_text(path, text), encoding="utf-8")
        else:
            print(f"{text}\n")


def pages() -> dict[Path, str]:
    """What each page has between its marks, in Markdown."""
    headlines = [line for line in LINES if line.headline]
    return {PAGE: table(LINES), README: f"{comparison()}\n\n{table(headlines, 'peers')}"}


def with_text(path: Path, new: str) -> str:
    """The text of a page with another part between its marks."""
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def table(lines: Sequence[Line], *others: str) -> str:
    """Where and when the figures were taken, and the table. others: benchmarks of other figures on the page."""
    rows = [f"| {line.what} | {line.figure()} | `python -m benchmarks {line.benchmark}` |" for line in lines]
    return "\n".join(
        [
            _circumstances({*(line.benchmark for line in lines), *others}),
            "",
            "| what | figure | command |",
            "|---|---|---|",
            *rows,
        ]
    )


def comparison() -> str:
    """What jaxsmt and other programs fit, and how fast."""
    rows = [f"| {p.name} | {p.fits} | {p.fibres} | {p.speed()} |" for p in PROGRAMS]
    return "\n".join(
        ["| | fits | orientations | jaxsmt's voxels per CPU second over its |", "|---|---|---|---|", *rows]
    )


def _circumstances(names: Collection[str]) -> str:
    results = [result_of(name) for name in sorted(names)]
    dates = sorted(result["date"] for result in results)
    processors = sorted({result["machine"]["processor"] or "one not recorded" for result in results})
    versions = sorted({result["versions"]["jax"] for result in results})
    loads = [result["machine"]["load"] for result in results if result["machine"]["load"] is not None]
    period = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Measured on two shared cores ({', '.join(processors)}), jax {', '.join(versions)}, {period}; medians of "
        f"repeated runs (`benchmarks/{RESULTS.name}`). Other work ran beside some, up to {max(loads):.0f} processes. "
        "The commands print yours."
    )


def rounded(number: float) -> str:
    """Two digits, with commas: 98265 as 98,000."""
    return f"{float(f'{number:.2g}'):,.0f}" if number >= 10 else f"{number:.2g}"


def speed(benchmark: str, what: str, unit: str = "voxels/s") -> str:
    value = row_of(benchmark, what)["voxels_per_s"]
    return f"{value / 1e6:.1f} million {unit}" if value >= 1e6 else f"{rounded(value)} {unit}"


def _whole_brain() -> str:
    rows = [row_of("whole_brain", what) for what in ("SMT", "everything", "everything, limit 1G")]
    seconds = "; ".join(f"{row['wall_s']:.0f} s" for row in rows)
    memory = "; ".join(f"{row['peak_memory_MiB'] / 1024:.1f} GiB" for row in rows)
    return f"{seconds}; {memory}"


def _scaling(what: str) -> str:
    """Seconds and memory of the fewest voxels, of the most, and of the fewest with the most volumes."""
    rows = [row for row in result_of("scaling")["rows"] if row["way"] == what]
    ends = rows[0], max(rows, key=lambda row: row["voxels"]), max(rows, key=lambda row: row["volumes"])
    seconds = ", ".join(f"{row['wall_s']:.1f}" for row in ends)
    return f"{seconds} s and {', '.join(str(row['peak_memory_MiB']) for row in ends)} MiB"


def _start_up(name: str) -> str:
    first, second = (row_of("start_up", f"{name}, {which} process")["wall_s"] for which in ("first", "second"))
    return f"{first:.0f} and {second:.0f} s"


def _gradient(name: str) -> str:
    return f"{row_of('gradients', f'{name}: with gradient')['over_estimate']:.1f} times"


def _error(way: str) -> str:
    row = row_of("noise", f"error of λ∥: {way}")
    return f"{row['bias']:.2f} and {row['rmse']:.2f}"


def _over_plain(way: str) -> str:
    return f"{row_of('noise', way)['over_plain']:.0f} times"


def _file_to_maps() -> str:
    row = row_of("end_to_end", "file to maps")
    return f"{row['beyond_start_up_over_decompress']:.1f} times, {row['peak_memory_MiB'] / 1024:.1f} GB"


def _optimum() -> str:
    row = row_of("optimality", "SMT against the best of ten random starts")
    return f"{row['above_by_more_than_1_percent']}, by more than 1e-9 of S0²: {row['the_same_of_more_than_1e-9']}"


def _encodings(tissue: str, *figures: str) -> str:
    """Figures of linear encoding alone; and of linear with spherical encoding."""
    rows = [row_of("encodings", f"{tissue}, {name}") for name in ("linear", "linear and spherical")]
    return "; ".join(" and ".join(f"{row[figure]:.2f}" for figure in figures) for row in rows)


def _predicted(program: str) -> str:
    row = row_of("programs", program)
    return f"{rounded(max(row[f'{what}_ms'] for what in ('bytes', 'flops', 'launches')))} ms"


def _over(peer: str, *tasks: str) -> str:
    return "; ".join(
        f"{rounded(row_of('peers', f'{peer}, {task}, SNR 30')['ratio_per_cpu_s'])} times" for task in tasks
    )


LINES = (
    Line(
        "spherical means to parameters, single precision, compiled: SMT; mcSMT",
        lambda: "; ".join(speed("means_to_parameters", name) for name in ("smt", "mcsmt")),
        "means_to_parameters",
        headline=True,
    ),
    Line(
        "FODs with 270 directions, noisy, from data in memory to maps: one Watson; one Bingham; two Watson lobes",
        lambda: "; ".join(speed("fods", name) for name in ("watson, 1", "bingham, 1", "watson, 2")),
        "fods",
    ),
    Line("the same, the number of Watson lobes by BIC", lambda: speed("fods", "watson, auto"), "fods"),
    Line(
        "whole SMT fits of 288 volumes with `noise='rician'`; with FODs by BIC and standard deviations too",
        lambda: "; ".join(speed("noise", name) for name in ("rician", "everything")),
        "noise",
    ),
    Line(
        "time over that of the plain fit: `uncertainty`, σ given; `noise='rician'`; `grad_dev`",
        lambda: "; ".join(_over_plain(way) for way in ("uncertainty, sigma known", "rician", "gradient deviation")),
        "noise",
    ),
    Line(
        "bias and RMSE of λ∥ at Rician SNR 30, µm²/ms: without correction; with it; with FODs too; of Gaussian noise",
        lambda: "; ".join(
            _error(way)
            for way in ("rician noise, plain", "rician", "rician, second pass with FODs", "gaussian noise, plain")
        ),
        "noise",
    ),
    Line(
        "voxels per CPU second over dmipy's, Rician SNR 30: SMT; mcSMT; one Watson; one Bingham; two Watson lobes",
        lambda: _over("dmipy", "smt", "mcsmt", "watson", "bingham", "two_watson"),
        "peers",
    ),
    Line(
        "SMT over dmipy-fit's NumPy solver; over its JAX solver; over SciPy's least squares; over optimistix",
        lambda: "; ".join(_over(peer, "smt") for peer in ("dmipy-fit NumPy", "dmipy-fit JAX", "scipy", "optimistix")),
        "peers",
    ),
    Line(
        "mcSMT over DIPY's, by way of the mean signal's kurtosis; SMT and one Watson over AMICO's NODDI, another model",
        lambda: "; ".join((_over("dipy", "mcsmt"), _over("amico", "watson"))),
        "peers",
    ),
    Line(
        "from the command to the report, 8,865 voxels of 103 volumes, first and second process: SMT; with "
        "`--fod watson --fibres auto`; with Rician noise and standard deviations too",
        lambda: "; ".join(_start_up(name) for name in ("SMT", "FODs", "everything")),
        "start_up",
        headline=True,
    ),
    Line(
        "a whole brain of the HCP's size (the benchmark with scale 1 and limit 1G; 882,062 voxels of 288 volumes) from "
        "file to maps: SMT; everything (Rician noise, FODs by BIC, standard deviations); the same with "
        "`--memory-limit 1G`; peak memory of each",
        _whole_brain,
        "whole_brain",
    ),
    Line(
        "9,108 voxels of 60 volumes, 977,608 of 60, 9,108 of 600 from file to maps, programs kept, `--memory-limit "
        "2G`: SMT; one Watson lobe",
        lambda: "; ".join(_scaling(what) for what in ("SMT", "one Watson lobe")),
        "scaling",
    ),
    Line(
        "1 GB series to maps, beyond start-up, over only decompressing it; peak memory",
        _file_to_maps,
        "end_to_end",
    ),
    Line(
        "predicted from compiled programs, not measured: a million voxels on an H100, at least: SMT; one Watson; one "
        "Bingham; two Watson lobes",
        lambda: "; ".join(_predicted(name) for name in ("SMT", "1 Watson", "1 Bingham", "2 Watson")),
        "programs",
    ),
    Line(
        "estimate and its gradient by the signal, over the estimate alone: SMT; mcSMT; SMT and a Watson FOD",
        lambda: "; ".join(_gradient(name) for name in ("smt", "mcsmt", "watson")),
        "gradients",
    ),
    Line(
        "SMT fits more than 1 % above the best of ten searches from random starts, of 100,000",
        _optimum,
        "optimality",
    ),
    Line(
        "two shells (1000, 2000 s/mm²), 96 volumes, SNR 30, white matter, all of linear encoding; a third of them of "
        "spherical encoding: least standard deviation (Cramér-Rao) and RMSE of λ∥, µm²/ms",
        lambda: _encodings("white matter", "lambda_par_bound", "lambda_par_rmse"),
        "encodings",
    ),
    Line(
        "the same of λ⊥/λ∥",
        lambda: _encodings("white matter", "fraction_bound", "fraction_rmse"),
        "encodings",
    ),
    Line(
        "the same of λ∥ in grey matter; part of the voxels with a second solution within the noise",
        lambda: "; ".join(
            (
                _encodings("grey matter", "lambda_par_bound", "lambda_par_rmse"),
                _encodings("grey matter", "second"),
            )
        ),
        "encodings",
    ),
)

#: Programs of the README's comparison; texts are what the linked pages say.
PROGRAMS = (
    Program(
        "jaxsmt",
        "SMT, mcSMT, sums of any compartments",
        "one to three Watson or Bingham lobes, number by BIC",
        lambda: "1",
    ),
    Program(
        "[dmipy](https://github.com/AthenaEPI/dmipy) 1.0.5",
        "SMT, mcSMT, sums of compartments",
        "Watson or Bingham lobes; harmonics",
        lambda: f"{_over('dmipy', 'smt')} (SMT), {_over('dmipy', 'mcsmt')} (mcSMT)",
    ),
    Program(
        "[SMT](https://github.com/ekaden/smt), of the method's author",
        "SMT, mcSMT; Rician noise of known σ",
        "not among its outputs",
        lambda: "not measured",
    ),
    Program(
        "[DIPY](https://docs.dipy.org/stable/examples_built/reconstruction/reconst_msdki.html) 1.12",
        "mcSMT's parameters, from the mean signal's kurtosis",
        "other models",
        lambda: f"{_over('dipy', 'mcsmt')} (mcSMT)",
    ),
    Program(
        "[AMICO](https://github.com/daducci/AMICO) 2.1",
        "NODDI, SANDI and others, linearised",
        "one, dispersed (NODDI)",
        lambda: f"{_over('amico', 'watson')} (NODDI; SMT and one Watson)",
    ),
    Program(
        "[MRtrix3](https://mrtrix.readthedocs.io/en/latest/reference/commands/dwi2fod.html)",
        "of `dwi2fod`: no diffusivities, one response for each tissue",
        "harmonics, for tractography",
        lambda: "not measured",
    ),
)
