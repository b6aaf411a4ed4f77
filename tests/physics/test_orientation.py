"""Lobes: normalisers, harmonics, convolved signals and their derivatives, against quadrature and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxsmt as js
from jaxsmt.physics.orientation import kappa_from_odi, odi_from_kappa
from jaxsmt.physics.signal import convolved, truncation_order, zeppelin_legendre
from jaxsmt.problems.lobes import Data, Lobes
from jaxsmt.geometry.harmonics import even_harmonics, to_basis
from jaxsmt.geometry.quadrature import fibonacci_sphere

rng = np.random.default_rng(0)


def frame(seed):
    """A random rotation: rows μ, μ₂ and the third axis."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]


def brute_force(directions, b, par, perp, axes, kappa, beta, n=150):
    """Oracle: ∫ψ(n) k(g·n) dn over the whole sphere by a product rule in the lobe's frame, float64."""
    x, w = np.polynomial.legendre.leggauss(2 * n)
    phi = 2 * np.pi * (np.arange(2 * n) + 0.5) / (2 * n)
    rho = np.sqrt(1 - x**2)[:, None, None]
    ring = np.cos(phi)[None, :, None] * axes[1] + np.sin(phi)[None, :, None] * axes[2]
    points = (x[:, None, None] * axes[0] + rho * ring).reshape(-1, 3)
    exponent = kappa * (points @ axes[0]) ** 2 + beta * (points @ axes[1]) ** 2
    density = np.repeat(w, 2 * n) * np.exp(exponent - exponent.max())
    density /= density.sum()
    return np.array(
        [
            density @ np.exp(-bi * perp - bi * (par - perp) * (points @ g) ** 2)
            for g, bi in zip(directions, b, strict=True)
        ]
    )


def lobe(axes, kappa, beta, dtype):
    mu, mu2 = (jnp.asarray(a, dtype) for a in axes[:2])
    return js.watson(mu, kappa) if beta is None else js.bingham(mu, kappa, beta, mu2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 0.9, 1.0])
def test_convolved_against_brute_force(dtype, share):
    """≤ 1e-4 of S0 is asked for b ≤ 6, λ∥ ≤ 3, κ ≤ 64; it is far better, and beyond."""
    with jax.enable_x64(True):
        for i, kappa in enumerate((0.0, 1e-3, 0.5, 4.0, 16.0, 64.0, 128.0, 200.0)):
            axes, beta = frame(i), None if share is None else share * kappa
            directions = np.concatenate([axes, fibonacci_sphere(9)])
            b = np.resize([0.0, 1.0, 3.0, 6.0], 12)
            par, perp = [(3.0, 0.0), (2.0, 0.3), (1.0, 1.0), (3.0, 0.6)][i % 4]
            e = convolved(
                jnp.asarray(directions, dtype),
                jnp.asarray(b, dtype),
                (jnp.asarray(par, dtype), jnp.asarray(perp, dtype)),
                lobe(axes, kappa, beta, dtype),
            )
            assert e.dtype == dtype
            truth = brute_force(directions, b, par, perp, axes, kappa, beta or 0.0)
            np.testing.assert_allclose(e, truth, rtol=0, atol=1e-5)


def test_convolved_is_a_ratio_of_normalisers():
    """Exact for axial B: E = exp(-bλ⊥) ₁F₁(½; 3/2; κ - z)/₁F₁(½; 3/2; κ) along the axis (g = μ)."""
    with jax.enable_x64(True):
        for kappa, b, par, perp in ((3.0, 2.0, 2.0, 0.4), (30.0, 6.0, 3.0, 0.0), (0.0, 1.0, 1.5, 0.5)):
            e = convolved(jnp.array([[0.0, 0.0, 1.0]]), b, (par, perp), js.watson([0.0, 0.0, 1.0], kappa))
            f = scipy.special.hyp1f1(0.5, 1.5, [kappa - b * (par - perp), kappa])
            assert abs(float(e[0]) - np.exp(-b * perp) * f[0] / f[1]) < 1e-6


def test_mean_over_directions_is_the_spherical_mean():
    with jax.enable_x64(True):
        x, w = np.polynomial.legendre.leggauss(40)
        phi = 2 * np.pi * np.arange(60) / 60
        ring = np.stack([np.cos(phi), np.sin(phi)], axis=1)
        points = np.concatenate([np.column_stack([np.sqrt(1 - z * z) * ring, np.full(60, z)]) for z in x])
        e = convolved(points, 3.0, (2.2, 0.3), js.bingham([1.0, 2.0, 2.0], 20.0, 8.0, [0.0, 1.0, 0.0]))
        mean = float(np.repeat(w, 60) @ np.asarray(e)) / 120
        assert abs(mean - float(js.signal.zeppelin_mean(3.0, 2.2, 0.3))) < 1e-9


@pytest.mark.parametrize("what", ["mu", "mu2", "kappa", "beta", "lambda_par", "lambda_perp", "b", "g"])
@pytest.mark.parametrize("point", ["ordinary", "isotropic kernel", "uniform", "girdle"])
def test_gradients_against_finite_differences(what, point):
    values = {
        "mu": np.array([0.2, -0.5, 0.9]),
        "mu2": np.array([1.0, 0.3, 0.1]),
        "kappa": 9.0,
        "beta": 4.0,
        "lambda_par": 2.1,
        "lambda_perp": 0.4,
        "b": 2.5,
        "g": np.array([0.6, 0.0, 0.8]),
    }
    values |= {
        "isotropic kernel": {"lambda_perp": 2.1},
        "uniform": {"kappa": 0.0, "beta": 0.0},
        "girdle": {"beta": 9.0},
    }.get(point, {})

    def signal(**v):
        kernel = (v["lambda_par"], v["lambda_perp"])
        return convolved(v["g"], v["b"], kernel, js.bingham(v["mu"], v["kappa"], v["beta"], v["mu2"]), lmax=20)

    with jax.enable_x64(True):
        values = {name: jnp.asarray(v) for name, v in values.items()}
        step = rng.standard_normal(values[what].shape)
        if what == "g":  # along the sphere
            step = np.cross(values["g"], step)
        along = lambda t: signal(**{**values, what: values[what] + t * step})  # noqa: E731
        slope = jax.jvp(along, (jnp.float64(0),), (jnp.float64(1),))[1]
        h = 1e-4
        difference = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
        assert abs(float(slope) - float(difference)) <= 1e-4 * abs(float(difference)) + 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_watson_normaliser(dtype):
    """Existing ones fail at small κ, or err by 4 % above κ = 8."""
    with jax.enable_x64(True):
        for kappa in (0.0, 1e-6, 1e-3, 0.1, 1.0, 8.0, 20.0, 64.0, 128.0, 200.0):
            log = float(js.watson(jnp.array([0, 0, 1.0], dtype), kappa).log_normaliser())
            truth = np.log(4 * np.pi) + np.log(scipy.special.hyp1f1(0.5, 1.5, kappa))
            assert abs(log - truth) <= (2e-6 if dtype == "float32" else 1e-9) * max(1, abs(truth))


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 200), st.floats(0, 1), st.integers(0, 1000))
def test_densities_integrate_to_one(kappa, share, seed):
    axes = frame(seed)
    with jax.enable_x64(True):
        density = np.asarray(lobe(axes, kappa, share * kappa, "float64").density(fibonacci_sphere(20_000)))
    assert abs(4 * np.pi * np.mean(density) - 1) < 1e-3


def test_harmonics_rebuild_the_density():
    points = fibonacci_sphere(500)
    with jax.enable_x64(True):
        for beta in (None, 3.0):
            own = lobe(frame(3), 5.0, beta, "float64")
            rebuilt = even_harmonics(points, 20) @ np.asarray(own.harmonics(20))
            np.testing.assert_allclose(rebuilt, own.density(points), atol=1e-6)
            low = np.asarray(own.harmonics(8))  # lower orders are the first coefficients of higher ones
            np.testing.assert_allclose(low, np.asarray(own.harmonics(20))[:45], atol=1e-10)
            assert abs(low[0] - 1 / np.sqrt(4 * np.pi)) < 1e-12  # unit integral


def dipys_basis(points, lmax, legacy):
    """DIPY's definition of descoteaux07: Im Y at m > 0, Re Y at m < 0, of |m| if legacy; √2 but at m = 0."""
    theta, phi = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    columns = []
    for l in range(0, lmax + 1, 2):
        for m in range(-l, l + 1):
            y = scipy.special.sph_harm_y(l, abs(m) if legacy else m, theta, phi)
            columns.append((y.imag if m > 0 else y.real) * (1 if m == 0 else np.sqrt(2)))
    return np.stack(columns, axis=1)


def test_basis_of_mrtrix():
    """tournier07: √2 Re Y_l^m at m > 0, √2 Im Y_l^|m| at m < 0, with the Condon-Shortley phase."""
    points = fibonacci_sphere(100)
    theta, phi = np.arccos(points[:, 2]), np.arctan2(points[:, 1], points[:, 0])
    columns = []
    for l in range(0, 9, 2):
        for m in range(-l, l + 1):
            y = scipy.special.sph_harm_y(l, abs(m), theta, phi)
            columns.append((y.imag if m < 0 else y.real) * (1 if m == 0 else np.sqrt(2)))
    np.testing.assert_allclose(even_harmonics(points, 8), np.stack(columns, axis=1), atol=1e-12)
    # Its first term with a sign, written out: Y_2,1 = -√(15/4π) x z.
    np.testing.assert_allclose(even_harmonics(points, 2)[:, 4], -np.sqrt(15 / 4 / np.pi) * points[:, 0] * points[:, 2])


@pytest.mark.parametrize("basis", ["descoteaux07", "descoteaux07_legacy"])
def test_bases_of_dipy(basis):
    points, coefficients = fibonacci_sphere(100), rng.standard_normal((2, 45))
    ours = coefficients @ even_harmonics(points, 8).T
    theirs = to_basis(coefficients, basis) @ dipys_basis(points, 8, basis.endswith("legacy")).T
    np.testing.assert_allclose(theirs, ours, atol=1e-12)


def test_unknown_basis():
    with pytest.raises(js.InputError, match="unknown basis"):
        to_basis(np.zeros(6), "tournier")


def test_odi_and_kappa():
    kappa = np.array([0.0, 1e-3, 1.0, 64.0, 200.0])
    with jax.enable_x64(True):
        np.testing.assert_allclose(odi_from_kappa(kappa)[2], 0.5)
        np.testing.assert_allclose(kappa_from_odi(odi_from_kappa(kappa)), kappa, atol=1e-10)
        assert float(odi_from_kappa(0.0)) == 1
        assert np.isfinite(jax.grad(odi_from_kappa)(0.0))


@pytest.mark.parametrize(("par", "perp"), [(2.0, 0.3), (1.0, 1.0), (0.5, 2.0), (3.0, 0.0)])
def test_legendre_moments(par, perp):
    b, x = np.array([0.0, 1.0, 6.0]), np.polynomial.legendre.leggauss(300)
    with jax.enable_x64(True):
        k = zeppelin_legendre(b, par, perp, 28)
        np.testing.assert_allclose(k[:, 0], js.signal.zeppelin_mean(b, par, perp), atol=1e-14)
    signal = np.exp(-b[:, None] * perp - b[:, None] * (par - perp) * x[0] ** 2)
    for i, l in enumerate(range(0, 29, 2)):
        truth = signal @ (x[1] * scipy.special.eval_legendre(l, x[0])) / 2
        np.testing.assert_allclose(k[:, i], truth, atol=1e-14)


def test_truncation_order_keeps_its_promise():
    with jax.enable_x64(True):
        g = fibonacci_sphere(200)
        own = js.watson([0.0, 0.6, 0.8], 128.0)
        for z in (1.0, 6.0, 18.0):
            full = convolved(g, 1.0, (z, 0.0), own, lmax=40)
            for tolerance in (1e-2, 1e-4):
                order = truncation_order(z, tolerance, 128.0)
                assert np.abs(convolved(g, 1.0, (z, 0.0), own, lmax=order) - full).max() <= tolerance
                assert truncation_order(z / 2, tolerance, 128.0) <= order


SCHEME = js.simulate.hcp_scheme(3, 20)
SHELLS = SCHEME.shells[1:3]


def some_lobes(axial, count):
    """Lobes of 40 volumes, their data without a signal, and a point of theirs."""
    directions = tuple(jnp.asarray(SCHEME.bvecs[s.volumes]) for s in SHELLS)
    orders = tuple(truncation_order(2.0 * s.b, 1e-7) for s in SHELLS)
    kernel = tuple(zeppelin_legendre(s.b, 2.0, 0.3, order) for s, order in zip(SHELLS, orders, strict=True))
    x = []
    for i in range(count):
        mu, mu2, _ = frame(i)
        x += [*mu, 0.05 + 0.1 * i] if axial else [*mu, *mu2, 0.06 + 0.1 * i, 0.2]
    x = tuple(jnp.float64(v) for v in [*x, *[0.5, 0.7][: count - 1]])
    return Lobes(axial, count, orders), Data(directions, kernel, jnp.zeros(40)), x


@pytest.mark.parametrize(("axial", "count"), [(True, 1), (True, 3), (False, 1), (False, 2)])
def test_lobes_linearise_what_convolved_computes(axial, count):
    """The fit's fast signal against `convolved`, its derivatives against moves on the sphere."""
    with jax.enable_x64(True):
        lobes, data, x = some_lobes(axial, count)
        signal, columns = jax.jit(lobes.linearise)(data, x)

        named = lobes.named(x)
        expected = np.zeros(40)
        for i in range(count):
            parts = (named[k][i] for k in ("direction", "across", "kappa", "beta"))
            mu, mu2, kappa, beta = parts
            own = js.watson(mu, kappa) if axial else js.bingham(mu, kappa, beta, mu2)
            each = [convolved(g, s.b, (2.0, 0.3), own) for g, s in zip(data.directions, SHELLS, strict=True)]
            expected += float(named["weight"][i]) * np.concatenate(each)
        np.testing.assert_allclose(signal, expected, atol=1e-6)
        assert abs(float(named["weight"].sum()) - 1) < 1e-12
        assert np.all(np.diff(named["weight"]) <= 0)

        h = 1e-5
        assert len(columns) == lobes.size
        moved = jax.jit(lambda step: lobes.linearise(data, lobes.move(x, tuple(step))).signal)
        for column, step in zip(columns, h * np.eye(lobes.size), strict=True):
            np.testing.assert_allclose(column, (moved(step) - moved(-step)) / (2 * h), atol=1e-7)


@pytest.mark.parametrize(("axial", "count"), [(True, 1), (True, 3), (False, 1), (False, 2)])
def test_hessian_of_lobes_where_the_gradient_vanishes(axial, count):
    """Against differentiation along moves, with residuals as large as the signal."""
    with jax.enable_x64(True):
        lobes, data, x = some_lobes(axial, count)
        signal, columns = jax.jit(lobes.linearise)(data, x)
        q, _ = np.linalg.qr(np.stack(columns, axis=1))
        r = 0.3 * np.random.default_rng(0).standard_normal(40)
        data = data._replace(y=signal - (r - q @ (q.T @ r)))
        problem = lobes.problem(data)

        def gradient(step):
            normal = problem.normal(lobes.move(x, tuple(step)))
            return jnp.stack(normal.gradient), normal

        expected, normal = jax.jit(jax.jacfwd(gradient, has_aux=True))(jnp.zeros(lobes.size))
        expected = np.asarray(expected)
        assert np.abs(normal.gradient).max() < 1e-12
        rows = jax.jit(problem.hessian)(x)
        for i, row in enumerate(rows):
            np.testing.assert_allclose(
                np.stack(row), expected[i, : i + 1], rtol=1e-7, atol=1e-9 * np.abs(expected).max()
            )
        gauss_newton = np.array([row[-1] for row in normal.hessian])
        assert np.abs(gauss_newton / np.diag(expected) - 1).max() > 0.1  # residuals count


def test_hessian_of_rician_lobes():
    """That of the likelihood, anywhere: turns of a single Watson lobe have no other second derivatives."""
    with jax.enable_x64(True):
        lobes, data, x = some_lobes(True, 1)
        y = jnp.asarray(np.random.default_rng(0).uniform(0.1, 1, 40))
        problem = lobes.problem(data._replace(y=y, sigma=jnp.float64(0.1)))

        def cost(step):
            return problem.normal(lobes.move(x, tuple(step))).cost

        expected = np.asarray(jax.jit(jax.hessian(cost))(jnp.zeros(3)))
        for i, row in enumerate(jax.jit(problem.hessian)(x)):
            np.testing.assert_allclose(
                np.stack(row), expected[i, : i + 1], rtol=1e-6, atol=1e-8 * np.abs(expected).max()
            )


@pytest.mark.parametrize("coordinate", [3, 4])
def test_bingham_moves_through_girdle_and_watson(coordinate):
    """Across β = κ and β = 0 axes change their names; the signal is smooth there, its slope keeps its sign."""
    with jax.enable_x64(True):
        lobes = Lobes(False, 1, (12,))
        g = jnp.asarray(fibonacci_sphere(40))
        data = Data((g,), (zeppelin_legendre(2.0, 2.0, 0.2, 12),), jnp.zeros(40))
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


def test_odi_at_its_ends_in_single_precision():
    odi = jnp.array([0.0, 1e-6, 0.5, 1.0, 1.2], jnp.float32)
    kappa = np.asarray(kappa_from_odi(odi))
    assert np.isinf(kappa[0])
    np.testing.assert_allclose(kappa[1:4], [2e6 / np.pi, 1, 0], rtol=1e-5)
    assert kappa[0] > 0 > kappa[4]


def test_order_follows_known_numbers():
    """The default order is enough at b = 15 ms/µm² too."""
    with jax.enable_x64(True):
        g = fibonacci_sphere(50)
        own = js.watson([0.0, 0.6, 0.8], 128.0)
        ordinary = convolved(g, 15.0, (3.0, 0.0), own)
        np.testing.assert_allclose(ordinary, convolved(g, 15.0, (3.0, 0.0), own, lmax=60), atol=1e-4)
