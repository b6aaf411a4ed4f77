"""Programs in chunks: any number of voxels, one compilation, threads, progress."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch import runner
from jaxsmt.batch.fused_lanes import BLOCK
from jaxsmt.batch.predictions import block_size, in_blocks
from jaxsmt.batch.runner import Runner, compilations, find_device
from jaxsmt.batch.sizes import NEEDS, SIZES, BatchSize, size_of

CHUNK = BatchSize(chunk=16, lanes=4)


@partial(jax.jit, static_argnames=("power", "lanes"))
def scaled(voxels, shared, count, *, power, lanes):
    return {"scaled": voxels["x"] ** power * shared, "count": jnp.full(len(voxels["x"]), count)}


def program(dtype="float32", power=1):
    return Runner(dtype).program(scaled, CHUNK, np.float64(3), power=power)


@pytest.mark.parametrize("count", [1, 3, 16, 17, 100])
def test_every_voxel_has_its_result_whatever_their_number(count):
    """Parts are padded to a chunk: padding must not come back, nor voxels change places."""
    x, done = np.arange(2.0 * count).reshape(count, 2), []
    out = program()(lambda part: {"x": x[part]}, count, done.append)
    np.testing.assert_array_equal(out["scaled"], 3 * x)
    assert out["scaled"].dtype == np.float32
    assert sum(done) == count
    assert np.all(out["count"] <= CHUNK.chunk)


def test_compiled_beforehand_and_by_many_threads_once():
    """Shapes are enough to compile; whoever wants the same program at the same time waits for it."""
    x, before = np.ones((40, 2)), compilations()
    voxel = {"x": jax.ShapeDtypeStruct((2,), np.float32)}
    programs = [program(power=7) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        compiled = [future.result() for future in [pool.submit(p.compile, voxel) for p in programs]]
    assert len(set(map(id, compiled))) == 1
    programs[0](lambda part: {"x": x[part]}, 40)
    assert compilations() == before + 1


def test_double_precision_is_kept():
    x = np.full((3, 1), 1 + 1e-12)
    out = program("float64")(lambda part: {"x": x[part]}, 3)
    np.testing.assert_array_equal(out["scaled"], 3 * x)
    assert not jax.config.jax_enable_x64


@pytest.mark.parametrize("count", [0, 5, 8, 21])
def test_blocks_are_those_of_one_call(count):
    """No voxel at all is no error: a mask may leave none with a FOD."""
    x = np.arange(3.0 * count).reshape(count, 3)
    out = in_blocks(lambda block: block["x"].sum(axis=1), {"x": x}, np.dtype(np.float32), 8)
    np.testing.assert_array_equal(out, x.sum(axis=1).astype(np.float32))


class Gpu:
    """A device that tells this of itself; None: it does not."""

    platform = "gpu"

    def __init__(self, cores=None, memory=None):
        if cores is not None:
            self.core_count = cores
        self._memory = memory

    def memory_stats(self):
        if self._memory is None:
            raise jax.errors.JaxRuntimeError("only for addressable devices")
        return {"bytes_limit": self._memory}


@pytest.mark.parametrize(
    "device",
    [jax.devices("cpu")[0], Gpu(), Gpu(132, 60 << 30), Gpu(1, 1 << 30), Gpu(132, 1 << 20)],
    ids=["CPU", "silent", "large", "small", "without memory"],
)
def test_sizes_of_all_kinds(sizes_of_users, device):
    """A chunk holds its lanes, and every kind of work has sizes; a GPU's lanes fill blocks."""
    for kind in SIZES:
        size = size_of(kind, device)
        assert size.chunk % size.lanes == 0
        assert size.lanes % BLOCK == 0 or device.platform == "cpu"


def test_sizes_follow_the_device():
    """One that tells nothing is taken for an H100; fewer processors get fewer lanes, less memory smaller chunks."""
    for kind, sizes in SIZES.items():
        volumes = 1 if kind == "kernels" else 300
        assert size_of(kind, Gpu(), volumes) == size_of(kind, Gpu(132, 60 << 30), volumes) == sizes["gpu"]
        fewer, less = size_of(kind, Gpu(33), volumes), size_of(kind, Gpu(132, 1 << 28), volumes)
        assert fewer == (sizes["gpu"].chunk // 4, sizes["gpu"].lanes // 4)
        taken = 2 * less.chunk * volumes * NEEDS[kind].bytes
        assert taken <= 1 << 27 < 2 * taken
        assert size_of(kind, jax.devices("cpu")[0]) == sizes["cpu"]


def test_what_cannot_compute_is_refused():
    with pytest.raises(js.InputError, match="dtype='float16'"):
        Runner("float16")
    with pytest.raises(js.JaxsmtError, match="no quantum device"):
        find_device("quantum")
    for none in (0, [], "cpu", [jax.devices()[0], None]):
        with pytest.raises(js.InputError, match="is no device"):
            runner.devices_of(none)


def test_devices_are_of_one_kind(monkeypatch):
    """Two kinds would round differently. All devices are those of the first one's kind."""

    class Fake:
        def __init__(self, kind):
            self.platform, self.device_kind = "gpu", kind

    big, bigger, small = Fake("H200"), Fake("H200"), Fake("T4")
    monkeypatch.setattr(jax, "local_devices", lambda: [big, small, bigger])
    assert runner.find_devices("all") == (big, bigger)
    monkeypatch.setattr(jax, "Device", Fake)
    assert runner.devices_of([big, bigger]) == (big, bigger)
    with pytest.raises(js.InputError, match="devices of different kinds"):
        runner.devices_of([big, small])


def test_errors_of_a_device_other_than_of_memory_are_not_hidden(monkeypatch):
    """They are no reason to try smaller chunks."""

    def broken(self, voxels, count, chunk, device):
        raise jax.errors.JaxRuntimeError("INTERNAL: the driver is gone")

    monkeypatch.setattr(runner.Program, "_computed", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="driver is gone"):
        program(power=2)(lambda part: {"x": np.ones((len(range(*part.indices(8))), 2))}, 8)


def test_blocks_have_few_sizes():
    """So that other data find their programs kept."""
    assert {block_size(n, 32_768) for n in range(40_000)} == {2**k for k in range(10, 16)}
    assert all(min(n, 100) <= block_size(n, 100) <= 100 for n in range(300))


def test_out_of_memory_halves_the_chunk(monkeypatch):
    """Until it fits, and no number changes; with a warning, and an error when a chunk is as small as can be."""
    x, sizes = np.arange(200.0).reshape(100, 2), []
    real = runner.Program._computed

    def small(most):
        def computed(self, voxels, count, chunk, device):
            sizes.append(chunk)
            if chunk > most:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes.")
            return real(self, voxels, count, chunk, device)

        return computed

    monkeypatch.setattr(runner.Program, "_computed", small(4))
    halved = program(power=2)
    with pytest.warns(js.JaxsmtWarning, match="out of memory"):
        out = halved(lambda part: {"x": x[part]}, 100)
    np.testing.assert_array_equal(out["scaled"], 3 * x.astype(np.float32) ** 2)
    assert max(sizes) == 16
    sizes.clear()
    halved(lambda part: {"x": x[part]}, 100)
    assert set(sizes) == {4}  # what was learnt is kept
    monkeypatch.setattr(runner.Program, "_computed", small(3))
    with pytest.warns(js.JaxsmtWarning), pytest.raises(js.JaxsmtError, match="out of memory"):
        program(power=2)(lambda part: {"x": x[part]}, 100)


def test_a_mesh_is_its_devices():
    """As who shards arrays has it."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("voxels",))
    assert runner.devices_of(mesh) == (jax.devices()[0],)
