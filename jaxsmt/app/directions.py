"""Directions of the gradient table that are flipped or exchanged against the image, as fibres show it. No JAX."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..files import gradients
from ..geometry.coherence import Better, Turn, better_turns
from ..status import FITTED
from .inputs import Inputs

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit

# Lobes whose axes are followed: dispersion at most, weight at least.
_DISPERSION, _WEIGHT = 0.3, 0.15


def direction_warnings(inputs: Inputs, fods: FodFit | None) -> list[str]:
    """A warning of directions with which fibres go on less far than with others: which, and how to correct the table.

    Args:
        inputs: of the fit. fods: of the voxels inside the mask, in the order of the file; None: nothing is said.
    """
    if fods is None:
        return []
    better = better_directions(fods, inputs.mask, inputs.image.affine, "scanner" if "grad" in inputs.files else "fsl")
    if better is None:
        return []
    turns = ", or with ".join(map(_words, better.turns))
    doubt = " (which of the two, so few slices do not tell)" if len(better.turns) > 1 else ""
    found = (
        f"the directions do not go together with the image: with {turns} in the gradient table{doubt}, fibres run on "
        f"over {better.length:.1f} mm instead of {better.unturned:.1f} mm. The kernel's maps hardly depend on this, "
        "directions and FODs do"
    )
    fix = fix_of(better.turns[0], inputs.files)
    return [f"{found}. {fix}" if fix else found]


def better_directions(fods: FodFit, mask: np.ndarray, affine: np.ndarray, axes: str) -> Better | None:
    """Look for an order and signs of a table's x, y and z with which fibres go on for longer.

    Args:
        fods, mask, affine, axes: as of `narrow_lobes`.
    Returns:
        turns of the table, and the mean lengths of fibres in mm; None if none is clearly better.
    """
    return better_turns(*narrow_lobes(fods, mask, affine, axes))


def narrow_lobes(
    fods: FodFit, mask: np.ndarray, affine: np.ndarray, axes: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lobes whose axes mean something, along the axes of the image.

    Args:
        fods: of the voxels inside the mask, in the order of the file; directions in scanner axes.
        mask: (x, y, z) bool. affine: (4, 4) voxel indices to scanner mm.
        axes: of the gradient table, "fsl" or "scanner".
    Returns:
        the arguments of `better_turns`.
    """
    of_fsl = gradients.fsl_to_scanner(np.eye(3), affine).T  # from FSL's axes to the scanner's
    flip = np.diag([-1.0 if np.linalg.det(affine[:3, :3]) > 0 else 1.0, 1.0, 1.0])
    to_scanner = of_fsl @ flip  # from the image's axes
    p = fods.parameters
    narrow = (p["odi"] < _DISPERSION) & (p["weight"] > _WEIGHT) & np.isin(fods.status, FITTED)[:, None]
    some = narrow.any(axis=1)
    at = np.stack(np.unravel_index(np.flatnonzero(mask.ravel(order="F")), mask.shape, order="F"), axis=1)[some]
    lobes = np.where(narrow[some, :, None], p["direction"][some], 0) @ to_scanner
    frame = flip if axes == "fsl" else to_scanner.T
    return lobes, at, np.linalg.norm(affine[:3, :3], axis=0), frame


def _words(turn: Turn) -> str:
    """A turn of a table in words.

    Example:
        >>> _words(Turn((1, 0, 2), (1, 1, -1)))
        'x and y exchanged and then z flipped'
        >>> _words(Turn((1, 2, 0), (1, 1, 1)))
        'x, y, z replaced by y, z, x'
    """
    moved = [k for k in range(3) if turn.order[k] != k]
    parts = []
    if len(moved) == 2:
        parts.append(f"{'xyz'[moved[0]]} and {'xyz'[moved[1]]} exchanged")
    elif moved:
        parts.append(f"x, y, z replaced by {', '.join('xyz'[k] for k in turn.order)}")
    parts += [f"{'xyz'[k]} flipped" for k in range(3) if turn.signs[k] < 0]
    return " and then ".join(parts)


def fix_of(turn: Turn, files: dict[str, Path]) -> str | None:
    """What to do about a table.

    Args:
        turn: of its x, y and z. files: of the inputs, by the option that names them.
    Returns:
        what to do, with the command that makes another table; None if the table cannot be read any more.
    """
    option = "grad" if "grad" in files else "bvec"
    path = files[option]
    with suppress(InputError):
        rows = option == "bvec" and np.array_equal(gradients.read_table(path).T, gradients.read_bvec(path))
        corrected = path.with_name(f"{path.stem}_corrected{path.suffix}")
        program = _of_rows(turn) if rows else _of_columns(turn)
        command = (
            f"awk -v CONVFMT=%.9g '{program}' {shlex.quote(os.fspath(path))} > {shlex.quote(os.fspath(corrected))}"
        )
        return f"If the picture agrees, correct the table and fit again with --{option} {corrected}: {command}"
    return None


def _of_rows(turn: Turn) -> str:
    """The awk program that turns a table whose three lines are x, y, z."""
    negative = [turn.order[k] + 1 for k in range(3) if turn.signs[k] < 0]
    flips = "".join(f"if (n == {row}) for (i = 1; i <= NF; i++) $i = -$i; " for row in negative)
    lines = "; ".join(f"print r[{k + 1}]" for k in turn.order)
    return f"NF && !/#/ {{n++; {flips}r[n] = $0}} END {{{lines}}}"


def _of_columns(turn: Turn) -> str:
    """The awk program that turns a table whose first three columns are x, y, z."""
    changes = "".join(
        f"${k + 1} = {'-' if sign < 0 else ''}{'xyz'[source]}; "
        for k, (source, sign) in enumerate(zip(turn.order, turn.signs, strict=True))
        if source != k or sign < 0
    )
    return f"NF && !/#/ {{x = $1; y = $2; z = $3; {changes}print}}"
