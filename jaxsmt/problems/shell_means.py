"""The least-squares problem of one voxel's spherical means: a model, S0, and perhaps a prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from ..acquisition.shells import Pulse
from ..models.model import SphericalMeanModel
from ..solvers import Point, Problem, in_box
from ..solvers.linear import inverse

#: A parameter closer to its bound than this part of its range is at the bound.
AT_BOUND = 1e-4
# Least b = 0 mean, as a part of the largest mean, that can serve as S0.
_LEAST_S0 = 1e-6


class Data(NamedTuple):
    """What a fit sees of a voxel.

    y: spherical means of b = 0 and each shell, of a magnitude near 1. given: the model's numbers and its maps' values
    here. mean: of each parameter that has a prior; tightness: T, a row for each of them. pulses, roots: where those of
    `ShellMeans` are not known beforehand.
    """

    y: Point
    given: tuple[Any, ...] = ()
    mean: Point = ()
    tightness: tuple[Point, ...] = ()
    pulses: tuple[Pulse, ...] | None = None
    roots: tuple[Any, ...] | None = None


class Scaled(NamedTuple):
    """Spherical means as `Data` wants them: y times scale are the data; whether they are finite, and of any use."""

    y: Point
    scale: Array
    finite: Array
    usable: Array


def scaled(means: Point, maps: Sequence[Array], fit_s0: bool) -> Scaled:
    """Scale one voxel's spherical means; those that cannot be used become 0. maps: must be finite too."""
    finite = jnp.isfinite(sum((*means, *maps), start=jnp.zeros_like(means[0])))
    largest = reduce(jnp.maximum, (jnp.abs(m) for m in means))
    # With S0 fixed to next to nothing the signal over it has no meaning.
    usable = finite & (means[0] > (0 if fit_s0 else _LEAST_S0 * largest))
    scale = jnp.where(usable, largest if fit_s0 else means[0], 1)
    return Scaled(tuple(jnp.where(usable, m, 0) / scale for m in means), scale, finite, usable)


def are_weights(weights: ArrayLike) -> bool:
    """Whether these numbers, which are known, can be weights of squared residuals."""
    values = np.asarray(weights, float)
    return bool((values >= 0).all() and 0 < values.max() < np.inf)


class Prior(NamedTuple):
    """Normal density of some parameters: mean (p,), and R (p, p) with RᵀR the inverse of the covariance."""

    mean: Any
    root: Any


class Uncertainty(NamedTuple):
    """Of an estimate and all that follows from it, by name.

    sd: standard deviations, inf where something is not determined. shrinkage: of each parameter with a prior, how far
    it is drawn towards the prior's mean, the derivative of the estimate by it: 0 without the prior, 1 without data.
    deviations: what a standard deviation of each mean, and of each of the prior's means, changes.
    """

    sd: dict[str, Array]
    shrinkage: dict[str, Array]
    deviations: dict[str, Array]


class Results(NamedTuple):
    """Everything that is told of a voxel, scalars; s0 and mse in units of y and of y over S0."""

    values: dict[str, Array]
    derived: dict[str, Array]
    s0: Array
    mse: Array
    r2: Array
    at_bound: Array


@dataclass(frozen=True)
class ShellMeans:
    """Minimise Σ_k w_k (y_k - S0 ε(b_k; x))² + |T (p - m)|² over x and, by projection, S0.

    Attributes:
        model: without values. pulses, roots: of b = 0 and each shell, weighting and √w. fit_s0: else S0 is 1.
        prior: names of the parameters p that have one. unit: standard deviation of a weighted mean's noise over that of
            one volume, which is the same for all of them if w are inverse variances.
    """

    model: SphericalMeanModel
    pulses: tuple[Pulse, ...] = ()
    roots: tuple[float, ...] = ()
    fit_s0: bool = True
    prior: tuple[str, ...] = ()
    unit: float = 1.0

    @property
    def size(self) -> int:
        """Degrees of freedom, without S0."""
        return len(self.model.free)

    @property
    def tries(self) -> int:
        """Searches for each voxel."""
        return len(self.model.grid())

    def problem(self, data: Data) -> Problem:
        return in_box(partial(self.residual, data), *self.bounds(data), self.model.step)

    def bounds(self, data: Data) -> tuple[Point, Point]:
        dtype = data.y[0].dtype
        lower, upper = (tuple(jnp.asarray(v, dtype) for v in ends) for ends in self.model.space.box(data.given))
        return lower, upper

    def residual(self, data: Data, x: Point) -> Point:
        values = self._values(data, x)
        e = self._means(data, values, data.y[0])
        s0 = self._amplitude(data, e)
        misfit = (root * (yk - s0 * ek) for root, yk, ek in zip(self._roots(data), data.y, e, strict=True))
        off = [values[name] - mean for name, mean in zip(self.prior, data.mean, strict=True)]
        return (*misfit, *(_dot(row, off) for row in data.tightness))

    def start(self, data: Data, nth: Array) -> Point:
        """The point with the least cost of the nth part of the model's grid."""
        y, roots = data.y, self._roots(data)
        grid = jnp.asarray(self.model.grid(), y[0].dtype)
        x = self.model.space.begin(tuple(grid.reshape(-1, grid.shape[2]).T), data.given)
        means = self._means(data, self._values(data, x), x[0])
        e = jnp.stack([root * ek for root, ek in zip(roots, means, strict=True)])
        weighted = jnp.stack([root * yk for root, yk in zip(roots, y, strict=True)])
        squares = jnp.sum(e * e, axis=0)
        # All parts in one product: without maps the signals of the grid are the same for all voxels.
        if self.fit_s0:  # least after projection: largest cosine
            score = jnp.matmul(weighted, e / jnp.sqrt(squares)[None], precision="highest")
        else:
            score = jnp.matmul(weighted, 2 * e, precision="highest") - squares
        if len(grid) > 1:
            elsewhere = jnp.arange(len(score), dtype=nth.dtype) // grid.shape[1] != nth
            score = jnp.where(elsewhere, -jnp.inf, score)
        best = jnp.argmax(score)
        return tuple(xi[best] for xi in x)

    def results(self, data: Data, x: Point) -> Results:
        y, values = data.y, self._values(data, x)
        e = self._means(data, values, y[0])
        s0 = self._amplitude(data, e)
        errors: list[Array] = [yk / s0 - ek for yk, ek in zip(y, e, strict=True)]
        mean = sum(y) / len(y) / s0
        total = sum((yk / s0 - mean) ** 2 for yk in y)
        squared = reduce(jnp.add, [error**2 for error in errors])
        box = zip(x, *self.bounds(data), strict=True)
        room = [jnp.minimum(xi - lo, hi - xi) - AT_BOUND * (hi - lo) for xi, lo, hi in box]
        return Results(
            values,
            self.model.derive(values),
            s0,
            squared / len(y),
            1 - squared / jnp.where(total > 0, total, 1),
            reduce(jnp.minimum, room, jnp.ones_like(s0)) <= 0,
        )

    def pose(self, means: Point, given: Sequence[Any], maps: Sequence[Array], sigma=None, prior: Prior | None = None):
        """One voxel's means as (`Data`, `Scaled`). given: numbers. sigma: of one volume, in units of the data."""
        own = scaled(means, maps, self.fit_s0)
        data = Data(own.y, (*given, *maps))
        if prior is not None:
            rows = prior.root * (sigma * self.unit / own.scale)
            data = data._replace(mean=tuple(prior.mean), tightness=tuple(map(tuple, rows)))
        return data, own

    def uncertainty(self, means, given, maps, x: Point, sigma, factors, prior: Prior | None = None) -> Uncertainty:
        """Standard deviations of the estimate x and all that follows from it.

        Means have the variances σ² f_k; the mean of a prior counts as one more measurement, with its covariance.
        The estimate's derivatives by all of them, from the normal equations, carry them over: for inverse variances as
        weights that is the Cramér-Rao bound, and with a prior the posterior.

        Args:
            factors: f of each mean, Σ a² for Gaussian noise. The others as of `pose`.
        """

        def pose(means: Array, mean: Array):
            moved = None if prior is None else prior._replace(mean=mean)
            return self.pose(tuple(means), given, maps, sigma, moved)

        def residual(x: Array, means: Array, mean: Array) -> Array:
            data, own = pose(means, mean)
            return jnp.stack(self.residual(data, tuple(x))) * (own.scale if self.fit_s0 else 1)

        def outcome(x: Array, means: Array, mean: Array) -> dict[str, Array]:
            data, own = pose(means, mean)
            found = self.results(data, tuple(x))
            return {**found.values, **found.derived, "s0": found.s0 * own.scale}

        here = jnp.stack(x), jnp.stack(means), jnp.zeros(0, x[0].dtype) if prior is None else prior.mean
        product = partial(jnp.matmul, precision="highest")
        by_x, *by_data = jax.jacfwd(residual, (0, 1, 2))(*here)
        n = range(len(x))
        hessian = product(by_x.T, by_x)
        inverted, part = inverse([[hessian[i, j] for j in n] for i in n])
        known = part > 4 * float(jnp.finfo(part.dtype).eps)
        moves = [-product(product(jnp.stack([jnp.stack(row) for row in inverted]), by_x.T), d) for d in by_data]
        slopes = jax.jacfwd(outcome, (0, 1, 2))(*here)
        noise = jnp.sqrt(jnp.stack(factors)) * sigma
        shrinkage, deviations = {}, {}
        for name, (along, *direct) in slopes.items():
            by_means, by_prior = (product(along, move) + d for move, d in zip(moves, direct, strict=True))
            own = by_means * noise
            if prior is not None:
                own = jnp.concatenate([own, jnp.linalg.solve(prior.root.T, by_prior)])
            deviations[name] = jnp.where(known, own, jnp.inf)
            if name in self.prior:
                shrinkage[name] = by_prior[self.prior.index(name)]
        sd = {name: jnp.sqrt(jnp.sum(own**2)) for name, own in deviations.items()}
        return Uncertainty(sd, shrinkage, deviations)

    def _values(self, data: Data, x: Point) -> dict[str, Array]:
        return self.model.values(x, data.given)

    def _means(self, data: Data, values: dict[str, Array], like: Array) -> Point:
        known_zero = (isinstance(p.b, float) and p.b == 0 for p in self._pulses(data))
        return tuple(
            jnp.ones_like(like) if zero else self.model.mean(pulse, values)
            for pulse, zero in zip(self._pulses(data), known_zero, strict=True)
        )

    def _amplitude(self, data: Data, e: Point) -> Array:
        if not self.fit_s0:
            return jnp.ones_like(data.y[0])
        roots = self._roots(data)
        return _dot(roots, data.y, roots, e) / _dot(roots, e, roots, e)

    def _pulses(self, data: Data) -> Sequence[Pulse]:
        return self.pulses if data.pulses is None else data.pulses

    def _roots(self, data: Data) -> Sequence[Any]:
        return self.roots if data.roots is None else data.roots


def _dot(*factors):
    total = 0
    for terms in zip(*factors, strict=True):
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        total = total + product
    return total
