"""What a gradient table may be: options, b-values, directions, and the times of the pulses. NumPy only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..errors import InputError, shown
from .arrays import concrete_value, real_array, real_number
from .units import B_TO_MS_PER_UM2

# Shapes beyond their ends by less than this are rounded.
_ROUNDED = 1e-3


def check_options(b_unit: str, axes: str, spherical_mean: str, b0_threshold: float, shell_gap: float | None) -> None:
    """Raise InputError where an option of `Acquisition` has none of its values."""
    real_number(b0_threshold, "b0_threshold", "a b-value in s/mm², 0 or more", 0)
    if shell_gap is not None:
        real_number(shell_gap, "shell_gap", "a difference of b-values in s/mm², above 0, or None", np.nextafter(0, 1))
    if not isinstance(b_unit, str) or b_unit not in B_TO_MS_PER_UM2:
        raise InputError(f"unknown b unit {shown(b_unit)}", fix=f"b_unit= is one of {', '.join(B_TO_MS_PER_UM2)}")
    if axes not in ("scanner", "fsl", "unknown"):
        raise InputError(f"no axes are called {shown(axes)}", fix="axes= is 'scanner', 'fsl' or 'unknown'")
    if spherical_mean not in ("sh", "arithmetic"):
        raise InputError(
            f"unknown spherical mean {shown(spherical_mean)}", fix="spherical_mean= is 'sh' or 'arithmetic'"
        )


def known_numbers(values: Any) -> Any:
    """The numbers of an array, which say what volumes form shells.

    Raises:
        InputError: JAX traces the array and knows no numbers of it.
    """
    numbers = concrete_value(values)  # None where none are known
    if numbers is None and values is not None:
        raise InputError(
            "b-values, directions, times or shapes are traced by jit or vmap, so that shells cannot be found",
            fix="make an Acquisition outside, and put traced values into it by with_values(bvals=, bvecs=, …)",
        )
    return numbers


def known_table(bvals: Any, bvecs: Any) -> tuple[np.ndarray, np.ndarray]:
    """b-values (n,) and directions (n, 3) in double precision.

    Raises:
        InputError: they are no arrays of real numbers of these shapes, or JAX traces them and knows no numbers.
    """
    pairs = (("bvals", bvals), ("bvecs", bvecs))
    bvals, bvecs = (real_array(known_numbers(values), name).astype(float) for name, values in pairs)
    check_shapes(bvals, bvecs)
    return bvals, bvecs


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
        fix = (
            f"if these are {other}, say so: b_unit='{other}'"
            if unit == "s/mm2"
            else f"leave out b_unit= or give another: these are no {unit}"
        )
        raise InputError(f"the largest b-value is {largest:g} s/mm²", fix=fix)


def unit_directions(
    bvals: np.ndarray, bvecs: np.ndarray, weighted: np.ndarray, b_delta: np.ndarray | None = None
) -> np.ndarray:
    """Directions (n, 3) with exact unit length; zeros where they mean nothing, at b = 0 and of spherical encoding.

    Args:
        bvals, bvecs: (n,) s/mm² and (n, 3).
        weighted: (n,) whether the volume is above b = 0.
        b_delta: (n,) shapes of the encoding, or None: linear.
    Raises:
        InputError: the length of a weighted direction differs from 1 by more than 2 %.
    """
    if b_delta is not None:
        weighted = weighted & (b_delta != 0)
    norms = np.linalg.norm(bvecs, axis=1)
    bad = np.flatnonzero(weighted & ~(np.abs(norms - 1) <= 0.02))
    if bad.size:
        i = bad[0]
        kind = "is not finite" if not np.isfinite(norms[i]) else f"has length {norms[i]:.3g}, not 1"
        hint = "directions must be unit vectors"
        shell_max = bvals.max()
        if norms[i] < 0.02:
            hint += "; if these are b = 0 volumes, raise b0_threshold= above their b; if the encoding is spherical, "
            hint += "give b_delta= of each volume, 0 of these"
        elif np.allclose(norms[weighted], np.sqrt(bvals[weighted] / shell_max), atol=0.02):
            hint += "; these are scaled by √b: divide them by their lengths and give each volume its own b-value"
        elif np.ptp(bvals[weighted]) < 1 and abs(norms[weighted].max() - 1) <= 0.02 and norms[weighted].min() > 0.02:
            hint += (
                f"; if these are scaled so that b = {shell_max:g}·|g|², give each volume this b-value, and divide its "
                "direction by its length"
            )
        raise InputError(f"the direction of volume {i} (b = {bvals[i]:.0f} s/mm²) {kind}; {bad.size} like it", fix=hint)
    # Where the direction means nothing, files hold zeros or NaN.
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
    delta, Delta = (real_array(v, name).astype(float) for name, v in (("delta", delta), ("Delta", Delta)))
    if any(value.shape not in ((), (n,)) for value in (delta, Delta)):
        raise InputError(
            f"delta of shape {delta.shape} and Delta of shape {Delta.shape}", fix=f"give numbers, or {n} each"
        )
    delta, Delta = np.array(np.broadcast_to(delta, n)), np.array(np.broadcast_to(Delta, n))
    good = (delta > 0) & (Delta >= delta) & (Delta < 1e4)
    longest = np.max(Delta[weighted], initial=0)
    if 0 < longest < 1:
        raise InputError(f"the longest Δ is {longest:g} ms", fix="delta= and Delta= are in ms, not in s")
    if np.any(weighted & ~good):
        i = np.flatnonzero(weighted & ~good)[0]
        raise InputError(f"volume {i} has δ = {delta[i]:g} ms and Δ = {Delta[i]:g} ms", fix="0 < δ ≤ Δ, both in ms")
    for times in (delta, Delta):
        times[~good] = times[weighted].mean() if weighted.any() else np.nan
    return delta, Delta


def checked_settings(
    settings: Iterable[Any], weighted: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """δ, Δ, b_Δ and TE of each volume, (n,) or None each.

    Args:
        settings: δ, Δ, b_Δ and TE, each a number or (n,), or None.
        weighted: (n,) whether the volume is above b = 0.
    Raises:
        InputError: a wrong shape, or numbers that no measurement has.
    """
    delta, Delta, b_delta, te = settings
    return *pulse_times(delta, Delta, weighted), _shapes(b_delta, weighted), _echo_times(te, weighted)


def _shapes(b_delta: Any, weighted: np.ndarray) -> np.ndarray | None:
    """b_Δ of each volume; 1 at b = 0, where it means nothing."""
    if b_delta is None:
        return None
    values = np.where(weighted, _for_each_volume("b_delta", b_delta, weighted.size), 1)
    bad = np.flatnonzero(~((values >= -0.5 - _ROUNDED) & (values <= 1 + _ROUNDED)))
    if bad.size:
        raise InputError(
            f"the encoding of volume {bad[0]} has the shape b_Δ = {values[bad[0]]:g}",
            fix="b_delta= is from -0.5 (planar) over 0 (spherical) to 1 (linear)",
        )
    return np.clip(values, -0.5, 1)


def _echo_times(te: Any, weighted: np.ndarray) -> np.ndarray | None:
    """Echo time of each volume.

    Raises:
        InputError: as `checked_settings`; or weighted volumes without b = 0 at their echo time.
    """
    if te is None:
        return None
    values = _for_each_volume("te", te, weighted.size)
    bad = np.flatnonzero(~((values > 0) & (values < 1e4)))
    if bad.size:
        raise InputError(f"volume {bad[0]} has the echo time {values[bad[0]]:g}", fix="te= is above 0, in ms")
    if 0 < values.max(initial=0) < 1:
        raise InputError(f"the longest echo time is {values.max():g} ms", fix="te= is in ms, not in s")
    without = np.setdiff1d(values[weighted], values[~weighted])
    if without.size and len(np.unique(values)) > 1:
        raise InputError(
            f"no b = 0 volume at the echo time{'s' * (without.size > 1)} {', '.join(f'{t:g}' for t in without)} ms",
            fix="each echo time has an S0 of its own: add a b = 0 volume, or leave out the volumes of that echo time",
        )
    return values


def _for_each_volume(name: str, values: Any, n: int) -> np.ndarray:
    """A number, or one for each volume, as (n,) of them."""
    values = real_array(values, name).astype(float)
    if values.shape not in ((), (n,)):
        raise InputError(f"{name} of shape {values.shape}", fix=f"give {name}= a number, or {n} of them")
    return np.array(np.broadcast_to(values, n))
