"""A function of one lane's scalars as one GPU kernel: each thread has a lane and keeps its numbers in registers.

Left to itself XLA makes many kernels of a long function of scalars, which read and write lanes' numbers again and
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# Lanes of a block, and its warps: a thread for each lane.
BLOCK, _WARPS = 128, 4


def in_one_kernel(function: Callable[..., Any], interpret: bool = False) -> Callable[..., Any]:
    """The same function of scalars; under vmap one kernel, where the lanes fill blocks.

    Args:
        function: `(state, …) -> state`, pytrees of scalars; one that returns what has the form of its first argument
            writes it where that was.
        interpret: run the kernel's steps one by one, for tests on a CPU.
    """

    @jax.custom_batching.custom_vmap
    def of_lane(*arguments: Any) -> Any:
        return function(*arguments)

    @of_lane.def_vmap
    def _(lanes: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        def of_all(batched: bool, leaf: Array) -> Array:
            return leaf if batched else jnp.broadcast_to(leaf, (lanes, *leaf.shape))

        arguments = jax.tree.map(of_all, tuple(batched), arguments)
        scalars = all(leaf.ndim == 1 for leaf in jax.tree.leaves(arguments))
        if scalars and lanes % BLOCK == 0:
            out = _of_lanes(function, arguments, interpret)
        else:
            out = jax.vmap(function)(*arguments)
        return out, jax.tree.map(lambda _: True, out)

    return of_lane


def _of_lanes(function: Callable[..., Any], arguments: Any, interpret: bool) -> Any:
    """The function's results, leaves (lanes,), of arguments with leaves (lanes,)."""
    leaves, tree = jax.tree.flatten(arguments)
    results, tree_of_results = jax.tree.flatten(jax.eval_shape(jax.vmap(function), *arguments))
    kinds = [(leaf.shape, leaf.dtype) for leaf in leaves[: len(results)]]
    same = kinds == [(leaf.shape, leaf.dtype) for leaf in results]

    def kernel(lane: Any, *refs: Any) -> None:
        blocks = jax.tree.unflatten(tree, [ref[lane] for ref in refs[: len(leaves)]])
        for ref, value in zip(refs[len(leaves) :], jax.tree.leaves(jax.vmap(function)(*blocks)), strict=True):
            ref[lane] = value

    places = {i: i for i in range(len(results))} if same else {}
    return jax.tree.unflatten(tree_of_results, called(kernel, leaves, results, interpret, places))


def called(
    kernel: Callable[..., None],
    arguments: Sequence[Array],
    results: Sequence[Any],
    interpret: bool,
    places: dict[int, int] | None = None,
) -> list[Array]:
    """Results of a kernel written in Pallas.

    Args:
        kernel: `(lanes of the block, *references)`, of the arguments, then of the results. results: their shapes, of
            which the last axis is the lanes. places: which argument's memory a result takes.
    """
    # Not imported with the module: only GPUs need it.
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    def of_block(*refs: Any) -> None:
        kernel(pl.ds(pl.program_id(0) * BLOCK, BLOCK), *refs)

    shapes = [jax.ShapeDtypeStruct(result.shape, result.dtype) for result in results]
    found: list[Array] = pl.pallas_call(
        of_block,
        out_shape=shapes,
        grid=(shapes[0].shape[-1] // BLOCK,),
        interpret=interpret,
        compiler_params=None if interpret else triton.CompilerParams(num_warps=_WARPS),
        input_output_aliases=places or {},
    )(*arguments)
    return found
