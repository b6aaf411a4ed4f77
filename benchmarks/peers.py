"""Peers: jaxsmt side by side with other programs that fit the same voxels, and generic solvers on its own equations.

    python -m benchmarks peers [--peers dmipy,scipy] [--tasks smt,watson] [--environments FOLDER] [--json FILE]

Each peer runs in a process and a virtual environment of its own, which is made from the package index and kept in
FOLDER. A peer that cannot be installed or fails has a row with the reason. The data have known truth, by quadrature,
of the model that is fitted: the HCP scheme, diffusivities and lobes in ranges that all peers can reach, without noise
and with Rician noise at SNR 30. All use the same cores, one thread in numerical libraries, and no GPU.

What a row compares: voxels per second by the clock and per second of all cores together, of calls after the first one;
the first call, with imports and compilation, is `cold_wall_s`. jaxsmt fits the same voxels for the errors, and these
again and again for its time, as do peers that fit many at once. Its figures begin with `jaxsmt`: default settings,
which know no noise floor, as the peers'. At SNR 30 the errors of all are therefore mostly those of the noise floor, and
small differences between them mean little; nor do those of two lobes, as dmipy takes about half a minute for a voxel,
so that only three are compared. `jaxsmt_rician` is `noise="rician"`; dmipy-fit's JAX solver has a Rician loss too,
which is not tried here. Errors are medians (`_p90`: 90th percentiles) of absolute errors against truth, diffusivities
in µm²/ms. `mse` is one formula for everybody (`comparison/figures.py`), that of the default fit, so `noise="rician"`
does not minimise it.

What each peer does differently:

- dmipy: minimises unweighted residuals over a fixed S0, the mean at b = 0; jaxsmt weights means by their variance and
  fits S0. Its L-BFGS-B with numerical derivatives and default tolerances, for which it has no option, often stops
  before the minimum, and for some voxels far from it. It could use several processes, which does not change voxels
  per CPU second. FODs are fitted as by jaxsmt, with each voxel's kernel held at the first fit, so that its grid is
  computed anew in each voxel. Its FODs' speed includes the kernels, as does jaxsmt's.
- dmipy-fit: its NumPy solver has a finer grid here (Ns=100) than by default. Its JAX solver is in double precision,
  where jaxsmt is in single; it starts from a fixed point, and traces its program in every call, which many voxels in
  one call pay for. It has no mcSMT. FODs are left out: they take dmipy's way, or a CUDA GPU.
- amico: NODDI is another model, a linear fit with fixed diffusivities: only its time is compared. It
  keeps rotation matrices between processes; its very first call takes about two minutes longer.
- dipy: mcSMT's parameters from a linear fit of the mean signal's kurtosis, an approximation for low b-values; its slow
  part is a search for a root in each voxel.
- scipy, optimistix: what jaxsmt minimises, from one fixed point, without jaxsmt's grid and solver. optimistix has no
  bounds and steps until the slowest voxel of a batch is done.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import jaxsmt as js
from jaxsmt.simulate import hcp_scheme

from . import record
from .comparison.environments import Failed, default_folder, python_of, run_script
from .comparison.figures import errors, mean_squared_residual, rounded
from .comparison.simulated import TASKS, Case, make_case

#: Rician noise by name: S0 over σ.
NOISES = {"none": None, "SNR 30": 30.0}
#: Voxels that jaxsmt fits in a timed call.
MANY = {"smt": 100_000, "mcsmt": 100_000, "watson": 20_000, "bingham": 5_000, "two_watson": 4_000}


class Peer(NamedTuple):
    """How a peer is run.

    environment: None is jaxsmt's own. voxels: by task, how many are compared. first: voxels of the first call; 0: all.
    tile: voxels of a timed call; 0: those that are compared. noises: names. note: for the rows.
    """

    environment: str | None
    script: str
    voxels: dict[str, int]
    variant: str = ""
    first: int = 0
    tile: int = 0
    noises: tuple[str, ...] = tuple(NOISES)
    note: str = ""


PEERS = {
    "dmipy": Peer(
        "dmipy", "dmipy_1.py", {"smt": 200, "mcsmt": 200, "watson": 40, "bingham": 8, "two_watson": 3}, first=1
    ),
    "dmipy-fit NumPy": Peer(
        "dmipy_fit", "dmipy_fit_2.py", {"smt": 200, "mcsmt": 200}, first=1, tile=2000, noises=("SNR 30",)
    ),
    "dmipy-fit JAX": Peer("dmipy_fit", "dmipy_fit_2.py", {"smt": 200}, "jax", tile=2000),
    "amico": Peer(
        "amico",
        "amico_noddi.py",
        {"watson": 200},
        tile=2000,
        noises=("SNR 30",),
        note="NODDI, another model: time only",
    ),
    "dipy": Peer(
        "dipy", "dipy_msdki.py", {"mcsmt": 200}, tile=4000, note="mcSMT's parameters from a linear fit of kurtosis"
    ),
    "scipy": Peer(None, "generic_solvers.py", {"smt": 200, "mcsmt": 200}, "scipy", first=1, noises=("SNR 30",)),
    "optimistix": Peer(
        None, "generic_solvers.py", {"smt": 200, "mcsmt": 200}, "optimistix", tile=2000, noises=("SNR 30",)
    ),
}
#: Whose figures stand in each row. noise="rician" is for data with noise.
OURS = {
    "jaxsmt": Peer(None, "jaxsmt_fit.py", MANY),
    "jaxsmt_rician": Peer(
        None,
        "jaxsmt_fit.py",
        {task: MANY[task] // 5 for task in ("smt", "mcsmt", "watson")},
        "rician",
        noises=("SNR 30",),
    ),
}
MOST = 200


class Answer(NamedTuple):
    """What a script tells: estimates by name, and the rest as numbers and texts."""

    estimates: dict[str, np.ndarray]
    facts: dict[str, Any]


class Ask(NamedTuple):
    """One task with one noise, put to whoever fits it."""

    task: str
    noise: str
    case: Case
    acquisition: js.Acquisition
    environments: Path
    seconds: float

    def answer(self, peer: Peer, voxels: int, tile: int) -> Answer:
        """What a peer estimates from the first voxels. Raises Failed."""
        python = python_of(peer.environment, self.environments)
        with tempfile.TemporaryDirectory() as folder:
            given, answer = Path(folder) / "given.npz", Path(folder) / "answer.npz"
            np.savez(
                given,
                signals=self.case.signals[:voxels],
                bvals=self.acquisition.bvals,
                bvecs=self.acquisition.bvecs,
                task=self.task,
                variant=peer.variant,
                first=peer.first,
                tile=tile,
            )
            run_script(python, peer.script, given, answer, self.seconds)
            with np.load(answer) as found:
                values = {name: found[name] for name in found.files}
        estimates = {name: value for name, value in values.items() if value.ndim}
        return Answer(estimates, {name: value.item() for name, value in values.items() if not value.ndim})

    def figures(self, answer: Answer, voxels: int) -> dict[str, Any]:
        """Speeds, and what the estimates of the first voxels are like."""
        estimates = {name: values[:voxels] for name, values in answer.estimates.items()}
        truth = {name: values[:voxels] for name, values in self.case.truth.items()}
        facts, wrong = answer.facts, errors(estimates, truth)
        residual = mean_squared_residual(self.task, self.acquisition, self.case.signals[:voxels], estimates)
        return {
            "cold_wall_s": round(facts["cold_wall_s"], 2),
            "cold_voxels": facts["cold_voxels"],
            "timed_voxels": facts["timed_voxels"],
            "voxels_per_s": rounded(facts["timed_voxels"] / facts["wall_s"]),
            "voxels_per_cpu_s": rounded(facts["timed_voxels"] / max(facts["cpu_s"], 1e-3)),
            **wrong,
            **(residual if wrong else {}),
        }


def our_answers(ask: Ask) -> dict[str, Answer]:
    """jaxsmt in its ways, on all voxels."""
    ways = {name: way for name, way in OURS.items() if ask.noise in way.noises and ask.task in way.voxels}
    return {name: ask.answer(way, MOST, way.voxels[ask.task]) for name, way in ways.items()}


def row_of(name: str, ask: Ask, ours: dict[str, Answer]) -> dict[str, Any]:
    """The row of one peer: its figures, then jaxsmt's of the same voxels; or why there are none."""
    peer = PEERS[name]
    voxels = peer.voxels[ask.task]
    row = {"what": f"{name}, {ask.task}, {ask.noise}", "peer": name, "task": ask.task, "noise": ask.noise}
    try:
        answer = ask.answer(peer, voxels, peer.tile)
    except Failed as reason:
        print(f"{row['what']}: skipped: {reason}", file=sys.stderr, flush=True)
        return {**row, "skipped": str(reason)}
    figures = ask.figures(answer, voxels)
    row |= {"version": answer.facts["version"], "python": answer.facts["python"], "voxels": voxels, **figures}
    for way, our_answer in ours.items():
        our_figures = ask.figures(our_answer, voxels)
        ratio = our_figures["voxels_per_cpu_s"] / figures["voxels_per_cpu_s"]
        row |= {f"{way}_{figure}": value for figure, value in our_figures.items() if figure != "cold_voxels"}
        row[f"{'' if way == 'jaxsmt' else way + '_'}ratio_per_cpu_s"] = rounded(ratio)
    print(f"{row['what']}: {row['ratio_per_cpu_s']} per CPU second", file=sys.stderr, flush=True)
    return row | ({"note": peer.note} if peer.note else {})


def chosen(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=chosen, default=list(PEERS), help="names with commas; " + ", ".join(PEERS))
    parser.add_argument("--tasks", type=chosen, default=list(TASKS), help="names with commas; " + ", ".join(TASKS))
    parser.add_argument("--environments", type=Path, default=default_folder(), help="where environments are kept")
    parser.add_argument("--seconds", type=float, default=900, help="most seconds of one fit of a peer")
    parser.add_argument("--json", type=Path, help="write the result here too")
    options = parser.parse_args(arguments)
    for names, known in ((options.peers, PEERS), (options.tasks, TASKS)):
        if unknown := set(names) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    acquisition, rows = hcp_scheme(), []
    for task in options.tasks:
        for noise, snr in NOISES.items():
            asked = [name for name in options.peers if task in PEERS[name].voxels and noise in PEERS[name].noises]
            if asked:
                case = make_case(task, acquisition, MOST, snr)
                ask = Ask(task, noise, case, acquisition, options.environments.absolute(), options.seconds)
                ours = our_answers(ask)
                rows += [row_of(name, ask, ours) for name in asked]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    record.publish("peers", {"cores": cores, "dtype": "float32", "volumes": len(acquisition.bvals)}, rows, options.json)
