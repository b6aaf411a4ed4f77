"""What a noise distribution is: a record of functions of one measurement, in units of σ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

# Rounding that the variance may suffer as a difference of squares; where it is larger the variance is 1.
_ROUNDING = 5e-3
# At x = 0 the derivative of a function such as exp(-|mx|) I₀(mx) is not that of x > 0.
_TINY = 1e-30


@dataclass(frozen=True)
class Noise:
    """A noise distribution: what a measurement M tells about the noise-free signal A.

    All functions work in units of σ, the standard deviation of the noise of one real Gaussian channel: m = M/σ is the
    measurement and x = A/σ ≥ 0 is the signal. They are elementwise, pure JAX, and keep shape and type. A measurement is
    the root of the sum of squares of `channels` real Gaussian channels, so E[m²] = x² + channels, and its noise is
    Gaussian with standard deviation 1 where the signal is strong.

    `check_noise` checks all this. Records are static arguments of compiled functions: equal functions make equal
    records, so build each record once.

    Attributes:
        name: what the distribution is called in messages and sidecars.
        channels: number of real channels: 1 is Gaussian noise of real values, 2 Rician, 2n noncentral chi of n coils.
        mean: x -> E[m].
        misfit: (m, x) -> -log p(m; x) without the terms that depend on m alone, never negative.
        base: m -> the terms that depend on m alone: log p = base(m) - misfit(m, x).
        real: (m, x) -> x + d log p/dx, what m stands for where the signal is x. None: from the derivative of `misfit`.
        variance: x -> Var[m]. None: x² + channels - E[m]².
        slope: x -> dE[m]/dx. None: the derivative of `mean`.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxsmt as js
        >>> mine = js.Noise(
        ...     name="my own Gaussian",
        ...     channels=1,
        ...     mean=lambda x: x,
        ...     misfit=lambda m, x: (m - x) ** 2 / 2,
        ...     base=lambda m: jnp.full_like(m, -0.918939),
        ... )
        >>> float(mine.information(jnp.asarray(2.0)))
        1.0
    """

    name: str
    channels: int
    mean: Callable[[Array], Array] = field(repr=False)
    misfit: Callable[[Array, Array], Array] = field(repr=False)
    base: Callable[[Array], Array] = field(repr=False)
    real: Callable[[Array, Array], Array] | None = field(default=None, repr=False)
    variance: Callable[[Array], Array] | None = field(default=None, repr=False)
    slope: Callable[[Array], Array] | None = field(default=None, repr=False)

    @property
    def magnitudes(self) -> bool:
        """Whether measurements are magnitudes: they are never negative, and their mean has a floor.

        Returns:
            True for more than one channel.

        Example:
            >>> from jaxsmt.physics.noises import find
            >>> find("gaussian").magnitudes, find("rician").magnitudes
            (False, True)
        """
        return self.channels > 1

    def expected_magnitude(self, x: Array) -> Array:
        """Return the mean measurement E[m] where the signal is x.

        Args:
            x: (...,) signals over σ.

        Returns:
            (...,) over σ.

        Example:
            The floor of Rician magnitudes, √(π/2) σ:

            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> round(float(find("rician").expected_magnitude(jnp.asarray(0.0))), 3)
            1.253
        """
        return self.mean(x)

    def slope_of(self, x: Array) -> Array:
        """Return the slope dE[m]/dx of the mean: 0 at x = 0 for magnitudes, near 1 for strong signals.

        Args:
            x: (...,) signals over σ.

        Returns:
            (...,), no unit.

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> round(float(find("rician").slope_of(jnp.asarray(1.0))), 2)
            0.56
        """
        if self.slope is not None:
            return self.slope(x)
        return jax.jvp(self.mean, (x,), (jnp.ones_like(x),))[1]

    def variance_of(self, x: Array) -> Array:
        """Return the variance Var[m] = x² + channels - E[m]² of a measurement where the signal is x.

        Args:
            x: (...,) signals over σ.

        Returns:
            (...,) over σ².

        Example:
            Of Rician magnitudes without signal it is 2 - π/2:

            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> round(float(find("rician").variance_of(jnp.asarray(0.0))), 3)
            0.429
        """
        if self.variance is not None:
            return self.variance(x)
        strong = math.sqrt(_ROUNDING / float(jnp.finfo(x.dtype).eps))
        near = jnp.clip(x, -strong, strong)
        return jnp.where(jnp.abs(x) > strong, 1, near * near + self.channels - self.mean(near) ** 2)

    def information(self, x: Array) -> Array:
        """Return what a measurement tells about x: (dE[m]/dx)²/Var[m].

        It is 1 for Gaussian noise. For magnitudes it is a lower bound of their Fisher information, which is at most 1,
        and at least 0.91 of it for Rician noise.

        Args:
            x: (...,) signals over σ.

        Returns:
            (...,) over 1/σ².

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> round(float(find("rician").information(jnp.asarray(1.0))), 2)
            0.52
        """
        return self.slope_of(x) ** 2 / self.variance_of(x)

    def expected_real(self, m: Array, x: Array) -> Array:
        """Return what a measurement m stands for, with Gaussian noise, where the signal is x: x + d log p/dx.

        For magnitudes it is the expected real part given m. Least squares on it, repeated as x follows, are an EM
        algorithm for the likelihood.

        Args:
            m: (...,) measurements over σ.
            x: (...,) signals over σ.

        Returns:
            (...,) over σ.

        Source: Solo & Noh 2007, ISBI, doi:10.1109/ISBI.2007.356797.

        Example:
            A magnitude of 2σ stands for less where the signal is weak:

            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> round(float(find("rician").expected_real(jnp.asarray(2.0), jnp.asarray(1.0))), 2)
            1.4
        """
        if self.real is not None:
            return self.real(m, x)
        positive = jnp.maximum(x, _TINY)
        return x - jax.jvp(lambda signal: self.misfit(m, signal), (positive,), (jnp.ones_like(x),))[1]

    def signal_of_mean(self, mean: Array) -> Array:
        """Return the signal x whose expected measurement is `mean`, 0 where `mean` is below the floor.

        Six Newton steps reach 1e-4 for signals above 0.5 σ of a few coils, and above 2 σ of many coils. The means of
        weaker signals are so near the floor that they tell little of them.

        Args:
            mean: (...,) over σ.

        Returns:
            (...,) over σ.

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> round(float(find("rician").signal_of_mean(jnp.asarray(2.0))), 2)
            1.67
        """
        if not self.magnitudes:
            return mean
        x = jnp.sqrt(jnp.maximum(mean * mean - (self.channels - 1), 0.05))
        least = 0.1 * math.sqrt(2 / self.channels)  # slopes of weak signals, by which no step divides
        for _ in range(6):
            x = jnp.maximum(x - (self.mean(x) - mean) / jnp.maximum(self.slope_of(x), least), 0)
        return x

    def relative_sigma(self, m: Array, x: Array, known: Array, steps: Array | int = 8) -> Array:
        """Return the most likely σ of volumes whose signal x was fitted by `known` parameters.

        σ² = Σ (m² + x² - 2 m E[real])/(channels n - known), by iteration, so that JAX differentiates it forwards only;
        for Gaussian noise Σ (m - x)²/(n - known).

        Args:
            m: (n,) measurements, in any one unit, best in that of an earlier estimate of σ.
            x: (n,) fitted signals, in the same unit.
            known: (), number of parameters that the data determined.
            steps: at most so many iterations, from σ = 1; with 0 the result is 1. Gaussian noise needs none.

        Returns:
            (), in that unit.

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> m, x = jnp.asarray([1.0, 3.0, 1.0, 3.0]), jnp.full(4, 2.0)
            >>> round(float(find("gaussian").relative_sigma(m, x, jnp.asarray(1.0))), 3)
            1.155
        """
        return self.sigma_of_sums(lambda of, s: jnp.sum(of(s, x, m)), m.shape[0], known, steps)

    def sigma_of_sums(
        self, total: Callable[[Callable[..., Array], Array], Array], n: int, known: Array, steps: Array | int
    ) -> Array:
        """Return `relative_sigma` from sums over volumes.

        Args:
            total: `(of, s) -> Σ of(s, x, m)` over the volumes, with () numbers s.
            n: number of volumes.
            known: see `relative_sigma`.
            steps: see there.

        Returns:
            (), in the unit of m and x.

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> total = lambda of, s: sum(of(s, 2.0, m) for m in jnp.asarray([1.0, 3.0, 1.0, 3.0]))
            >>> round(float(find("gaussian").sigma_of_sums(total, 4, jnp.asarray(1.0), 8)), 3)
            1.155
        """
        if not self.magnitudes:
            return jnp.sqrt(total(lambda s, x, m: (m - x) ** 2, jnp.ones_like(known)) / (n - known))

        # Where the signal is strong what is expected of all channels but the first is σ² each, whatever the data: all
        # but one of them go to the other side of the equation, lest each iteration gains only 1/channels of the way.
        rest = self.channels - 1

        def across(s: Array, x: Array, m: Array) -> Array:
            # m² + x² - 2 m E[real] is (m - x)² and this, without the difference of large numbers.
            return 2 * s * x * (m / s - self.expected_real(m / s, x / s))

        def step(square: Array) -> Array:
            s, freedom = jnp.sqrt(square), self.channels * n - known
            if rest > 1:
                freedom = freedom - (rest - 1) / rest * total(across, s) / square
            return total(lambda s, x, m: (m - x) ** 2 + across(s, x, m) / rest, s) / freedom

        # Plain iteration converges slowly where volumes are few: from the second on it is a secant's step.
        def secant(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            square, before, value_before = state
            value, moved = step(square), square - before
            slope = jnp.where(moved == 0, 0, (value - value_before) / jnp.where(moved == 0, 1, moved))
            ahead = square + (value - square) / (1 - jnp.clip(slope, -1, 0.9))
            return jnp.clip(ahead, value / 2, 2 * value), square, value

        one = jnp.ones_like(known)
        return jnp.sqrt(_fixed_point(secant, (one, one, one), steps)[0])

    def sigma_from_residuals(self, data: Array, bases: tuple[Array, ...]) -> Array:
        """Return σ of one voxel from what smooth functions of the direction leave over of its shells.

        σ² = Σ r²/(ν mean Var[m]). Magnitudes vary less than the noise of their channels where the signal is weak, which
        is solved for by iteration, so that JAX differentiates it forwards only. The result is up to 10 % low where all
        of the signal is below σ.

        Args:
            data: (volumes,) shell by shell, in any unit.
            bases: (n, coefficients) of each shell, orthonormal columns: its harmonics at its n directions.

        Returns:
            (), in the unit of the data.

        Example:
            >>> import jax.numpy as jnp
            >>> from jaxsmt.physics.noises import find
            >>> constant = jnp.full((4, 1), 0.5)
            >>> round(float(find("gaussian").sigma_from_residuals(jnp.asarray([1.0, 3.0, 1.0, 3.0]), (constant,))), 3)
            1.155
        """
        edges = [0]
        for basis in bases:
            edges.append(edges[-1] + len(basis))
        parts = [data[i:j] for i, j in itertools.pairwise(edges)]
        product = partial(jnp.matmul, precision="highest")
        fitted = jnp.concatenate([product(q, product(q.T, y)) for q, y in zip(bases, parts, strict=True)])
        leverage = jnp.concatenate([jnp.sum(q * q, axis=1) for q in bases])  # of the noise in what is fitted
        freedom = edges[-1] - sum(q.shape[1] for q in bases)
        raw = jnp.sum((data - fitted) ** 2) / freedom
        if not self.magnitudes:
            return jnp.sqrt(raw)

        def step(state: tuple[Array, Array]) -> tuple[Array, Array]:
            sigma2, v = state
            x2 = jnp.maximum(fitted**2 / jnp.where(sigma2 > 0, sigma2, 1) - self.channels + v * (1 - leverage), 0)
            v = self.variance_of(jnp.sqrt(x2))
            return raw / jnp.mean(v), v

        return jnp.sqrt(_fixed_point(step, (raw, jnp.ones_like(fitted)), 20, 1e-3)[0])


def _fixed_point(step: Callable[[Any], Any], start: Any, most: Array | int, tolerance: float = 1e-5) -> Any:
    """Repeat a step until the first number of the state settles to this part of itself, at most so many times."""

    def first(state: Any) -> Array:
        number: Array = jax.tree.leaves(state)[0]
        return number

    def more(carry: tuple[Array, Array, Any]) -> Array:
        n, before, state = carry
        return (n < most) & ~(jnp.abs(first(state) - before) <= tolerance * jnp.abs(before))

    def again(carry: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
        n, _, state = carry
        return n + 1, first(state), step(state)

    nothing = jnp.full_like(first(start), jnp.nan)  # never near anything
    return jax.lax.while_loop(more, again, (jnp.int32(0), nothing, start))[2]
