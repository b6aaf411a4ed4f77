"""Several echo times in one series: each has an S0 of its own, which its b = 0 volumes tell. Does not import JAX."""

from __future__ import annotations

from typing import Any

import numpy as np

from .acquisition import Acquisition


def has_several(acquisition: Acquisition) -> bool:
    """Whether there is more than one echo time."""
    return len(acquisition.groups) > 1 and acquisition.groups[1].zero


def volumes_at_first(acquisition: Acquisition, signal: Any) -> Any:
    """A signal as if all volumes had the shortest echo time.

    The volumes of each echo time are multiplied by the b = 0 mean of the shortest over that of their own.

    Args:
        acquisition: of the signal.
        signal: (..., volumes), NumPy's or JAX's.
    Returns:
        (..., volumes) of the same type; 0 where a b = 0 mean is not positive.
    """
    if not has_several(acquisition):
        return signal
    zeros = [np.array(group.volumes) for group in acquisition.groups if group.zero]
    xp = signal.__array_namespace__()
    means = xp.stack([signal[..., volumes].mean(axis=-1) for volumes in zeros], axis=-1)
    echoes = _echo_of(acquisition)
    return signal * _gains(means)[..., echoes[0]]


def means_at_first(acquisition: Acquisition, means: np.ndarray) -> np.ndarray:
    """Spherical means, (shells, voxels), as `volumes_at_first` does with volumes."""
    if not has_several(acquisition):
        return means
    zeros = sum(group.zero for group in acquisition.groups)
    return means * _gains(means[:zeros].T).T[_echo_of(acquisition)[1]]


def echoes_of(acquisition: Acquisition) -> tuple[int, ...]:
    """The number of the echo time of each shell, the shortest first; () where there are not several."""
    return tuple(group.echo for group in acquisition.groups) if has_several(acquisition) else ()


def _echo_of(acquisition: Acquisition) -> tuple[np.ndarray, np.ndarray]:
    """The number of the echo time of each volume, and of each shell, the shortest first."""
    of_shells = np.array([group.echo for group in acquisition.groups])
    of_volumes = np.zeros(acquisition.bvals.size, int)
    for group, echo in zip(acquisition.groups, of_shells, strict=True):
        of_volumes[list(group.volumes)] = echo
    return of_volumes, of_shells


def _gains(means: Any) -> Any:
    """What turns each echo time's signal into that of the first, from (..., echoes) means at b = 0."""
    xp = means.__array_namespace__()
    good = (means > 0).all(axis=-1)[..., None]
    safe = xp.where(good, means, xp.ones_like(means))
    return xp.where(good, safe[..., :1] / safe, xp.zeros_like(means))
