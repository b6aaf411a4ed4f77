"""Compartments: the signal of one kind of water around one axis, and sums of them.

A compartment is its attenuation k(x), the signal over S0 as a function of x = g·n, the cosine between the
gradient and the compartment's axis; all else follows. Where a closed form of the spherical mean
∫₀¹ k dx or of the Legendre moments ∫₀¹ k P_l dx is at hand it can be given too, and is faster.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from ..acquisition.arrays import concrete_value
from ..acquisition.shells import Pulse
from ..errors import InputError
from .signal import exponent_of, legendre_moments, sphere_mean, zeppelin_legendre, zeppelin_mean

#: Diffusivities are sought up to here, µm²/ms: that of water at body temperature.
FREE = 3.05


@dataclass(frozen=True)
class Parameter:
    """A quantity to be fitted: its name, its closed interval, and where searches start in it.

    Args:
        lower, upper: the interval, numbers (of a model's parameters also maps, see `SphericalMeanModel.bound`).
        typical: value in the living brain, at which expected errors are told; None: the middle.
        unit: "um2/ms", "um", "ms" or "". starts: parts of the interval, strictly inside (0, 1); a fit begins at
            the best point of the grid that the parameters' starts span, unless `start`, a value, is given.
        smallest, largest: beyond these it has no meaning, and bounds are refused.

    Example:
        >>> import jaxsmt as js
        >>> js.Parameter("radius", 1.0, 15.0, unit="um").upper
        15.0
    """

    name: str
    lower: Any = 0.0
    upper: Any = 1.0
    typical: float | None = None
    unit: str = ""
    starts: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    start: Any = None
    smallest: float = 0.0
    largest: float = math.inf


@dataclass(frozen=True)
class Compartment:
    """One kind of water: its parameters and its signal.

    Args:
        kind: what it is called, as in diagrams. parameters: in the order in which the functions take them.
        attenuation: `(pulse, x, *parameters) -> signal / S0`, elementwise, pure JAX, even and smooth in x.
            `pulse.b` is in ms/µm², `pulse.delta`, `pulse.Delta` and `pulse.te` in ms, x = |g·n|, `pulse.b_delta` None
            or b_Δ.
        mean: `(pulse, *parameters) -> spherical mean` of their shape, or None: by quadrature.
        legendre: `(pulse, lmax, *parameters) -> (..., lmax/2 + 1)`, or None: by quadrature.
        isotropic: whether the attenuation does not depend on x. timed: whether it needs δ and Δ. shaped: whether it
            holds for `pulse.b_delta` other than 1, the shape b_Δ of the encoding; others refuse such a scheme.
        relaxing: whether it depends on the echo time `pulse.te`, see `relaxing`.

    The quadrature has 32 nodes: exact to rounding for exp(-z x²), z ≤ 60. `check_compartment` checks a compartment of
    your own.

    Example:
        >>> import jax.numpy as jnp
        >>> import jaxsmt as js
        >>> attenuation = lambda pulse, x, rate: jnp.exp(-pulse.b * rate * x**4)
        >>> mine = js.Compartment("mine", (js.Parameter("rate"),), attenuation)
        >>> print(f"{mine.spherical_mean(js.Pulse(1.0), jnp.asarray(0.5)):.3f}")
        0.912
    """

    kind: str
    parameters: tuple[Parameter, ...]
    attenuation: Callable[..., Array]
    mean: Callable[..., Array] | None = None
    legendre: Callable[..., Array] | None = None
    isotropic: bool = False
    timed: bool = False
    shaped: bool = False
    relaxing: bool = False

    def spherical_mean(self, pulse: Pulse, *values: Array) -> Array:
        """Spherical mean over S0, ∫₀¹ k(x) dx.

        Args:
            pulse: diffusion weighting. values: the parameters in their order, (...) each.
        Returns:
            (...), no unit.
        """
        if self.isotropic:
            return self.attenuation(pulse, jnp.zeros_like(_like(pulse, values)), *values)
        if self.mean is not None:
            return self.mean(pulse, *values)
        return self.moments(pulse, 0, *values)[..., 0]

    def moments(self, pulse: Pulse, lmax: int, *values: Array) -> Array:
        """Legendre moments, ∫₀¹ k(x) P_l(x) dx for l = 0, 2, …, lmax.

        Args:
            pulse: diffusion weighting. lmax: even order. values: the parameters in their order, (...) each.
        Returns:
            (..., lmax/2 + 1), no unit.
        """
        if self.isotropic:
            mean = self.spherical_mean(pulse, *values)[..., None]
            return jnp.concatenate([mean, *[jnp.zeros_like(mean)] * (lmax // 2)], axis=-1)
        if self.legendre is not None:
            return self.legendre(pulse, lmax, *values)
        like = _like(pulse, values)
        return legendre_moments(lambda x: self.at(pulse, x, *values), like.dtype, lmax)

    def at(self, pulse: Pulse, x: Array, *values: Array) -> Array:
        """Attenuation k at cosines between gradient and axis.

        Args:
            pulse: diffusion weighting. x: (n,) cosines. values: the parameters in their order, (...) each.
        Returns:
            (..., n), no unit.
        """
        like = _like(pulse, values)
        return self.attenuation(pulse, x.reshape((1,) * like.ndim + x.shape), *(v[..., None] for v in values))


def _is_linear(pulse: Pulse) -> bool:
    """Whether a measurement is known to be of linear encoding; one without weighting is."""
    if pulse.b_delta is None:
        return True
    shape, b = concrete_value(pulse.b_delta), concrete_value(pulse.b)
    return shape is not None and bool(np.all((np.asarray(shape) == 1) | (np.asarray(b) == 0)))


def _like(pulse: Pulse, values: Sequence[Array]) -> Array:
    """Something of the shape and type that a signal will have."""
    return values[0] if values else jnp.zeros_like(jnp.asarray(pulse.b, jnp.result_type(float)))


# Squares: denser where diffusion is slow.
_DIFFUSIVITY_STARTS = tuple(((i + 0.5) / 12) ** 2 for i in range(12))


def _diffusivity(name: str, typical: float) -> Parameter:
    return Parameter(name, 0.0, FREE, typical, "um2/ms", _DIFFUSIVITY_STARTS)


def zeppelin() -> Compartment:
    """Axially symmetric Gaussian diffusion: k = exp(-b λ⊥ - b (λ∥ - λ⊥) x²); `signal.exponent_of` for other shapes b_Δ.

    Returns:
        a `Compartment` with `lambda_par` and `lambda_perp`, µm²/ms.

    Example:
        >>> import jaxsmt as js
        >>> [p.name for p in js.zeppelin().parameters]
        ['lambda_par', 'lambda_perp']

    Source: Kaden et al. 2016, Magn Reson Med 75:1752, doi:10.1002/mrm.25734.
    """
    parameters = _diffusivity("lambda_par", 1.7), _diffusivity("lambda_perp", 0.5)
    return Compartment("zeppelin", parameters, _zeppelin, _zeppelin_mean, _zeppelin_legendre, shaped=True)


def stick() -> Compartment:
    """Diffusion along the axis only: k = exp(-b λ∥ x²).

    Returns:
        a `Compartment` with `lambda_par`, µm²/ms.

    Example:
        >>> import jaxsmt as js
        >>> js.stick().parameters[0].upper  # that of free water at body temperature
        3.05

    Source: Behrens et al. 2003, Magn Reson Med 50:1077, doi:10.1002/mrm.10609.
    """
    return Compartment("stick", (_diffusivity("lambda_par", 1.7),), _stick, _stick_mean, _stick_legendre, shaped=True)


def ball() -> Compartment:
    """Isotropic Gaussian diffusion: k = exp(-b D).

    Returns:
        a `Compartment` with `diffusivity`, µm²/ms.

    Example:
        >>> import jaxsmt as js
        >>> js.ball().isotropic
        True

    Source: Behrens et al. 2003, Magn Reson Med 50:1077, doi:10.1002/mrm.10609.
    """
    return Compartment("ball", (_diffusivity("diffusivity", 2.0),), _ball, isotropic=True, shaped=True)


def dot() -> Compartment:
    """Water that does not move: k = 1.

    Returns:
        a `Compartment` without parameters.

    Example:
        >>> import jaxsmt as js
        >>> js.dot().parameters
        ()
    """
    return Compartment("dot", (), _dot, isotropic=True, shaped=True)


def sphere() -> Compartment:
    """Diffusion restricted in an impermeable sphere, see `signal.sphere_mean`. It needs δ and Δ.

    Returns:
        a `Compartment` with `radius`, µm, and `diffusivity` inside, µm²/ms.

    Example:
        >>> import jaxsmt as js
        >>> js.sphere().timed
        True

    Source: Murday & Cotts 1968, J Chem Phys 48:4938, doi:10.1063/1.1668160.
    """
    radius = Parameter("radius", 1.0, 15.0, 7.0, "um", smallest=0.1, largest=25.0)
    inside = replace(_diffusivity("diffusivity", 2.0), lower=0.1, smallest=0.01)
    return Compartment("sphere", (radius, inside), _sphere, isotropic=True, timed=True)


def _zeppelin(pulse: Pulse, x: Array, lambda_par: Array, lambda_perp: Array) -> Array:
    if pulse.b_delta is None:
        return jnp.exp(-pulse.b * (lambda_perp + (lambda_par - lambda_perp) * x * x))
    c, z = exponent_of(pulse.b, lambda_par, lambda_perp, pulse.b_delta)
    return jnp.exp(-c - z * x * x)


def _zeppelin_mean(pulse: Pulse, lambda_par: Array, lambda_perp: Array) -> Array:
    return zeppelin_mean(pulse.b, lambda_par, lambda_perp, pulse.b_delta)


def _zeppelin_legendre(pulse: Pulse, lmax: int, lambda_par: Array, lambda_perp: Array) -> Array:
    return zeppelin_legendre(pulse.b, lambda_par, lambda_perp, lmax, pulse.b_delta)


def _stick(pulse: Pulse, x: Array, lambda_par: Array) -> Array:
    if pulse.b_delta is not None:
        return _zeppelin(pulse, x, lambda_par, jnp.zeros_like(lambda_par))
    return jnp.exp(-pulse.b * lambda_par * x * x)


def _stick_mean(pulse: Pulse, lambda_par: Array) -> Array:
    return _zeppelin_mean(pulse, lambda_par, jnp.zeros_like(lambda_par))


def _stick_legendre(pulse: Pulse, lmax: int, lambda_par: Array) -> Array:
    return _zeppelin_legendre(pulse, lmax, lambda_par, jnp.zeros_like(lambda_par))


def _ball(pulse: Pulse, x: Array, diffusivity: Array) -> Array:
    return jnp.exp(-pulse.b * diffusivity) * jnp.ones_like(x)


def _dot(pulse: Pulse, x: Array) -> Array:
    return jnp.ones_like(x)


def _sphere(pulse: Pulse, x: Array, radius: Array, diffusivity: Array) -> Array:
    return sphere_mean(pulse.b, pulse.delta, pulse.Delta, radius, diffusivity) * jnp.ones_like(x)


#: Kernels below this anisotropy have no direction: λ⊥/λ∥ above 0.95, about.
LEAST_ANISOTROPY = 0.052


def anisotropy(moments: Sequence[Array]) -> Array:
    """How much a kernel's signal depends on direction: apparent diffusivity along less across, over its mean.

    15/2 |k₂/k₀| / |log k₀| with the Legendre moments k_l, the largest of all shells. Of a zeppelin at low b it is
    3(1 - f)/(1 + 2f) with f = λ⊥/λ∥.

    Args:
        moments: of each shell, (..., 2) or more, of l = 0 and 2 first.
    Returns:
        (...), no unit; 0 of an isotropic kernel.

    Example:
        >>> import jaxsmt as js
        >>> stick, ball = js.stick(), js.ball()
        >>> [bool(anisotropy([c.moments(js.Pulse(1.0), 2, jnp.array(2.0))]) > LEAST_ANISOTROPY) for c in (stick, ball)]
        [True, False]
    """
    k = jnp.stack([m[..., :2] for m in moments])
    decay = jnp.abs(jnp.log(jnp.maximum(k[..., 0], jnp.finfo(k.dtype).tiny)))
    varying = jnp.abs(k[..., 1]) * (15 / 2)
    # Where nothing decays nothing depends on direction.
    scale = k[..., 0] * decay
    return jnp.max(jnp.where(scale > 0, varying / jnp.where(scale > 0, scale, 1), 0), axis=0)


@dataclass(frozen=True)
class Kernel:
    """A sum of compartments with one axis, k = Σ w_c k_c: what fibre orientations are convolved with.

    Attributes:
        compartments: (name, compartment) each. A parameter's name is `compartment.parameter`, a volume
            fraction's `weight.compartment`; the parameters of one compartment without a name have no prefix.
    """

    compartments: tuple[tuple[str, Compartment], ...]

    @property
    def timed(self) -> bool:
        return any(compartment.timed for _, compartment in self.compartments)

    @property
    def relaxing(self) -> bool:
        """Whether S0 is that of the echo time 0, one for all echo times."""
        return any(compartment.relaxing for _, compartment in self.compartments)

    @property
    def isotropic(self) -> bool:
        return all(compartment.isotropic for _, compartment in self.compartments)

    def of(self, name: str) -> list[str]:
        """Full names of the parameters of a compartment."""
        return [f"{name}.{p.name}" if name else p.name for p in dict(self.compartments)[name].parameters]

    @property
    def weights(self) -> list[str]:
        """Names of the volume fractions; one compartment has none."""
        return [f"weight.{name}" for name, _ in self.compartments] if len(self.compartments) > 1 else []

    @property
    def names(self) -> list[str]:
        """All that the signal depends on."""
        return [full for name, _ in self.compartments for full in self.of(name)] + self.weights

    def mean(self, pulse: Pulse, values: Mapping[str, Array]) -> Array:
        """Spherical mean over S0, (...), from all `names`, each (...)."""
        parts = [c.spherical_mean(pulse, *parameters) for c, parameters in self._each(values)]
        return self._sum([values[weight] for weight in self.weights], parts)

    def legendre(self, pulse: Pulse, lmax: int, values: Mapping[str, Array]) -> Array:
        """Legendre moments (..., lmax/2 + 1) from all `names`, each (...)."""
        return self._sum([values[weight][..., None] for weight in self.weights], self.moments(pulse, lmax, values))

    def moments(self, pulse: Pulse, lmax: int, values: Mapping[str, Array]) -> list[Array]:
        """Legendre moments of each compartment."""
        return [c.moments(pulse, lmax, *parameters) for c, parameters in self._each(values)]

    def unrelaxed(self, pulse: Pulse, moments: Array, values: Mapping[str, Array]) -> Array:
        """Moments (..., n) over the signal that b = 0 would have at the same echo time; as they are without any T2."""
        return moments / self.mean(pulse._replace(b=0.0), values)[..., None] if self.relaxing else moments

    def _each(self, values: Mapping[str, Array]) -> list[tuple[Compartment, list[Array]]]:
        return [(c, [values[p] for p in self.of(name)]) for name, c in self.compartments]

    @staticmethod
    def _sum(weights: list[Array], parts: list[Array]) -> Array:
        return reduce(operator.add, map(operator.mul, weights, parts)) if weights else parts[0]

    def require(self, pulses: Iterable[Pulse]) -> None:
        """Raise InputError if a compartment needs times that are not known, or linear encoding that is not."""
        pulses = tuple(pulses)
        self._require_echo_times(pulses)
        linear = [compartment.kind for _, compartment in self.compartments if not compartment.shaped]
        if linear and not all(map(_is_linear, pulses)):
            raise InputError(
                f"a {linear[0]} is known for linear encoding only (b_Δ = 1), and the scheme has other shapes",
                fix="leave the volumes of b_delta= other than 1 out, or use Gaussian compartments",
            )
        if self.timed and any(pulse.delta is None for pulse in pulses):
            needy = next(c.kind for _, c in self.compartments if c.timed)
            raise InputError(
                f"a {needy} needs the duration δ and separation Δ of the gradient pulses",
                fix="give delta= and Delta=, in ms",
            )

    def _require_echo_times(self, pulses: tuple[Pulse, ...]) -> None:
        """Raise InputError if compartments relax and echo times are not known, or if only some of them relax."""
        if not self.relaxing:
            return
        others = [compartment.kind for _, compartment in self.compartments if not compartment.relaxing]
        if others:
            raise InputError(
                f"a {others[0]} has no T2 beside compartments that have one",
                fix="make each compartment relaxing(...), and their T2 equal where they are one",
            )
        if any(pulse.te is None for pulse in pulses):
            raise InputError("relaxing compartments need the echo times", fix="give te=, in ms, for each volume")
