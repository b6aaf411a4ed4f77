"""The normal equations of lobes as one GPU kernel: each thread has a voxel and adds up over its directions.

Written as arrays, the derivatives in all volumes go to memory and come back for each product of theirs. Here a loop over
the directions keeps the sums in registers, and only the signal is read. What a direction adds is computed by the same
functions, `Lobes.signals` and `mixed`, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from ..solvers import Normal, Point
from ..solvers.linear import few

if TYPE_CHECKING:
    from .lobes import Data, Lobes

# Lanes of a block, and its warps: a thread for each lane.
_BLOCK, _WARPS = 128, 4


@dataclass(frozen=True)
class FusedNormal:
    """`Lobes` normal equations under vmap by a kernel written in Pallas, for Gaussian noise; one voxel's as usual.

    Attributes:
        interpret: run the kernel's steps one by one, for tests on a CPU.
    """

    interpret: bool = False

    def __call__(self, lobes: Lobes, data: Data, x: Point) -> Normal:
        plain = replace(lobes, fused=None)

        @jax.custom_batching.custom_vmap
        def normal(data: Data, x: Point) -> Normal:
            return plain.problem_of(data).normal(x)

        @normal.def_vmap
        def _(lanes: int, batched: Any, data: Data, x: Point) -> tuple[Normal, Any]:
            per_lane = all(jax.tree.leaves((batched[0].moments, batched[0].y, batched[1])))
            if per_lane and not any(jax.tree.leaves(batched[0].directions)) and lanes % _BLOCK == 0:
                out = self._of_lanes(plain, data, x, lanes)
            else:
                axes = jax.tree.map(lambda each: 0 if each else None, tuple(batched))
                out = jax.vmap(lambda data, x: plain.problem_of(data).normal(x), in_axes=axes)(data, x)
            return out, jax.tree.map(lambda _: True, out)

        return normal(data, x)

    def _of_lanes(self, lobes: Lobes, data: Data, x: Point, lanes: int) -> Normal:
        """Leaves of data.moments, data.y and x: (lanes, …)."""
        from jax.experimental import pallas as pl
        from jax.experimental.pallas import triton

        def numbers(moments: tuple[Array, ...], x: Point) -> Array:
            """All that a direction's signal depends on, (numbers,); `_Numbers` reads them again."""
            points, parts = lobes.split(x)
            out = [*lobes.weights(x), *parts]
            for point in points:
                frame, indices = lobes.coordinates.frame(point), lobes.coordinates.split(point)[1]
                out += [component for name in "uvw" for component in frame[name]]
                out += [row.reshape(-1) for row in lobes.polynomials(data._replace(moments=moments), indices)]
            return jnp.concatenate([jnp.atleast_1d(values) for values in out])

        per_lane = jax.vmap(numbers)(data.moments, x).T
        size = lobes.size

        def kernel(directions: Any, y: Any, numbers: Any, out: Any) -> None:
            lane = pl.ds(pl.program_id(0) * _BLOCK, _BLOCK)
            sums = _sums(lobes, list(map(len, data.directions)), directions, y, numbers, lane)
            for i, total in enumerate(sums):
                out[i, lane] = total

        shape = jax.ShapeDtypeStruct((1 + size + size * (size + 1) // 2, lanes), data.y.dtype)
        call = pl.pallas_call(
            kernel,
            out_shape=shape,
            grid=(lanes // _BLOCK,),
            interpret=self.interpret,
            compiler_params=None if self.interpret else triton.CompilerParams(num_warps=_WARPS),
        )
        sums = call(jnp.concatenate(data.directions), data.y.T, per_lane)
        return jax.vmap(lambda of_lane: _normal(of_lane, size), in_axes=1)(sums)


def _normal(sums: Array, size: int) -> Normal:
    """One lane's normal equations from its sums: the cost, the gradient, the Hessian's lower triangle."""
    cost, gradient, triangle = sums[0], sums[1 : 1 + size], sums[1 + size :]
    rows = [[triangle[max(i, j) * (max(i, j) + 1) // 2 + min(i, j)] for j in range(size)] for i in range(size)]
    return Normal(cost, few(gradient), few(jnp.stack([jnp.stack(row) for row in rows])))


def _sums(lobes: Lobes, volumes: Sequence[int], directions: Any, y: Any, numbers: Any, lane: Any) -> list[Array]:
    """½ Σ r², Σ r ∂E and Σ ∂E ∂Eᵀ of a block of lanes, (block,) each."""
    reader = iter(range(numbers.shape[0]))

    def read(n: int) -> tuple[Array, ...]:
        return tuple(numbers[next(reader), lane] for _ in range(n))

    weights, parts = read(lobes.count), read(lobes.count - 1)
    frames, polynomials = [], []
    for _ in range(lobes.count):
        frames.append([read(3) for _ in "uvw"])
        of_lobe = []
        for order in lobes.orders:
            monomials = len(lobes.basis(order).powers)
            of_lobe.append([read(monomials) for _ in range(1 + lobes.coordinates.indices)])
        polynomials.append(of_lobe)
    zero = 0 * weights[0]
    n = 1 + lobes.size + lobes.size * (lobes.size + 1) // 2
    sums, first = (zero,) * n, 0
    for shell, (count, order) in enumerate(zip(volumes, lobes.orders, strict=True)):
        rows = [[_by_powers(lobes, order, row) for row in of_lobe[shell]] for of_lobe in polynomials]

        def one(i: Any, sums: tuple[Array, ...], rows: Any = rows) -> tuple[Array, ...]:
            g = [directions[i, k] for k in range(3)]
            signals, columns = [], []
            for frame, of_lobe, weight in zip(frames, rows, weights, strict=True):
                uvw = [sum(a * b for a, b in zip(g, axis, strict=True)) for axis in frame]
                signal, *by_step = lobes.signals(of_lobe, *uvw)
                signals.append(signal)
                columns += [weight * by for by in by_step]
            whole, of_parts = _mixed(signals, parts)
            columns += of_parts
            r = whole - y[i, lane]
            added = [0.5 * r * r, *(r * by for by in columns)]
            added += [columns[a] * columns[b] for a in range(len(columns)) for b in range(a + 1)]
            return tuple(total + by for total, by in zip(sums, added, strict=True))

        sums = jax.lax.fori_loop(first, first + count, one, sums)
        first += count
    return list(sums)


def _mixed(signals: Sequence[Array], parts: Point) -> tuple[Array, list[Array]]:
    from .lobes import mixed

    return mixed(signals, parts)


def _by_powers(lobes: Lobes, order: int, row: tuple[Array, ...]) -> tuple[tuple[Array, ...], ...]:
    """A polynomial's coefficients divided by their powers of d."""
    powers = lobes.basis(order).powers[:, 1]
    return tuple(tuple(c for c, power in zip(row, powers, strict=True) if power == j) for j in range(powers.max() + 1))
