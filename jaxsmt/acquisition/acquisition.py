"""From b-values and directions to shells and the weights of their spherical means. NumPy only."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, JaxsmtWarning
from ..files import gradients
from ..sphere.harmonics import even_harmonics, n_coefficients
from ..sphere.quadrature import fibonacci_sphere
from .units import B_TO_MS_PER_UM2

#: b-values (s/mm²) further apart than this belong to different shells: ±50 about each is one.
SHELL_GAP = 100.0
#: A run of b-values without a gap that is wider than this is not a shell.
SHELL_WIDTH = 400.0
#: Highest order tried for a shell's harmonic fit; the signal has nothing above it at b ≤ 10.
MAX_ORDER = 16
#: Largest factor by which a shell's weights may raise the noise of its mean over the plain mean.
MAX_AMPLIFICATION = 1.05


class Pulse(NamedTuple):
    """Diffusion weighting of a measurement: b in ms/µm², the pulses' duration δ and separation Δ in ms.

    γ²G² = b/(δ²(Δ - δ/3)). δ and Δ are None where they are not known; most compartments need b alone.
    """

    b: Any
    delta: Any = None
    Delta: Any = None


@dataclass(frozen=True)
class Shell:
    """Volumes of one b-value and timing, and the linear form a·S that estimates their spherical mean.

    Attributes:
        b: ms/µm², the mean b-value under the same weights (so b-value jitter cancels to first
            order). volumes: (n,) volume numbers. weights: (n,), sum 1. order: of the harmonic
            fit behind the weights; 0 is the plain mean. delta, Delta: ms, or None.
    Numbers are NumPy's, or JAX's where the acquisition's are.
    """

    b: Any
    volumes: np.ndarray
    weights: Any
    order: int
    delta: Any = None
    Delta: Any = None

    @property
    def pulse(self) -> Pulse:
        return Pulse(self.b, self.delta, self.Delta)

    @property
    def variance(self) -> Any:
        """Variance of the mean over that of one volume: Σ a²."""
        return (self.weights**2).sum()

    @property
    def amplification(self) -> float:
        """Noise of the mean over that of the plain mean: √(n Σ a²) ≥ 1."""
        return math.sqrt(len(self.volumes) * self.variance)

    def __str__(self) -> str:
        n = len(self.volumes)
        timing = "" if self.delta is None else f", δ = {self.delta:g} ms, Δ = {self.Delta:g} ms"
        what = f"b = {1000 * self.b:.0f} s/mm²{timing}: {n} volume{'s' * (n > 1)}"
        return f"{what}, harmonic order {self.order}" if self.order else what


_VALUES = ("bvals", "bvecs", "delta", "Delta")


class Group(NamedTuple):
    """Volumes that are one shell, the order of the harmonic fit of their mean, and whether they count as b = 0."""

    volumes: tuple[int, ...]
    order: int
    zero: bool = False


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

    def __post_init__(self):
        given: tuple[Any, ...] = (self.bvals, self.bvecs, self.delta, self.Delta)
        bvals, bvecs = (np.asarray(_known(v), float) for v in given[:2])
        if self.b_unit not in B_TO_MS_PER_UM2:
            raise InputError(f"unknown b unit {self.b_unit!r}", fix=f"one of {', '.join(B_TO_MS_PER_UM2)}")
        if self.axes not in ("scanner", "fsl"):
            raise InputError(f"unknown axes {self.axes!r}", fix="'scanner' or 'fsl'")
        if self.spherical_mean not in ("sh", "arithmetic"):
            raise InputError(f"unknown spherical mean {self.spherical_mean!r}", fix="'sh' or 'arithmetic'")
        if bvals.ndim != 1 or bvecs.shape != (bvals.size, 3):
            raise InputError(
                f"b-values of shape {bvals.shape} and directions of shape {bvecs.shape} do not match",
                fix="give (n,) b-values and (n, 3) directions",
            )
        bvals = bvals * (B_TO_MS_PER_UM2[self.b_unit] / B_TO_MS_PER_UM2["s/mm2"])
        _check_bvals(bvals, self.b_unit)
        bvecs = _unit_directions(bvals, bvecs, self.b0_threshold)
        delta, Delta = _timing(_known(self.delta), _known(self.Delta), bvals > self.b0_threshold)
        known = ("bvals", bvals), ("bvecs", bvecs), ("b_unit", "s/mm2"), ("delta", delta), ("Delta", Delta)
        scale = B_TO_MS_PER_UM2[self.b_unit] / B_TO_MS_PER_UM2["s/mm2"]
        for name, value in known:
            object.__setattr__(self, name, value)
        object.__setattr__(self, "groups", tuple(self._find_groups()))
        traced = {n: v for n, v in zip(_VALUES, given, strict=True) if _is_traced(v) and np.ndim(v)}
        if traced:  # shells by what is known, numbers as they were given
            if "bvals" in traced:
                traced["bvals"] = traced["bvals"] * scale
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
        old = {name: getattr(self, name) for name in _VALUES}
        new = {"bvals": bvals, "bvecs": bvecs, "delta": delta, "Delta": Delta}
        values = {name: new[name] if new[name] is not None else old[name] for name in _VALUES}
        wrong = [n for n, v in values.items() if v is not None and old[n] is not None and np.shape(v) != old[n].shape]
        if wrong:
            raise InputError(f"{wrong[0]} of shape {np.shape(values[wrong[0]])}", fix="one for each volume, as before")
        # All of one kind and precision.
        like = next((v for v in values.values() if _is_jax(v)), old["bvals"])
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
        out.__dict__.update(kept | dict(zip(_VALUES, values, strict=True)))
        return out

    def concrete(self) -> Acquisition:
        """The same with NumPy's numbers, as files and whole fits need them."""
        if not self.traceable:
            return self
        values = (None if v is None else np.asarray(v, float) for v in (getattr(self, n) for n in _VALUES))
        return self.bare(tuple(values))

    @property
    def traceable(self) -> bool:
        """Whether its numbers are JAX's, and might be traced."""
        return _is_jax(self.bvals)

    @cached_property
    def shells(self) -> tuple[Shell, ...]:
        """b = 0, if there is any, then the others by rising b."""
        return tuple(self._shell(group) for group in self.groups)

    def _shell(self, group: Group) -> Shell:
        volumes = np.array(group.volumes, np.int32)  # an index in either of JAX's precisions
        b = self.bvals[volumes] * 1e-3
        number = (lambda v: v) if self.traceable else float  # which JAX takes in any precision
        if group.order:
            weights = harmonic_weights(self.bvecs[volumes], group.order)
        else:
            weights = b.__array_namespace__().full_like(b, 1 / len(volumes))
        timing = (number(t[volumes].mean()) for t in (self.delta, self.Delta) if t is not None)
        return Shell(number((weights * b).sum()), volumes, weights, group.order, *timing)

    def _find_groups(self):
        b0 = np.flatnonzero(self.bvals <= self.b0_threshold)
        if b0.size:
            yield Group(tuple(b0.tolist()), 0, zero=True)
        rest = np.flatnonzero(self.bvals > self.b0_threshold)
        rest = rest[np.argsort(self.bvals[rest], kind="stable")]
        breaks = np.flatnonzero(np.diff(self.bvals[rest]) > self.shell_gap) + 1
        for volumes in np.split(rest, breaks) if rest.size else ():
            low, high = self.bvals[volumes[0]], self.bvals[volumes[-1]]
            if high - low > SHELL_WIDTH:
                raise InputError(
                    f"b-values run from {low:.0f} to {high:.0f} s/mm² without a gap of {self.shell_gap:.0f}: "
                    "these are not shells",
                    fix="the spherical mean needs volumes grouped at a few b-values",
                )
            for part in self._by_timing(np.sort(volumes)):
                order = mean_weights(self.bvecs[part])[0] if self.spherical_mean == "sh" else 0
                self._warn_of_poor_cover(part, order)
                yield Group(tuple(part.tolist()), order)

    def _by_timing(self, volumes: np.ndarray):
        """Volumes of one b-value by δ and Δ: those of different timing are different shells."""
        if self.delta is None or self.Delta is None:
            yield volumes
            return
        timings = np.stack([self.delta, self.Delta], axis=1)[volumes]  # type: ignore[list-item]
        for timing in np.unique(timings, axis=0):
            yield volumes[np.all(timings == timing, axis=1)]

    def _warn_of_poor_cover(self, volumes: np.ndarray, order: int) -> None:
        n, low = volumes.size, 2 if volumes.size < 15 else 4
        if n < 6 or (self.spherical_mean == "sh" and order < low):
            how = f"harmonics of order {order} only" if order else "a plain mean"
            warnings.warn(
                f"the {n} directions at b = {self.bvals[volumes].mean():.0f} s/mm² are too few or too uneven: "
                f"they support {how}, and the shell's spherical mean may be biased",
                JaxsmtWarning,
                stacklevel=5,
            )

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
                fix="add a b = 0 volume, or raise --b0-threshold if the lowest b-values are meant as b = 0",
            )
        raise InputError(
            f"the {model} model needs at least {shells} shells with b > 0; found {found}",
            fix="use a multi-shell acquisition",
        )


def mean_weights(directions: np.ndarray) -> tuple[int, np.ndarray]:
    """Weights a with Σ a_i S(g_i) = spherical mean of S, from harmonic least squares.

    The order of the harmonics is the highest with no more coefficients than directions, full rank, and
    noise √(n Σa²) at most `MAX_AMPLIFICATION` times that of the plain mean.

    Args:
        directions: (n, 3) unit vectors.
    Returns:
        order (0: plain mean) and (n,) weights that sum to 1.
    """
    n = len(directions)
    for order in range(MAX_ORDER, 0, -2):
        if n_coefficients(order) > n:
            continue
        singular = np.linalg.svd(even_harmonics(directions, order), compute_uv=False)
        if singular[-1] > 1e-6 * singular[0]:
            weights = harmonic_weights(directions, order)
            if math.sqrt(n * np.sum(weights**2)) <= MAX_AMPLIFICATION:
                return order, weights
    return 0, np.full(n, 1 / n)


def harmonic_weights(directions: Any, order: int) -> Any:
    """The l = 0 row of the pseudo-inverse of the even harmonics up to an order, at (n, 3) directions: (n,).

    Any basis of their space gives it. This one, Σ_l (2l + 1) P_l(g·p_j) for as many axes p_j as there are
    harmonics, is smooth everywhere, and each member's spherical mean is 1. NumPy or JAX, as the directions are.
    """
    xp, n = directions.__array_namespace__(), n_coefficients(order)
    axes = xp.asarray(fibonacci_sphere(2 * n)[:n], dtype=directions.dtype)
    cosine = (directions[:, None, :] * axes[None]).sum(axis=-1)
    before, legendre, basis = xp.ones_like(cosine), cosine, xp.ones_like(cosine)
    for l in range(2, order + 1):
        before, legendre = legendre, ((2 * l - 1) * cosine * legendre - (l - 1) * before) / l
        if l % 2 == 0:
            basis = basis + (2 * l + 1) * legendre
    q, r = xp.linalg.qr(basis)
    return (q * xp.linalg.solve(r.T, xp.ones(n, dtype=q.dtype))[None, :]).sum(axis=1)


def _is_jax(values: Any) -> bool:
    return hasattr(values, "aval")


def _is_traced(values: Any) -> bool:
    return hasattr(values, "to_concrete_value")


def _known(values: Any) -> Any:
    """The numbers behind JAX's arrays, which tell what volumes form shells."""
    if _is_traced(values):
        values = values.to_concrete_value()
        if values is None:
            raise InputError(
                "b-values or directions are traced by jit or vmap, so that shells cannot be found",
                fix="make an Acquisition outside, and put traced values into it by with_values(bvals=, bvecs=)",
            )
    return values


def _timing(delta, Delta, weighted: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """δ and Δ of each volume; those of b = 0 volumes without pulses are the others' mean."""
    n = weighted.size
    if delta is None and Delta is None:
        return None, None
    if delta is None or Delta is None:
        raise InputError("one of delta and Delta is given", fix="give both, or neither")
    delta, Delta = (np.asarray(value, float) for value in (delta, Delta))
    if any(value.shape not in ((), (n,)) for value in (delta, Delta)):
        raise InputError(
            f"delta of shape {delta.shape} and Delta of shape {Delta.shape}", fix=f"give numbers, or {n} each"
        )
    delta, Delta = np.array(np.broadcast_to(delta, n)), np.array(np.broadcast_to(Delta, n))
    good = (delta > 0) & (Delta >= delta) & (Delta < 1e4)
    if np.any(weighted & ~good):
        i = np.flatnonzero(weighted & ~good)[0]
        raise InputError(f"volume {i} has δ = {delta[i]:g} ms and Δ = {Delta[i]:g} ms", fix="0 < δ ≤ Δ, both in ms")
    for times in (delta, Delta):
        times[~good] = times[weighted].mean() if weighted.any() else np.nan
    return delta, Delta


def _check_bvals(bvals: np.ndarray, unit: str) -> None:
    bad = np.flatnonzero(~np.isfinite(bvals) | (bvals < 0))
    if bad.size:
        raise InputError(
            f"b-value of volume {bad[0]} is {bvals[bad[0]]:g}; {bad.size} like it",
            fix="b-values are finite and not negative",
        )
    largest = bvals.max(initial=0.0)
    if 0 < largest < 50 or largest > 1e5:
        other = "ms/um2" if largest < 50 else "s/m2"
        fix = f"if these are {other}, say so: --b-unit {other}" if unit == "s/mm2" else f"are the b-values in {unit}?"
        raise InputError(f"the largest b-value is {largest:g} s/mm²", fix=fix)


def _unit_directions(bvals: np.ndarray, bvecs: np.ndarray, threshold: float) -> np.ndarray:
    weighted = bvals > threshold
    norms = np.linalg.norm(bvecs, axis=1)
    bad = np.flatnonzero(weighted & ~(np.abs(norms - 1) <= 0.02))
    if bad.size:
        i = bad[0]
        kind = "is not finite" if not np.isfinite(norms[i]) else f"has length {norms[i]:.3g}, not 1"
        hint = "directions must be unit vectors"
        shell_max = bvals.max()
        if np.allclose(norms[weighted], np.sqrt(bvals[weighted] / shell_max), atol=0.02):
            hint += "; these are scaled by √b: divide them by their lengths and give each volume its own b-value"
        raise InputError(f"the direction of volume {i} (b = {bvals[i]:.0f} s/mm²) {kind}; {bad.size} like it", fix=hint)
    # At b = 0 the direction means nothing, and files hold zeros or NaN there.
    return np.where(weighted[:, None], bvecs, 0) / np.where(weighted, norms, 1)[:, None]
