"""The acquisition: a gradient table, its shells, and the weights of their spherical means. Does not import JAX."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import gradients
from .arrays import equal_values, is_jax, is_traced
from .checks import check_bvals, check_options, check_shapes, known_numbers, pulse_times, unit_directions
from .shells import SHELL_GAP, Group, Pulse, Shell, Table, find_groups, shell_of
from .units import B_TO_MS_PER_UM2


@dataclass(frozen=True)
class Acquisition:
    """A multi-shell scheme: b = 0 volumes and shells of directions.

    A JAX pytree of its b-values, directions and timings: `jax.grad` by an acquisition is an acquisition, and
    `with_values` puts others in, traced ones too. Which volumes form a shell never changes with them.

    Args:
        bvals: (n,) s/mm² (or `b_unit`). bvecs: (n, 3) unit vectors; rows at b = 0 are ignored.
        b0_threshold: s/mm²; volumes up to it count as b = 0.
        spherical_mean: "sh" (harmonic least squares, order by what the directions support) or
            "arithmetic" (plain mean of the volumes).
        b_unit: "s/mm2", "ms/um2" or "s/m2".
        shell_gap: s/mm²; b-values further apart than this belong to different shells.
        axes: of the directions: "scanner", or "fsl" (image axes with x as FSL writes it).
        delta, Delta: duration δ and separation Δ of the gradient pulses, ms: a number or (n,), or
            None. Compartments of restricted diffusion need them; a shell has one δ and one Δ.
    Raises:
        InputError: values that cannot be a multi-shell scheme; says which and what to do.
    """

    bvals: Any
    bvecs: Any
    b0_threshold: float = 50.0
    spherical_mean: str = "sh"
    b_unit: str = "s/mm2"
    axes: str = "scanner"
    shell_gap: float = SHELL_GAP
    delta: Any = None
    Delta: Any = None
    groups: tuple[Group, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_options(self.b_unit, self.axes, self.spherical_mean)
        inputs = self._table
        bvals, bvecs = (np.asarray(known_numbers(values), float) for values in (self.bvals, self.bvecs))
        check_shapes(bvals, bvecs)
        to_s_per_mm2 = B_TO_MS_PER_UM2[self.b_unit] / B_TO_MS_PER_UM2["s/mm2"]
        bvals = bvals * to_s_per_mm2
        check_bvals(bvals, self.b_unit)
        bvecs = unit_directions(bvals, bvecs, self.b0_threshold)
        times = pulse_times(known_numbers(self.delta), known_numbers(self.Delta), bvals > self.b0_threshold)
        table = Table(bvals, bvecs, *times)
        groups = tuple(find_groups(table, self.b0_threshold, self.shell_gap, self.spherical_mean))
        self.__dict__.update(table._asdict(), b_unit="s/mm2", groups=groups)
        traced = {name: values for name, values in inputs._asdict().items() if is_traced(values) and np.ndim(values)}
        if traced:  # the shells are found by the known numbers; the values stay traced
            if "bvals" in traced:
                traced["bvals"] = traced["bvals"] * to_s_per_mm2
            self.__dict__.update(self.with_values(**traced).__dict__)

    @classmethod
    def from_fsl(cls, bval, bvec, affine: np.ndarray | None = None, **options) -> Acquisition:
        """Read FSL `bval` and `bvec` files in any of their layouts.

        Args:
            affine: (4, 4) voxel-to-scanner matrix of the image; with it directions are turned
                into scanner axes (FSL's are image axes with x negated where det(affine) > 0),
                without it they stay as written.
        """
        bvals, bvecs = gradients.read_fsl(bval, bvec)
        if affine is not None:
            bvecs = gradients.fsl_to_scanner(bvecs, affine)
        return cls(bvals, bvecs, axes="fsl" if affine is None else "scanner", **options)

    @classmethod
    def from_mrtrix(cls, grad: str | os.PathLike, **options) -> Acquisition:
        """Read an MRtrix `.b` table: rows `x y z b`, scanner axes, b in s/mm²."""
        return cls(*gradients.read_mrtrix(grad), **options)

    def with_values(self, bvals=None, bvecs=None, delta=None, Delta=None) -> Acquisition:
        """The same shells of the same volumes with other values, NumPy's or JAX's; traced ones may be.

        Args:
            bvals: (n,) s/mm². bvecs: (n, 3) of any length but 0. delta, Delta: (n,) ms. None: as they are.
        """
        old = {name: getattr(self, name) for name in Table._fields}
        new = {"bvals": bvals, "bvecs": bvecs, "delta": delta, "Delta": Delta}
        values = {name: new[name] if new[name] is not None else old[name] for name in Table._fields}
        wrong = [n for n, v in values.items() if v is not None and old[n] is not None and np.shape(v) != old[n].shape]
        if wrong:
            raise InputError(f"{wrong[0]} of shape {np.shape(values[wrong[0]])}", fix="one for each volume, as before")
        # All of one kind and precision.
        like = next((v for v in values.values() if is_jax(v)), old["bvals"])
        xp = like.__array_namespace__()
        values = {name: None if v is None else xp.asarray(v, dtype=like.dtype) for name, v in values.items()}
        if bvecs is not None:
            square = (values["bvecs"] ** 2).sum(axis=1)
            length = xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))
            values["bvecs"] = values["bvecs"] / length[:, None]
        return self.bare(tuple(values.values()))

    def bare(self, values: tuple) -> Acquisition:
        """The same with these b-values, directions, δ and Δ, whatever they are: JAX hands all sorts of things in."""
        out = object.__new__(Acquisition)
        kept = {name: value for name, value in self.__dict__.items() if name != "shells"}
        out.__dict__.update(kept | dict(zip(Table._fields, values, strict=True)))
        return out

    def concrete(self) -> Acquisition:
        """The same with NumPy's numbers, as files and whole fits need them."""
        if not self.traceable:
            return self
        values = (None if v is None else np.asarray(v, float) for v in (getattr(self, n) for n in Table._fields))
        return self.bare(tuple(values))

    @property
    def traceable(self) -> bool:
        """Whether its numbers are JAX's, and might be traced."""
        return is_jax(self.bvals)

    @property
    def _table(self) -> Table:
        """The numbers that may be traced."""
        return Table(self.bvals, self.bvecs, self.delta, self.Delta)

    @cached_property
    def shells(self) -> tuple[Shell, ...]:
        """b = 0, if there is any, then the others by rising b."""
        return tuple(shell_of(group, self._table) for group in self.groups)

    @property
    def b0(self) -> Shell | None:
        """The b = 0 volumes, or None."""
        return self.shells[0] if self.groups and self.groups[0].zero else None

    @property
    def b(self) -> np.ndarray:
        """(shells,) b-values in ms/µm², rising, b = 0 among them."""
        return self._stack([shell.b for shell in self.shells])

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Weighting of each shell, as `b`."""
        return tuple(shell.pulse for shell in self.shells)

    @property
    def variances(self) -> np.ndarray:
        """(shells,) variance of each shell's mean over that of one volume."""
        return self._stack([shell.variance for shell in self.shells])

    def _stack(self, numbers: list) -> Any:
        return self.bvals.__array_namespace__().asarray(numbers, dtype=self.bvals.dtype)

    @property
    def weights(self) -> np.ndarray:
        """(shells, volumes): spherical means = weights @ signal."""
        xp, n = self.bvals.__array_namespace__(), self.bvals.size
        rows = (shell.weights @ xp.eye(n, dtype=self.bvals.dtype)[shell.volumes] for shell in self.shells)
        return xp.stack(list(rows))

    def require_volumes(self, volumes: int) -> None:
        """Raise InputError unless data with this many volumes belong to the scheme."""
        if volumes != self.bvals.size:
            raise InputError(
                f"{volumes} volumes in the data (last axis) but {self.bvals.size} b-values",
                fix="both need one entry for each volume",
            )

    def require(self, shells: int, model: str) -> None:
        """Raise InputError unless there are b = 0 volumes and `shells` shells above them."""
        zero = bool(self.groups) and self.groups[0].zero
        if zero and len(self.groups) > shells:
            return
        found = "other shells" if self.traceable else "; ".join(map(str, self.shells)) or "no volumes"
        if not zero:
            raise InputError(
                f"no b = 0 volume (b ≤ {self.b0_threshold:.0f} s/mm²); found {found}",
                fix="add a b = 0 volume, or raise b0_threshold= if the lowest b-values are meant as b = 0",
            )
        raise InputError(
            f"the {model} model needs at least {shells} shells with b > 0; found {found}",
            fix="use a multi-shell acquisition",
        )
