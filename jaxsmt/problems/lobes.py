"""The least-squares problem of one voxel's FOD: one to three lobes under a fixed kernel.

For a lobe and a shell the convolved signal is a polynomial of s = 2w² - 1 and d = v² - u², with u, v, w
the components of the gradient direction in the lobe's frame. Its coefficients depend on the voxel
and the shell alone, so a direction costs one Horner pass, and the derivatives come with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero

from ..physics import noise
from ..physics.orientation import frame_harmonics, kappa_from_odi, odi_from_kappa
from ..solvers.base import Normal, Point, Problem
from ..solvers.linear import inverse
from ..sphere import frames

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


Components = dict[str, tuple[Array, ...]]  #: u, v and w of each shell's directions in the frame of a lobe


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
    def _turns(self) -> tuple[tuple[str, str], ...]:
        """Pairs of axes that a step turns in their plane."""
        return (("w", "v"), ("w", "u"), ("v", "u"))[: 2 if self.axial else 3]

    @property
    def size(self) -> int:
        """Degrees of freedom."""
        return self.count * (self._step + 1) - 1

    def split(self, x: Point) -> tuple[list[Point], Point]:
        """Each lobe's part of a point, and the parts p."""
        k = self._point
        return [x[i * k : (i + 1) * k] for i in range(self.count)], x[self.count * k :]

    def weights(self, x: Point) -> list[Array]:
        """Of each lobe; their sum is 1."""
        left, weights = jnp.ones_like(x[0]), []
        for p in self.split(x)[1]:
            weights.append(left * p)
            left = left * (1 - p)
        return [*weights, left]

    def problem(self, data: Data) -> Problem:
        """The least squares, or the Rician likelihood, over all volumes of a voxel."""

        def normal(x: Point) -> Normal:
            signal, columns = self.linearise(data, x)
            if data.sigma is not None:
                return _likelihood(data.y, data.sigma, signal, columns)
            rows = [*columns, _score(data.y, None, signal)]
            gram = [tuple(_sum(a * b) for b in rows[: i + 1]) for i, a in enumerate(rows)]
            return Normal(0.5 * gram[-1][-1], gram[-1][:-1], tuple(gram[:-1]))

        return Problem(normal, partial(self._hessian, data), self.room, self.move)

    def linearise(self, data: Data, x: Point) -> Linear:
        """Signal over S0 in all volumes, and its derivatives by the coordinates of a step."""
        lobes, parts = self.split(x)
        each = [self._lobe(data, *self._in_frame(data, point)) for point in lobes]
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
        turns = (far,) * len(self._turns)
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
        points, _ = self.split(x)
        weight = jnp.stack(self.weights(x))
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

    def _in_frame(self, data: Data, point: Point) -> tuple[Components, Point]:
        """Each shell's directions in a lobe's frame, and the lobe's dispersion indices."""
        axis = point[:3]
        v, u = frames.across(axis) if self.axial else (point[3:6], frames.cross(axis, point[3:6]))
        components = {
            name: tuple(frames.dot(g.T, along) for g in data.directions)
            for name, along in {"u": u, "v": v, "w": axis}.items()
        }
        return components, point[3 if self.axial else 6 :]

    def _lobe(self, data: Data, components: Components, indices: Point) -> Linear:
        """One lobe's signal and its derivatives by a step: turns, then dispersion indices."""
        gaps = [kappa_from_odi(index) for index in indices]
        c, by_u, by_v = frame_harmonics(max(self.orders), self.axial, _NODES).coefficients(gaps[0], gaps[-1])
        by_gaps = [by_u + by_v] if self.axial else [by_u, by_v]
        coefficients = jnp.stack([c, *(by * _slope(gap) for by, gap in zip(by_gaps, gaps, strict=True))])
        signal, columns = [], []
        for u, v, w, moments, order in zip(*components.values(), data.kernel, self.orders, strict=True):
            basis = frame_harmonics(order, self.axial, _NODES)
            scaled = coefficients[:, : len(basis.l)] * moments[basis.l // 2][None]
            polynomials = jnp.matmul(scaled, jnp.asarray(basis.polynomials.T, scaled.dtype), precision="highest")
            rows = np.flatnonzero(np.diff(basis.powers[:, 1])) + 1
            f, *by_indices = (tuple(jnp.split(polynomial, rows)) for polynomial in polynomials)
            s, d = 2 * w * w - 1, v * v - u * u
            value, ds, dd = _horner(f, s, d)
            turns = w * v * (4 * ds - 2 * dd), w * u * (4 * ds + 2 * dd), 4 * u * v * dd
            signal.append(value)
            columns.append([*turns[: len(self._turns)], *(_horner(by, s, d)[0] for by in by_indices)])
        return Linear(jnp.concatenate(signal), tuple(jnp.concatenate(each) for each in zip(*columns, strict=True)))

    def _lobe_twice(self, data: Data, components: Components, indices: Point) -> list[tuple[Array, ...]]:
        """Second derivatives of one lobe's signal: those of its columns by each coordinate of a step."""
        out = []
        for a, b in self._turns:
            ends = components[a], components[b]

            def turned(p, q, a=a, b=b):
                return self._lobe(data, {**components, a: p, b: q}, indices).columns

            out.append(jax.jvp(turned, ends, (ends[1], tuple(-c for c in ends[0])))[1])
        for i, index in enumerate(indices):

            def spread(index, i=i):
                return self._lobe(data, components, (*indices[:i], index, *indices[i + 1 :])).columns

            out.append(jax.jvp(spread, (index,), (jnp.ones_like(index),))[1])
        return out

    def _hessian(self, data: Data, x: Point) -> tuple[Point, ...]:
        """Σ ρ″ ∂E ∂Eᵀ + Σ ρ′ ∂²E for a cost Σ ρ(E; y), without the part of ∂²E that is not a lobe's own.

        That part, of a lobe and its weight or of two weights, makes terms in the gradient, which vanish with it. So do
        those that other ways to turn the three axes of a Bingham lobe would add.
        """
        signal, columns = self.linearise(data, x)
        slope, weight = jax.jvp(partial(_score, data.y, data.sigma), (signal,), (jnp.ones_like(signal),))
        rows = [[_sum(a * b * weight) for b in columns[: i + 1]] for i, a in enumerate(columns)]
        for n, (point, share) in enumerate(zip(self.split(x)[0], self.weights(x), strict=True)):
            first = n * self._step
            for j, by_j in enumerate(self._lobe_twice(data, *self._in_frame(data, point))):
                for i in range(j, self._step):
                    rows[first + i][first + j] += share * _sum(slope * by_j[i])
        return tuple(map(tuple, rows))


def _sum(values: Array) -> Array:
    """As a product with a vector of ones: much the fastest way on a CPU."""
    return jnp.matmul(values, jnp.ones_like(values), precision="highest")


def _score(y: Array, sigma: Array | None, signal: Array) -> Array:
    """Derivative of the cost by the signal."""
    if sigma is None:
        return signal - y
    x = signal / sigma
    return (x - noise.expected_real(y / sigma, x)) / sigma


def _likelihood(y: Array, sigma: Array, signal: Array, columns: tuple[Array, ...]) -> Normal:
    """-log p of Rician magnitudes, its gradient, and their information as its Hessian."""
    score, weight = _score(y, sigma, signal), noise.information(signal / sigma) / sigma**2
    return Normal(
        _sum(noise.misfit(y / sigma, signal / sigma)),
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


Polynomial = tuple[Array, ...]  #: coefficients of 1, s, s², …; then those times d, d², …


@jax.custom_jvp
@jax.jit  # traced once for each shape
def _horner(f: Polynomial, s: Array, d: Array) -> tuple[Array, Array, Array]:
    """Value of a polynomial and its derivatives by s and by d; unused ones cost nothing."""
    zero = 0 * s  # with the axes that vmap adds, as its derivatives have them
    value = ds = dd = zero
    for n, row in enumerate(reversed(f)):
        p, dp = zero + row[-1], zero
        for k in reversed(range(len(row) - 1)):
            dp = dp * s + p
            p = p * s + row[k]
        if n:
            dd = dd * d + value
            value, ds = value * d + p, ds * d + dp
        else:
            value, ds = p, dp
    return value, ds, dd


@partial(_horner.defjvp, symbolic_zeros=True)
def _of_horner(primals, tangents):
    """Linear in the coefficients, and by s or d the same of another polynomial; nothing for what does not change."""
    f, s, d = primals
    by_s = tuple(row[1:] * jnp.arange(1, len(row), dtype=row.dtype) for row in f if len(row) > 1)
    by_d = tuple(j * row for j, row in enumerate(f))[1:]
    out = _horner(f, s, d)
    terms = [tuple(0 * v for v in out)]
    if not isinstance(tangents[0][0], SymbolicZero):
        terms.append(_horner(tangents[0], s, d))
    for polynomial, change in ((by_s, tangents[1]), (by_d, tangents[2])):
        if polynomial and not isinstance(change, SymbolicZero):
            terms.append(tuple(change * v for v in _horner(polynomial, s, d)))
    return out, tuple(map(sum, zip(*terms, strict=True)))


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
