"""The kernel for sums over volumes, its steps run one by one: what arrays give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.fused import adds_up
from jaxsmt.batch.fused_volumes import FusedSums
from jaxsmt.geometry.harmonics import even_harmonics
from jaxsmt.geometry.quadrature import fibonacci_sphere
from jaxsmt.physics.noises import find
from jaxsmt.physics.signal import zeppelin_legendre
from jaxsmt.problems.corrections import LMAX, FodSearch, correct, shell_design

FUSED = FusedSums(interpret=True)
SIZES, ZEROS = (7, 12), 2


def voxels(lanes, noise, kernel):
    """A function that corrects voxels of two shells of different sizes and b = 0, and their numbers, made up."""
    rng = np.random.default_rng(0)
    harmonics = tuple(jnp.asarray(even_harmonics(fibonacci_sphere(n), LMAX)[:, 1:], jnp.float32) for n in SIZES)
    parallel, s0 = (jnp.asarray(rng.uniform(*of, lanes), jnp.float32) for of in ((1, 3), (200, 900)))
    shell = np.repeat(np.arange(3), (ZEROS, *SIZES))
    weights = jnp.asarray((shell == np.arange(3)[:, None]) / np.bincount(shell)[:, None], jnp.float32)
    data = s0[:, None] * jnp.asarray(rng.uniform(0, 1, (lanes, ZEROS + sum(SIZES))), jnp.float32)

    def one(parallel, s0, data):
        moments = [zeppelin_legendre(jnp.float32(b), parallel, jnp.float32(0.3), LMAX) for b in (1, 3)]
        design = shell_design(harmonics, tuple(moments), kernel)
        search = FodSearch(jnp.zeros(27, jnp.float32), jnp.int32(4), jnp.int32(2))
        return correct(data, weights, jnp.float32(30), s0, design, None, noise, search)

    return jax.jit(jax.vmap(one)), (parallel, s0, data)


def corrected(*how):
    program, arguments = voxels(*how)
    return program(*arguments)


@pytest.mark.parametrize("lanes", [256, 100], ids=["whole blocks", "none"])
@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_corrections(noise, lanes):
    """All that follows from the sums; lanes that do not fill blocks take the other path."""
    expected, found = corrected(lanes, find(noise), None), corrected(lanes, find(noise), FUSED)
    assert jax.tree.structure(expected) == jax.tree.structure(found)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * np.abs(a).max())


def test_a_device_is_tried_first():
    """A CPU cannot compile the kernel: told, and the other path is taken. Its steps one by one are right."""
    device = jax.devices("cpu")[0]
    for noise in ("gaussian", "rician"):
        assert adds_up(FUSED, find(noise), device)
    with pytest.warns(js.JaxsmtWarning, match="the kernel for corrections does not work on"):
        assert not adds_up(FusedSums(), find("rician"), device)


def test_a_kernel_that_is_wrong_is_refused(monkeypatch):
    """Also where it makes no number."""

    def broken(self, of_volume, plain, orders, linear, *of_voxel):
        return jax.tree.map(lambda total: total * jnp.nan, plain(linear, *of_voxel))

    monkeypatch.setattr(FusedSums, "__call__", broken)
    with pytest.warns(js.JaxsmtWarning, match="it is nan off"):
        assert not adds_up(FUSED, js.noncentral_chi(2), jax.devices("cpu")[0])


@pytest.mark.parametrize("noise", [find("rician"), js.noncentral_chi(4)], ids=lambda noise: noise.name)
def test_it_is_compiled_for_a_gpu(noise):
    """The compiler of kernels knows few operations. A step has two of them, the search for σ has one or two."""
    program, arguments = voxels(128, noise, FusedSums())
    text = program.trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.custom_call @__gpu$xla.gpu.triton") == (3 if noise.channels == 2 else 4)
