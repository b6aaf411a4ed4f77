"""The least-squares problem of one voxel's FOD: one to three lobes under a fixed kernel.

For a lobe and a shell the convolved signal is a polynomial of s = 2w² - 1 and d = v² - u², with u, v, w
the components of the gradient direction in the lobe's frame. Its coefficients depend on the voxel
and the shell alone, so a direction costs one Horner pass, and the derivatives come with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from . import frames, noise
from .orientation import FrameHarmonics, frame_harmonics, kappa_from_odi, odi_from_kappa
from .solvers.base import Normal, Point, Problem
from .solvers.linear import inverse

#: Largest concentration that a fit considers: ODI 0.005, a spread of 3.6°.
KAPPA_MAX = 128.0
_ODI_MIN = 2 / math.pi * math.atan(1 / KAPPA_MAX)
# Enough for KAPPA_MAX at the orders that shells need.
_NODES = (28, 20)
# How far an ODI may pass 1 in one step of a Bingham lobe; beyond 1 two of its axes change places.
_ODI_PAST = 1.5


class Data(NamedTuple):
    """What a fit sees of a voxel, volumes ordered shell by shell.

    directions: each shell's (n, 3); the same in all voxels. kernel: each shell's Legendre moments
    K_0, K_2, … as far as its order; y: (volumes,) signal over S0. sigma: of Rician noise, over S0; None: least squares.
    """

    directions: tuple[Array, ...]
    kernel: tuple[Array, ...]
    y: Array
    sigma: Array | None = None


class Linear(NamedTuple):
    """A lobe's signal in all volumes (volumes,), and its derivatives by each step."""

    signal: Array
    columns: tuple[Array, ...]


@dataclass(frozen=True)
class Lobes:
    """N Watson or Bingham lobes with weights on the simplex.

    A point is, for each lobe, its axis μ (3) and ODI (Watson), or μ (3), μ₂ (3) and the dispersion
    indices of κ and κ - β (Bingham); then N - 1 parts p_j: weight 1 is p₁, weight 2 (1 - p₁) p₂, ….
    A step turns the frame and changes the rest, so directions move on the sphere itself. A Bingham
    lobe has no bound at β = 0 and β = κ: its axes change their names there.

    Attributes:
        axial: Watson. count: number of lobes. orders: truncation order of each shell.
    """

    axial: bool
    count: int
    orders: tuple[int, ...]

    @property
    def _point(self) -> int:
        return 4 if self.axial else 8

    @property
    def _step(self) -> int:
        return 3 if self.axial else 5

    @property
    def size(self) -> int:
        """Degrees of freedom."""
        return self.count * (self._step + 1) - 1

    def split(self, x: Point) -> tuple[list[Point], Point]:
        """Each lobe's part of a point, and the parts p."""
        k = self._point
        return [x[i * k : (i + 1) * k] for i in range(self.count)], x[self.count * k :]

    def problem(self, data: Data) -> Problem:
        """The least squares, or the Rician likelihood, over all volumes of a voxel."""

        def normal(x: Point) -> Normal:
            signal, columns = self.linearise(data, x)
            if data.sigma is not None:
                return _likelihood(data.y, data.sigma, signal, columns)
            r = signal - data.y
            rows = [*columns, r]
            gram = [tuple(_sum(a * b) for b in rows[: i + 1]) for i, a in enumerate(rows)]
            return Normal(0.5 * gram[-1][-1], gram[-1][:-1], tuple(gram[:-1]))

        return Problem(normal, self.room, self.move)

    def linearise(self, data: Data, x: Point) -> Linear:
        """Signal over S0 in all volumes, and its derivatives by the coordinates of a step."""
        lobes, parts = self.split(x)
        lobe = self._watson if self.axial else self._bingham
        each = [lobe(data, point) for point in lobes]
        # From the last lobe on: the signal of lobes j … N with weights that sum to 1.
        rest, columns = each[-1].signal, [each[-1].columns]
        of_parts: list[Array] = []
        for linear, p in zip(reversed(each[:-1]), reversed(parts), strict=True):
            of_parts = [linear.signal - rest, *(c * (1 - p) for c in of_parts)]
            columns = [tuple(c * p for c in linear.columns), *(tuple(c * (1 - p) for c in cs) for cs in columns)]
            rest = p * linear.signal + (1 - p) * rest
        return Linear(rest, (*(c for cs in columns for c in cs), *of_parts))

    def room(self, x: Point) -> tuple[Point, Point]:
        lobes, parts = self.split(x)
        far = jnp.full_like(x[0], jnp.inf)
        turns = (far,) * (2 if self.axial else 3)
        last = 1.0 if self.axial else _ODI_PAST
        indices = [lobe[3:] if self.axial else lobe[6:] for lobe in lobes]
        lower = [v for own in indices for v in (*(-t for t in turns), *(_ODI_MIN - o for o in own))]
        upper = [v for own in indices for v in (*turns, *(last - o for o in own))]
        return (*lower, *(-p for p in parts)), (*upper, *(1 - p for p in parts))

    def move(self, x: Point, step: Point) -> Point:
        lobes, parts = self.split(x)
        k = self._step
        turn = _move_watson if self.axial else _move_bingham
        moved = [v for i, lobe in enumerate(lobes) for v in turn(lobe, step[i * k : (i + 1) * k])]
        return (*moved, *(jnp.clip(p + d, 0, 1) for p, d in zip(parts, step[self.count * k :], strict=True)))

    def at_bound(self, x: Point, part: float = 1e-4) -> Array:
        """Whether a lobe is isotropic or as narrow as it may be, or a weight is 0."""
        lobes, parts = self.split(x)
        near = [(o < _ODI_MIN + part) for lobe in lobes for o in lobe[3 if self.axial else 6 :]]
        near += [(lobe[3] if self.axial else jnp.minimum(*lobe[6:])) > 1 - part for lobe in lobes]
        near += [(p < part) | (p > 1 - part) for p in parts]
        out = near[0]
        for n in near[1:]:
            out = out | n
        return out

    def named(self, x: Point) -> dict[str, Array]:
        """Maps of a point, lobes by falling weight: (lobes,) scalars and (lobes, 3) unit vectors."""
        points, parts = self.split(x)
        left, weights = jnp.ones_like(x[0]), []
        for p in parts:
            weights.append(left * p)
            left = left * (1 - p)
        weight = jnp.stack([*weights, left])
        order = jnp.argsort(-weight)

        def gather(values):
            return jnp.stack(list(values))[order]

        direction = gather(jnp.stack(point[:3]) for point in points)
        kappa = gather(kappa_from_odi(point[3 if self.axial else 6]) for point in points)
        if self.axial:
            beta, across = jnp.zeros_like(kappa), jnp.zeros_like(direction)
        else:  # μ₂ is the axis of the smaller gap
            along = gather(kappa_from_odi(point[7]) for point in points)
            v = gather(jnp.stack(point[3:6]) for point in points)
            across = jnp.where((along <= kappa)[:, None], v, jnp.cross(direction, v))
            kappa, along = jnp.maximum(kappa, along), jnp.minimum(kappa, along)
            beta = kappa - along
        return {
            "weight": weight[order],
            "odi": odi_from_kappa(kappa),
            "kappa": kappa,
            "beta": beta,
            "direction": direction,
            "across": across,
        }

    def uncertainty(
        self, data: Data, x: Point, noise: Array, moved: Callable[[Array], Data], count: int
    ) -> dict[str, Array]:
        """Standard deviations of what `named` gives, with kernels that are uncertain too.

        Cov = H⁻¹ + Σ_k (H⁻¹ ∂g/∂t_k)(…)ᵀ for the information H of the volumes and independent changes t_k of the
        kernel. Volumes of a shell say next to nothing of a lobe together, so their noise and that of the kernel, which
        the shells' means make, are independent.

        Args:
            noise: of a volume over S0.
            moved: `(t) -> data` with kernel and S0 off by `count` changes t of unit variance.
        Returns:
            of scalars, (lobes,); of "direction" the expected angle √(σ₁² + σ₂²) to the true axis, degrees.
        """
        still = jnp.zeros(self.size, x[0].dtype)
        normal = self.problem(data).normal(x)
        scale = 1.0 if data.sigma is not None else 1 / noise**2  # a likelihood is in units of the noise already
        rows = [[scale * normal.hessian[max(i, j)][min(i, j)] for j in range(self.size)] for i in range(self.size)]
        inverted, part = inverse(rows)
        covariance = jnp.stack([jnp.stack(row) for row in inverted])

        def gradient(t: Array) -> Array:
            return scale * jnp.stack(self.problem(moved(t)).normal(x).gradient)

        by_kernel = jax.jacfwd(gradient)(jnp.zeros(count, x[0].dtype))
        changes = jnp.matmul(covariance, by_kernel, precision="highest")

        def spread(name: str, kernel: Array) -> Array:
            def value(step: Array) -> Array:
                return self.named(self.move(x, tuple(step)))[name]

            by_step = jax.jacfwd(value)(still)
            own = jnp.einsum("...i,ij,...j->...", by_step, covariance, by_step, precision="highest")
            drawn = jnp.matmul(by_step, kernel, precision="highest")
            return own + jnp.sum(drawn**2, axis=-1)

        known = part > 4 * float(jnp.finfo(part.dtype).eps)
        # What is not known of the kernel leaves a direction as it is.
        finite = jnp.where(jnp.isfinite(changes), changes, 0)
        found = {name: spread(name, changes) for name in ("weight", "odi", "kappa", "beta")}
        found["direction"] = jnp.sum(spread("direction", finite), axis=-1) * math.degrees(1) ** 2
        return {name: jnp.where(known, jnp.sqrt(v), jnp.inf) for name, v in found.items()}

    def _shells(self, data: Data, coefficients: Array):
        """(directions, basis, polynomial coefficients (rows, monomials)) of each shell."""
        for g, moments, order in zip(data.directions, data.kernel, self.orders, strict=True):
            basis = frame_harmonics(order, self.axial, _NODES)
            scaled = coefficients[:, : len(basis.l)] * moments[basis.l // 2][None]
            yield g, basis, jnp.matmul(scaled, jnp.asarray(basis.polynomials.T, scaled.dtype), precision="highest")

    def _watson(self, data: Data, x: Point) -> Linear:
        *axis, odi = x
        kappa = kappa_from_odi(odi)
        c, by_u, by_v = frame_harmonics(max(self.orders), True, _NODES).coefficients(kappa, kappa)
        e1, e2 = frames.across(tuple(axis))
        signal, turn1, turn2, by_odi = [], [], [], []
        for g, basis, (f, df) in self._shells(data, jnp.stack([c, (by_u + by_v) * _slope(kappa)])):
            w = frames.dot(g.T, axis)
            s = 2 * w * w - 1
            value, ds, _ = _horner(basis, f, s)
            q = 4 * w * ds
            signal.append(value)
            turn1.append(q * frames.dot(g.T, e1))
            turn2.append(q * frames.dot(g.T, e2))
            by_odi.append(_horner(basis, df, s)[0])
        return Linear(jnp.concatenate(signal), tuple(jnp.concatenate(c) for c in (turn1, turn2, by_odi)))

    def _bingham(self, data: Data, x: Point) -> Linear:
        axis, across, (odi_u, odi_v) = x[:3], x[3:6], x[6:]
        gap_u, gap_v = kappa_from_odi(odi_u), kappa_from_odi(odi_v)
        c, by_u, by_v = frame_harmonics(max(self.orders), False, _NODES).coefficients(gap_u, gap_v)
        third = frames.cross(axis, across)
        signal: list[Array] = []
        columns: list[list[Array]] = [[], [], [], [], []]
        for g, basis, (f, fu, fv) in self._shells(data, jnp.stack([c, by_u * _slope(gap_u), by_v * _slope(gap_v)])):
            u, v, w = frames.dot(g.T, third), frames.dot(g.T, across), frames.dot(g.T, axis)
            s, d = 2 * w * w - 1, v * v - u * u
            value, ds, dd = _horner(basis, f, s, d)
            signal.append(value)
            each = (
                w * v * (4 * ds - 2 * dd),
                w * u * (4 * ds + 2 * dd),
                4 * u * v * dd,
                _horner(basis, fu, s, d)[0],
                _horner(basis, fv, s, d)[0],
            )
            for column, values in zip(columns, each, strict=True):
                column.append(values)
        return Linear(jnp.concatenate(signal), tuple(jnp.concatenate(c) for c in columns))


def _sum(values: Array) -> Array:
    """As a product with a vector of ones: much the fastest way on a CPU."""
    return jnp.matmul(values, jnp.ones_like(values), precision="highest")


def _likelihood(y: Array, sigma: Array, signal: Array, columns: tuple[Array, ...]) -> Normal:
    """-log p of Rician magnitudes, its gradient, and their information as its Hessian."""
    m, x = y / sigma, signal / sigma
    score, weight = (x - noise.expected_real(m, x)) / sigma, noise.information(x) / sigma**2
    return Normal(
        _sum(noise.misfit(m, x)),
        tuple(_sum(c * score) for c in columns),
        tuple(tuple(_sum(a * b * weight) for b in columns[: i + 1]) for i, a in enumerate(columns)),
    )


def misfit(data: Data, signal: Array) -> tuple[Array, Array]:
    """Twice the cost of a signal over S0, and its squared residuals, of magnitudes if the noise is Rician."""
    if data.sigma is None:
        squared = jnp.sum((signal - data.y) ** 2)
        return squared, squared
    m, x = data.y / data.sigma, signal / data.sigma
    return 2 * jnp.sum(noise.misfit(m, x)), data.sigma**2 * jnp.sum((m - noise.expected_magnitude(x)) ** 2)


def _horner(basis: FrameHarmonics, f: Array, s: Array, d: Array | float = 0.0):
    """Value of a polynomial and its derivatives by s and by d; unused ones cost nothing."""
    rows: list[list[Array]] = [[] for _ in range(1 + int(basis.powers[:, 1].max()))]
    for k, (_, j) in enumerate(basis.powers):
        rows[j].append(f[k])
    value = ds = dd = jnp.zeros_like(s)
    for n, row in enumerate(reversed(rows)):
        p, dp = jnp.full_like(s, 1) * row[-1], jnp.zeros_like(s)
        for c in reversed(row[:-1]):
            dp = dp * s + p
            p = p * s + c
        if n:
            dd = dd * d + value
            value, ds = value * d + p, ds * d + dp
        else:
            value, ds = p, dp
    return value, ds, dd


def _slope(kappa: Array) -> Array:
    """dκ/dODI."""
    return -(math.pi / 2) * (1 + kappa**2)


def _half_turn(step: Array) -> Array:
    """tan φ of the rotation that a step turns by: φ = ½ arctan(2 step), never more than 45°.

    That is how far the axes of the matrix B of a lobe turn when the step is added to B itself, so
    a step stays sensible where a lobe is so broad that its axes are hardly determined.
    """
    return 2 * step / (1 + jnp.sqrt(1 + 4 * step**2))


def _move_watson(x: Point, step: Point) -> Point:
    *axis, odi = x
    e1, e2 = frames.across(tuple(axis))
    square = step[0] ** 2 + step[1] ** 2
    some = square > 0
    length = jnp.sqrt(jnp.where(some, square, 1))
    scale = jnp.where(some, _half_turn(length) / length, 1)  # at rest the derivative counts
    turn = frames.combine(scale * step[0], e1, scale * step[1], e2)
    return (*frames.unit(frames.combine(1, tuple(axis), 1, turn)), jnp.clip(odi + step[2], _ODI_MIN, 1))


def _move_bingham(x: Point, step: Point) -> Point:
    axes = {"w": x[:3], "v": x[3:6], "u": frames.cross(x[:3], x[3:6])}
    level = {"w": jnp.zeros_like(x[6]), "v": -kappa_from_odi(x[7] + step[4]), "u": -kappa_from_odi(x[6] + step[3])}
    # The step added to the lobe's matrix B, and B diagonalised pair by pair.
    for (a, b), turn in zip((("w", "v"), ("w", "u"), ("v", "u")), step[:3], strict=True):
        t = _half_turn(turn)
        cos = 1 / jnp.sqrt(1 + t * t)
        sin = t * cos
        axes[a], axes[b] = frames.combine(cos, axes[a], sin, axes[b]), frames.combine(cos, axes[b], -sin, axes[a])
        apart = (level[a] - level[b]) * turn * t  # half of what the gap grows by, gap (√(1 + 4 step²) - 1)/2
        level[a], level[b] = level[a] + apart, level[b] - apart
    for other in ("v", "u"):  # μ is the axis of the largest level
        swap = level[other] > level["w"]
        level["w"], level[other] = jnp.maximum(level["w"], level[other]), jnp.minimum(level["w"], level[other])
        axes["w"], axes[other] = (
            tuple(jnp.where(swap, q, p) for p, q in zip(axes["w"], axes[other], strict=True)),
            tuple(jnp.where(swap, p, q) for p, q in zip(axes["w"], axes[other], strict=True)),
        )
    axis = frames.unit(axes["w"])
    across = frames.unit(frames.combine(1, axes["v"], -frames.dot(axis, axes["v"]), axis))
    indices = (jnp.clip(odi_from_kappa(level["w"] - level[k]), _ODI_MIN, 1) for k in ("u", "v"))
    return (*axis, *across, *indices)
