"""The acquisition: a gradient table and its shells. Does not import JAX."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..display import Shown
from ..errors import InputError
from ..files import gradients
from ..files.gradients import FilePath
from .arrays import equal_fields, is_jax, is_traced
from .checks import check_bvals, check_options, checked_settings, known_numbers, known_table, unit_directions
from .shells import GradientTable, Pulse, Shell, VolumeGroup, find_groups, shell_of
from .units import B_TO_MS_PER_UM2


@dataclass(frozen=True, eq=False)
class Acquisition(Shown):
    """A multi-shell scheme: b = 0 volumes and shells of directions.

    An acquisition is a JAX pytree of its numbers: `jax.grad` with respect to an acquisition is an acquisition, and
    `with_values` puts in other values, traced ones too. Which volumes form a shell is decided once, here, and never
    changes with the values. Volumes of different b, δ, Δ, b_Δ or echo time are different shells.

    Two acquisitions are equal if their options, shells and numbers are. None has a hash, as its arrays have none.

    Args:
        bvals: (n,) b-values in s/mm², or in `b_unit`. The attribute is in s/mm² always.
        bvecs: (n, 3) unit vectors. Rows at b = 0 are ignored, and may be 0 or NaN.
        b0_threshold: s/mm². Volumes with b up to it count as b = 0.
        spherical_mean: "sh" (least squares with spherical harmonics, of the order that the directions support) or
            "arithmetic" (the plain mean of the volumes).
        b_unit: unit of `bvals`: "s/mm2", "ms/um2" or "s/m2".
        axes: axes of `bvecs`: "scanner", "fsl" (image axes, x as FSL writes it), or "unknown": then none are saved.
        shell_gap: s/mm². b-values further apart than this belong to different shells. None: those more than 100
            apart, and those closer together whose gaps are clear against the spread about each.
        delta: duration δ of the gradient pulses in ms, a number or (n,), or None. Compartments of restricted
            diffusion need it.
        Delta: separation Δ of the gradient pulses in ms, as `delta`; both or neither.
        b_delta: shape b_Δ of the encoding in [-1/2, 1], a number or (n,): 1 is linear, 0 spherical, -1/2 planar,
            which has its axis across. Directions at b_Δ = 0 are ignored. None: all are linear.
        te: echo time in ms, a number or (n,), or None. Each echo time needs b = 0 volumes of its own, and
            has an S0 of its own; S0 of a fit is that of the shortest. Where compartments are `relaxing`, S0 is one.

    Attributes:
        groups: the volumes of each shell, as `shells`.

    Raises:
        InputError: values that cannot be a multi-shell scheme. The text says which, and what to do.

    Example:
        >>> import numpy as np
        >>> import jaxsmt as js
        >>> from jaxsmt.geometry.quadrature import gradient_directions
        >>> directions = gradient_directions(30)
        >>> bvals = np.repeat([0.0, 1000.0, 2000.0], [1, 30, 30])
        >>> bvecs = np.concatenate([np.zeros((1, 3)), directions, directions])
        >>> acquisition = js.Acquisition(bvals, bvecs)
        >>> for shell in acquisition.shells:
        ...     print(shell)
        b = 0 s/mm²: 1 volume
        b = 1000 s/mm²: 30 volumes, harmonic order 6
        b = 2000 s/mm²: 30 volumes, harmonic order 6
    """

    bvals: Any
    bvecs: Any
    b0_threshold: float = 50.0
    spherical_mean: str = "sh"
    b_unit: str = "s/mm2"
    axes: str = "scanner"
    shell_gap: float | None = None
    delta: Any = None
    Delta: Any = None
    b_delta: Any = None
    te: Any = None
    groups: tuple[VolumeGroup, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_options(self.b_unit, self.axes, self.spherical_mean, self.b0_threshold, self.shell_gap)
        inputs = self.table
        bvals, bvecs = known_table(self.bvals, self.bvecs)
        to_s_per_mm2 = B_TO_MS_PER_UM2[self.b_unit] / B_TO_MS_PER_UM2["s/mm2"]
        bvals = bvals * to_s_per_mm2
        check_bvals(bvals, self.b_unit)
        weighted = bvals > self.b0_threshold
        settings = checked_settings(map(known_numbers, inputs.settings), weighted)
        table = GradientTable(bvals, unit_directions(bvals, bvecs, weighted, settings[2]), *settings)
        groups = tuple(find_groups(table, self.b0_threshold, self.shell_gap, self.spherical_mean))
        self.__dict__.update(table._asdict(), b_unit="s/mm2", groups=groups)
        traced = {name: values for name, values in inputs._asdict().items() if is_traced(values)}
        if traced:  # the shells are found by the known numbers; the values stay traced
            if "bvals" in traced:
                traced["bvals"] = traced["bvals"] * to_s_per_mm2
            each = {name: v if np.ndim(v) else v * np.ones(bvals.size, v.dtype) for name, v in traced.items()}
            self.__dict__.update(self.with_values(**each).__dict__)

    def __eq__(self, other: object) -> bool:
        return equal_fields(self, other) if isinstance(other, Acquisition) else NotImplemented

    @classmethod
    def from_fsl(cls, bval: FilePath, bvec: FilePath, affine: np.ndarray | None = None, **options: Any) -> Acquisition:
        """Read FSL `bval` and `bvec` files in any of their layouts.

        Args:
            bval: file of n b-values, in a row or in a column.
            bvec: file of n directions, in three rows or in three columns.
            affine: (4, 4) voxel-to-scanner matrix of the image. With it, directions are turned into scanner axes
                (FSL's are image axes with x negated where det(affine) > 0); without it, they stay as written.
            options: other arguments of `Acquisition`.

        Returns:
            The acquisition of n volumes.

        Raises:
            InputError: a file that cannot be read, files that do not match, or no multi-shell scheme.

        Example:
            >>> from pathlib import Path
            >>> from tempfile import TemporaryDirectory
            >>> import numpy as np
            >>> import jaxsmt as js
            >>> scheme = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
            >>> with TemporaryDirectory() as folder:
            ...     bval, bvec = Path(folder, "dwi.bval"), Path(folder, "dwi.bvec")
            ...     np.savetxt(bval, scheme.bvals[None])
            ...     np.savetxt(bvec, scheme.bvecs.T)
            ...     acquisition = js.Acquisition.from_fsl(bval, bvec)
            >>> acquisition.axes, len(acquisition.shells)
            ('fsl', 4)
        """
        bvals, bvecs = gradients.read_fsl(bval, bvec)
        if affine is not None:
            bvecs = gradients.fsl_to_scanner(bvecs, affine)
        return cls(bvals, bvecs, axes="fsl" if affine is None else "scanner", **options)

    @classmethod
    def from_mrtrix(cls, grad: FilePath, **options: Any) -> Acquisition:
        """Read an MRtrix `.b` table: rows `x y z b`, scanner axes, b in s/mm².

        Args:
            grad: file of n rows.
            options: other arguments of `Acquisition`.

        Returns:
            The acquisition of n volumes.

        Raises:
            InputError: a file that cannot be read, or no multi-shell scheme.

        Example:
            >>> from pathlib import Path
            >>> from tempfile import TemporaryDirectory
            >>> import numpy as np
            >>> import jaxsmt as js
            >>> scheme = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
            >>> with TemporaryDirectory() as folder:
            ...     grad = Path(folder, "grad.b")
            ...     np.savetxt(grad, np.column_stack([scheme.bvecs, scheme.bvals]))
            ...     acquisition = js.Acquisition.from_mrtrix(grad)
            >>> acquisition.axes, len(acquisition.shells)
            ('scanner', 4)
        """
        return cls(*gradients.read_mrtrix(grad), **options)

    @property
    def table(self) -> GradientTable:
        """The numbers, which may be traced: b (n,) in s/mm², directions (n, 3), δ, Δ, b_Δ, TE (n,) or None.

        Example:
            >>> import jaxsmt as js
            >>> js.simulate.hcp_scheme(n_b0=2, n_directions=15).table.bvecs.shape
            (47, 3)
        """
        return GradientTable(self.bvals, self.bvecs, self.delta, self.Delta, self.b_delta, self.te)

    def with_values(
        self,
        bvals: Any = None,
        bvecs: Any = None,
        delta: Any = None,
        Delta: Any = None,
        b_delta: Any = None,
        te: Any = None,
    ) -> Acquisition:
        """The same shells of the same volumes with other values, of NumPy or of JAX; they may be traced.

        Directions are divided by their lengths. If any of the values is JAX's, all become JAX's, of its precision.

        Args:
            bvals: (n,) s/mm², or None: as they are.
            bvecs: (n, 3) vectors of any length, or None: as they are.
            delta, Delta, b_delta, te: (n,) each, or None: as they are.

        Returns:
            An acquisition with the same `groups`.

        Raises:
            InputError: values of another shape.

        Example:
            >>> import jax
            >>> import jaxsmt as js
            >>> scheme = js.simulate.hcp_scheme(n_b0=2, n_directions=15, shells=(1000.0,))
            >>> acquisition = js.Acquisition(scheme.bvals, scheme.bvecs, spherical_mean="arithmetic")
            >>> b_of_shells = jax.jit(lambda bvals: acquisition.with_values(bvals=bvals).b)
            >>> b_of_shells(2 * acquisition.bvals).round(4).tolist()
            [0.0, 2.0]
        """
        old = self.table
        new = GradientTable(bvals, bvecs, delta, Delta, b_delta, te)
        table = GradientTable(*(a if a is not None else b for a, b in zip(new, old, strict=True)))
        for name, values in table._asdict().items():
            if values is not None and np.shape(values) != (old.bvecs if name == "bvecs" else old.bvals).shape:
                raise InputError(f"{name} of shape {np.shape(values)}", fix="one for each volume, as before")
        # All of one kind and precision.
        like = next((values for values in table if is_jax(values)), old.bvals)
        xp = like.__array_namespace__()
        table = table.changed(lambda values: xp.asarray(values, dtype=like.dtype))
        if bvecs is not None:
            square = (table.bvecs**2).sum(axis=1)
            length = xp.sqrt(xp.where(square > 0, square, xp.ones_like(square)))
            table = table._replace(bvecs=table.bvecs / length[:, None])
        return self.with_table(table)

    def with_table(self, table: GradientTable) -> Acquisition:
        """The same shells with another table, without any check: JAX puts placeholders where numbers were.

        Args:
            table: what `table` is to return. Use `with_values` for numbers of your own.

        Returns:
            An acquisition with the same `groups`.

        Example:
            >>> import jaxsmt as js
            >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
            >>> acquisition.with_table(acquisition.table) == acquisition
            True
        """
        out = object.__new__(Acquisition)
        kept = {name: value for name, value in self.__dict__.items() if name != "shells"}
        out.__dict__.update(kept | table._asdict())
        return out

    def concrete(self) -> Acquisition:
        """The same acquisition in NumPy's numbers of double precision, which files and whole fits need.

        Returns:
            The acquisition itself where its numbers are NumPy's already.

        Raises:
            jax.errors.TracerArrayConversionError: JAX traces the numbers, so that nobody knows them.

        Example:
            >>> import jax.numpy as jnp
            >>> import jaxsmt as js
            >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
            >>> in_jax = acquisition.with_values(bvals=jnp.asarray(acquisition.bvals))
            >>> in_jax.traceable, in_jax.concrete().traceable
            (True, False)
        """
        if not self.traceable:
            return self
        return self.with_table(self.table.changed(lambda values: np.asarray(values, float)))

    @property
    def traceable(self) -> bool:
        """Whether the numbers are JAX's, and so may be traced."""
        return is_jax(self.bvals)

    @cached_property
    def shells(self) -> tuple[Shell, ...]:
        """The b = 0 shell, if there is one (of each echo time, the shortest first), then the others by rising b.

        Example:
            >>> import jaxsmt as js
            >>> [len(shell.volumes) for shell in js.simulate.hcp_scheme(n_b0=2, n_directions=15).shells]
            [2, 15, 15, 15]
        """
        return tuple(shell_of(group, self.table) for group in self.groups)

    @property
    def b0(self) -> Shell | None:
        """The shell of the b = 0 volumes, of the shortest echo time, or None.

        Example:
            >>> import jaxsmt as js
            >>> print(js.simulate.hcp_scheme(n_b0=2, n_directions=15).b0)
            b = 0 s/mm²: 2 volumes
        """
        return self.shells[0] if self._has_b0 else None

    @property
    def _has_b0(self) -> bool:
        """Whether there are b = 0 volumes."""
        return bool(self.groups) and self.groups[0].zero

    @property
    def b(self) -> Any:
        """b-values of the shells, (shells,) in ms/µm², rising, b = 0 among them.

        Example:
            >>> import jaxsmt as js
            >>> js.simulate.hcp_scheme(n_b0=2, n_directions=15).b.round(6)
            array([0., 1., 2., 3.])
        """
        return self._stack([shell.b for shell in self.shells])

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """Diffusion weighting of each shell, in the order of `b`.

        Example:
            >>> import jaxsmt as js
            >>> js.simulate.hcp_scheme(n_b0=2, n_directions=15).pulses[0]
            Pulse(b=0.0, delta=None, Delta=None, b_delta=None, te=None)
        """
        return tuple(shell.pulse for shell in self.shells)

    @property
    def variances(self) -> Any:
        """Variance of each shell's spherical mean over the variance of one volume, (shells,).

        Example:
            >>> import jaxsmt as js
            >>> scheme = js.simulate.hcp_scheme(n_b0=2, n_directions=20, shells=(1000.0,))
            >>> js.Acquisition(scheme.bvals, scheme.bvecs, spherical_mean="arithmetic").variances
            array([0.5 , 0.05])
        """
        return self._stack([shell.variance for shell in self.shells])

    def _stack(self, numbers: list[Any]) -> Any:
        """One number for each shell as an array of the table's kind."""
        return self.bvals.__array_namespace__().asarray(numbers, dtype=self.bvals.dtype)

    @property
    def weights(self) -> Any:
        """Weights of the volumes in the spherical means, (shells, volumes): means = weights @ signal.

        Example:
            >>> import jaxsmt as js
            >>> acquisition = js.simulate.hcp_scheme(n_b0=2, n_directions=15)
            >>> acquisition.weights.shape, acquisition.weights.sum(axis=1).round(6)
            ((4, 47), array([1., 1., 1., 1.]))
        """
        xp, n = self.bvals.__array_namespace__(), self.bvals.size
        rows = (shell.weights @ xp.eye(n, dtype=self.bvals.dtype)[shell.volumes] for shell in self.shells)
        return xp.stack(list(rows))

    def require_volumes(self, volumes: int) -> None:
        """Check that data with this number of volumes belong to the acquisition.

        Args:
            volumes: length of the data's last axis.

        Raises:
            InputError: the acquisition has another number of volumes.

        Example:
            >>> import jaxsmt as js
            >>> js.simulate.hcp_scheme(n_b0=2, n_directions=15).require_volumes(47)
        """
        if volumes != self.bvals.size:
            raise InputError(
                f"{volumes} volumes in the data (last axis) but {self.bvals.size} b-values",
                fix="both need one entry for each volume",
            )

    def require(self, shells: int, model: str) -> None:
        """Check that there are b = 0 volumes and enough shells for a model.

        Args:
            shells: number of shells with b > 0 that the model needs.
            model: its name, for the text.

        Raises:
            InputError: no b = 0 volume, or too few shells.

        Example:
            >>> import jaxsmt as js
            >>> js.simulate.hcp_scheme(n_b0=2, n_directions=15).require(shells=2, model="smt")
        """
        if self._has_b0 and sum(not group.zero for group in self.groups) >= shells:
            return
        # The numbers of traced shells cannot be printed.
        present = "other shells" if self.traceable else "; ".join(map(str, self.shells)) or "no volumes"
        if not self._has_b0:
            raise InputError(
                f"no b = 0 volume (b ≤ {self.b0_threshold:.0f} s/mm²); found {present}",
                fix="add a b = 0 volume, or raise b0_threshold= if the lowest b-values are meant as b = 0",
            )
        raise InputError(
            f"the {model} model needs at least {shells} shells with b > 0; found {present}",
            fix="use a multi-shell acquisition" + (", or lower b0_threshold=" if self.b0_threshold > 50 else ""),
        )
