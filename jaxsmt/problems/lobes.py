"""The search for one voxel's FOD: one to three lobes with weights, under a kernel that is held."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from ..geometry import frames
from ..physics.convolution import Polynomial, by_powers_of_d, horner, polynomials
from ..physics.densities.base import Density, kappa_from_odi, odi_from_kappa
from ..physics.frame_harmonics import FrameHarmonics
from ..physics.noises import find
from ..physics.noises.base import Noise
from ..solvers import Normal, Point, Problem
from ..solvers.linear import few
from .base import Easier, Trial
from .lobe_coordinates import Coordinates, coordinates_of, slope
from .lobe_starts import ONE_SHELL, ORDER, HarmonicFits, OneShell, Summary, one_shell, starting_points, summary_of

# Part of the range of a dispersion index or weight that counts as its bound.
_AT_BOUND = 1e-4
# Steps from each of several starting points before only the best goes on.
_STEPS_ON_ONE_SHELL, _STEPS_ON_ALL_VOLUMES = 8, 16
# Order of harmonics that some shell must determine for one shell to stand for all.
_ORDER_OF_ONE_SHELL = 4
# Rows up to which their products are faster one by one, each as a product with a vector of ones: one lobe's and the
# score.
_FEW = 6
_GAUSSIAN = find("gaussian")


class Data(NamedTuple):
    """What the search sees of a voxel, volumes ordered shell by shell.

    directions: each shell's (n, 3), the same in all voxels. harmonics: of the search's starts.
    moments: each shell's Legendre moments K_0, K_2, … of the kernel, as far as its order.
    y: (volumes,) signal over S0. sigma: noise over S0; None: 1, as least squares do not depend on it.
    """

    directions: tuple[Array, ...]
    harmonics: HarmonicFits
    moments: tuple[Array, ...]
    y: Array
    sigma: Array | None = None


class Fused(Protocol):
    """Makes the normal equations of many voxels on a GPU; `batch` has it."""

    def __call__(self, lobes: Any, data: Data, x: Point) -> Normal:
        """What `lobes.problem_of(data).normal(x)` gives."""

    def scalars(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """As `Problem.scalars`."""


Components = dict[str, tuple[Array, ...]]  #: u, v and w of each shell's directions in the frame of a lobe


class Linear(NamedTuple):
    """A signal in all volumes (volumes,), and its derivatives by each coordinate of a step (size, volumes)."""

    signal: Array
    columns: Array


@dataclass(frozen=True)
class Lobes:
    """N lobes of one density with weights on the simplex; a `Search`.

    A point is each lobe's own point (see `lobe_coordinates`), then N - 1 parts p_j: weight 1 is p₁, weight 2 is
    (1 - p₁) p₂, and so on. A step is ordered likewise. The cost is -log p of the volumes; with Gaussian noise that is
    the sum of squares ½ Σ (y - E)².

    Attributes:
        density: the family. count: N. orders: at which each shell's signal is cut. noise: the distribution.
        determined: the highest order of harmonics that the directions of a shell determine; see `HarmonicFits.order`.
        fused: makes the normal equations of many lanes on a GPU; None: they are written as arrays.
    """

    density: Density
    count: int
    orders: tuple[int, ...]
    noise: Noise
    determined: int = ORDER
    fused: Fused | None = None

    @property
    def coordinates(self) -> Coordinates:
        """Those of one lobe."""
        return coordinates_of(self.density)

    @property
    def size(self) -> int:
        """Degrees of freedom."""
        return self.count * (self.coordinates.step + 1) - 1

    @property
    def point(self) -> int:
        """Numbers of a point."""
        return self.count * (self.coordinates.point + 1) - 1

    @property
    def kind(self) -> str:
        return "fods"

    @property
    def n_starts(self) -> int:
        return self.coordinates.indices if self.count == 1 else 3

    @property
    def stride(self) -> int:
        return 2

    @property
    def least_index(self) -> float:
        """The dispersion index of the narrowest lobe."""
        return 2 / math.pi * math.atan(1 / self.density.largest)

    # Points.

    def starts(self, data: Data) -> Point:
        return starting_points(self.density, self.coordinates, self.count, _summary(data))

    def trial(self, selective: bool) -> Trial | None:
        """On one shell that stands for all, or, where every minimum of several lobes is of use, on all volumes.

        Several lobes where there is one have many minima of nearly the same cost, which a summary does not tell apart.
        """
        if self.determined < _ORDER_OF_ONE_SHELL or not (self.count == 1 or selective):
            return Trial(_STEPS_ON_ALL_VOLUMES)
        search = replace(self, orders=(ORDER,), noise=_GAUSSIAN)
        return Trial(_STEPS_ON_ONE_SHELL, Easier(search, lambda data: one_shell(_summary(data)), _data_of_one_shell))

    def split(self, x: Point) -> tuple[list[Point], Point]:
        """Each lobe's part of a point, and the parts p."""
        k = self.coordinates.point
        return [x[i * k : (i + 1) * k] for i in range(self.count)], x[self.count * k :]

    def weights(self, x: Point) -> list[Array]:
        """Of each lobe; their sum is 1."""
        left, weights = jnp.ones_like(x[0]), []
        for p in self.split(x)[1]:
            weights.append(left * p)
            left = left * (1 - p)
        return [*weights, left]

    def room(self, x: Point) -> tuple[Point, Point]:
        """The box that a step from x may lie in."""
        lobes, parts = self.split(x)
        low, high = self._in_turn(lambda lobe: self.coordinates.limits(lobe, self.least_index), lobes)
        return (*low, *(-p for p in parts)), (*high, *(1 - p for p in parts))

    def move(self, x: Point, step: Point) -> Point:
        """Where a step leads."""
        lobes, parts = self.split(x)
        k, n = self.coordinates.step, self.coordinates.point
        steps = [step[i * k : (i + 1) * k] for i in range(self.count)]
        pairs = [(*lobe, *by) for lobe, by in zip(lobes, steps, strict=True)]
        moved = self._in_turn(lambda pair: self.coordinates.move(pair[:n], pair[n:], self.least_index), pairs)
        return (*moved, *(jnp.clip(p + d, 0, 1) for p, d in zip(parts, step[self.count * k :], strict=True)))

    def _in_turn(self, function: Callable[[Point], Any], lobes: Sequence[Point]) -> Any:
        """Tuples of one lobe's point, for all lobes one after the other, lobe by lobe."""
        if self.fused is not None:  # no arrays are made, as there are none in kernels
            each = [function(lobe) for lobe in lobes]
            return jax.tree.map(lambda *tuples: sum(tuples, ()), *each, is_leaf=_is_flat)
        return jax.tree.map(_lobe_by_lobe, _each(function, lobes), is_leaf=_is_flat)

    def at_bound(self, x: Point) -> Array:
        """Whether a lobe is isotropic or as narrow as it may be, or a weight is 0."""
        lobes, parts = self.split(x)
        near = _each(lambda lobe: self.coordinates.at_bound(lobe, self.least_index, _AT_BOUND), lobes)
        of_parts = [(p < _AT_BOUND) | (p > 1 - _AT_BOUND) for p in parts]
        return reduce(jnp.logical_or, [jnp.any(jnp.stack(near)), *of_parts])

    def maps(self, x: Point) -> dict[str, Array]:
        """Maps of a point, lobes by falling weight: (lobes,) scalars and (lobes, 3) unit vectors."""
        weight = jnp.stack(self.weights(x))
        order = jnp.argsort(-weight)
        shape = _each(self.coordinates.shape, self.split(x)[0])
        kappa = shape.kappa[order]
        return {
            "weight": weight[order],
            "odi": odi_from_kappa(kappa),
            "kappa": kappa,
            "beta": shape.beta[order],
            "direction": jnp.stack(shape.direction, axis=1)[order],
            "across": jnp.stack(shape.across, axis=1)[order],
        }

    # The cost.

    def problem_of(self, data: Data) -> Problem:
        problem = Problem(partial(self._normal, data), partial(self._hessian, data), self.room, self.move)
        return problem if self.fused is None else problem._replace(scalars=self.fused.scalars)

    def _normal(self, data: Data, x: Point) -> Normal:
        """The cost, its gradient, and the information of the volumes as its Hessian."""
        if self.fused is not None and not self.noise.magnitudes:
            return self.fused(self, data, x)
        signal, columns = self.linearise(data, x)
        score = self._score(data, signal)[None]
        if not self.noise.magnitudes:
            gram = _products(rows := jnp.concatenate([columns, score]), rows)
            # The cost by itself, as it may be differentiated without the columns.
            return Normal(0.5 * _products(score, score)[0, 0], few(gram[-1, :-1]), few(gram[:-1, :-1]))
        m, signal, sigma = _in_sigmas(data, signal)
        weight = self.noise.information(signal) / sigma**2
        products = _products(jnp.concatenate([score, weight[None] * columns]), columns)
        return Normal(jnp.sum(self.noise.misfit(m, signal)), few(products[0]), few(products[1:]))

    def _score(self, data: Data, signal: Array) -> Array:
        """Derivative of the cost by the signal."""
        m, x, sigma = _in_sigmas(data, signal)
        return (x - self.noise.expected_real(m, x)) / sigma

    def misfit(self, data: Data, signal: Array) -> tuple[Array, Array]:
        """Twice the cost of a signal over S0, and the squared residuals of its expected magnitudes."""
        m, x, sigma = _in_sigmas(data, signal)
        squares = sigma**2 * jnp.sum((m - self.noise.expected_magnitude(x)) ** 2)
        return (2 * jnp.sum(self.noise.misfit(m, x)) if self.noise.magnitudes else squares), squares

    def signal(self, data: Data, x: Point) -> Array:
        """Signal over S0 in all volumes."""
        each = _each(lambda lobe: self._lobe(data, *self._in_frame(data, lobe))[0], self.split(x)[0])
        return jnp.matmul(jnp.stack(self.weights(x)), each, precision="highest")

    def linearise(self, data: Data, x: Point) -> Linear:
        """Signal over S0 in all volumes, and its derivatives by the coordinates of a step."""
        lobes, parts = self.split(x)
        each = _each(lambda lobe: self._lobe(data, *self._in_frame(data, lobe)), lobes)
        signals, weights = each[:, 0], jnp.stack(self.weights(x))
        whole, of_parts = mixed(list(signals), parts)
        of_lobes = weights[:, None, None] * each[:, 1:]
        columns = of_lobes.reshape(-1, len(whole))
        return Linear(whole, jnp.concatenate([columns, jnp.stack(of_parts)]) if of_parts else columns)

    def _in_frame(self, data: Data, point: Point) -> tuple[Components, Point]:
        """Each shell's directions in a lobe's frame, and the lobe's dispersion indices."""
        axes = self.coordinates.frame(point)
        components = {name: tuple(frames.dot(g.T, axis) for g in data.directions) for name, axis in axes.items()}
        return components, self.coordinates.split(point)[1]

    def basis(self, order: int) -> FrameHarmonics:
        return self.density.basis(order, self.density.nodes)

    def _lobe(self, data: Data, components: Components, indices: Point) -> Array:
        """One lobe's signal and its derivatives by a step, turns, then dispersion indices: (1 + step, volumes)."""
        shells = zip(*components.values(), self.polynomials(data, indices), self.orders, strict=True)
        rows = []
        for *uvw, of_shell, order in shells:
            rows.append(self.signals([by_powers_of_d(self.basis(order), row) for row in of_shell], *uvw))
        return jnp.stack([jnp.concatenate(row) for row in zip(*rows, strict=True)])

    def polynomials(self, data: Data, indices: Point) -> list[Array]:
        """Each shell's polynomials of one lobe's signal and its derivatives by indices, (1 + indices, monomials)."""
        coefficients = jnp.stack(self.coefficients(indices))
        bases = map(self.basis, self.orders)
        return [
            polynomials(basis, coefficients[:, : len(basis.l)], moments[None])
            for basis, moments in zip(bases, data.moments, strict=True)
        ]

    def coefficients(self, indices: Point) -> list[Array]:
        """Those of the density, and of its derivatives by indices, (coefficients,) each."""
        concentrations = tuple(kappa_from_odi(index) for index in indices)
        c, by_concentration = self.density.coefficients(self.basis(max(self.orders)), concentrations)
        return [c, *(by * slope(kappa) for by, kappa in zip(by_concentration, concentrations, strict=True))]

    def signals(self, rows: Sequence[Polynomial], u: Array, v: Array, w: Array) -> tuple[Array, ...]:
        """One lobe's signal and its derivatives by a step, from its polynomials, at directions in its frame."""
        s, d = 2 * w * w - 1, v * v - u * u
        signal, *by_indices = (horner(row, s, d) for row in rows)
        by_s, by_d = signal.by_s, signal.by_d
        turns = w * v * (4 * by_s - 2 * by_d), w * u * (4 * by_s + 2 * by_d), 4 * u * v * by_d
        return signal.value, *turns[: len(self.coordinates.turns)], *(by.value for by in by_indices)

    def _lobe_twice(self, data: Data, point: Point) -> Array:
        """Second derivatives of one lobe's signal: its columns by each coordinate of a step, (step, step, volumes)."""
        at = self._in_frame(data, point)

        def changed(turns: Array, spread: Array) -> Array:
            """The columns' change where the frame turns and the indices grow."""
            components, _ = at
            change = {name: tuple(jnp.zeros_like(v) for v in shells) for name, shells in components.items()}
            for (a, b), turn in zip(self.coordinates.turns, turns, strict=True):
                change[a] = tuple(v + turn * to for v, to in zip(change[a], components[b], strict=True))
                change[b] = tuple(v - turn * to for v, to in zip(change[b], components[a], strict=True))
            return jax.jvp(partial(self._lobe, data), at, (change, tuple(spread)))[1][1:]

        each = jnp.eye(self.coordinates.step, dtype=data.y.dtype)
        return jax.vmap(changed)(*jnp.split(each, [len(self.coordinates.turns)], axis=1))

    def _hessian(self, data: Data, x: Point) -> Any:
        """Σ ρ″ ∂E ∂Eᵀ + Σ ρ′ ∂²E for a cost Σ ρ(E; y), without the part of ∂²E that is not one lobe's alone.

        That part, of a lobe and its weight or of two weights, makes terms in the gradient, which vanish with it. So do
        those that other ways to turn the three axes of a lobe would add.
        """
        signal, columns = self.linearise(data, x)
        score, weight = jax.jvp(partial(self._score, data), (signal,), (jnp.ones_like(signal),))
        whole = _products(weight[None] * columns, columns)
        twice = jnp.matmul(_each(partial(self._lobe_twice, data), self.split(x)[0]), score, precision="highest")
        step = self.coordinates.step
        for n, share in enumerate(self.weights(x)):
            whole = whole + jnp.pad(share * twice[n], (n * step, self.size - (n + 1) * step))
        return few(whole)


def mixed(signals: Sequence[Array], parts: Point) -> tuple[Array, list[Array]]:
    """The lobes' signals in the weights that parts p_j make, and its derivatives by these parts."""
    whole = signals[-1]  # from the last lobe on: of lobes j … N with weights that sum to 1
    of_parts: list[Array] = []
    for j, p in reversed(list(enumerate(parts))):
        of_parts = [signals[j] - whole, *((1 - p) * by for by in of_parts)]
        whole = p * signals[j] + (1 - p) * whole
    return whole, of_parts


def _summary(data: Data) -> Summary:
    return summary_of(data.harmonics, data.moments, data.y)


def _data_of_one_shell(shell: OneShell) -> Data:
    return Data((jnp.asarray(ONE_SHELL, shell.y.dtype),), HarmonicFits((), ()), (shell.moments,), shell.y)


def _each(function: Callable[[Point], Any], lobes: Sequence[Point]) -> Any:
    """A function of one lobe's point, for all lobes at once: leaves (lobes, …)."""
    if len(lobes) == 1:
        return jax.tree.map(lambda leaf: leaf[None], function(lobes[0]))
    return jax.vmap(function)(tuple(jnp.stack(values) for values in zip(*lobes, strict=True)))


def _is_flat(values: Any) -> bool:
    return isinstance(values, tuple) and not isinstance(values[0], tuple)


def _lobe_by_lobe(values: Point) -> Point:
    """(lobes,) each, as scalars lobe by lobe."""
    return tuple(jnp.stack(values, axis=1).reshape(-1))


def _products(a: Array, b: Array) -> Array:
    """Of every row of a with every row of b, summed over volumes."""
    if len(a) > _FEW:
        return jnp.matmul(a, b.T, precision="highest")
    ones = jnp.ones_like(a[0])
    return jnp.stack([jnp.stack([jnp.matmul(p * q, ones, precision="highest") for q in b]) for p in a])


def _in_sigmas(data: Data, signal: Array) -> tuple[Array, Array, Array | float]:
    """Data and signal over σ, and σ."""
    if data.sigma is None:
        return data.y, signal, 1.0
    return data.y / data.sigma, signal / data.sigma, data.sigma
