"""The kernel for GPUs, its steps run one by one: what arrays give, wherever it is used."""

from dataclasses import replace
from functools import partial
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.fused import works
from jaxsmt.batch.fused_lobes import FusedNormal
from jaxsmt.batch.search import search_voxels
from jaxsmt.physics.noises import find as find_noise
from jaxsmt.problems.lobes import Lobes
from jaxsmt.solvers import linear
from tests.problems.test_lobes import BINGHAM, WATSON, some_lobes

FUSED = FusedNormal(interpret=True)


def many(density, count, lanes, noise=0.05):
    """Lobes, and data and points of many lanes near theirs, in single precision."""
    with jax.enable_x64(True):
        lobes, *double = some_lobes(density, count, tolerance=1e-2)
    data, x = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, np.float32)), double)
    rng = np.random.default_rng(0)
    y = lobes.signal(data, x)[None] + noise * rng.standard_normal((lanes, 40)).astype(np.float32)
    points = tuple(v + rng.uniform(0, 0.04, lanes).astype(np.float32) for v in x)
    moments = tuple(jnp.tile(m[None], (lanes, 1)) for m in data.moments)
    return lobes, data._replace(moments=moments, y=y), points


def normals(lobes, data, points):
    def one(moments, y, x):
        return lobes.problem_of(data._replace(moments=moments, y=y)).normal(x)

    return jax.jit(jax.vmap(one))(data.moments, data.y, points)


@pytest.mark.parametrize("lanes", [256, 100], ids=["whole blocks", "none"])
@pytest.mark.parametrize(("density", "count"), [(WATSON, 1), (WATSON, 2), (BINGHAM, 1)])
def test_normal_equations(density, count, lanes):
    """Cost, gradient and Hessian; lanes that do not fill blocks take the other path."""
    lobes, data, points = many(density, count, lanes)
    expected, found = normals(lobes, data, points), normals(replace(lobes, fused=FUSED), data, points)
    assert jax.tree.structure(expected) == jax.tree.structure(found)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * np.abs(a).max())


def test_a_search_ends_where_it_does_otherwise():
    """With lanes that change their voxels, and one voxel alone."""
    lobes, data, _ = many(WATSON, 1, 300)
    varying = (data.moments, data.y)

    @partial(jax.jit, static_argnums=1)
    def run(varying, lobes):
        def data_of(voxel):
            return data._replace(moments=voxel[0], y=voxel[1])

        return search_voxels(lobes, js.levenberg_marquardt(), varying, data_of, 300, 128)

    expected, found = run(varying, lobes), run(varying, replace(lobes, fused=FUSED))
    assert np.all(found.converged)
    np.testing.assert_allclose(found.cost, expected.cost, rtol=1e-5)
    one = data._replace(moments=tuple(m[0] for m in data.moments), y=data.y[0])
    x = tuple(v[0] for v in expected.x)
    alone = replace(lobes, fused=FUSED).problem_of(one).normal(x)
    np.testing.assert_allclose(alone.cost, expected.cost[0], rtol=1e-5)


def test_a_device_is_tried_first():
    """A CPU cannot compile the kernel: told, and the other path is taken. Its steps one by one are right."""
    device = jax.devices("cpu")[0]
    for density in (WATSON, BINGHAM):
        assert works(FUSED, Lobes(density, 1, (4, 6), find_noise("rician")), device)
    watson = Lobes(WATSON, 2, (4,), find_noise("gaussian"))
    for _ in range(2):
        with pytest.warns(js.JaxsmtWarning, match="does not work on"):
            assert not works(FusedNormal(), watson, device)
    assert FUSED.suits(watson)
    assert not FUSED.suits(replace(watson, count=3))


def test_a_kernel_that_makes_no_number_is_refused(monkeypatch):
    """Not a number is as wrong as any other."""

    def broken(self, lobes, data, x):
        normal = replace(lobes, fused=None).problem_of(data).normal(x)
        return normal._replace(gradient=jax.tree.map(lambda g: g * jnp.nan, normal.gradient))

    monkeypatch.setattr(FusedNormal, "__call__", broken)
    with pytest.warns(js.JaxsmtWarning, match="it is nan off"):
        assert not works(FUSED, Lobes(WATSON, 1, (2,), find_noise("gaussian")), jax.devices("cpu")[0])


def test_a_step_that_is_wrong_is_refused(monkeypatch):
    """Normal equations alone do not make a search."""

    def far(self, function):
        def wrong(state, normal):
            after = function(state, normal)
            return after._replace(trial=tuple(1.1 * v for v in after.trial))

        return wrong

    monkeypatch.setattr(FusedNormal, "scalars", far)
    with pytest.warns(js.JaxsmtWarning, match="a step is 1e-01 off"):
        assert not works(FUSED, Lobes(WATSON, 1, (6,), find_noise("gaussian")), jax.devices("cpu")[0])


@pytest.mark.parametrize(("density", "count"), [(WATSON, 2), (BINGHAM, 1)])
def test_a_step_is_compiled_for_a_gpu(density, count):
    """All of it but the loop over lanes; the compiler of kernels knows few operations on arrays."""
    lobes, data, points = many(density, count, 128)
    solver = js.levenberg_marquardt()

    def one(moments, y, x):
        problem = replace(lobes, fused=FusedNormal()).problem_of(data._replace(moments=moments, y=y))
        return solver.step(problem, solver.init(x, lobes.size))

    with mock.patch.dict(linear._WRITTEN_OUT, cpu=linear._WRITTEN_OUT["gpu"]):
        program = jax.jit(jax.vmap(one)).trace(data.moments, data.y, points)
        text = program.lower(lowering_platforms=("cuda",)).as_text()
    kernels = 4 if density is BINGHAM and lobes.basis(max(lobes.orders)).l.size > 16 else 2
    assert text.count("stablehlo.custom_call @__gpu$xla.gpu.triton") == kernels


def test_the_kernel_can_be_kept():
    """JAX exports it, for the start-up cache, on a machine without a GPU too."""
    lobes, data, points = many(WATSON, 1, 128)
    fused = replace(lobes, fused=FusedNormal())
    unstable = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
    leaves, tree = jax.tree.flatten((data, points))
    program = jax.jit(lambda *leaves: jax.tree.leaves(normals(fused, *jax.tree.unflatten(tree, leaves))))
    exported = jax.export.export(program, platforms=["cuda"], disabled_checks=unstable)(*leaves)
    assert len(jax.export.deserialize(exported.serialize()).mlir_module()) > 0
