"""Schemes that measure simulated data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..errors import InputError, is_whole, shown
from ..geometry.quadrature import gradient_directions

_MOST_VOLUMES = 10_000  # of a shell: more would be a slip


def hcp_scheme(
    n_b0: int = 18, n_directions: int = 90, shells: Sequence[float] = (1000.0, 2000.0, 3000.0)
) -> Acquisition:
    """A scheme like that of the HCP Wu-Minn project: b = 0 volumes spread among mixed shells.

    The directions are not those of the project: they are made here, each shell its own set.

    Args:
        n_b0: number of b = 0 volumes.
        n_directions: number of directions of each shell.
        shells: b-values of the shells in s/mm².

    Returns:
        An acquisition of n_b0 + len(shells) · n_directions volumes, without timings.

    Raises:
        InputError: counts below 0 or above 10000, no shell, or b-values that cannot be.

    Example:
        >>> import jaxsmt as js
        >>> for shell in js.simulate.hcp_scheme(n_b0=6, n_directions=30).shells:
        ...     print(shell)
        b = 0 s/mm²: 6 volumes
        b = 1000 s/mm²: 30 volumes, harmonic order 6
        b = 2000 s/mm²: 30 volumes, harmonic order 6
        b = 3000 s/mm²: 30 volumes, harmonic order 6
    """
    for name, count in (("n_b0", n_b0), ("n_directions", n_directions)):
        if not is_whole(count, 0, _MOST_VOLUMES):
            raise InputError(f"{name}={shown(count)} is not valid", fix=f"{name}= takes 0 to {_MOST_VOLUMES}")
    if not isinstance(shells, Sequence | np.ndarray) or isinstance(shells, str) or not len(shells):
        raise InputError(f"shells= is {shown(shells)}", fix="shells= takes b-values in s/mm², at least one")
    b = np.concatenate([np.full(n_directions, value) for value in shells])
    g = np.concatenate([gradient_directions(n_directions, seed=i) for i in range(len(shells))])
    order = np.random.default_rng(0).permutation(b.size)
    where = np.linspace(0, b.size, n_b0, endpoint=False).astype(int)
    return Acquisition(np.insert(b[order], where, 0.0), np.insert(g[order], where, 0.0, axis=0))
