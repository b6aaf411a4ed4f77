"""Several echo times in one series: each has an S0 of its own, which its b = 0 volumes tell. Does not import JAX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .acquisition import Acquisition


def has_several(acquisition: Acquisition) -> bool:
    """Whether there is more than one echo time."""
    return len(acquisition.groups) > 1 and acquisition.groups[1].zero


def echoes_of(acquisition: Acquisition, relaxing: bool = False) -> tuple[int, ...]:
    """The number of the echo time of each shell, the shortest first; () where S0 is the same for all shells.

    Args:
        acquisition: the scheme.
        relaxing: whether compartments have a T2, so that S0 is that of the echo time 0 for all of them.
    Returns:
        (shells) numbers, or () with one echo time too.

    Example:
        >>> import jaxsmt as js
        >>> echoes_of(js.simulate.hcp_scheme(n_b0=2, n_directions=15))
        ()
    """
    return tuple(group.echo for group in acquisition.groups) if has_several(acquisition) and not relaxing else ()


def decay_of(means: Any, echoes: Sequence[int]) -> Any:
    """The decay between echo times: S0 of each shell's over that of the shortest, from the means at b = 0.

    Args:
        means: (..., shells) of the signal, NumPy's or JAX's; those at b = 0 first, one for each echo time.
        echoes: of the shells, as `echoes_of` has them.
    Returns:
        (..., shells) of the same type; 1 where a b = 0 mean is not positive.
    """
    xp = means.__array_namespace__()
    at_zero = means[..., : max(echoes) + 1]
    good = (at_zero > 0).all(axis=-1)[..., None]
    safe = xp.where(good, at_zero, xp.ones_like(at_zero))
    return (safe / safe[..., :1])[..., np.array(echoes, np.int32)]


def decay_of_volumes(acquisition: Acquisition, decay: np.ndarray) -> np.ndarray:
    """The decay of each volume, (..., volumes), from that of the shells, (..., shells)."""
    shell_of = np.zeros(acquisition.bvals.size, int)
    for i, group in enumerate(acquisition.groups):
        shell_of[list(group.volumes)] = i
    of_volumes: np.ndarray = decay[..., shell_of]
    return of_volumes
