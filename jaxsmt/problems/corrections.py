"""What one voxel's volumes would be without noise floor and at the nominal gradients.

A fitted kernel, and a FOD of free harmonics that is fitted to all volumes under it, predict each volume's signal. With
noise of magnitudes the expected real part of each volume follows. Where gradients deviate, so does what the deviation
changed. Spherical means of such volumes are unbiased, and the kernel is fitted again.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from ..physics.densities.base import watson_zonal
from ..physics.noises.base import Noise

#: Order of the FOD's harmonics.
LMAX = 6
#: Orders l of its coefficients but the first.
L = np.concatenate([np.full(2 * l + 1, l, np.int32) for l in range(2, LMAX + 1, 2)])
# Standard deviation of coefficients 4π ψ_lm of lobes of this κ and any axis: what keeps them finite where the kernel
# is isotropic.
_SPREAD = np.sqrt(4 * np.pi) * watson_zonal(20.0, LMAX)[L // 2]
#: Gauss-Newton steps under noise of magnitudes, from a uniform FOD and from that of an earlier correction.
STEPS, STEPS_AGAIN = 3, 1
STEPS_OF_SIGMA = 8  #: at most
_INNER = 10  # steps of conjugate gradients in each
_LEAST = 0.05  # signal over σ, so that no volume is without influence


class Design(NamedTuple):
    """Volumes above b = 0 as a linear function of a FOD's coefficients c = 4π ψ_lm, l ≥ 2, shell by shell.

    E = K_0 + Σ_lm K_l Y_lm(g) c_lm (Funk-Hecke). mean: K_0, (volumes,). Each shell's matrix (n, coefficients) and
    scale (coefficients,), whose product is K_l Y_lm.
    """

    mean: Array
    matrices: tuple[Array, ...]
    scales: tuple[Array, ...]

    def signal(self, c: Array) -> Array:
        """The part linear in c, (volumes,)."""
        each = zip(self.matrices, self.scales, strict=True)
        return jnp.concatenate([jnp.matmul(matrix, scale * c, precision="highest") for matrix, scale in each])

    def energy(self, weight: Array) -> Array:
        """Σ_i w_i (∂E_i/∂c)² of each coefficient."""
        squares = Design(self.mean, tuple(m * m for m in self.matrices), tuple(s * s for s in self.scales))
        energy: Array = jax.linear_transpose(squares.signal, jnp.zeros(len(L), weight.dtype))(weight)[0]
        return energy


def shell_design(harmonics: tuple[Array, ...], moments: tuple[Array, ...]) -> Design:
    """Of shells whose volumes have one b-value. harmonics: Y_lm, (n, coefficients) each. moments: K_0, K_2, … each."""
    means = [jnp.broadcast_to(k[0], y.shape[:1]) for y, k in zip(harmonics, moments, strict=True)]
    return Design(jnp.concatenate(means), harmonics, tuple(k[L // 2] for k in moments))


def volume_design(harmonics: tuple[Array, ...], moments: tuple[Array, ...]) -> Design:
    """Of volumes that each have a b-value of their own. moments: (n, LMAX/2 + 1) of each shell."""
    matrices = tuple(y * k[:, L // 2] for y, k in zip(harmonics, moments, strict=True))
    ones = jnp.ones_like(matrices[0][0])
    return Design(jnp.concatenate([k[:, 0] for k in moments]), matrices, (ones,) * len(matrices))


class FodSearch(NamedTuple):
    """The search for a free FOD and for σ, of magnitudes.

    fod: where it starts, (27,). steps: of it. steps_of_sigma: of the search for σ, at most; with 0 it is the σ given.
    """

    fod: Array
    steps: Array
    steps_of_sigma: Array


def free_fod(
    design: Design, m: Float[Array, " volumes"], amplitude: Float[Array, ""], noise: Noise, search: FodSearch
) -> Float[Array, " coefficients"]:
    """Coefficients c of the most probable FOD.

    Maximises the likelihood of the volumes and a Gaussian density of c about 0, that of lobes of any axis.

    Args:
        m: (volumes,) over σ. amplitude: S0 over σ.
    """
    base = amplitude * design.mean
    penalty = jnp.asarray(1 / _SPREAD**2, m.dtype)

    def forward(c: Array) -> Array:
        return amplitude * design.signal(c)

    back = jax.linear_transpose(forward, search.fod)

    def step(_: Array, c: Array) -> Array:
        x = base + forward(c)
        if noise.magnitudes:
            x = jnp.maximum(x, _LEAST)
            score, weight = noise.expected_real(m, x) - x, jnp.maximum(noise.information(x), _LEAST)
        else:
            score, weight = m - x, jnp.ones_like(m)

        def curvature(v: Array) -> Array:
            return back(weight * forward(v))[0] + penalty * v

        right = back(score)[0] - penalty * c
        return c + jax.scipy.sparse.linalg.cg(curvature, right, atol=1e-5, maxiter=_INNER)[0]

    steps = search.steps.astype(jnp.int32) if noise.magnitudes else 1
    c: Array = jax.lax.fori_loop(0, steps, step, search.fod)
    return c


class Corrected(NamedTuple):
    """A voxel's volumes (b = 0 first), in units of the data.

    real: expected real parts at the nominal gradients, for spherical means. magnitude: the same with their noise
    floor, for likelihoods. information: what each volume tells of its signal, 1 with Gaussian noise. sigma: of the
    noise, from the misfit of the prediction. fod: coefficients of the free FOD, (27,).
    """

    real: Array
    magnitude: Array
    information: Array
    sigma: Array
    fod: Array


def correct(
    data: Float[Array, " volumes"],
    sigma: Float[Array, ""],
    s0: Float[Array, ""],
    actual: Design,
    nominal: Design | None,
    noise: Noise,
    search: FodSearch,
) -> Corrected:
    """Volumes without what noise floor and deviating gradients are expected to have done to them.

    Args:
        data: (volumes,) b = 0 first, then shell by shell. actual: of the gradients that were applied.
        nominal: of those that were meant; None: they are the same.
    """
    m, amplitude = data / sigma, s0 / sigma
    if noise.magnitudes:
        m = jnp.maximum(m, 0)
    zeros = data.shape[0] - sum(map(len, actual.matrices))
    c = free_fod(actual, m[zeros:], amplitude, noise, search)

    def predicted(design: Design) -> Array:
        weighted = jnp.maximum(design.mean + design.signal(c), 0)
        return amplitude * jnp.concatenate([jnp.ones(zeros, m.dtype), weighted])

    x = predicted(actual)
    real, information = noise.expected_real(m, x), noise.information(x)
    # S0, the kernel, and as many coefficients as the data determine.
    energy = amplitude**2 * actual.energy(information[zeros:])
    known = 3 + jnp.sum(energy / (energy + 1 / _SPREAD**2))
    misfit = sigma * noise.relative_sigma(m, x, known, search.steps_of_sigma.astype(jnp.int32))
    if nominal is None:
        return Corrected(sigma * real, data, information, misfit, c)
    meant = predicted(nominal)
    magnitude = m + noise.expected_magnitude(meant) - noise.expected_magnitude(x)
    return Corrected(sigma * (real + meant - x), sigma * magnitude, information, misfit, c)
