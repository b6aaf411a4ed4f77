"""The free FOD of a correction: steps enough for any directions, against the solution by linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.geometry.quadrature import gradient_directions
from jaxsmt.physics.noises import find
from jaxsmt.physics.signal import zeppelin_legendre
from jaxsmt.problems.corrections import _SPREAD, LMAX, FodSearch, free_fod, shell_design, steps_of

SNR = 60


def uneven(n, seed=0):
    g = np.random.default_rng(seed).standard_normal((n, 3))
    return g / np.linalg.norm(g, axis=1)[:, None]


SETS = {
    "even": [gradient_directions(60)] * 2,
    "of two sizes": [gradient_directions(30), gradient_directions(60)],
    "random": [uneven(64), uneven(64, 1)],
    "few and random": [uneven(30), uneven(30, 1)],
    "few": [gradient_directions(12)] * 2,
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_steps_are_enough(name, noise):
    """Predictions are within a tenth of σ of where the steps lead, of a narrow bundle at a high SNR."""
    directions = SETS[name]
    harmonics = tuple(jnp.asarray(even_harmonics(g, LMAX)[:, 1:], jnp.float32) for g in directions)
    moments = [zeppelin_legendre(np.float32(b), np.float32(1.8), np.float32(0.3), LMAX) for b in (1, 2)]
    design = shell_design(harmonics, tuple(moments))
    cosine = np.concatenate([g @ [0.6, 0.0, 0.8] for g in directions])
    b = np.repeat([1.0, 2.0], [len(g) for g in directions])
    rng = np.random.default_rng(2)
    m = SNR * np.exp(-b * (0.3 + 1.5 * cosine**2)) + rng.standard_normal((20, len(b)))
    if noise == "rician":
        m = np.hypot(m, rng.standard_normal(m.shape))

    @jax.jit
    def predicted(m, steps):
        def one(m):
            search = FodSearch(jnp.zeros(27, jnp.float32), steps, jnp.int32(0))
            c = free_fod(design, design, m, jnp.float32(SNR), find(noise), search)
            return SNR * jnp.concatenate(design.signal(c))

        return jax.vmap(one)(m)

    first, _ = steps_of(directions)
    found = predicted(jnp.asarray(m, jnp.float32), jnp.int32(first))
    if noise == "rician":
        expected = predicted(jnp.asarray(m, jnp.float32), jnp.int32(300))
    else:
        matrix = SNR * np.concatenate(
            [np.asarray(y) * np.asarray(s) for y, s in zip(design.matrices, design.scales, strict=True)]
        )
        mean = np.repeat(np.asarray(design.means), [len(g) for g in directions])
        rest = (m - SNR * mean).T
        c = np.linalg.solve(matrix.T @ matrix + np.diag(1 / _SPREAD**2), matrix.T @ rest)
        expected = SNR * mean + (matrix @ c).T
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.1
