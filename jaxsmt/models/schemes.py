"""What the information about a model depends on of a scheme."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from ..acquisition.acquisition import Acquisition
from ..acquisition.echoes import echoes_of
from ..acquisition.shells import Pulse

if TYPE_CHECKING:
    from .model import SphericalMeanModel

# T2 with which S0 is taken to decay between echo times, ms: about that of the brain at 3 T.
_TYPICAL_T2 = 80.0


class Scheme(Protocol):
    """What the information depends on: an `Acquisition`, or another record of these two."""

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Diffusion weightings of b = 0 and each shell."""

    @property
    def variances(self) -> Any:
        """(shells,) variances of the spherical means over that of one volume."""


class KnownScheme(NamedTuple):
    """A `Scheme` of numbers, which can be hashed. echoes: each shell's echo time's number, see `echoes_of`."""

    pulses: tuple[Pulse, ...]
    variances: tuple[float, ...]
    echoes: tuple[int, ...] = ()


def echo_numbers(model: SphericalMeanModel, scheme: Scheme) -> tuple[int, ...]:
    """The number of each shell's echo time; () where S0 is the same for all shells.

    Args:
        model: whose compartments may relax.
        scheme: an `Acquisition`, a `KnownScheme`, or another record, whose S0 is one.
    Returns:
        (shells) numbers, or ().
    """
    if isinstance(scheme, Acquisition):
        return echoes_of(scheme, model.kernel.relaxing)
    return scheme.echoes if isinstance(scheme, KnownScheme) else ()


def decayed(model: SphericalMeanModel, acquisition: Acquisition) -> KnownScheme:
    """The scheme with variances over the square of the S0 of each shell's echo time, as it typically decays."""
    echoes = echo_numbers(model, acquisition)
    variances = np.asarray(acquisition.variances, float) / expected_decay(acquisition.pulses, echoes) ** 2
    return KnownScheme(acquisition.pulses, tuple(variances.tolist()), echoes)


def expected_decay(pulses: Sequence[Pulse], echoes: tuple[int, ...]) -> np.ndarray:
    """S0 of each shell's echo time over that of the shortest, as it typically decays: (shells,)."""
    if not echoes:
        return np.ones(len(pulses))
    te = np.array([pulse.te for pulse in pulses])
    decay: np.ndarray = np.exp((te.min() - te) / _TYPICAL_T2)
    return decay
