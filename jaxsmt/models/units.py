"""How units are written for people."""

from __future__ import annotations

_TEXTS = {"um2/ms": "µm²/ms", "um": "µm", "ms": "ms"}


def unit_text(unit: str) -> str:
    """How a unit is written after a number: with a space before it, or nothing where there is no unit.

    Args:
        unit: as in `Parameter.unit` and `SphericalMeanModel.units`: "um2/ms", "um", "ms", or "".

    Returns:
        " µm²/ms", " µm", or "". A unit that is not one of these is written as it is.

    Example:
        >>> f"1.7{unit_text('um2/ms')}, 0.6{unit_text('')}, 5{unit_text('um')}"
        '1.7 µm²/ms, 0.6, 5 µm'
    """
    return f" {_TEXTS.get(unit, unit)}" if unit else ""
