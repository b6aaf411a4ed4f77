"""The search for lobes: its signal, its derivatives along steps, and its Hessian."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.geometry.quadrature import fibonacci_sphere
from jaxsmt.physics.densities import find as find_density
from jaxsmt.physics.noises import find as find_noise
from jaxsmt.physics.signal import convolved, truncation_order, zeppelin_legendre
from jaxsmt.problems.lobe_starts import harmonic_fits_of
from jaxsmt.problems.lobes import Data, Lobes
from tests.physics.known_lobes import frame

SCHEME = js.simulate.hcp_scheme(3, 20)
SHELLS = SCHEME.shells[1:3]


WATSON, BINGHAM = (find_density(name) for name in ("watson", "bingham"))
KINDS = [(WATSON, 1), (WATSON, 3), (BINGHAM, 1), (BINGHAM, 2)]
IDS = [f"{density.name}-{count}" for density, count in KINDS]
each_kind = pytest.mark.parametrize(("density", "count"), KINDS, ids=IDS)


def some_lobes(density, count, noise="gaussian", tolerance=1e-4):
    """Lobes of 40 volumes, their data without a signal, and a point of theirs. tolerance: of the order's choice."""
    directions = tuple(jnp.asarray(SCHEME.bvecs[s.volumes]) for s in SHELLS)
    orders = tuple(truncation_order(2.0 * s.b, tolerance) for s in SHELLS)
    moments = tuple(zeppelin_legendre(s.b, 2.0, 0.3, order) for s, order in zip(SHELLS, orders, strict=True))
    x = []
    for i in range(count):
        mu, mu2, _ = frame(i)
        x += [*mu, 0.05 + 0.1 * i] if density.axes == 1 else [*mu, *mu2, 0.06 + 0.1 * i, 0.2]
    x = tuple(jnp.float64(v) for v in [*x, *[0.5, 0.7][: count - 1]])
    lobes = Lobes(density, count, orders, find_noise(noise))
    return lobes, Data(directions, harmonic_fits_of(directions), moments, jnp.zeros(40)), x


@each_kind
def test_lobes_linearise_what_convolved_computes(density, count):
    """The fit's fast signal against `convolved`, its derivatives against moves on the sphere."""
    with jax.enable_x64(True):
        lobes, data, x = some_lobes(density, count, tolerance=1e-7)
        signal, columns = jax.jit(lobes.linearise)(data, x)

        maps = lobes.maps(x)
        expected = np.zeros(40)
        for i in range(count):
            mu, mu2, kappa, beta = (maps[k][i] for k in ("direction", "across", "kappa", "beta"))
            lobe = js.watson(mu, kappa) if density is WATSON else js.bingham(mu, kappa, beta, mu2)
            shells = [convolved(g, s.b, (2.0, 0.3), lobe) for g, s in zip(data.directions, SHELLS, strict=True)]
            expected += float(maps["weight"][i]) * np.concatenate(shells)
        np.testing.assert_allclose(signal, expected, atol=1e-6)
        assert abs(float(maps["weight"].sum()) - 1) < 1e-12
        assert np.all(np.diff(maps["weight"]) <= 0)

        h = 1e-5
        assert len(columns) == lobes.size
        moved = jax.jit(lambda step: lobes.linearise(data, lobes.move(x, tuple(step))).signal)
        for column, step in zip(columns, h * np.eye(lobes.size), strict=True):
            np.testing.assert_allclose(column, (moved(step) - moved(-step)) / (2 * h), atol=1e-7)


@each_kind
def test_one_shell_stands_for_all(density, count):
    """Squared errors of other FODs differ from that of the truth as they do over all volumes, within a tenth."""
    with jax.enable_x64(True):
        scheme = js.simulate.hcp_scheme(3, 90)
        directions = tuple(scheme.bvecs[s.volumes] for s in scheme.shells[1:3])
        lobes, data, x = some_lobes(density, count)
        data = data._replace(directions=tuple(map(jnp.asarray, directions)), harmonics=harmonic_fits_of(directions))
        data = data._replace(y=lobes.signal(data, x))
        easier = lobes.trial(selective=True).easier
        on_one_shell = easier.data_of(easier.summary(data))
        rng = np.random.default_rng(0)

        def cost(of, data, x):
            return float(of.problem_of(data).normal(x).cost)

        for _ in range(8):
            other = lobes.move(x, tuple(0.2 * rng.standard_normal(lobes.size)))
            true = cost(lobes, data, other)  # 0 for x
            summarised = cost(easier.search, on_one_shell, other) - cost(easier.search, on_one_shell, x)
            assert summarised == pytest.approx(true, rel=0.1, abs=1e-4)
        assert replace(lobes, determined=2).trial(selective=True).easier is None  # too few directions


@each_kind
def test_hessian_of_lobes_where_the_gradient_vanishes(density, count):
    """Against differentiation along moves, with residuals as large as the signal."""
    with jax.enable_x64(True):
        lobes, data, x = some_lobes(density, count)
        signal, columns = jax.jit(lobes.linearise)(data, x)
        q, _ = np.linalg.qr(np.stack(columns, axis=1))
        r = 0.3 * np.random.default_rng(0).standard_normal(40)
        data = data._replace(y=signal - (r - q @ (q.T @ r)))
        problem = lobes.problem_of(data)

        def gradient(step):
            normal = problem.normal(lobes.move(x, tuple(step)))
            return jnp.stack(normal.gradient), normal

        expected, normal = jax.jit(jax.jacfwd(gradient, has_aux=True))(jnp.zeros(lobes.size))
        expected = np.asarray(expected)
        assert np.abs(normal.gradient).max() < 1e-12
        rows = jax.jit(problem.hessian)(x)
        for i, row in enumerate(rows):
            np.testing.assert_allclose(
                np.stack(row)[: i + 1], expected[i, : i + 1], rtol=1e-7, atol=1e-9 * np.abs(expected).max()
            )
        gauss_newton = np.array([row[i] for i, row in enumerate(normal.hessian)])
        assert np.abs(gauss_newton / np.diag(expected) - 1).max() > 0.1  # residuals count


def test_hessian_of_rician_lobes():
    """That of the likelihood, anywhere: turns of a single Watson lobe have no other second derivatives."""
    with jax.enable_x64(True):
        lobes, data, x = some_lobes(WATSON, 1, "rician")
        y = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, 40))
        problem = lobes.problem_of(data._replace(y=y, sigma=jnp.float64(0.1)))

        def cost(step):
            return problem.normal(lobes.move(x, tuple(step))).cost

        expected = np.asarray(jax.jit(jax.hessian(cost))(jnp.zeros(3)))
        for i, row in enumerate(jax.jit(problem.hessian)(x)):
            np.testing.assert_allclose(
                np.stack(row)[: i + 1], expected[i, : i + 1], rtol=1e-6, atol=1e-8 * np.abs(expected).max()
            )


@pytest.mark.parametrize("coordinate", [3, 4])
def test_bingham_moves_through_girdle_and_watson(coordinate):
    """Across β = κ and β = 0 axes change their names; the signal is smooth there, its slope keeps its sign."""
    with jax.enable_x64(True):
        lobes = Lobes(BINGHAM, 1, (12,), find_noise("gaussian"))
        g = jnp.asarray(fibonacci_sphere(40))
        data = Data((g,), harmonic_fits_of([g]), (zeppelin_legendre(2.0, 2.0, 0.2, 12),), jnp.zeros(40))
        # ODIs of κ and κ - β: next to a girdle (ODI 1), or next to Watson (both alike).
        start = (0.1, 0.999) if coordinate == 4 else (0.2, 0.201)
        x = tuple(jnp.float64(v) for v in (0, 0, 1, 0, 1, 0, *start))

        def signal(t):
            step = tuple(jnp.float64(t * (i == coordinate)) for i in range(5))
            moved = lobes.move(x, step)
            assert max(float(o) for o in moved[6:]) <= 1
            return moved, np.asarray(lobes.linearise(data, moved).signal)

        h = 1e-3
        (_, before), (_, at), (after, beyond) = signal(0.0), signal(h), signal(2 * h)
        np.testing.assert_allclose(beyond - at, at - before, atol=0.02 * np.abs(at - before).max())
        if coordinate == 4:  # the old μ₂ is the axis now
            np.testing.assert_allclose(np.abs(after[:3]), [0, 1, 0], atol=1e-12)
