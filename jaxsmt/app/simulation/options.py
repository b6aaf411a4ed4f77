"""What `jaxsmt simulate` is asked for: its options, declared once. No JAX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from ...acquisition.acquisition import Acquisition
from ...errors import InputError, is_whole
from ...fitting.settings import option, options_of
from ...simulate import hcp_scheme

#: Fewer directions determine no harmonic of order 2.
_LEAST_DIRECTIONS = 6


def _count(default: int | None, help: str, least: int = 1) -> Any:
    """An option that is a whole number from `least`."""
    return option(
        default,
        help,
        check=lambda n: is_whole(n, least),
        rule=f"a whole number from {least}",
        flag={"type": int, "metavar": "N"},
    )


@dataclass(frozen=True)
class Simulation:
    """What to simulate, and where the files go; names as of the flags, with `_` for `-`.

    Raises:
        InputError: an invalid value, or options of a data set without `bids`.
    """

    out: Path = option(MISSING, "folder for the files, new or empty", flag={"type": Path, "required": True})
    shape: Sequence[int] = option(
        (24, 28, 20), "voxels along x, y and z", flag={"type": int, "nargs": 3, "metavar": ("X", "Y", "Z")}
    )
    snr: float = option(
        50.0, "S0 of white matter over the noise's sd; inf: no noise", flag={"type": float, "metavar": "N"}
    )
    seed: int = _count(0, "of the noise, and of the subjects' differences", least=0)
    directions: int = _count(30, "directions of each shell", least=_LEAST_DIRECTIONS)
    b0: int = _count(4, "volumes at b = 0")
    shells: Sequence[float] = option(
        (1000.0, 2000.0),
        "b-values of the shells in s/mm²",
        check=lambda shells: len(shells) > 0 and all(50 < b <= 1e5 for b in shells),
        rule="numbers above 50 and up to 100000",
        flag={"type": float, "nargs": "+", "metavar": "B"},
    )
    bids: bool = option(False, "write a BIDS data set of several subjects who differ", flag={"action": "store_true"})
    subjects: int | None = _count(None, "subjects of the data set (default: 2)")
    sessions: int | None = _count(None, "sessions of each subject (default: none are named)")
    quiet: bool = option(False, "say only what is wrong", flag={"action": "store_true"})

    def __post_init__(self) -> None:
        for name, (declared, _) in options_of(Simulation).items():
            value = getattr(self, name)
            if value is not None:
                declared.require(name, value)
        for name in ("subjects", "sessions"):
            if getattr(self, name) is not None and not self.bids:
                raise InputError(f"{name}={getattr(self, name)} without a data set", fix="give bids=True too")

    @property
    def acquisition(self) -> Acquisition:
        """The scheme of the series."""
        return hcp_scheme(self.b0, self.directions, self.shells)


def make_simulation(values: Mapping[str, Any]) -> Simulation:
    """What to simulate, from the values of flags by name."""
    return Simulation(**{name: values[name] for name in options_of(Simulation)})
