"""Signals, harmonics and densities of many voxels whose parameters are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ..acquisition.shells import Pulse
from ..geometry.harmonics import n_coefficients
from ..physics.apodisation import fan_gains, gains
from ..physics.compartments import Kernel
from ..physics.densities.base import Density
from .programs import LobeArrays, fod_signals, kernel_anisotropies, kernel_means, lobe_densities, lobe_harmonics

_BLOCK = 32_768  # voxels whose signals are predicted at once
_FEW = 1024  # small blocks are padded to so many
_FLOATS = 1 << 24  # numbers in work when harmonics or densities of many lobes are computed


def predicted_means(
    kernel: Kernel, pulses: Sequence[Pulse], values: Mapping[str, Float[np.ndarray, " voxels"]], dtype: np.dtype
) -> Float[np.ndarray, "voxels pulses"]:
    """Spherical means over S0, (voxels, pulses), of kernels given by name, (voxels,) each."""

    return _of_kernels(kernel_means, kernel, pulses, values, dtype)


def predicted_anisotropies(
    kernel: Kernel, pulses: Sequence[Pulse], values: Mapping[str, Float[np.ndarray, " voxels"]], dtype: np.dtype
) -> Float[np.ndarray, " voxels"]:
    """`physics.compartments.anisotropy` of kernels given by name, (voxels,) each."""

    return _of_kernels(kernel_anisotropies, kernel, pulses, values, dtype)


def _of_kernels(
    program: Any, kernel: Kernel, pulses: Sequence[Pulse], values: Mapping[str, np.ndarray], dtype: np.dtype
) -> np.ndarray:
    """A jitted `program(values, pulses, *, kernel)` of all voxels."""

    def predict(block: dict[str, Any]) -> jax.Array:
        result: jax.Array = program(block, tuple(pulses), kernel=kernel)
        return result

    return in_blocks(predict, dict(values), dtype, _BLOCK)


def predicted_signals(
    kernel: Kernel,
    pulses: Sequence[Pulse],
    directions: Sequence[np.ndarray],
    lmax: Sequence[int],
    values: Mapping[str, np.ndarray],
    weights: Float[np.ndarray, "voxels lobes"],
    lobes: LobeArrays,
    *,
    family: Density,
    dtype: np.dtype,
) -> Float[np.ndarray, "voxels volumes"]:
    """Signals over S0, (voxels, volumes), of kernels convolved with lobes; volumes shell by shell.

    Args:
        directions, lmax: each pulse's (n, 3), and its truncation order. values: of the kernels, (voxels,) each.
        weights, lobes: (voxels, N, …).
    """
    shells = tuple(np.asarray(g, dtype) for g in directions)

    def predict(block: Any) -> jax.Array:
        return fod_signals(*block, shells, tuple(pulses), lmax=tuple(lmax), kernel=kernel, family=family)

    # A direction takes as many numbers on the way as there are monomials, at most.
    monomials = len(family.basis(max(lmax)).powers)
    block = min(_BLOCK, max(64, (1 << 25) // (sum(map(len, shells)) * monomials)))
    return in_blocks(predict, (dict(values), weights, lobes), dtype, block)


def mixture_harmonics(
    weights: np.ndarray, lobes: LobeArrays, lmax: int, *, family: Density, device: jax.Device | None, ripple: float = 0
) -> np.ndarray:
    """Σ_j w_j of the lobes' harmonics in MRtrix's basis, (voxels, coefficients), float32.

    ripple: 0: as they are, cut at the order; else lobes too narrow for it are apodised, see `physics.apodisation`.
    """
    points = (lmax // 2 + 1) * (2 * lmax + 1)
    degrees = np.repeat(np.arange(lmax // 2 + 1), 4 * np.arange(lmax // 2 + 1) + 1)

    def harmonics(block: LobeArrays) -> Any:
        found = lobe_harmonics(block, family=family, lmax=lmax)
        if not ripple:
            return found
        largest = np.max(np.stack(block.concentrations), axis=0)
        of_degrees = gains(family, largest, lmax, ripple)
        if family.axes == 2:
            of_degrees = of_degrees * fan_gains(family, np.stack(block.concentrations, axis=1), lmax, ripple)
        return np.asarray(found) * of_degrees[:, degrees]

    floats = points * len(family.basis(lmax).powers)
    return _mixture(harmonics, weights, lobes, n_coefficients(lmax), floats, device)


def mixture_densities(
    weights: np.ndarray, lobes: LobeArrays, directions: np.ndarray, *, family: Density, device: jax.Device | None
) -> np.ndarray:
    """Σ_j w_j of the lobes' densities at (n, 3) unit vectors, (voxels, n), float32."""

    def densities(block: LobeArrays) -> jax.Array:
        return lobe_densities(block, directions, family=family)

    return _mixture(densities, weights, lobes, len(directions), len(directions), device)


def _mixture(
    values: Callable[[LobeArrays], Any],
    weights: np.ndarray,
    lobes: LobeArrays,
    n: int,
    floats: int,
    device: jax.Device | None,
) -> np.ndarray:
    """Σ_j w_j values(lobe j), (voxels, n). floats: numbers that a lobe takes on the way."""
    out = np.zeros((len(weights), n), np.float32)
    voxel, lobe = np.nonzero(weights)
    block = block_size(len(voxel), min(max(64, _FLOATS // floats), _BLOCK))
    for i in range(0, len(voxel), block):
        at = voxel[i : i + block], lobe[i : i + block]
        short = block - len(at[0])  # one shape, one compilation

        def chosen(a: np.ndarray, at: Any = at, short: int = short) -> np.ndarray:
            part = np.asarray(a[at], np.float32)
            return np.concatenate([part, np.repeat(part[-1:], short, axis=0)])

        with jax.default_device(device):
            found = np.asarray(values(jax.tree.map(chosen, lobes)))[: len(at[0])]
        np.add.at(out, at[0], found * weights[at][:, None])
    return out


def block_size(n: int, most: int) -> int:
    """How many of n to compute at once, at most `most`: a power of two, so that other n need no other program."""
    return min(most, max(_FEW, 1 << (n - 1).bit_length()))


def in_blocks(predict: Callable[[Any], jax.Array], inputs: Any, dtype: np.dtype, block: int) -> np.ndarray:
    """A jitted function of many voxels, a block after the other: one shape, one compilation. inputs: (voxels, …)."""
    n = len(jax.tree.leaves(inputs)[0]) if jax.tree.leaves(inputs) else 0
    parts, block = [], block_size(n, block)
    for i in range(0, max(n, 1), block):
        size = min(block, n - i)
        short = block - size

        def part(leaf: np.ndarray, i: int = i, size: int = size, short: int = short) -> np.ndarray:
            values = np.asarray(leaf[i : i + size], dtype)
            return np.concatenate([values, np.repeat(values[-1:], short, axis=0)])

        with jax.enable_x64(np.dtype(dtype) == np.float64):
            parts.append(np.asarray(predict(jax.tree.map(part, inputs)))[:size])
    return np.concatenate(parts)
