"""From one voxel's volumes to the lobes of its FOD: an `Estimation` with the `Lobes` search."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..acquisition.shells import Pulse
from ..physics.compartments import Kernel
from ..solvers import Point
from ..solvers.linear import inverse
from .base import Leaf, Prepared, Results
from .lobe_starts import HarmonicFits
from .lobes import Data, Lobes

#: Maps of lobes that have standard deviations.
UNCERTAIN = ("weight", "odi", "kappa", "beta", "direction")


class FodVoxel(NamedTuple):
    """One voxel's data.

    y: (volumes,) signal over S0, shell by shell; None for standard deviations. kernel: its parameters by name.
    sigma: noise over S0, where the noise is of magnitudes or standard deviations are asked for. effects: by name what k
    independent changes of unit variance make of each kernel parameter and, relative to it, of "s0", (k,); for standard
    deviations. worth: the "cost" of `results` below which lobes would be chosen, or None. earlier: the point where an
    earlier search of nearly the same data ended, or NaN, or None. decay: S0 of each shell's echo time over that of the
    shortest, (shells,), where echo times have an S0 of their own.
    """

    y: Leaf
    kernel: dict[str, Leaf]
    sigma: Leaf | None = None
    effects: dict[str, Leaf] | None = None
    worth: Leaf | None = None
    earlier: Leaf | None = None
    decay: Leaf | None = None


class FodShared(NamedTuple):
    """What all voxels have in common: each shell's directions (n, 3) and weighting, and harmonic fits."""

    directions: tuple[Leaf, ...]
    pulses: tuple[Pulse, ...]
    harmonics: HarmonicFits


class _Varying(NamedTuple):
    """What the search reads of one voxel."""

    y: Array
    moments: tuple[Array, ...]
    sigma: Array | None


@dataclass(frozen=True)
class FodEstimation:
    """FODs under a kernel that each voxel has; an `Estimation`.

    Attributes:
        search: the lobes. kernel: gives each shell's Legendre moments.
    """

    search: Lobes
    kernel: Kernel

    def prepare(self, voxel: FodVoxel, shared: FodShared) -> Prepared:
        magnitudes = self.search.noise.magnitudes
        y = jnp.maximum(voxel.y, 0) if magnitudes else voxel.y
        worth = None if voxel.worth is None else voxel.worth / 2
        varying = _Varying(y, self._moments(voxel.kernel, shared, voxel.decay), voxel.sigma if magnitudes else None)
        return Prepared(varying, (), worth, voxel.earlier)

    def data(self, varying: _Varying, shared: FodShared) -> Data:
        return Data(shared.directions, shared.harmonics, varying.moments, varying.y, varying.sigma)

    def results(self, prepared: Prepared, shared: FodShared, x: Point, cost: Array) -> Results:
        """Maps of the lobes, and what numbers of lobes are compared by.

        "cost": twice the cost, Σ r² over the volumes of the signal over S0, or -2 log p of magnitudes. "squares": Σ r².
        "uniform_cost", "uniform_squares": the same of a uniform FOD.
        """
        data = self.data(prepared.varying, shared)
        means = [jnp.full(len(g), 1, data.y.dtype) * m[0] for g, m in zip(data.directions, data.moments, strict=True)]
        uniform_cost, uniform_squares = self.search.misfit(data, jnp.concatenate(means))
        squares = 2 * cost
        if self.search.noise.magnitudes:
            squares = self.search.misfit(data, self.search.signal(data, x))[1]
        maps = self.search.maps(x) | {
            "cost": 2 * cost,
            "squares": squares,
            "uniform_cost": uniform_cost,
            "uniform_squares": uniform_squares,
        }
        yes = jnp.ones_like(cost, bool)
        return Results(maps, self.search.at_bound(x), yes, yes)

    def uncertainty(self, voxel: FodVoxel, shared: FodShared, x: Point) -> dict[str, Array]:
        """Standard deviations of what `Lobes.maps` gives, with kernels that are uncertain too.

        Cov = H⁻¹ + Σ_k (H⁻¹ JᵀW ∂E/∂t_k)(…)ᵀ with the signal E, its derivatives J by a step, the information W of the
        volumes, H = JᵀWJ, and independent changes t_k of the kernel. Volumes of a shell say next to nothing of a lobe
        together. So their noise and that of the kernel, which the shells' means make, are independent.

        Returns:
            of scalars, (lobes,); of "direction" the expected angle √(σ₁² + σ₂²) to the true axis, degrees.
        """
        lobes, effects = self.search, voxel.effects
        assert effects is not None
        assert voxel.sigma is not None

        def under(kernel: dict[str, Array]) -> Data:
            # y is None: standard deviations need no data.
            return Data(shared.directions, shared.harmonics, self._moments(kernel, shared, voxel.decay), voxel.y)

        signal, columns = lobes.linearise(under(voxel.kernel), x)
        weighed = columns * (lobes.noise.information(signal / voxel.sigma) / voxel.sigma**2)[None]
        covariance, part = inverse(jnp.matmul(weighed, columns.T, precision="highest"))

        def changed(t: Array) -> Array:
            """The signal over the S0 that was estimated, where kernel and S0 are off by changes t of unit variance."""
            kernel = {name: v + jnp.sum(t * finite[name]) for name, v in voxel.kernel.items()}
            return (1 + jnp.sum(t * finite["s0"])) * lobes.signal(under(kernel), x)

        # Where a kernel is not determined, its effects are infinite.
        finite = {name: jnp.where(jnp.isfinite(effect), effect, 0) for name, effect in effects.items()}
        infinite = jnp.any(~jnp.isfinite(jnp.stack([*effects.values()])), axis=0)
        by_kernel = jnp.matmul(weighed, jax.jacfwd(changed)(jnp.zeros_like(effects["s0"])), precision="highest")
        changes = jnp.matmul(covariance, by_kernel, precision="highest")
        changes = jnp.where(jnp.isfinite(changes), changes, 0)

        def maps(step: Array) -> dict[str, Array]:
            of_point = lobes.maps(lobes.move(x, tuple(step)))
            return {name: of_point[name] for name in UNCERTAIN}

        by_step = jax.jacfwd(maps)(jnp.zeros(lobes.size, x[0].dtype))
        variances = {name: _variance(by, covariance, changes) for name, by in by_step.items()}
        # What is not determined of the kernel leaves a direction as it is.
        direction = jnp.sum(variances.pop("direction"), axis=-1) * math.degrees(1) ** 2
        variances = {name: jnp.where(jnp.any(infinite), jnp.inf, v) for name, v in variances.items()}
        variances["direction"] = direction
        determined = part > 4 * float(jnp.finfo(part.dtype).eps)
        return {name: jnp.where(determined, jnp.sqrt(v), jnp.inf) for name, v in variances.items()}

    def _moments(self, kernel: dict[str, Array], shared: FodShared, decay: Leaf | None) -> tuple[Array, ...]:
        each = zip(shared.pulses, self.search.orders, strict=True)
        moments = tuple(self.kernel.legendre(pulse, order, kernel) for pulse, order in each)
        return moments if decay is None else tuple(factor * of for factor, of in zip(decay, moments, strict=True))


def _variance(by_step: Array, covariance: Array, changes: Array) -> Array:
    """Of one map, from its derivatives by a step: from the noise of the volumes, and from changes of the kernel."""
    from_volumes = jnp.einsum("...i,ij,...j->...", by_step, covariance, by_step, precision="highest")
    from_kernel = jnp.matmul(by_step, changes, precision="highest")
    return from_volumes + jnp.sum(from_kernel**2, axis=-1)
