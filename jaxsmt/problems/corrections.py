"""What one voxel's volumes would be without noise floor and at the nominal gradients.

A fitted kernel, and a FOD of free harmonics that is fitted to all volumes under it, predict each volume's signal. With
noise of magnitudes the expected real part of each volume follows. Where gradients deviate, so does what the deviation
changed. Spherical means of such volumes are unbiased, and the kernel is fitted again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ..geometry.harmonics import even_harmonics
from ..physics.densities.base import watson_zonal
from ..physics.noises.base import Noise

#: Order of the FOD's harmonics.
LMAX = 6
#: Orders l of its coefficients but the first.
L = np.concatenate([np.full(2 * l + 1, l, np.int32) for l in range(2, LMAX + 1, 2)])
_ORDER = L // 2 - 1  # the same as numbers from 0 on
# Standard deviation of coefficients 4π ψ_lm of lobes of this κ and any axis: what keeps them finite where the kernel
# is isotropic.
_SPREAD = np.sqrt(4 * np.pi) * watson_zonal(20.0, LMAX)[L // 2]
#: Steps, from a uniform FOD and from that of an earlier correction.
STEPS, STEPS_AGAIN = 4, 2
#: The same where directions are few or uneven, as many harmonics are alike there.
STEPS_UNEVEN, STEPS_UNEVEN_AGAIN = 12, 6
_UNEVEN = 5  # from this condition of the harmonics' products on
STEPS_OF_SIGMA = 3  #: at most
_LEAST = 0.05  # signal over σ, so that no volume is without influence
_LEAST_INFORMATION = 0.25  # of a shell, whose strongest volumes tell more


#: (lane, E, *m) -> two numbers of a volume of the signal E, see `Sums`; the first may be None. lane: other numbers of
#: the voxel, a pytree. m: of the volume.
OfVolume: TypeAlias = Callable[..., tuple[Any, Array]]


class Sums(NamedTuple):
    """Over volumes.

    back: of the first number times ∂E/∂c, (coefficients,), or None. shells: of the second number, () of each shell.
    """

    back: Any
    shells: Sequence[Any]


class Linear(NamedTuple):
    """Signals of volumes as a linear function of coefficients, E_i = mean + Σ_k matrix_ik moment_o(k) c_k, by shell.

    means: () each. matrices: (n, coefficients). moments: (orders,).
    """

    means: tuple[Array, ...]
    matrices: tuple[Array, ...]
    moments: tuple[Array, ...]


@runtime_checkable
class Fused(Protocol):
    """Adds up over the volumes of many voxels on a GPU; `batch` has it."""

    def __call__(
        self, of_volume: OfVolume, plain: Callable[..., Sums], orders: np.ndarray, linear: Linear, *of_voxel: Any
    ) -> Sums:
        """What `plain(linear, *of_voxel)` gives. orders: the order of each coefficient, from 0."""


class Design(NamedTuple):
    """Volumes above b = 0 as a linear function of a FOD's coefficients c = 4π ψ_lm, l ≥ 2, shell by shell.

    E = K_0 + Σ_lm K_l Y_lm(g) c_lm (Funk-Hecke). Each shell's mean K_0, (n,) or (), matrix (n, coefficients) and
    moments (orders,), whose products are K_l Y_lm. scales: the moment of each coefficient. grams: the matrices'
    products MᵀM where all voxels have the same; None: they have not. fused: adds up over volumes on a GPU.
    """

    means: tuple[Array, ...]
    matrices: tuple[Array, ...]
    moments: tuple[Array, ...]
    scales: tuple[Array, ...]
    grams: tuple[Array, ...] | None = None
    fused: Fused | None = None

    @classmethod
    def of(cls, linear: Linear, grams: tuple[Array, ...] | None = None, fused: Fused | None = None) -> Design:
        """With all that follows from these."""
        return cls(*linear, tuple(of_orders[_ORDER] for of_orders in linear.moments), grams, fused)

    def linear(self, c: Array) -> list[Array]:
        """Each shell's part linear in c, (n,)."""
        each = zip(self.matrices, self.scales, strict=True)
        return [jnp.matmul(matrix, scale * c, precision="highest") for matrix, scale in each]

    def signal(self, c: Array) -> list[Array]:
        """Each shell's signal over S0, (n,)."""
        return [mean + part for mean, part in zip(self.means, self.linear(c), strict=True)]

    def sums(self, of_volume: OfVolume, c: Array, lane: Any, m: Array) -> Sums:
        """What `of_volume(lane, E, m)` gives of all volumes, added up; see `Sums`. m: as in `split`."""
        if self.fused is not None:

            def plain(linear: Linear, *of_voxel: Any) -> Sums:
                return Design.of(linear).sums(of_volume, *of_voxel)

            return self.fused(of_volume, plain, _ORDER, Linear(*self[:3]), c, lane, m)
        each = [of_volume(lane, *of_shell) for of_shell in zip(self.signal(c), self.split(m), strict=True)]
        firsts, seconds = zip(*each, strict=True)
        back = None if firsts[0] is None else jax.linear_transpose(self.linear, c)(list(firsts))[0]
        return Sums(back, tuple(map(jnp.sum, seconds)))

    def squares(self, c: Array) -> Sequence[Array]:
        """Each shell's sum of squares of what is linear in c, ()."""
        if self.fused is not None:

            def plain(linear: Linear, c: Array, *nothing: None) -> Sums:
                return Sums(None, tuple(Design.of(linear).squares(c)))

            linear = Linear(tuple(map(jnp.zeros_like, self.means)), self.matrices, self.moments)
            return self.fused(lambda lane, signal: (None, signal * signal), plain, _ORDER, linear, c, None).shells
        if self.grams is None:
            return [jnp.sum(part * part) for part in self.linear(c)]
        scaled = [scale * c for scale in self.scales]
        each = zip(self.grams, scaled, strict=True)
        return [jnp.sum(part * jnp.matmul(gram, part, precision="highest")) for gram, part in each]

    def split(self, volumes: Array) -> list[Array]:
        """Each shell's part of numbers of all volumes, of which those of b = 0 are the first."""
        edges = np.cumsum([self.zeros(volumes), *map(len, self.matrices)])
        return [volumes[i:j] for i, j in itertools.pairwise(edges.tolist())]

    def zeros(self, volumes: Array) -> int:
        """How many of all volumes are of b = 0."""
        return len(volumes) - sum(map(len, self.matrices))

    def energy(self, weights: list[Array]) -> Array:
        """Σ_i w_i (∂E_i/∂c)² over uniform directions, (coefficients,); of shells of one weight and one scale each."""
        # Of each order, which a GPU reads and writes sooner; a CPU adds up sooner than it gathers.
        factors = self.scales if self.fused is None else self.moments
        each = zip(self.matrices, factors, weights, strict=True)
        parts = [len(matrix) / (4 * np.pi) * weight * factor**2 for matrix, factor, weight in each]
        total = jnp.sum(jnp.stack(parts), axis=0)
        return total if self.fused is None else total[_ORDER]


def shell_design(harmonics: tuple[Array, ...], moments: tuple[Array, ...], fused: Fused | None = None) -> Design:
    """Of shells whose volumes have one b-value. harmonics: Y_lm, (n, coefficients) each. moments: K_0, K_2, … each."""
    grams = tuple(jnp.matmul(y.T, y, precision="highest") for y in harmonics)
    return Design.of(Linear(tuple(k[0] for k in moments), harmonics, tuple(k[1:] for k in moments)), grams, fused)


def volume_design(harmonics: tuple[Array, ...], moments: tuple[Array, ...]) -> Design:
    """Of volumes that each have a b-value of their own. moments: (n, LMAX/2 + 1) of each shell."""
    matrices = tuple(y * k[:, L // 2] for y, k in zip(harmonics, moments, strict=True))
    ones = jnp.ones_like(moments[0][0, 1:])
    return Design.of(Linear(tuple(k[:, 0] for k in moments), matrices, (ones,) * len(matrices)))


def steps_of(directions: Sequence[np.ndarray]) -> tuple[int, int]:
    """Steps of a first search and of a later one. directions: each shell's (n, 3)."""
    y = even_harmonics(np.concatenate(directions), LMAX)[:, 1:]
    even = np.linalg.cond(y.T @ y) < _UNEVEN
    return (STEPS, STEPS_AGAIN) if even else (STEPS_UNEVEN, STEPS_UNEVEN_AGAIN)


class FodSearch(NamedTuple):
    """The search for a free FOD and for σ, of magnitudes.

    fod: where it starts, (27,). steps: of it. steps_of_sigma: of the search for σ, at most; with 0 it is the σ given.
    """

    fod: Array
    steps: Array
    steps_of_sigma: Array


def free_fod(
    actual: Design,
    nominal: Design,
    m: Float[Array, " volumes"],
    amplitude: Float[Array, ""],
    noise: Noise,
    search: FodSearch,
) -> Float[Array, " coefficients"]:
    """Coefficients c of the most probable FOD.

    Maximises the likelihood of the volumes and a Gaussian density of c about 0, that of lobes of any axis, by conjugate
    gradients (Polak & Ribière), preconditioned by the diagonal of the information, which is nearly all of it where
    directions are uniform. A step's length is exact for Gaussian noise; for magnitudes all volumes of a shell count as
    their root mean square tells.

    Args:
        m: (volumes,) over σ, b = 0 first. amplitude: S0 over σ.
    """
    penalty = jnp.asarray(1 / _SPREAD**2, search.fod.dtype)

    def of_volume(amplitude: Array, signal: Array, m: Array) -> tuple[Array, Array]:
        x = amplitude * signal
        if noise.magnitudes:
            x = jnp.maximum(x, _LEAST)
        return noise.expected_real(m, x) - x, x * x

    volumes = [len(matrix) for matrix in actual.matrices]

    def step(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        c, d, before, size = state
        # Signals are computed anew from the coefficients, which is less to read and write.
        left, powers = actual.sums(of_volume, c, amplitude, m)
        told = [noise.information(jnp.sqrt(of_shell / n)) for of_shell, n in zip(powers, volumes, strict=True)]
        weights = [amplitude**2 * jnp.maximum(of_shell, _LEAST_INFORMATION) for of_shell in told]
        gradient = amplitude * left - penalty * c
        steepest = gradient / (nominal.energy(weights) + penalty)
        d = steepest + jnp.maximum(_part(jnp.sum((gradient - before) * steepest), size), 0) * d
        squares = zip(weights, actual.squares(d), strict=True)
        curvature = sum(weight * square for weight, square in squares) + jnp.sum(penalty * d * d)
        length = _part(jnp.sum(gradient * d), curvature)
        return c + length * d, d, gradient, jnp.sum(gradient * steepest)

    nothing = jnp.zeros_like(search.fod)
    start = (search.fod, nothing, nothing, jnp.sum(nothing))
    c: Array = jax.lax.fori_loop(0, search.steps.astype(jnp.int32), step, start)[0]
    return c


def _part(of: Array, whole: Array) -> Array:
    """of/whole, 0 where that is not positive: at the start, or once all is solved."""
    return jnp.where(whole > 0, of / jnp.where(whole > 0, whole, 1), 0)


class Corrected(NamedTuple):
    """What a voxel's volumes tell of its spherical means, in units of the data.

    means: of the expected real parts at the nominal gradients, (shells,). variances: of the means over σ², (shells,);
    the larger, the less the volumes tell of their signals. magnitude: (volumes,) b = 0 first, at the nominal gradients
    with noise floor, for likelihoods; None where gradients do not deviate, as it is the data then. sigma: of the noise,
    from the misfit of the prediction. fod: coefficients of the free FOD, (27,).
    """

    means: Array
    variances: Array
    magnitude: Array | None
    sigma: Array
    fod: Array


def correct(
    data: Float[Array, " volumes"],
    weights: Float[Array, "shells volumes"],
    sigma: Float[Array, ""],
    s0: Float[Array, ""],
    nominal: Design,
    actual: Design | None,
    noise: Noise,
    search: FodSearch,
) -> Corrected:
    """Spherical means without what noise floor and deviating gradients are expected to have done to the volumes.

    Args:
        data: (volumes,) b = 0 first, then shell by shell. weights: (shells, volumes) of the means. nominal: of the
            gradients that were meant. actual: of those that were applied; None: they are the same.
    """
    m, amplitude = data / sigma, s0 / sigma
    if noise.magnitudes:
        m = jnp.maximum(m, 0)
    design, zeros = nominal if actual is None else actual, nominal.zeros(m)
    c = free_fod(design, nominal, m, amplitude, noise, search)

    def shells(volumes: Array) -> list[Array]:
        return [volumes[:zeros], *nominal.split(volumes)] if zeros else nominal.split(volumes)

    def predicted(design: Design) -> list[Array]:
        weighted = [amplitude * jnp.maximum(signal, 0) for signal in design.signal(c)]
        return [jnp.broadcast_to(amplitude, zeros), *weighted] if zeros else weighted

    def each(of: Callable[..., Array], *volumes: list[Array]) -> list[Array]:
        # What is as large as all volumes goes to a GPU's memory; a CPU is quicker with all of them.
        return shells(of(*map(jnp.concatenate, volumes))) if design.fused is None else list(map(of, *volumes))

    x = predicted(design)
    real, information = each(noise.expected_real, shells(m), x), each(noise.information, x)
    # S0, the kernel, and as many coefficients as the data determine.
    energy = amplitude**2 * nominal.energy([jnp.mean(of_shell) for of_shell in information[bool(zeros) :]])
    known = 3 + jnp.sum(energy / (energy + 1 / _SPREAD**2))
    total, steps = _total(design, c, amplitude, x, m), search.steps_of_sigma.astype(jnp.int32)
    misfit = noise.sigma_of_sums(total, len(m), known, steps)
    magnitude = None
    if actual is not None:
        meant = predicted(nominal)
        real = [of_real + after - before for of_real, after, before in zip(real, meant, x, strict=True)]
        floors = [jnp.concatenate(list(map(noise.expected_magnitude, signals))) for signals in (meant, x)]
        magnitude = sigma * (m + floors[0] - floors[1])
    product = partial(jnp.matmul, precision="highest")

    def sums(weights: Array, values: list[Array]) -> Array:
        if design.fused is None:
            return product(weights, jnp.concatenate(values))
        rows = [shells(row)[i] for i, row in enumerate(weights)]
        return jnp.stack(list(map(product, rows, values)))

    squares = weights**2
    variances = jnp.sum(squares, axis=1) ** 2 / sums(squares, information)
    return Corrected(sigma * sums(weights, real), variances, magnitude, sigma * misfit, c)


def _total(design: Design, c: Array, amplitude: Array, x: list[Array], m: Array) -> Callable[..., Array]:
    """What `Noise.sigma_of_sums` asks for. x: that c predicts."""

    def by_arrays(of: Callable[..., Array], s: Array) -> Array:
        return jnp.sum(of(s, jnp.concatenate(x), m))

    def by_fused(of: Callable[..., Array], s: Array) -> Array:
        def of_volume(lane: tuple[Array, Array], signal: Array, m: Array) -> tuple[None, Array]:
            amplitude, s = lane
            return None, of(s, amplitude * jnp.maximum(signal, 0), m)

        weighted = design.sums(of_volume, c, (amplitude, s), m).shells
        return sum(weighted, start=jnp.sum(of(s, amplitude, m[: design.zeros(m)])))

    return by_arrays if design.fused is None else by_fused
