"""What a fit says of each voxel: codes, texts and colours. No JAX."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """What became of a voxel.

    Of those that have a fit a higher code is worse. `text` says what a code means, `colour` is its colour in pictures.

    Example:
        >>> Status.AT_BOUND.text
        'at a bound'
        >>> [code.name for code in FITTED]
        ['CONVERGED', 'AT_BOUND', 'NOT_CONVERGED']
    """

    OUTSIDE = 0
    CONVERGED = 1
    AT_BOUND = 2
    NOT_CONVERGED = 3
    NO_SIGNAL = 4
    NON_FINITE = 5

    @property
    def text(self) -> str:
        """What the code means."""
        return _TEXTS[self]

    @property
    def colour(self) -> str:
        """Matplotlib's name of the code's colour."""
        return _COLOURS[self]


_TEXTS = ("outside mask", "converged", "at a bound", "not converged", "no usable signal", "non-finite input")
_COLOURS = ("0.9", "tab:blue", "gold", "red", "0.4", "black")
#: Codes of the voxels that have a fit.
FITTED = (Status.CONVERGED, Status.AT_BOUND, Status.NOT_CONVERGED)
