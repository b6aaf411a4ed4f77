"""The normal equations of lobes as one GPU kernel: each thread has a voxel and adds up over its directions.

Written as arrays, the derivatives in all volumes go to memory and come back for each product of theirs. Here a loop
over the directions keeps the sums in registers, and only the signal is read. What a direction adds is computed by the
same functions, `Lobes.signals` and `mixed`, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..geometry import frames as vectors
from ..physics.convolution import Polynomial, numbers_by_powers_of_d, polynomial_of_numbers
from ..solvers import Normal, Point
from ..solvers.linear import few
from .lobes import Data, Lobes, mixed

# Lanes of a block, and its warps: a thread for each lane.
_BLOCK, _WARPS = 128, 4
# Sums that a thread can have in registers: those of one or two Watson lobes, or one Bingham lobe.
_MOST_SUMS = 40
# Coefficients up to which a kernel makes polynomials of them; with more of them it would be long.
_FEW_COEFFICIENTS = 16


@dataclass(frozen=True)
class FusedNormal:
    """`Lobes` normal equations under vmap by a kernel written in Pallas, for Gaussian noise; one voxel's as usual.

    Attributes:
        interpret: run the kernel's steps one by one, for tests on a CPU.
    """

    interpret: bool = False

    def suits(self, lobes: Lobes) -> bool:
        """Whether it is meant for these lobes."""
        return 1 + lobes.size + lobes.size * (lobes.size + 1) // 2 <= _MOST_SUMS

    def __call__(self, lobes: Lobes, data: Data, x: Point) -> Normal:
        plain = replace(lobes, fused=None)

        def of_voxel(data: Data, x: Point) -> Normal:
            return plain.problem_of(data).normal(x)

        normal = jax.custom_batching.custom_vmap(of_voxel)

        @normal.def_vmap
        def _(lanes: int, batched: Any, data: Data, x: Point) -> tuple[Normal, Any]:
            of_data, of_x = batched
            per_lane = all(jax.tree.leaves((of_data.moments, of_data.y, of_x)))
            if per_lane and not any(jax.tree.leaves(of_data.directions)) and lanes % _BLOCK == 0:
                out = _of_lanes(plain, data, x, self.interpret)
            else:
                axes = jax.tree.map(lambda each: 0 if each else None, tuple(batched))
                out = jax.vmap(of_voxel, in_axes=axes)(data, x)
            return out, jax.tree.map(lambda _: True, out)

        return normal(data, x)


def _of_lanes(lobes: Lobes, data: Data, x: Point, interpret: bool) -> Normal:
    """Normal equations, leaves (lanes, …), of data.moments, data.y and x (lanes, …)."""
    # Not imported with the module: only GPUs need it.
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    per_lane = jax.vmap(lambda moments, x: _written(lobes, data._replace(moments=moments), x))(data.moments, x).T
    volumes, moments = [len(g) for g in data.directions], [k.shape[1] for k in data.moments]
    (count, lanes), size = per_lane.shape, lobes.size

    def kernel(directions: Any, y: Any, numbers: Any, out: Any) -> None:
        lane = pl.ds(pl.program_id(0) * _BLOCK, _BLOCK)
        voxel = _read(lobes, moments, (numbers[i, lane] for i in range(count)))
        sums = _sums(lobes, voxel, volumes, lambda i: [directions[i, k] for k in range(3)], lambda i: y[i, lane])
        for i, total in enumerate(sums):
            out[i, lane] = total

    sums = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((1 + size + size * (size + 1) // 2, lanes), data.y.dtype),
        grid=(lanes // _BLOCK,),
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=_WARPS),
    )(jnp.concatenate(data.directions), data.y.T, per_lane)
    return jax.vmap(lambda of_lane: _normal(of_lane, size), in_axes=1)(sums)


class _Voxel(NamedTuple):
    """What the signal in a direction depends on; by lobe: frames u, v, w, and by shell the rows of `Lobes.signals`."""

    weights: Sequence[Array]
    parts: Sequence[Array]
    frames: list[list[Sequence[Array]]]
    rows: list[list[list[Polynomial]]]


def _kernel_makes_polynomials(lobes: Lobes) -> bool:
    return len(lobes.basis(max(lobes.orders)).l) <= _FEW_COEFFICIENTS


def _written(lobes: Lobes, data: Data, x: Point) -> Array:
    """A voxel's numbers, (numbers,), in the order in which `_read` reads them."""
    points, parts = lobes.split(x)
    out: list[Any] = [*lobes.weights(x), *parts]
    short = _kernel_makes_polynomials(lobes)
    for point in points:
        frame, indices = lobes.coordinates.frame(point), lobes.coordinates.split(point)[1]
        out += [component for name in "uvw" for component in frame[name]]
        out += lobes.coefficients(indices) if short else [rows.reshape(-1) for rows in lobes.polynomials(data, indices)]
    if short:
        out += data.moments
    return jnp.concatenate([jnp.atleast_1d(values) for values in out])


def _read(lobes: Lobes, moments: Sequence[int], numbers: Any) -> _Voxel:
    """The numbers that `_written` wrote. moments: how many of them each shell has."""

    def read(n: int) -> list[Array]:
        return [next(numbers) for _ in range(n)]

    weights, parts = read(lobes.count), read(lobes.count - 1)
    bases, each = [lobes.basis(order) for order in lobes.orders], 1 + lobes.coordinates.indices
    frames: list[list[Sequence[Array]]] = []
    of_lobes: list[Any] = []
    for _ in range(lobes.count):
        frames.append([read(3) for _ in "uvw"])
        if _kernel_makes_polynomials(lobes):
            of_lobes.append([read(len(lobes.basis(max(lobes.orders)).l)) for _ in range(each)])
        else:
            of_lobes.append([[read(len(basis.powers)) for _ in range(each)] for basis in bases])
    if _kernel_makes_polynomials(lobes):
        of_shells = [read(n) for n in moments]
        of_lobes = [
            [[polynomial_of_numbers(basis, row, k) for row in rows] for basis, k in zip(bases, of_shells, strict=True)]
            for rows in of_lobes
        ]
    rows = [
        [
            [numbers_by_powers_of_d(basis, row) for row in of_shell]
            for basis, of_shell in zip(bases, of_lobe, strict=True)
        ]
        for of_lobe in of_lobes
    ]
    return _Voxel(weights, parts, frames, rows)


def _sums(
    lobes: Lobes,
    voxel: _Voxel,
    volumes: Sequence[int],
    direction: Callable[[Any], list[Array]],
    signal: Callable[[Any], Array],
) -> Sequence[Array]:
    """½ Σ r², Σ r ∂E and the lower triangle of Σ ∂E ∂Eᵀ. direction, signal: of a volume."""
    sums: Sequence[Array] = (0 * voxel.weights[0],) * (1 + lobes.size + lobes.size * (lobes.size + 1) // 2)
    first = 0
    for shell, count in enumerate(volumes):

        def add(i: Any, sums: Sequence[Array], shell: int = shell) -> Sequence[Array]:
            g = direction(i)
            signals, columns = [], []
            for frame, rows, weight in zip(voxel.frames, voxel.rows, voxel.weights, strict=True):
                u, v, w = (vectors.dot(tuple(g), tuple(axis)) for axis in frame)
                of_lobe, *by_step = lobes.signals(rows[shell], u, v, w)
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


def _normal(sums: Array, size: int) -> Normal:
    """One lane's normal equations from its sums."""
    triangle = sums[1 + size :]
    rows = [[triangle[max(i, j) * (max(i, j) + 1) // 2 + min(i, j)] for j in range(size)] for i in range(size)]
    return Normal(sums[0], few(sums[1 : 1 + size]), few(jnp.stack([jnp.stack(row) for row in rows])))
