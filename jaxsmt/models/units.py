"""How units are written for people."""

from __future__ import annotations

from typing import Any

import numpy as np

_TEXTS = {"um2/ms": "µm²/ms", "um": "µm", "ms": "ms"}
# A diffusivity below this, µm²/ms, is one in SI units.
_SI = 1e-6


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


def unit_doubt(what: str, values: Any, unit: str) -> str:
    """A sentence where diffusivities are so small that they must be in SI units; empty otherwise.

    Args:
        what: they are, to begin the sentence. values: a number or a map. unit: of the parameter.

    Example:
        >>> unit_doubt("lambda_par is fixed at", 1.7e-9, "um2/ms")
        'lambda_par is fixed at 1.7e-09: is it in m²/s? Diffusivities are in µm²/ms here'
    """
    largest = float(np.max(values, initial=0.0, where=np.isfinite(values)))
    if unit != "um2/ms" or not 0 < largest < _SI:
        return ""
    return f"{what} {largest:g}: is it in m²/s? Diffusivities are in µm²/ms here"
