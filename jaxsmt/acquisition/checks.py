"""What a gradient table may be: options, b-values, directions, and the times of the pulses. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from .arrays import concrete_value
from .units import B_TO_MS_PER_UM2


def check_options(b_unit: str, axes: str, spherical_mean: str) -> None:
    """Raise InputError where an option of `Acquisition` has none of its values."""
    if b_unit not in B_TO_MS_PER_UM2:
        raise InputError(f"unknown b unit {b_unit!r}", fix=f"b_unit= is one of {', '.join(B_TO_MS_PER_UM2)}")
    if axes not in ("scanner", "fsl"):
        raise InputError(f"unknown axes {axes!r}", fix="axes= is 'scanner' or 'fsl'")
    if spherical_mean not in ("sh", "arithmetic"):
        raise InputError(f"unknown spherical mean {spherical_mean!r}", fix="spherical_mean= is 'sh' or 'arithmetic'")


def known_numbers(values: Any) -> Any:
    """The numbers of an array, which say what volumes form shells.

    Raises:
        InputError: JAX traces the array and knows no numbers of it.
    """
    numbers = concrete_value(values)
    if numbers is None and values is not None:
        raise InputError(
            "b-values or directions are traced by jit or vmap, so that shells cannot be found",
            fix="make an Acquisition outside, and put traced values into it by with_values(bvals=, bvecs=)",
        )
    return numbers


def check_shapes(bvals: np.ndarray, bvecs: np.ndarray) -> None:
    """Raise InputError unless there are (n,) b-values and (n, 3) directions."""
    if bvals.ndim != 1 or bvecs.shape != (bvals.size, 3):
        raise InputError(
            f"b-values of shape {bvals.shape} and directions of shape {bvecs.shape} do not match",
            fix="give (n,) b-values and (n, 3) directions",
        )


def check_bvals(bvals: np.ndarray, unit: str) -> None:
    """Raise InputError unless b-values, in s/mm² by now, are finite, not negative, and of a size that MRI measures.

    Args:
        unit: the unit that the user named.
    """
    bad = np.flatnonzero(~np.isfinite(bvals) | (bvals < 0))
    if bad.size:
        raise InputError(
            f"b-value of volume {bad[0]} is {bvals[bad[0]]:g}; {bad.size} like it",
            fix="b-values are finite and not negative",
        )
    largest = bvals.max(initial=0.0)
    if 0 < largest < 50 or largest > 1e5:
        other = "ms/um2" if largest < 50 else "s/m2"
        fix = f"if these are {other}, say so: b_unit='{other}'" if unit == "s/mm2" else f"are the b-values in {unit}?"
        raise InputError(f"the largest b-value is {largest:g} s/mm²", fix=fix)


def unit_directions(bvals: np.ndarray, bvecs: np.ndarray, threshold: float) -> np.ndarray:
    """Directions (n, 3) with exact unit length where b is above the threshold, and zeros at b = 0.

    Raises:
        InputError: the length of a weighted direction differs from 1 by more than 2 %.
    """
    weighted = bvals > threshold
    norms = np.linalg.norm(bvecs, axis=1)
    bad = np.flatnonzero(weighted & ~(np.abs(norms - 1) <= 0.02))
    if bad.size:
        i = bad[0]
        kind = "is not finite" if not np.isfinite(norms[i]) else f"has length {norms[i]:.3g}, not 1"
        hint = "directions must be unit vectors"
        shell_max = bvals.max()
        if np.allclose(norms[weighted], np.sqrt(bvals[weighted] / shell_max), atol=0.02):
            hint += "; these are scaled by √b: divide them by their lengths and give each volume its own b-value"
        raise InputError(f"the direction of volume {i} (b = {bvals[i]:.0f} s/mm²) {kind}; {bad.size} like it", fix=hint)
    # At b = 0 the direction means nothing, and files hold zeros or NaN there.
    return np.where(weighted[:, None], bvecs, 0) / np.where(weighted, norms, 1)[:, None]


def pulse_times(delta: Any, Delta: Any, weighted: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """δ and Δ of each volume, (n,) in ms; b = 0 volumes without pulses take the mean of the others.

    Args:
        delta, Delta: ms, a number or (n,), or None for both.
        weighted: (n,) whether the volume is above b = 0.
    Raises:
        InputError: only one of them, a wrong shape, or times that no pulses have.
    """
    n = weighted.size
    if delta is None and Delta is None:
        return None, None
    if delta is None or Delta is None:
        raise InputError("one of delta and Delta is missing", fix="give both delta= and Delta=, or neither")
    delta, Delta = (np.asarray(value, float) for value in (delta, Delta))
    if any(value.shape not in ((), (n,)) for value in (delta, Delta)):
        raise InputError(
            f"delta of shape {delta.shape} and Delta of shape {Delta.shape}", fix=f"give numbers, or {n} each"
        )
    delta, Delta = np.array(np.broadcast_to(delta, n)), np.array(np.broadcast_to(Delta, n))
    good = (delta > 0) & (Delta >= delta) & (Delta < 1e4)
    if np.any(weighted & ~good):
        i = np.flatnonzero(weighted & ~good)[0]
        raise InputError(f"volume {i} has δ = {delta[i]:g} ms and Δ = {Delta[i]:g} ms", fix="0 < δ ≤ Δ, both in ms")
    for times in (delta, Delta):
        times[~good] = times[weighted].mean() if weighted.any() else np.nan
    return delta, Delta
