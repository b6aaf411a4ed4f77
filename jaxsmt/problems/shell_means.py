"""The search for one voxel's kernel: a model's parameters and S0 from the spherical means of the shells."""

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
from .base import Trial

#: A parameter closer to its bound than this part of its range is at the bound.
AT_BOUND = 1e-4
# Most shells that are written out one by one: the compiler's time grows with them.
_WRITTEN_OUT = 9
# Least b = 0 mean, as a part of the largest mean, that can serve as S0.
_LEAST_S0 = 1e-6


class Data(NamedTuple):
    """What the search sees of a voxel.

    y: spherical means of b = 0 and each shell, of a magnitude near 1. pulses, roots: of each, weighting and √w.
    runtime: the model's numbers and the values of its maps here, see `SphericalMeanModel.without_values`. prior_mean:
    of each parameter that has a prior; prior_rows: T of the cost |T (p - m)|², a row for each of them.
    """

    y: Point
    pulses: tuple[Pulse, ...]
    roots: tuple[Any, ...]
    runtime: tuple[Any, ...] = ()
    prior_mean: Point = ()
    prior_rows: tuple[Point, ...] = ()


class Scaled(NamedTuple):
    """Spherical means for a search: y times scale are the data. Whether they are finite, and usable at all."""

    y: Point
    scale: Array
    finite: Array
    usable: Array


def scaled(means: Sequence[Array], maps: Sequence[Array], fit_s0: bool, echoes: Sequence[int] = ()) -> Scaled:
    """Scale one voxel's spherical means; those that cannot be used become 0. maps: must be finite too.

    echoes: of `ShellMeans`. An S0 that is not fitted is the b = 0 mean of each shell's echo time; b = 0 comes first.
    """
    finite = jnp.isfinite(sum((*means, *maps), start=jnp.zeros_like(means[0])))
    largest = reduce(jnp.maximum, (jnp.abs(m) for m in means))
    # With S0 fixed to next to nothing the signal over it has no meaning.
    usable = finite & (means[0] > (0 if fit_s0 else _LEAST_S0 * largest))
    if echoes and not fit_s0:
        usable = usable & (reduce(jnp.minimum, means[: max(echoes) + 1]) > _LEAST_S0 * largest)
        scales = [jnp.where(usable, means[echo], 1) for echo in echoes]
        return Scaled(
            tuple(jnp.where(usable, m, 0) / s for m, s in zip(means, scales, strict=True)), scales[0], finite, usable
        )
    scale = jnp.where(usable, largest if fit_s0 else means[0], 1)
    return Scaled(tuple(jnp.where(usable, m, 0) / scale for m in means), scale, finite, usable)


def are_weights(weights: ArrayLike) -> bool:
    """Whether these known numbers can be weights of squared residuals."""
    values = np.asarray(weights, float)
    return bool((values >= 0).all() and 0 < values.max() < np.inf)


class Estimate(NamedTuple):
    """What a point means. values, derived: by name. s0: in units of y. quality: how good the fit is, by name."""

    values: dict[str, Array]
    derived: dict[str, Array]
    s0: Array
    quality: dict[str, Array]
    at_bound: Array


@dataclass(frozen=True)
class ShellMeans:
    """Minimise Σ_k w_k (y_k - S0 ε(b_k; x))² + |T (p - m)|² over x and, by projection, S0; a `Search`.

    Attributes:
        model: without values. fit_s0: else S0 is 1. prior: names of the parameters p that have one.
        unweighted: whether b is exactly 0 at b = 0, so that nothing is to be computed there.
        echoes: the number of each shell's echo time, which has an S0 of its own; S0 is that of the first. (): one.
    """

    model: SphericalMeanModel
    fit_s0: bool = True
    prior: tuple[str, ...] = ()
    unweighted: bool = False
    echoes: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Degrees of freedom, without S0."""
        return len(self.model.free)

    @property
    def kind(self) -> str:
        return "kernels"

    @property
    def n_starts(self) -> int:
        return len(self.model.grid())

    @property
    def stride(self) -> int:
        return 5

    def trial(self, selective: bool) -> Trial | None:
        return None

    def problem_of(self, data: Data) -> Problem:
        return in_box(partial(self.residual, data), *self._bounds(data), self.model.step)

    def starts(self, data: Data) -> Point:
        """The point with the least cost of each part of the model's grid."""
        y, roots = self._of_shells(data)
        grid = jnp.asarray(self.model.grid(), y[0].dtype)
        x = self.model.space.begin(tuple(grid.reshape(-1, grid.shape[2]).T), data.runtime)
        means = self._means(data, self._values(data, x), x[0])
        if isinstance(means, Array):
            e, weighted = roots[:, None] * means, roots * y
        else:
            e = jnp.stack([root * ek for root, ek in zip(roots, means, strict=True)])
            weighted = jnp.stack([root * yk for root, yk in zip(roots, y, strict=True)])
        squares = jnp.sum(e * e, axis=0)
        # All parts in one product: without maps the signals of the grid are the same for all voxels.
        if self.fit_s0 and self.echoes:
            score = jnp.sum(jnp.maximum(self._by_echo(weighted[:, None] * e), 0) ** 2 / self._by_echo(e * e), axis=0)
        elif self.fit_s0:  # least after projection: largest cosine
            score = jnp.matmul(weighted, e / jnp.sqrt(squares)[None], precision="highest")
        else:
            score = jnp.matmul(weighted, 2 * e, precision="highest") - squares
        best = jnp.argmax(score.reshape(grid.shape[:2]), axis=1) + grid.shape[1] * np.arange(len(grid))
        return tuple(xi[best] for xi in x)

    def estimate(self, data: Data, x: Point) -> Estimate:
        """What a point means."""
        values = self._values(data, x)
        y, roots = self._of_shells(data)
        e = self._means(data, values, y[0])
        amplitudes = self._amplitude(roots, y, e)
        s0 = amplitudes[0] if amplitudes.ndim else amplitudes
        box = zip(x, *self._bounds(data), strict=True)
        room = [jnp.minimum(xi - lo, hi - xi) - AT_BOUND * (hi - lo) for xi, lo, hi in box]
        at_bound = reduce(jnp.minimum, room, jnp.ones_like(s0)) <= 0
        return Estimate(values, self.model.derive(values), s0, _quality(y, amplitudes, e), at_bound)

    def _bounds(self, data: Data) -> tuple[Point, Point]:
        dtype = data.y[0].dtype
        lower, upper = (tuple(jnp.asarray(v, dtype) for v in ends) for ends in self.model.space.box(data.runtime))
        return lower, upper

    def residual(self, data: Data, x: Point) -> Any:
        """A tuple of scalars; an array where there are many shells."""
        values = self._values(data, x)
        y, roots = self._of_shells(data)
        e = self._means(data, values, data.y[0])
        s0 = self._amplitude(roots, y, e)
        off = [values[name] - mean for name, mean in zip(self.prior, data.prior_mean, strict=True)]
        of_prior = [_dot(row, off) for row in data.prior_rows]
        if isinstance(e, Array):
            misfit = roots * (y - s0 * e)
            return jnp.concatenate([misfit, jnp.stack(of_prior)]) if of_prior else misfit
        return (*(root * (yk - s0 * ek) for root, yk, ek in zip(roots, y, e, strict=True)), *of_prior)

    def _values(self, data: Data, x: Point) -> dict[str, Array]:
        return self.model.values(x, data.runtime)

    def _means(self, data: Data, values: dict[str, Array], like: Array) -> Any:
        """Those of all shells, as `_of_shells` has them: a tuple, or (shells, ...)."""
        known = (jnp.ones_like(like),) if self.unweighted else ()
        pulses = data.pulses[len(known) :]
        if not self._are_arrays(data):
            return (*known, *(self.model.mean(pulse, values) for pulse in pulses))
        together = jax.tree.map(lambda *numbers: jnp.stack([jnp.asarray(n, like.dtype) for n in numbers]), *pulses)
        means = jax.vmap(lambda pulse: self.model.mean(pulse, values))(together)
        return jnp.concatenate([known[0][None], means]) if known else means

    def _amplitude(self, roots: Any, y: Any, e: Any) -> Array:
        """S0; of each shell, (shells,), where there are several echo times."""
        if not self.fit_s0:
            return jnp.ones_like(y[0])
        if self.echoes:
            of_echoes = self._by_echo(roots * y * roots * e) / self._by_echo(roots * e * roots * e)
            return jnp.sum(self._members(y.dtype) * of_echoes[:, None], axis=0)
        amplitude: Array = _dot(roots, y, roots, e) / _dot(roots, e, roots, e)
        return amplitude

    def _are_arrays(self, data: Data) -> bool:
        """Whether the shells are arrays, which the compiler sees once."""
        return len(data.pulses) > _WRITTEN_OUT or bool(self.echoes)

    def _of_shells(self, data: Data) -> tuple[Any, Any]:
        """Means and roots of the weights, a number for each shell: tuples, or arrays where there are many."""
        if not self._are_arrays(data):
            return data.y, data.roots
        y = jnp.stack(data.y)
        return y, jnp.stack([jnp.asarray(root, y.dtype) for root in data.roots])

    def _members(self, dtype: Any) -> Array:
        """(echo times, shells) 1 where the shell has that echo time, else 0."""
        return jnp.asarray(np.equal.outer(np.unique(self.echoes), self.echoes), dtype)

    def _by_echo(self, values: Array) -> Array:
        """Sums of (shells, ...) values over the shells of each echo time: (echo times, ...)."""
        members = self._members(values.dtype)
        return jnp.sum(members.reshape(*members.shape, *[1] * (values.ndim - 1)) * values[None], axis=1)


def _quality(y: Any, s0: Array, e: Any) -> dict[str, Array]:
    """Maps of how good every kernel fit is, of the signal over S0 at b = 0 and the shells; a new one goes here."""
    if isinstance(e, Array):
        misfit = jnp.sum((y / s0 - e) ** 2)
        spread = jnp.sum((y / s0 - jnp.mean(y / s0)) ** 2)
        return {"mse": misfit / len(y), "r2": 1 - misfit / jnp.where(spread > 0, spread, 1)}
    errors: list[Array] = [yk / s0 - ek for yk, ek in zip(y, e, strict=True)]
    mean = sum(y) / len(y) / s0
    total = sum((yk / s0 - mean) ** 2 for yk in y)
    squared = reduce(jnp.add, [error**2 for error in errors])
    return {"mse": squared / len(y), "r2": 1 - squared / jnp.where(total > 0, total, 1)}


def _dot(*factors: Any) -> Any:
    if isinstance(factors[0], Array):
        return jnp.sum(reduce(jnp.multiply, factors))
    total: Any = 0
    for terms in zip(*factors, strict=True):
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        total = total + product
    return total
