"""Sums over a voxel's volumes as one GPU kernel: each thread has a voxel and meets its volumes in a loop.

Written as arrays, the signals of all volumes and what follows from each of them go to memory and come back for the next
product. Here a thread keeps the coefficients and the sums in registers, and only the measurements are read. What a
volume adds is computed by the same function as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ..problems.corrections import Linear, OfVolume, Sums
from .fused_lanes import BLOCK, called


@dataclass(frozen=True)
class FusedSums:
    """`Sums` under vmap by a kernel written in Pallas; those of one voxel as usual.

    Attributes:
        interpret: run the kernel's steps one by one, for tests on a CPU.
    """

    interpret: bool = False

    def __call__(
        self, of_volume: OfVolume, plain: Callable[..., Sums], orders: np.ndarray, linear: Linear, *of_voxel: Any
    ) -> Sums:
        """Sums over the volumes of a voxel.

        Args:
            plain: `(linear, *of_voxel) -> Sums`, without the kernel. orders: the order o of each coefficient, from 0.
            of_voxel: c, lane, and each m, (volumes,), of which those of the shells are the last.
        """

        @jax.custom_batching.custom_vmap
        def sums(linear: Linear, *of_voxel: Any) -> Sums:
            return plain(linear, *of_voxel)

        @sums.def_vmap
        def _(lanes: int, batched: Any, linear: Linear, *of_voxel: Any) -> tuple[Sums, Any]:
            each, *of_others = batched
            if any(each.matrices) or lanes % BLOCK:
                axes = jax.tree.map(lambda one: 0 if one else None, tuple(batched))
                out = jax.vmap(plain, in_axes=axes)(linear, *of_voxel)
                return out, jax.tree.map(lambda _: True, out)
            numbers = (linear.means, linear.moments, *of_voxel)
            means, moments, c, lane, *m = _lanes_last(lanes, (each.means, each.moments, *of_others), numbers)
            out = _of_lanes(of_volume, orders, linear.matrices, _Lanes(means, moments, c, lane, m), self.interpret)
            return out._replace(back=None if out.back is None else out.back.T), jax.tree.map(lambda _: True, out)

        return sums(linear, *of_voxel)


def _lanes_last(lanes: int, batched: Any, numbers: Any) -> Any:
    """Numbers of each lane, (…, lanes)."""

    def of_all(batched: bool, leaf: Array) -> Array:
        return jnp.moveaxis(leaf if batched else jnp.broadcast_to(leaf, (lanes, *leaf.shape)), 0, -1)

    return jax.tree.map(of_all, batched, numbers)


class _Lanes(NamedTuple):
    """Numbers of lanes, which are the last axis: each shell's mean and moments, and what else differs."""

    means: Any
    moments: Any
    c: Any
    lane: Any
    m: Sequence[Any]


def _of_lanes(of_volume: OfVolume, orders: np.ndarray, matrices: Any, lanes: _Lanes, interpret: bool) -> Sums:
    """Sums, the last axis is the lanes."""
    like = jax.ShapeDtypeStruct(lanes.means[0].shape, lanes.c.dtype)
    backwards = jax.eval_shape(of_volume, lanes.lane, like, *(like for _ in lanes.m))[0] is not None
    shapes = Sums(jax.ShapeDtypeStruct(lanes.c.shape, like.dtype) if backwards else None, (like,) * len(matrices))
    arguments, tree = jax.tree.flatten((lanes, matrices))
    results, tree_of_results = jax.tree.flatten(shapes)

    def kernel(at: Any, *refs: Any) -> None:
        voxel, rows = jax.tree.unflatten(tree, refs[: len(arguments)])
        out: Sums = jax.tree.unflatten(tree_of_results, refs[len(arguments) :])
        back, shells = _added_up(of_volume, orders, rows, voxel, at, backwards)
        for ref, total in zip(out.shells, shells, strict=True):
            ref[at] = total
        for k, total in enumerate(back):
            out.back[k, at] = total

    sums: Sums = jax.tree.unflatten(tree_of_results, called(kernel, arguments, results, interpret))
    return sums


def _added_up(
    of_volume: OfVolume, orders: np.ndarray, matrices: Any, refs: _Lanes, at: Any, backwards: bool
) -> tuple[Sequence[Array], list[Array]]:
    """`Sums` of the lanes of a block, from references; nothing is summed backwards if that is not asked for."""
    c, lane = [refs.c[k, at] for k in range(len(orders))], jax.tree.map(lambda ref: ref[at], refs.lane)
    zero = jnp.zeros_like(c[0])
    back: Sequence[Array] = (zero,) * (len(orders) if backwards else 0)
    counts, totals = [matrix.shape[0] for matrix in matrices], []
    volume = max((ref.shape[0] for ref in refs.m), default=sum(counts)) - sum(counts)
    for n, matrix, mean, moments in zip(counts, matrices, refs.means, refs.moments, strict=True):
        of_shell = mean[at], [moments[j, at] for j in range(moments.shape[0])]

        def add(i: Any, sums: Any, volume: int = volume, matrix: Any = matrix, of_shell: Any = of_shell) -> Any:
            (signal, moments), (back, total) = of_shell, sums
            row = [matrix[i, k] for k in range(len(orders))]
            parts = [row[k] * c[k] for k in range(len(orders))]
            for j, moment in enumerate(moments):
                signal = signal + moment * sum(part for part, order in zip(parts, orders, strict=True) if order == j)
            number, added = of_volume(lane, signal, *(ref[volume + i, at] for ref in refs.m))
            if backwards:
                by_order = [number * moment for moment in moments]
                back = tuple(b + y * by_order[j] for b, y, j in zip(back, row, orders, strict=True))
            return back, total + added

        back, total = jax.lax.fori_loop(0, n, add, (back, zero))
        totals.append(total)
        volume += n
    return back, totals
