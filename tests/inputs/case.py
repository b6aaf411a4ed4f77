"""One case of the table, and how the series of a case is spoiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import nibabel as nib

from tests.conftest import ACQUISITION
from tests.inputs.files import Inputs

B, G = ACQUISITION.bvals, ACQUISITION.bvecs
NAN, INF = float("nan"), float("inf")


@dataclass(frozen=True)
class Case:
    """One way to call the program.

    Attributes:
        topic: where it stands in the table. name: what is given.
        make: spoils good inputs, and returns further arguments, or None.
        code: the exit code. says: a regular expression of what must be said; "" with code 0: no warning.
        command: "check", or "fit". slow: it needs a fit, or more than a second.
    """

    topic: str
    name: str
    make: Callable[[Inputs], Any]
    says: str = ""
    code: int = 2
    command: str = "check"
    slow: bool = False

    @property
    def outcome(self) -> str:
        """The exit code in words."""
        if self.code == 0:
            return "0, with a warning" if self.says else "0"
        return str(self.code)


def patched(**fields: Any) -> Callable[[Inputs], None]:
    """The series with other fields in its header."""
    return lambda i: i.patch(**fields)


def with_mask(**fields: Any) -> Callable[[Inputs], None]:
    """The series with other fields in its header, and a mask in its space."""

    def make(i: Inputs) -> None:
        i.patch(**fields)
        i.image("mask.nii.gz", i.inside(), nib.load(i.dwi).affine)

    return make
