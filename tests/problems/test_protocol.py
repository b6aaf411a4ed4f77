"""One test for all estimations of a voxel: kernels and FODs keep to the protocol of `problems.base`."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.sizes import SIZES
from jaxsmt.physics.densities import find as find_density
from jaxsmt.physics.noises import find as find_noise
from jaxsmt.problems.base import Estimation, Prepared, Results, Search
from jaxsmt.problems.fods import FodEstimation, FodShared, FodVoxel
from jaxsmt.problems.kernels import KernelEstimation, KernelShared, KernelVoxel, Prior
from jaxsmt.problems.lobe_starts import harmonic_fits_of
from jaxsmt.problems.lobes import Lobes
from jaxsmt.problems.shell_means import ShellMeans
from tests.known_means import ACQUISITION, noisy_means

VOXELS = 6


def kernels(prior=False):
    """Kernels of noisy means: the estimation, its voxels, and what they share."""
    static, numbers, _ = js.smt().without_values()
    names = ("lambda_par", "lambda_perp") if prior else ()
    estimation = KernelEstimation(ShellMeans(static, prior=names))
    means = noisy_means(VOXELS, 0.01).astype(np.float32)
    sigma = 0.02 * means[0]
    variances = tuple(np.full(VOXELS, v, np.float32) for v in ACQUISITION.variances)
    density = Prior(np.array([1.5, 0.5], np.float32), np.diag([5.0, 10.0]).astype(np.float32)) if prior else None
    pulses = tuple(pulse._replace(b=np.float32(pulse.b)) for pulse in ACQUISITION.pulses)
    roots = (np.float32(1),) * len(pulses)
    shared = KernelShared(pulses, roots, tuple(np.float32(n) for n in numbers), density, np.float32(1))
    return estimation, KernelVoxel(tuple(means), (), sigma, variances), shared


def lobes(density, count, noise):
    """Lobes under noisy kernels of volumes that say little of them: the protocol asks for no good fit."""
    shells = ACQUISITION.shells[1:]
    search = Lobes(find_density(density), count, (6,) * len(shells), find_noise(noise))
    estimation = FodEstimation(search, js.smt().kernel)
    directions = tuple(ACQUISITION.bvecs[shell.volumes] for shell in shells)
    shared = FodShared(directions, tuple(shell.pulse for shell in shells), harmonic_fits_of(directions))
    shared = jax.tree.map(lambda a: np.asarray(a, np.float32), shared)
    rng = np.random.default_rng(0)
    axis = np.array([0.6, 0.0, 0.8])
    clean = np.concatenate(
        [np.exp(-shell.b * (0.4 + 1.6 * (g @ axis) ** 2)) for shell, g in zip(shells, directions, strict=True)]
    )
    y = (clean + 0.02 * rng.standard_normal((VOXELS, len(clean)))).astype(np.float32)
    ones = np.ones(VOXELS, np.float32)
    kernel = {"lambda_par": 2 * ones, "lambda_perp": 0.4 * ones}
    effects = {name: np.full((VOXELS, 3), 0.01, np.float32) for name in (*kernel, "s0")}
    return estimation, FodVoxel(y, kernel, 0.02 * ones, effects), shared


CASES = {
    "kernels": kernels,
    "kernels with a prior": partial(kernels, prior=True),
    "watson": partial(lobes, "watson", 1, "gaussian"),
    "bingham": partial(lobes, "bingham", 1, "gaussian"),
    "two watson, rician": partial(lobes, "watson", 2, "rician"),
}
each_case = pytest.mark.parametrize("case", CASES)


@cache
def outcome(case):
    """All that the protocol gives, of every voxel, by one program: jit, and vmap over voxels."""
    estimation, voxels, shared = CASES[case]()

    @jax.jit
    def run(voxels, shared):
        def one(voxel):
            prepared = estimation.prepare(voxel, shared)
            data = estimation.data(prepared.varying, shared)
            starts = estimation.search.starts(data)
            x = tuple(v[0] for v in starts)
            problem = estimation.search.problem_of(data)
            normal, room = problem.normal(x), problem.room(x)
            still = problem.move(x, tuple(jnp.zeros_like(g) for g in normal.gradient))
            far = tuple(jnp.clip(jnp.full_like(g, 0.3), *ends) for g, *ends in zip(normal.gradient, *room, strict=True))
            results = estimation.results(prepared, shared, x, normal.cost)
            uncertainty = estimation.uncertainty(voxel, shared, x)
            return {
                "prepared": prepared,
                "starts": starts,
                "x": x,
                "normal": normal,
                "hessian": problem.hessian(x),
                "room": room,
                "still": still,
                "room beyond": problem.room(problem.move(x, far)),
                "results": results,
                "uncertainty": uncertainty,
            }

        return jax.vmap(one)(voxels)

    return run(voxels, shared)


@each_case
def test_estimations_are_static(case):
    """Programs are compiled for them: equal ones must be one key of a cache, and have the protocol's names."""
    (one, *_), (other, *_) = CASES[case](), CASES[case]()
    assert isinstance(one, Estimation)
    assert isinstance(one.search, Search)
    assert one == other
    assert hash(one) == hash(other)
    assert one.search.kind in SIZES
    assert one.search.stride >= 1
    for selective in (False, True):
        trial, again = one.search.trial(selective), other.search.trial(selective)
        assert trial is None or trial.steps >= 1
        if trial is not None and trial.easier is not None:
            assert trial.easier.search == again.easier.search
            assert hash(trial.easier.search) == hash(again.easier.search)


def of_voxels(values):
    """Scalars of one voxel, here of several; a vector or matrix of one voxel with the voxels last."""
    return values if isinstance(values, tuple) else np.moveaxis(values, 0, -1)


@each_case
def test_shapes_are_those_of_the_protocol(case):
    """A driver that knows nothing of the problem sizes its state by `size` and `n_starts`."""
    search, out = CASES[case]()[0].search, outcome(case)
    assert isinstance(out["prepared"], Prepared)
    assert {v.shape for v in out["starts"]} == {(VOXELS, search.n_starts)}
    normal = out["normal"]
    assert normal.cost.shape == (VOXELS,)
    (n,) = {*map(len, (of_voxels(normal.gradient), of_voxels(normal.hessian), of_voxels(out["hessian"])))}
    assert n == search.size
    assert {g.shape for g in of_voxels(normal.gradient)} == {(VOXELS,)}
    for hessian in (normal.hessian, out["hessian"]):
        assert {row[j].shape for i, row in enumerate(of_voxels(hessian)) for j in range(i + 1)} == {(VOXELS,)}
        assert [*map(len, of_voxels(hessian))] in ([n] * n, list(range(1, n + 1)))  # whole, or the lower triangle
    for ends in (*out["room"], *out["room beyond"]):
        assert len(ends) == search.size
    assert isinstance(out["results"], Results)
    for name in ("at_bound", "usable", "finite"):
        values = getattr(out["results"], name)
        assert values.shape == (VOXELS,)
        assert values.dtype == bool
    assert {v.shape[0] for v in out["results"].maps.values()} == {VOXELS}


@each_case
def test_numbers_are_finite_and_of_the_data_s_precision(case):
    """Starts, derivatives, maps and standard deviations of ordinary voxels."""
    out = outcome(case)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(out)} <= {"float32", "bool"}
    out = out | {"room": (), "room beyond": ()}  # of turns, which have no limits
    for leaf in jax.tree.leaves(out):
        assert np.isfinite(leaf).all()
    assert np.all(out["results"].usable)
    assert np.all(out["results"].finite)


@each_case
def test_steps_stay_where_they_may_go(case):
    """No step, no move; a step within the room leads to a point that has room too."""
    out = outcome(case)
    for start, still in zip(out["x"], out["still"], strict=True):
        np.testing.assert_allclose(still, start, atol=1e-6)
    for lower, upper in (out["room"], out["room beyond"]):
        for low, high in zip(lower, upper, strict=True):
            assert np.all(low <= 1e-6)
            assert np.all(high >= -1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_unusable_kernels_harm_nobody(bad):
    """A search must be possible in them all the same, as the lanes beside them are not to wait or to become NaN."""
    estimation, voxel, shared = kernels()
    voxel = jax.tree.map(lambda a: jnp.asarray(a[0]), voxel)._replace(means=(jnp.float32(bad),) * 4)
    prepared = estimation.prepare(voxel, shared)
    data = estimation.data(prepared.varying, shared)
    x = tuple(v[0] for v in estimation.search.starts(data))
    results = estimation.results(prepared, shared, x, jnp.float32(0))
    assert not results.usable
    assert bool(results.finite) == bool(np.isfinite(bad))
    assert np.isfinite(np.array(x)).all()
