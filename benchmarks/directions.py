"""Are flipped and exchanged directions found, and right ones left alone? FODs of right tables, turned in all 24 ways.

    python -m benchmarks directions [--tables 50] [--json FILE]

The tables are right: those of simulated brains whose bundles follow themselves (`Bundles`), of the phantoms of `jaxsmt
simulate` and `jaxsmt demo`, and, with JAXSMT_REFERENCE, of a living brain of which two slices are known, and of parts
of it. FODs are fitted once; with a table whose axes are exchanged or flipped the fit gives the same lobes turned alike,
as the signal depends on the angles between them only. So the other 23 tables are tried by turning lobes: one of them
for each table; the lines of the others are those of the right table, with other names of turns.

Of each table: whether anything was said of the right one, how many of the wrong ones were found, with the turn that
corrects them (misled: with another one), and how many times as far, at least, fibres go on with it. Where only one
slice, or two that are no neighbours, are known, a flip across them changes nothing that can be seen: 22 tables are
wrong then. In the phantoms of `jaxsmt simulate`, fibres end where the field of their directions takes them out of their
bundle, so that several wrong tables are as good as each other and better than the right one: there nothing should be
said.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

import jaxsmt as js
from jaxsmt.app.directions import better_directions, narrow_lobes
from jaxsmt.files import gradients, masks
from jaxsmt.fitting.fod_results import FodFit
from jaxsmt.geometry.coherence import TURNS, Better, Turn, lines_along, longer
from jaxsmt.simulate import anatomy, rician, zeppelin_signal

from . import record

HALF = np.array([73.75, 87.5, 60.625])  # mm of one unit of the anatomy's coordinates
SCHEME = js.simulate.hcp_scheme(6, 30, (1000.0, 2000.0))


class Table(NamedTuple):
    """Data with a right table, and the FODs to fit. across: the axis whose flip cannot be seen; None: there is none."""

    what: str
    acquisition: js.Acquisition
    data: np.ndarray
    mask: np.ndarray
    affine: np.ndarray
    across: int | None = None


class Bundles:
    """Bundles whose fibres follow themselves: each is made of the curves that it is tangential to.

    Weights are functions of what is constant along a curve, so that a fibre stays in its bundle. Positions in mm from
    the middle of the brain, x to the right, y to the front, z up. A seed decides on places and bends.
    """

    def __init__(self, seed: int):
        vary = 1 + 0.15 * np.random.default_rng(seed).uniform(-1, 1, 8)
        self.callosum, self.bend, self.forceps = 13 * vary[0], 60 * vary[1], 2e-4 * vary[2]
        self.apex, self.fan = np.array([12 * vary[3], -5, -60 * vary[4]]), 0.4 * vary[5]
        self.arcuate, self.cingulum = 38 * vary[6], 42 * vary[7]

    def __call__(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Axes (voxels, 7, 3), weights (voxels, 7) and whether there is a bundle, at places, (voxels,) each."""
        side, sign = np.abs(x), np.where(x < 0, -1.0, 1.0)
        zero, one = np.zeros_like(x), np.ones_like(x)

        def near(value: np.ndarray, centre: float, width: float) -> np.ndarray:
            return np.exp(-(((value - centre) / width) ** 2))

        spread = 1 + self.forceps * x**2
        y0 = y / spread
        callosal = one, 2 * self.forceps * x * y0, 2 * x / self.bend
        up = z - self.apex[2]
        along, across = (side - self.apex[0]) / up, (y - self.apex[1]) / up
        projection = sign * along, across, one
        behind, low = y - 5, z - 2
        radius = np.hypot(behind, low)
        arc = zero, -low, behind
        bend = x / 20
        bow = 1 + 4e-5 * y**2
        through = 8e-5 * y * x / bow, one, zero
        front, back = (one, bend, zero), (one, -bend, zero)
        weights = [
            1.5 * near(z - x**2 / self.bend, self.callosum, 9) * near(y0, 0, 18),
            near(along, self.fan, 0.2) * near(across, 0, 0.3),
            1.2 * near(radius, self.arcuate, 8) * near(side, 46, 8) * (low > -20),
            1.2 * near(radius, self.cingulum, 6) * near(side, 9, 6) * (low > 0),
            1.2 * near(side / bow, 32, 7) * near(z, -24, 7),
            1.5 * near(y - x**2 / 40, 24, 8) * near(z, 10, 10),
            1.5 * near(-y - x**2 / 40, 28, 8) * near(z, 8, 10),
        ]
        axes = np.stack([np.stack(v, axis=-1) for v in (callosal, projection, arc, arc, through, front, back)], axis=1)
        mix = np.stack(weights, axis=1)
        present = mix.sum(axis=1) > 0.3
        mix = np.where(present[:, None], mix, np.eye(len(weights))[0])
        for _ in range(2):  # leave out what is lighter than 0.15
            mix = mix / mix.sum(axis=1, keepdims=True)
            mix = np.where(mix < 0.15, 0, mix)
        return axes / np.linalg.norm(axes, axis=2, keepdims=True), mix / mix.sum(axis=1, keepdims=True), present


def bundles(seed: int, shape: tuple[int, int, int], snr: float) -> Table:
    """The white matter of the phantoms with `Bundles` in it, obliquely in the scanner; elsewhere there is noise."""
    acquisition, rng, make = SCHEME, np.random.default_rng(seed), Bundles(seed)
    voxel = np.array(anatomy.FIELD_OF_VIEW) / shape
    turn = np.linalg.qr(np.eye(3) + 0.3 * rng.uniform(-1, 1, (3, 3)))[0]
    turn = turn * np.sign(np.diag(turn))
    flips = rng.choice([-1, 1], 3)  # of the order of voxels along each axis
    x, y, z = map(anatomy.coordinates, range(3), shape, voxel)
    x, z = np.meshgrid(x, z, indexing="ij")
    data, mask = np.zeros((*shape, acquisition.bvals.size), np.float32), np.zeros(shape, bool)
    for j, depth in enumerate(y):
        plane = anatomy.plane(x, float(depth), z)
        inside = plane._replace(brain=plane.white).inside()
        par, fraction, s0 = anatomy.kernels(inside, {})
        axes, mix, present = make(inside.x * HALF[0], np.full(inside.x.shape, depth * HALF[1]), inside.z * HALF[2])
        kappa = np.where(present, anatomy.concentrations(inside), np.minimum(anatomy.concentrations(inside), 1.5))
        kappa = np.repeat(kappa[:, None], mix.shape[1], axis=1)
        signal = zeppelin_signal(acquisition, par, fraction * par, axes @ turn.T, kappa, mix)
        mask[:, j] = plane.white
        data[:, j][plane.white] = s0[:, None] * signal
    data = rician(data, anatomy.WHITE_S0 / snr, rng)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(voxel * flips)
    mirrored = tuple(slice(None, None, int(flip)) for flip in flips)
    what = f"bundles {seed}, {' × '.join(map(str, shape))}, SNR {snr:g}"
    return Table(what, acquisition, data[mirrored], mask[mirrored], affine)


def phantom(seed: int, shape: tuple[int, int, int], snr: float) -> Table:
    """What `jaxsmt simulate` makes."""
    made = js.simulate.phantom(shape, snr, seed, SCHEME)
    what = f"phantom {seed}, {' × '.join(map(str, shape))}, SNR {snr:g}"
    return Table(what, made.acquisition, made.data, made.mask, made.affine)


def slab(slices: int, snr: float) -> Table:
    """What `jaxsmt demo` makes, with a smaller scheme."""
    made = js.simulate.coronal_slab(slices, snr, 0, SCHEME)
    what = f"slab of {slices}, SNR {snr:g}"
    return Table(what, made.acquisition, made.data, made.mask, made.affine)


def living(folder: Path) -> Iterator[Table]:
    """Two axial slices of a living brain, each of them, and their halves."""
    series = nib.load(folder / "b1k_b2k_example_slices_24_38.nii.gz")
    mask = np.asarray(nib.load(folder / "b1k_b2k_example_slices_24_38_mask.nii.gz").dataobj) > 0
    data, mask = np.asarray(series.dataobj), mask.reshape(series.shape[:3])
    paths = (folder / "b1k_b2k.bval", folder / "b1k_b2k.bvec")
    acquisition = js.Acquisition.from_fsl(*paths, affine=series.affine)
    middle = [int(np.median(np.nonzero(mask)[axis])) for axis in range(2)]
    parts: dict[str, tuple[Any, ...]] = {
        "both slices": (),
        "lower slice": (..., slice(0, 1)),
        "upper slice": (..., slice(1, 2)),
    }
    parts |= {"left": (slice(0, middle[0]),), "right": (slice(middle[0], None),)}
    parts |= {"back": (slice(None), slice(0, middle[1])), "front": (slice(None), slice(middle[1], None))}
    for name, part in parts.items():
        chosen = np.zeros_like(mask)
        chosen[part] = mask[part]
        yield Table(f"living brain, {name}", acquisition, data, chosen, series.affine, 2)


def tables() -> Iterator[Table]:
    """All of them, each time the same."""
    if "JAXSMT_REFERENCE" in os.environ:
        yield from living(Path(os.environ["JAXSMT_REFERENCE"]) / "data" / "invivo_b1k_b2k")
    for seed in range(27):
        yield bundles(seed, (39, 46, 32) if seed % 9 == 8 else (31, 37, 26), (30, 15, 50, 20)[seed % 4])
    for seed in range(14):
        yield phantom(seed, ((24, 28, 20), (31, 37, 26))[seed % 5 == 4], (30, 15, 50, 20)[seed % 4])
    for slices in (1, 3):
        yield slab(slices, 50)


def turned(fods: FodFit, turn: Turn, affine: np.ndarray) -> FodFit:
    """FODs as of a table in FSL's axes that is turned."""
    fsl = gradients.scanner_to_fsl(fods.parameters["direction"], affine)
    directions = gradients.fsl_to_scanner(fsl @ turn.matrix.T, affine)
    return replace(fods, parameters={**fods.parameters, "direction": directions})


def corrects(second: Turn, first: Turn, across: int | None) -> bool:
    """Whether one turn after another leaves axes as they were, but for a flip of the axis `across`."""
    both = second.matrix @ first.matrix
    flips = [np.eye(3)] if across is None else [np.eye(3), np.diag(np.where(np.arange(3) == across, -1.0, 1.0))]
    return any(np.array_equal(both, flip) or np.array_equal(both, -flip) for flip in flips)


def verdicts(fods: FodFit, table: Table) -> dict[Turn, Better | None]:
    """What is said of the table with each of the turns."""
    lobes, at, size, frame = narrow_lobes(fods, table.mask, table.affine, "fsl")
    matrices = np.array([frame @ turn.matrix @ frame.T for turn in TURNS])
    lengths, ends = lines_along(lobes, at, size, matrices)
    named = {}
    for turn in TURNS:
        after = [next(i for i, one in enumerate(TURNS) if same(second.matrix @ turn.matrix, one)) for second in TURNS]
        named[turn] = longer(lengths[after], ends[after], matrices, np.ptp(at, axis=0) + 1)
    return named


def same(matrix: np.ndarray, turn: Turn) -> bool:
    """Whether a matrix turns axes as a turn does."""
    return np.array_equal(matrix, turn.matrix) or np.array_equal(matrix, -turn.matrix)


def tried(table: Table, number: int) -> dict[str, Any]:
    """The row of a table: what was said of it and of the others. number: of the table; it decides what is checked."""
    fit = js.fit(js.FodModel(js.smt(), "watson", 1), table.acquisition, table.data, table.mask)
    fods = fit.changed(lambda values: masks.take(values, table.mask, "F"))
    cost = record.timed(lambda: better_directions(fods, table.mask, table.affine, "fsl"))
    named = verdicts(fods, table)
    check = TURNS[1 + number % (len(TURNS) - 1)]
    again = better_directions(turned(fods, check, table.affine), table.mask, table.affine, "fsl")
    if (again and set(again.turns)) != (named[check] and set(named[check].turns)):
        raise AssertionError(f"{table.what}, {check}: {again} of turned lobes, {named[check]} of turned lines")
    wrong = [turn for turn in TURNS if not corrects(turn, TURNS[0], table.across)]
    said = {turn: named[turn] for turn in wrong if named[turn] is not None}
    right = [b.length / b.unturned for t, b in said.items() if any(corrects(one, t, table.across) for one in b.turns)]
    return {
        "what": table.what,
        "voxels": int(np.count_nonzero(table.mask)),
        "false_alarm": int(any(named[turn] is not None for turn in TURNS if turn not in wrong)),
        "wrong": len(wrong),
        "found": len(right),
        "misled": len(said) - len(right),
        "least_gain": round(min(right), 2) if right else None,
        "cpu_s": round(cost.cpu, 2),
    }


def main(arguments: list[str]) -> None:
    parser = record.options(__doc__ or "", repeats=1)
    parser.add_argument("--tables", type=int, help="try the first so many only")
    options = parser.parse_args(arguments)
    rows = []
    for number, table in enumerate(islice(tables(), options.tables)):
        rows.append(tried(table, number))
        print(rows[-1], file=sys.stderr, flush=True)
    sums = []
    for kind in ("bundles", "living", "phantom", "slab"):
        some = [row for row in rows if row["what"].startswith(kind)]
        counted = {name: sum(row[name] for row in some) for name in ("false_alarm", "wrong", "found", "misled")}
        sums.append({"what": f"all of {kind}", "tables": len(some), **counted})
    record.publish("directions", {"tables": len(rows), "turns": len(TURNS)}, sums + rows, options.json)
