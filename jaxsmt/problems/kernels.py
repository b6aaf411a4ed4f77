"""From one voxel's spherical means to a kernel: an `Estimation` with the `ShellMeans` search."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from ..acquisition.shells import Pulse
from ..solvers import Point
from ..solvers.linear import few, inverse, matrix, stacked
from .base import Leaf, Prepared, Results
from .shell_means import Data, Scaled, ShellMeans, scaled


class Prior(NamedTuple):
    """Normal density of some parameters: mean (p,), and R (p, p) with RᵀR the inverse of the covariance."""

    mean: Leaf
    root: Leaf


class KernelVoxel(NamedTuple):
    """One voxel's data.

    means: spherical means, b = 0 first. maps: values of the model's maps here. sigma: noise of one volume, for a prior
    and standard deviations. variances: of the means over σ², for standard deviations.
    """

    means: tuple[Leaf, ...]
    maps: tuple[Leaf, ...] = ()
    sigma: Leaf | None = None
    variances: tuple[Leaf, ...] | None = None


class KernelShared(NamedTuple):
    """What all voxels have in common.

    pulses, roots: of b = 0 and each shell, weighting and √w. numbers: the model's. prior: if there is one. unit:
    standard deviation of a weighted mean's noise over that of one volume, the same for all of them if w are inverse
    variances.
    """

    pulses: tuple[Pulse, ...]
    roots: tuple[Leaf, ...]
    numbers: tuple[Leaf, ...] = ()
    prior: Prior | None = None
    unit: Leaf = 1.0


class Uncertainty(NamedTuple):
    """Of an estimate and all that follows from it, by name.

    sd: standard deviations, inf where something is not determined. shrinkage: of each parameter with a prior, how far
    it is drawn towards the prior's mean, the derivative of the estimate by it: 0 without the prior, 1 without data.
    effects: what a standard deviation of each mean, and of each of the prior's means, changes, (means + priors,).
    """

    sd: dict[str, Array]
    shrinkage: dict[str, Array]
    effects: dict[str, Array]


class _Varying(NamedTuple):
    """What the search reads of one voxel."""

    y: Point
    maps: tuple[Array, ...]
    prior_rows: tuple[Point, ...]


@dataclass(frozen=True)
class KernelEstimation:
    """A model's parameters from spherical means; an `Estimation`."""

    search: ShellMeans

    def prepare(self, voxel: KernelVoxel, shared: KernelShared) -> Prepared:
        scaled_means = scaled(voxel.means, voxel.maps, self.search.fit_s0, self.search.echoes)
        rows: tuple[Point, ...] = ()
        if shared.prior is not None:
            assert voxel.sigma is not None
            rows = tuple(map(tuple, shared.prior.root * (voxel.sigma * shared.unit / scaled_means.scale)))
        return Prepared(_Varying(scaled_means.y, voxel.maps, rows), scaled_means._replace(y=()))

    def data(self, varying: _Varying, shared: KernelShared) -> Data:
        mean = () if shared.prior is None else tuple(shared.prior.mean)
        runtime = (*shared.numbers, *varying.maps)
        return Data(varying.y, shared.pulses, shared.roots, runtime, mean, varying.prior_rows)

    def results(self, prepared: Prepared, shared: KernelShared, x: Point, cost: Array) -> Results:
        """Parameters, derived maps, "s0", and how good the fit is."""
        estimate = self.search.estimate(self.data(prepared.varying, shared), x)
        scaled_means: Scaled = prepared.for_results
        maps = {**estimate.values, **estimate.derived, "s0": estimate.s0 * scaled_means.scale, **estimate.quality}
        return Results(maps, estimate.at_bound, scaled_means.usable & (estimate.s0 > 0), scaled_means.finite)

    def uncertainty(self, voxel: KernelVoxel, shared: KernelShared, x: Point) -> Uncertainty:
        """Standard deviations of the estimate x and all that follows from it.

        Means have the variances σ² f_k; the mean of a prior counts as one more measurement, with its covariance. The
        estimate's derivatives by all of them, from the normal equations, carry them over. For inverse variances as
        weights that is the Cramér-Rao bound, and with a prior the posterior.
        """
        assert voxel.variances is not None
        assert voxel.sigma is not None
        prior = shared.prior
        here = jnp.stack(x), jnp.stack(voxel.means), jnp.zeros(0, x[0].dtype) if prior is None else prior.mean
        product = partial(jnp.matmul, precision="highest")
        by_x, *by_data = jax.jacfwd(partial(self._residual, voxel, shared), (0, 1, 2))(*here)
        hessian = product(by_x.T, by_x)
        inverted, part = inverse(matrix(few(hessian)))
        known = part > 4 * float(jnp.finfo(part.dtype).eps)
        moves = [-product(product(stacked(inverted), by_x.T), d) for d in by_data]
        slopes = jax.jacfwd(partial(self._named, voxel, shared), (0, 1, 2))(*here)
        noise = jnp.sqrt(jnp.stack(voxel.variances)) * voxel.sigma
        shrinkage, effects = {}, {}
        for name, (along, *direct) in slopes.items():
            by_means, by_prior = (product(along, move) + d for move, d in zip(moves, direct, strict=True))
            effect = by_means * noise
            if prior is not None:
                effect = jnp.concatenate([effect, jnp.linalg.solve(prior.root.T, by_prior)])
            effects[name] = jnp.where(known, effect, jnp.inf)
            if name in self.search.prior:
                shrinkage[name] = by_prior[self.search.prior.index(name)]
        sd = {name: jnp.sqrt(jnp.sum(effect**2)) for name, effect in effects.items()}
        return Uncertainty(sd, shrinkage, effects)

    def _moved(self, voxel: KernelVoxel, shared: KernelShared, means: Array, prior_mean: Array) -> tuple[Data, Scaled]:
        """The data of the search with other spherical means and another mean of the prior."""
        prior = None if shared.prior is None else shared.prior._replace(mean=prior_mean)
        moved = shared._replace(prior=prior)
        prepared = self.prepare(voxel._replace(means=tuple(means)), moved)
        return self.data(prepared.varying, moved), prepared.for_results

    def _residual(self, voxel: KernelVoxel, shared: KernelShared, x: Array, means: Array, prior_mean: Array) -> Array:
        data, scaled_means = self._moved(voxel, shared, means, prior_mean)
        residual = self.search.residual(data, tuple(x))
        residual = residual if isinstance(residual, Array) else jnp.stack(residual)
        return residual * (scaled_means.scale if self.search.fit_s0 else 1)

    def _named(
        self, voxel: KernelVoxel, shared: KernelShared, x: Array, means: Array, prior_mean: Array
    ) -> dict[str, Array]:
        data, scaled_means = self._moved(voxel, shared, means, prior_mean)
        estimate = self.search.estimate(data, tuple(x))
        return {**estimate.values, **estimate.derived, "s0": estimate.s0 * scaled_means.scale}
