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
from ..geometry.coherence import Turn, better_turns
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
    affine = inputs.image.affine
    of_fsl = gradients.fsl_to_scanner(np.eye(3), affine).T  # from FSL's axes to the scanner's
    flip = np.diag([-1.0 if np.linalg.det(affine[:3, :3]) > 0 else 1.0, 1.0, 1.0])
    to_scanner = of_fsl @ flip  # from the image's axes
    at, axes = narrow_lobes(fods, inputs.mask)
    # The axes in which the table is written, along those of the image.
    frame = to_scanner.T if "grad" in inputs.files else flip
    better = better_turns(axes @ to_scanner, at, np.linalg.norm(affine[:3, :3], axis=0), frame)
    if better is None:
        return []
    turns = ", or with ".join(map(_words, better.turns))
    doubt = " (which of the two, so few slices do not tell)" if len(better.turns) > 1 else ""
    found = (
        f"the directions do not go together with the image: with {turns} in the gradient table{doubt}, fibres run on "
        f"over {better.length:.1f} mm instead of {better.given:.1f} mm. The kernel's maps hardly depend on this, "
        "directions and FODs do"
    )
    fix = _fix(better.turns[0], inputs.files)
    return [f"{found}. {fix}" if fix else found]


def narrow_lobes(fods: FodFit, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lobes whose axes mean something.

    Args:
        fods: of the voxels inside the mask, in the order of the file.
    Returns:
        (voxels, 3) where some are, and their axes (voxels, lobes, 3), 0 for those that are wide or light.
    """
    p = fods.parameters
    narrow = (p["odi"] < _DISPERSION) & (p["weight"] > _WEIGHT) & np.isin(fods.status, FITTED)[:, None]
    some = narrow.any(axis=1)
    at = np.stack(np.unravel_index(np.flatnonzero(mask.ravel(order="F")), mask.shape, order="F"), axis=1)
    return at[some], np.where(narrow[some, :, None], p["direction"][some], 0)


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


def _fix(turn: Turn, files: dict[str, Path]) -> str | None:
    """What to do about a table; None if it cannot be read any more."""
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
