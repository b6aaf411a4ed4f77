"""The normal equations of lobes as one GPU kernel, or three: each thread has a voxel and adds up over its directions.

Written as arrays, densities at the nodes of the quadrature and derivatives in all volumes go to memory and come back
for each product of theirs. Here loops over nodes and directions keep the sums in registers, and only the signal is
read. What a node or a direction adds is computed by the same functions, `Density.slopes`, `Lobes.signals` and `mixed`,
as everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..geometry import frames as vectors
from ..physics.convolution import Polynomial, numbers_by_powers_of_d, polynomial_of_numbers
from ..physics.densities.base import kappa_from_odi
from ..physics.frame_harmonics import FrameHarmonics
from ..problems.lobe_coordinates import slope
from ..problems.lobes import Data, Lobes, mixed
from ..solvers import Normal, Point
from ..solvers.linear import packed, vector
from .fused_lanes import BLOCK, called, in_one_kernel

# Sums that a thread can have in registers: those of one or two Watson lobes, or one Bingham lobe.
_MOST_SUMS = 40
# Coefficients up to which their polynomials stay in registers while directions are added up.
_FEW_COEFFICIENTS = 16

Row = Sequence[Array]  #: numbers of a lane


@dataclass(frozen=True)
class FusedNormal:
    """`Lobes` normal equations under vmap by kernels written in Pallas, for Gaussian noise; one voxel's as usual.

    Attributes:
        interpret: run the kernels' steps one by one, for tests on a CPU.
    """

    interpret: bool = False

    def suits(self, lobes: Lobes) -> bool:
        """Whether it is meant for these lobes."""
        return 1 + lobes.size + lobes.size * (lobes.size + 1) // 2 <= _MOST_SUMS

    def scalars(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """See `in_one_kernel`."""
        return in_one_kernel(function, self.interpret)

    def __call__(self, lobes: Lobes, data: Data, x: Point) -> Normal:
        plain = replace(lobes, fused=None)

        def of_voxel(data: Data, x: Point) -> Normal:
            return plain.problem_of(data).normal(x)

        normal = jax.custom_batching.custom_vmap(of_voxel)

        @normal.def_vmap
        def _(lanes: int, batched: Any, data: Data, x: Point) -> tuple[Normal, Any]:
            of_data, of_x = batched
            per_lane = all(jax.tree.leaves((of_data.moments, of_data.y, of_x)))
            if per_lane and not any(jax.tree.leaves(of_data.directions)) and lanes % BLOCK == 0:
                out = _of_lanes(plain, data, x, self.interpret)
            else:
                axes = jax.tree.map(lambda each: 0 if each else None, tuple(batched))
                out = jax.vmap(of_voxel, in_axes=axes)(data, x)
            return out, jax.tree.map(lambda _: True, out)

        return normal(data, x)


def _of_lanes(lobes: Lobes, data: Data, x: Point, interpret: bool) -> Normal:
    """Normal equations, leaves (lanes, …), of data.moments, data.y and x (lanes, …)."""
    like, size = jax.ShapeDtypeStruct(x[0].shape, data.y.dtype), lobes.size
    made, moments = _Tables.of(lobes, data.y.dtype), [k.T for k in data.moments]
    kernel: Callable[..., None]
    arrays: Sequence[Array]
    if len(lobes.basis(max(lobes.orders)).l) <= _FEW_COEFFICIENTS:
        kernel, arrays = _in_registers, (*made, *moments)
    else:
        kernel, arrays = _in_memory, _written(lobes, made, moments, x, interpret)
    volumes = tuple(len(g) for g in data.directions)
    arguments = (*x, jnp.concatenate(data.directions), data.y.T, *arrays)
    results = [like] * (1 + size + size * (size + 1) // 2)
    return _normal(called(partial(kernel, lobes, volumes), arguments, results, interpret), size)


def _in_registers(lobes: Lobes, volumes: tuple[int, ...], lane: Any, *refs: Any) -> None:
    """The kernel for few coefficients. refs: of the point, directions, signals, tables, moments, and of the sums."""
    x, (directions, y), tables, moments, out = _cut(refs, lobes.point, 2, len(_Tables._fields), len(lobes.orders))
    point = tuple(ref[lane] for ref in x)
    of_shells = [[ref[l, lane] for l in range(ref.shape[0])] for ref in moments]
    each = [_coefficients(lobes, _Tables(*tables), indices) for indices in _indices(lobes, point)]

    def rows(shell: int) -> list[list[Polynomial]]:
        basis = lobes.basis(lobes.orders[shell])
        return [[_polynomial(basis, row, of_shells[shell]) for row in of_lobe] for of_lobe in each]

    _add_up(lobes, volumes, point, rows, (directions, y, *out), lane)


def _in_memory(lobes: Lobes, volumes: tuple[int, ...], lane: Any, *refs: Any) -> None:
    """The kernel for many coefficients. refs: of the point, directions, signals, `_written`, and of the sums."""
    x, (directions, y), written, out = _cut(refs, lobes.point, 2, lobes.count * len(lobes.orders))
    each = _cut(written, *(len(lobes.orders),) * (lobes.count - 1))

    def rows(shell: int) -> list[list[Polynomial]]:
        basis = lobes.basis(lobes.orders[shell])
        n = len(basis.powers)
        numbers = [[[of_lobe[shell][r * n + i, lane] for i in range(n)] for r in _rows(lobes)] for of_lobe in each]
        return [[numbers_by_powers_of_d(basis, row) for row in of_lobe] for of_lobe in numbers]

    _add_up(lobes, volumes, tuple(ref[lane] for ref in x), rows, (directions, y, *out), lane)


def _written(lobes: Lobes, made: _Tables, moments: list[Array], x: Point, interpret: bool) -> list[Array]:
    """Polynomials of each shell, lobe by lobe: (rows · monomials, lanes).

    By two kernels: one for the coefficients, and one for the polynomials, which meets each row in a loop, as straight
    code for all rows would take the compiler minutes.
    """
    count, bases = len(lobes.basis(max(lobes.orders)).l), [lobes.basis(order) for order in lobes.orders]

    def coefficients(lane: Any, *refs: Any) -> None:
        indices, tables, (out,) = _cut(refs, len(refs) - 1 - len(made), len(made))
        rows = _coefficients(lobes, _Tables(*tables), tuple(ref[lane] for ref in indices))
        for i, number in enumerate(number for row in rows for number in row):
            out[i, lane] = number

    def polynomials(lane: Any, c: Any, *refs: Any) -> None:
        for basis, k, out in zip(bases, refs[: len(bases)], refs[len(bases) :], strict=True):

            def write(row: Any, nothing: Any, basis: FrameHarmonics = basis, k: Any = k, out: Any = out) -> Any:
                of_row = [c[row * count + i, lane] for i in range(len(basis.l))]
                of_shell = [k[l, lane] for l in range(k.shape[0])]
                for i, number in enumerate(polynomial_of_numbers(basis, of_row, of_shell)):
                    out[row * len(basis.powers) + i, lane] = number
                return nothing

            jax.lax.fori_loop(0, len(_rows(lobes)), write, 0)

    def shaped(numbers: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((len(_rows(lobes)) * numbers, *x[0].shape), made.nodes.dtype)

    out: list[Array] = []
    for indices in _indices(lobes, x):
        (c,) = called(coefficients, (*indices, *made), [shaped(count)], interpret)
        out += called(polynomials, (c, *moments), [shaped(len(basis.powers)) for basis in bases], interpret)
    return out


def _cut(values: Sequence[Any], *counts: int) -> list[Sequence[Any]]:
    """So many of the values, then so many, and the rest."""
    edges = np.cumsum([0, *counts, len(values) - sum(counts)]).tolist()
    return [values[i:j] for i, j in itertools.pairwise(edges)]


def _indices(lobes: Lobes, point: Point) -> list[Point]:
    """Each lobe's dispersion indices."""
    return [lobes.coordinates.split(lobe)[1] for lobe in lobes.split(point)[0]]


def _rows(lobes: Lobes) -> range:
    """Those of a lobe's coefficients or polynomials: of its signal, and of its derivatives by indices."""
    return range(1 + lobes.coordinates.indices)


def _polynomial(basis: FrameHarmonics, row: Row, moments: Row) -> Polynomial:
    return numbers_by_powers_of_d(basis, polynomial_of_numbers(basis, row, moments))


# Coefficients.


class _Tables(NamedTuple):
    """The quadrature of a density: nodes (nodes, 4) u, v, w and weight, polar angle by polar angle.

    polar, azimuths: see `FrameHarmonics.separated`.
    """

    nodes: Any
    polar: Any
    azimuths: Any

    @classmethod
    def of(cls, lobes: Lobes, dtype: Any) -> _Tables:
        basis = lobes.basis(max(lobes.orders))
        return cls(*(jnp.asarray(table, dtype) for table in (np.stack(basis.rule, axis=1), *basis.separated)))


def _coefficients(lobes: Lobes, tables: _Tables, indices: Point) -> list[Row]:
    """`Lobes.coefficients` as numbers, by loops over the nodes of the quadrature."""
    basis = lobes.basis(max(lobes.orders))
    (polar, _), (azimuths, orders) = basis.separated[0].shape, basis.separated[1].shape
    concentrations = tuple(kappa_from_odi(index) for index in indices)
    zero, rows = jnp.zeros_like(indices[0]), 1 + len(indices)

    def add_node(i: Any, j: Any, sums: Row) -> Row:
        node = azimuths * i + j
        u, v, w, weight = (jnp.broadcast_to(tables.nodes[node, k], zero.shape) for k in range(4))
        log, slopes = lobes.density.slopes((u, v, w), concentrations)
        of_node = weight * jnp.exp(log)
        each = [of_node, *(of_node * by for by in slopes)]
        parts = [row * tables.azimuths[j, k] if orders > 1 else row for row in each for k in range(orders)]
        return tuple(total + part for total, part in zip(sums, parts, strict=True))

    def add_ring(i: Any, sums: Row) -> Row:
        ring = (zero,) * (rows * orders)
        if azimuths == 1:
            ring = tuple(add_node(i, 0, ring))
        else:
            ring = jax.lax.fori_loop(0, azimuths, partial(add_node, i), ring)
        parts = [ring[n * orders + m // 2] * tables.polar[i, k] for n in range(rows) for k, m in enumerate(basis.m)]
        return tuple(total + part for total, part in zip(sums, parts, strict=True))

    moments = jax.lax.fori_loop(0, polar, add_ring, (zero,) * (rows * len(basis.l)))
    first, *others = (moments[n * len(basis.l) : (n + 1) * len(basis.l)] for n in range(rows))
    c = [value / first[0] for value in first]
    out: list[Row] = [c]
    for row, kappa in zip(others, concentrations, strict=True):
        scale = slope(kappa) / first[0]
        out.append([(value - of * row[0]) * scale for value, of in zip(row, c, strict=True)])
    return out


# Sums over directions.


class _Voxel(NamedTuple):
    """What the signal in a direction depends on; by lobe: frames u, v, w, and of a shell rows of `Lobes.signals`."""

    weights: Sequence[Array]
    parts: Sequence[Array]
    frames: Sequence[Sequence[Sequence[Array]]]
    rows: Callable[[int], list[list[Polynomial]]]


def _add_up(
    lobes: Lobes,
    volumes: tuple[int, ...],
    point: Point,
    rows: Callable[[int], list[list[Polynomial]]],
    refs: Sequence[Any],
    lane: Any,
) -> None:
    """Write the sums. refs: of the directions, of the signals, and of each sum."""
    directions, y, *out = refs
    points, parts = lobes.split(point)
    frames = [[frame[name] for name in "uvw"] for frame in map(lobes.coordinates.frame, points)]
    voxel = _Voxel(lobes.weights(point), parts, frames, rows)
    sums = _sums(lobes, voxel, volumes, lambda i: [directions[i, k] for k in range(3)], lambda i: y[i, lane])
    for ref, total in zip(out, sums, strict=True):
        ref[lane] = total


def _sums(
    lobes: Lobes,
    voxel: _Voxel,
    volumes: Sequence[int],
    direction: Callable[[Any], list[Array]],
    signal: Callable[[Any], Array],
) -> Sequence[Array]:
    """½ Σ r², Σ r ∂E and the lower triangle of Σ ∂E ∂Eᵀ. direction, signal: of a volume."""
    sums: Sequence[Array] = (jnp.zeros_like(voxel.weights[0]),) * (1 + lobes.size + lobes.size * (lobes.size + 1) // 2)
    first = 0
    for shell, count in enumerate(volumes):
        of_shell = voxel.rows(shell)

        def add(i: Any, sums: Sequence[Array], of_shell: list[list[Polynomial]] = of_shell) -> Sequence[Array]:
            g = direction(i)
            signals, columns = [], []
            for frame, rows, weight in zip(voxel.frames, of_shell, voxel.weights, strict=True):
                u, v, w = (vectors.dot(tuple(g), tuple(axis)) for axis in frame)
                of_lobe, *by_step = lobes.signals(rows, u, v, w)
                signals.append(of_lobe)
                columns += [weight * by for by in by_step]
            whole, of_parts = mixed(signals, tuple(voxel.parts))
            columns += of_parts
            r = whole - signal(i)
            new = [0.5 * r * r, *(r * by for by in columns)]
            new += [columns[a] * columns[b] for a in range(len(columns)) for b in range(a + 1)]
            return tuple(total + by for total, by in zip(sums, new, strict=True))

        sums = jax.lax.fori_loop(first, first + count, add, sums)
        first += count
    return sums


def _normal(sums: Sequence[Array], size: int) -> Normal:
    """Normal equations of lanes from their sums, (lanes,) each."""

    def of_lane(sums: Sequence[Array]) -> Normal:
        cost, gradient, triangle = sums[0], sums[1 : 1 + size], sums[1 + size :]
        rows = [tuple(triangle[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2]) for i in range(size)]
        return Normal(cost, vector(gradient), packed(rows))

    return jax.vmap(of_lane)(tuple(sums))
