"""The compiled programs: each takes one chunk of voxels of a fixed size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, export
from jax.typing import ArrayLike
from jaxtyping import Float

from ..acquisition.shells import Pulse
from ..geometry.harmonics import even_harmonics
from ..physics.compartments import Kernel, anisotropy
from ..physics.densities.base import Density, Lobe
from ..physics.noises.base import Noise
from ..physics.signal import convolved
from ..problems.base import Estimation
from ..problems.corrections import LMAX, Corrected, FodSearch, correct, shell_design, volume_design
from ..problems.kernels import Uncertainty
from ..solvers import Solver
from .fused_volumes import FusedSums
from .lanes import blocks, where
from .search import search_voxels, status_of


class Fits(NamedTuple):
    """Results of voxels: leaves (voxels, …). x: the points where the searches ended, (voxels, numbers of a point)."""

    maps: dict[str, Any]
    status: Any
    steps: Any
    x: Any


@partial(jax.jit, static_argnames=("estimation", "solver", "lanes", "at_once"))
def fit_voxels(
    voxels: Any,
    shared: Any,
    count: ArrayLike,
    *,
    estimation: Estimation,
    solver: Solver,
    lanes: int,
    at_once: int,
) -> Fits:
    """Fit the first `count` voxels of a chunk.

    Args:
        voxels: what differs between voxels, leaves (chunk, …). shared: what does not. lanes: voxels that are searched
            side by side. at_once: voxels whose results are computed side by side.
    """
    prepared = jax.vmap(lambda voxel: estimation.prepare(voxel, shared))(voxels)

    def data(varying: Any) -> Any:
        return estimation.data(varying, shared)

    end = search_voxels(
        estimation.search, solver, prepared.varying, data, count, lanes, prepared.worth, prepared.earlier
    )
    results = blocks(
        lambda one: estimation.results(one[0], shared, *one[1:]), (prepared, end.x, end.cost), count, at_once
    )
    status = status_of(results.usable, results.finite, end.converged, results.at_bound)

    def clear(values: Array) -> Array:
        return where(results.usable, values, jnp.zeros_like(values))

    return Fits(jax.tree.map(clear, results.maps), status, clear(end.steps), jnp.stack(end.x, axis=1))


@partial(jax.jit, static_argnames=("estimation", "lanes"))
def uncertainties(fitted: tuple[Any, Any], shared: Any, count: ArrayLike, *, estimation: Estimation, lanes: int) -> Any:
    """`Estimation.uncertainty` of the first `count` voxels of a chunk. fitted: the voxels, and their `Fits.x`."""
    return blocks(lambda one: estimation.uncertainty(one[0], shared, tuple(one[1])), fitted, count, lanes)


class CorrectedVolumes(NamedTuple):
    """What `correct_volumes` gives: leaves (voxels, …).

    means: (shells,) of expected real parts. variances: (shells,) of the means over σ². sigma: from the misfit.
    magnitude: (volumes,) b = 0 first, then shell by shell, where asked for; None without a deviation.
    fod: coefficients of the free FOD, (27,).
    """

    means: Any
    variances: Any
    sigma: Any
    magnitude: Any
    fod: Any


class VolumesVoxel(NamedTuple):
    """One voxel for `correct_volumes`.

    data: (volumes,) b = 0 first, then shell by shell. sigma, s0: above 0. kernel: its parameters by name. fod: where
    its search starts, (27,). deviation: (3, 3) L of the gradients (I + L)g, or None. decay: of `FodVoxel`, of the
    pulses.
    """

    data: Any
    sigma: Any
    s0: Any
    kernel: dict[str, Any]
    fod: Any
    deviation: Any = None
    decay: Any = None


class VolumesShared(NamedTuple):
    """directions, pulses: each shell's (n, 3) and weighting above b = 0. weights: (shells, volumes) of the means.

    steps, steps_of_sigma: of the searches for FODs and for σ.
    """

    directions: tuple[Any, ...]
    pulses: tuple[Pulse, ...]
    weights: Any
    steps: Any
    steps_of_sigma: Any


@partial(jax.jit, static_argnames=("kernel", "noise", "magnitudes", "fused", "lanes"))
def correct_volumes(
    voxels: VolumesVoxel,
    shared: VolumesShared,
    count: ArrayLike,
    *,
    kernel: Kernel,
    noise: Noise,
    magnitudes: bool,
    fused: FusedSums | None = None,
    lanes: int,
) -> CorrectedVolumes:
    """`problems.corrections.correct` of the first `count` voxels of a chunk.

    magnitudes: are returned too. fused: adds up over volumes on a GPU.
    """
    nominal = tuple(even_harmonics(g, LMAX)[:, 1:] for g in shared.directions)

    def one(voxel: VolumesVoxel) -> CorrectedVolumes:
        usable = (voxel.sigma > 0) & (voxel.s0 > 0)
        sigma, s0 = jnp.where(usable, voxel.sigma, 1), jnp.where(usable, voxel.s0, 1)
        corrected = _corrected(voxel._replace(sigma=sigma, s0=s0), nominal, shared, kernel, noise, fused)
        return CorrectedVolumes(
            jnp.where(usable, corrected.means, 0),
            corrected.variances,
            jnp.where(usable, corrected.sigma, 0),
            jnp.where(usable, corrected.magnitude, 0) if magnitudes and corrected.magnitude is not None else None,
            jnp.where(usable & jnp.isfinite(corrected.fod), corrected.fod, 0),
        )

    corrected: CorrectedVolumes = blocks(one, voxels, count, lanes)
    return corrected


def _corrected(
    voxel: VolumesVoxel,
    nominal: tuple[Array, ...],
    shared: VolumesShared,
    kernel: Kernel,
    noise: Noise,
    fused: FusedSums | None,
) -> Corrected:
    decay = (None,) * len(shared.pulses) if voxel.decay is None else tuple(voxel.decay)

    def moments(pulse: Pulse, factor: Array | None) -> Array:
        of_kernel = kernel.legendre(pulse, LMAX, voxel.kernel)
        return of_kernel if factor is None else factor * of_kernel

    search = FodSearch(voxel.fod, shared.steps, shared.steps_of_sigma)
    meant = shell_design(nominal, tuple(map(moments, shared.pulses, decay)), fused)
    if voxel.deviation is None:
        return correct(voxel.data, shared.weights, voxel.sigma, voxel.s0, meant, None, noise, search)
    harmonics, of_volumes = [], []
    for pulse, factor, g in zip(shared.pulses, decay, shared.directions, strict=True):
        turned = g + jnp.matmul(g, voxel.deviation.T, precision="highest")
        square = jnp.sum(turned**2, axis=1)
        harmonics.append(even_harmonics(turned / jnp.sqrt(square)[:, None], LMAX)[:, 1:])
        of_volumes.append(jax.vmap(partial(_at_b, moments, pulse, factor))(pulse.b * square))
    actual = volume_design(tuple(harmonics), tuple(of_volumes))
    return correct(voxel.data, shared.weights, voxel.sigma, voxel.s0, meant, actual, noise, search)


def _at_b(moments: Callable[..., Array], pulse: Pulse, level: Array | None, b: Array) -> Array:
    return moments(pulse._replace(b=b), level)


@partial(jax.jit, static_argnames=("noise", "lanes"))
def sigmas(voxels: Array, shared: tuple[Array, ...], count: ArrayLike, *, noise: Noise, lanes: int) -> Array:
    """`Noise.sigma_from_residuals` of (voxels, volumes) data: (voxels,). shared: the shells' bases."""
    sigma: Array = blocks(partial(noise.sigma_from_residuals, bases=shared), voxels, count, lanes)
    return sigma


class ExpectedVoxel(NamedTuple):
    """One voxel for `expected_means`: data and predicted signals (volumes,), and σ, in one unit."""

    data: Any
    predicted: Any
    sigma: Any


@partial(jax.jit, static_argnames=("noise", "lanes"))
def expected_means(
    voxels: ExpectedVoxel, shared: Array, count: ArrayLike, *, noise: Noise, lanes: int
) -> tuple[Array, Array]:
    """Means (voxels, shells) of the expected real parts of magnitudes, and their variances over σ².

    shared: (shells, volumes) weights of the means.
    """
    squares = shared**2

    def one(voxel: ExpectedVoxel) -> tuple[Array, Array]:
        m, x = (jnp.maximum(v, 0) / voxel.sigma for v in (voxel.data, voxel.predicted))
        means = voxel.sigma * jnp.matmul(shared, noise.expected_real(m, x), precision="highest")
        # Magnitudes without signal tell nothing of it: an infinite variance.
        information = jnp.matmul(squares, noise.information(x), precision="highest")
        return means, jnp.sum(squares, axis=1) ** 2 / information

    means: tuple[Array, Array] = blocks(one, voxels, count, lanes)
    return means


@partial(jax.jit, static_argnames=("noise", "lanes"))
def signals_of_means(
    voxels: tuple[Array, Array], shared: tuple[()], count: ArrayLike, *, noise: Noise, lanes: int
) -> Array:
    """`Noise.signal_of_mean` of (voxels, shells) means with (voxels,) σ."""

    def one(voxel: tuple[Array, Array]) -> Array:
        means, sigma = voxel
        return sigma * noise.signal_of_mean(means / sigma)

    signal: Array = blocks(one, voxels, count, lanes)
    return signal


@partial(jax.jit, static_argnames=("kernel",))
def kernel_means(
    values: dict[str, Float[Array, " voxels"]], pulses: tuple[Pulse, ...], *, kernel: Kernel
) -> Float[Array, "voxels pulses"]:
    """Spherical means over S0, (voxels, pulses), from the kernels' parameters by name, (voxels,) each."""
    return jnp.stack([kernel.mean(pulse, values) for pulse in pulses], axis=-1)


@partial(jax.jit, static_argnames=("pulses", "kernel"))
def kernel_anisotropies(
    values: dict[str, Float[Array, " voxels"]], pulses: tuple[Pulse, ...], *, kernel: Kernel
) -> Float[Array, " voxels"]:
    """`physics.compartments.anisotropy` of kernels, (voxels,): the largest of these pulses."""
    return anisotropy([kernel.unrelaxed(pulse, kernel.legendre(pulse, 2, values), values) for pulse in pulses])


class LobeArrays(NamedTuple):
    """Lobes of one density: axis and across (..., 3), concentrations (...) each; across is None with one axis."""

    axis: Any
    across: Any
    concentrations: tuple[Any, ...]

    def lobe(self, family: Density) -> Lobe:
        """One lobe."""
        if self.across is None:
            return family(self.axis, *self.concentrations)
        return Lobe(family, self.axis, self.across, self.concentrations)


@partial(jax.jit, static_argnames=("lmax", "kernel", "family"))
def fod_signals(
    values: dict[str, Float[Array, " voxels"]],
    weights: Float[Array, "voxels lobes"],
    lobes: LobeArrays,
    directions: tuple[Float[Array, "_ 3"], ...],
    pulses: tuple[Pulse, ...],
    *,
    lmax: tuple[int, ...],
    kernel: Kernel,
    family: Density,
) -> Float[Array, "voxels volumes"]:
    """Signals over S0 of kernels convolved with mixtures of lobes, (voxels, volumes), shell by shell.

    values: of the kernels, (voxels,). weights, lobes: (voxels, N, …).
    """

    def shell(values: dict[str, Array], weights: Array, lobes: LobeArrays, g: Array, pulse: Pulse, order: int) -> Array:
        def moments(b: Array, l: int) -> Array:
            return kernel.legendre(pulse, l, values)[None]  # the same in all directions

        def one(weight: Array, lobe: LobeArrays) -> Array:
            return weight * convolved(g, jnp.zeros(len(g), g.dtype), moments, lobe.lobe(family), order)

        return jnp.sum(jax.vmap(one)(weights, lobes), axis=0)

    def voxel(values: dict[str, Array], weights: Array, lobes: LobeArrays) -> Array:
        each = zip(directions, pulses, lmax, strict=True)
        return jnp.concatenate([shell(values, weights, lobes, g, pulse, order) for g, pulse, order in each])

    return jax.vmap(voxel)(values, weights, lobes)


@partial(jax.jit, static_argnames=("family", "lmax"))
def lobe_harmonics(lobes: LobeArrays, *, family: Density, lmax: int) -> Float[Array, "lobes coefficients"]:
    """`Lobe.harmonics` of many lobes, (lobes, coefficients)."""
    return jax.vmap(lambda lobe: lobe.lobe(family).harmonics(lmax))(lobes)


@partial(jax.jit, static_argnames=("family",))
def lobe_densities(
    lobes: LobeArrays, directions: Float[Array, "directions 3"], *, family: Density
) -> Float[Array, "lobes directions"]:
    """`Lobe.density` of many lobes at (n, 3) unit vectors: (lobes, n)."""
    return jax.vmap(lambda lobe: lobe.lobe(family).density(directions))(lobes)


# So that programs which return them can be kept between processes.
for _result in (Fits, CorrectedVolumes, Uncertainty):
    export.register_namedtuple_serialization(_result, serialized_name=f"jaxsmt.{_result.__name__}")
