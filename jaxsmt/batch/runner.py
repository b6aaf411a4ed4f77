"""Runs a program chunk by chunk on devices and a CPU's cores: compiled ahead of time from shapes."""

from __future__ import annotations

import functools
import itertools
import os
import queue
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import jax
import numpy as np

from ..errors import InputError, JaxsmtWarning, ResourceError, shown
from . import cache, journal, processors
from .sizes import IN_FLIGHT, BatchSize

#: Where to compute: a device, several of one kind or a mesh of them, or None, the first that JAX finds.
Devices: TypeAlias = "jax.Device | Sequence[jax.Device] | jax.sharding.Mesh | None"
#: Compiles a program, so that the first call does not wait for it.
Compilation: TypeAlias = Callable[[], Any]


def find_device(name: str = "auto") -> jax.Device:
    """The first device that `find_devices` finds."""
    return find_devices(name)[0]


def find_devices(name: str = "auto") -> tuple[jax.Device, ...]:
    """The device that `name` ("auto", "cpu", "gpu") asks for, or "all" of the kind that JAX finds first.

    Raises:
        ResourceError: there is none of that kind.
    """
    try:
        if name == "all":
            first, *others = jax.local_devices()
            return (first, *(d for d in others if d.device_kind == first.device_kind))
        return (jax.devices()[0] if name == "auto" else jax.devices(name)[0],)
    except (RuntimeError, AssertionError) as error:  # as JAX says it
        reason = next(iter(str(error).splitlines()), "JAX finds none")
        raise ResourceError(
            f"no {name} device: {reason}" if name != "auto" else f"no device: {reason}",
            fix="install the 'cuda12' or 'cuda13' extra on a machine with an NVIDIA GPU, or use device='cpu'"
            + (", and unset JAX_PLATFORMS" if os.environ.get("JAX_PLATFORMS") else ""),
        ) from None


def devices_of(device: Any) -> tuple[jax.Device, ...]:
    """One device, several, or those of a mesh as a tuple.

    Raises:
        InputError: they are no devices, or of different kinds.
    """
    if isinstance(device, jax.sharding.Mesh):
        device = device.devices.ravel().tolist()
    devices = (device,) if isinstance(device, jax.Device) else device
    if not isinstance(devices, Sequence) or not devices or not all(isinstance(d, jax.Device) for d in devices):
        raise InputError(f"device={shown(device)} is no device", fix="one of jax.devices(), a list of them, or a mesh")
    if len({(d.platform, d.device_kind) for d in devices}) > 1:
        raise InputError(f"devices of different kinds: {device}", fix="give devices of one kind")
    return tuple(devices)


class Runner:
    """Where and in which precision programs run.

    Args:
        dtype: "float32" or "float64".
    Attributes:
        devices: that share the chunks of a program. device: the first of them.
    Raises:
        InputError: no such precision, or no devices of one kind.
    """

    def __init__(self, dtype: str = "float32", device: Devices = None):
        if dtype not in ("float32", "float64"):
            raise InputError(f"dtype={shown(dtype)} is unknown", fix="dtype='float32' or dtype='float64'")
        self.dtype = np.dtype(dtype)
        self.devices = find_devices() if device is None else devices_of(device)
        self.device = self.devices[0]
        self.halvings = 0  # of chunks, as a device was out of memory
        cache.find()  # before anything is compiled, small programs of checks too

    @property
    def platform(self) -> str:
        """ "cpu" or "gpu"."""
        return "cpu" if self.device.platform == "cpu" else "gpu"

    def program(self, function: Any, size: BatchSize, shared: Any, **static: Any) -> Program:
        """A jitted `function(voxels, shared, count, *, lanes, **static)` that runs here.

        Args:
            shared: arrays that all voxels have in common; they are cast to the runner's type.
        """
        shared = jax.tree.map(lambda a: np.asarray(a, self.dtype), shared)
        return Program(self, function, size, shared, static)


def numbers(*shape: int) -> jax.ShapeDtypeStruct:
    """The shape of numbers of one voxel, for `Program.compile`."""
    return jax.ShapeDtypeStruct(shape, np.dtype(float))


class Program:
    """One program, for any number of voxels; made by `Runner.program`."""

    def __init__(self, runner: Runner, function: Any, size: BatchSize, shared: Any, static: Mapping[str, Any]):
        self.runner, self.size, self._shared = runner, size, shared
        self._function, self._static = function, tuple(sorted({**static, "lanes": size.lanes}.items()))

    def compile(self, voxel: Any) -> Callable[..., Any]:
        """Compile now for all devices, so that the first call does not wait for it; returns what the first one runs.

        Args:
            voxel: one voxel's arrays as a pytree of `jax.ShapeDtypeStruct`, without the voxels' axis.
        """
        compiled, *_ = [self._compiled(voxel, device, self._chunk) for device in self.runner.devices]
        return compiled

    def _compiled(self, voxel: Any, device: jax.Device, chunk: int) -> Callable[..., Any]:
        dtype = self.runner.dtype
        voxels = jax.tree.map(lambda s: jax.ShapeDtypeStruct((chunk, *s.shape), dtype), voxel)
        shared = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), self._shared)
        leaves, tree = jax.tree.flatten((voxels, shared, jax.ShapeDtypeStruct((), np.dtype(np.int32))))
        kinds = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
        # Two threads that want the same program wait for one compilation; those of several devices too, as they share
        # what the start-up cache keeps.
        with _COMPILING:
            lock = _locks.setdefault((self._function, self._static, tree, kinds), threading.Lock())
        with lock:
            return _compiled(self._function, self._static, tree, kinds, device)

    def __call__(
        self, voxels: Callable[[slice], Any], count: int, progress: Callable[[int], None] = lambda voxels: None
    ) -> Any:
        """Results of `count` voxels, NumPy arrays (count, …).

        The voxels are divided into equal parts of at most a chunk, as many for each core of a CPU or for each GPU;
        small work is not divided. A GPU has two workers, so that it computes while the other's part is copied, which
        XLA does through pinned memory. A part goes to the device that is free first, which no number depends on.
        While a journal is open, parts that it has are not computed again, but for the last of them, which shows that it
        belongs to these voxels.

        Args:
            voxels: `(slice) -> arrays (n, …)` of those voxels. progress: told how many voxels are done, part by part.
        """
        record = journal.record(self._name(count)) if count else None
        results, done = (_Results(count), 0) if record is None else self._recorded(record, voxels, count, progress)
        workers = self._workers * len(self.runner.devices)
        free: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
        for device in self.runner.devices * self._workers:
            free.put(device)

        def run(part: slice) -> Any:
            device = free.get()
            try:
                return self._run(voxels(part), device)
            finally:
                free.put(device)

        slices = [slice(max(part.start, done), part.stop) for part in self._parts(count) if part.stop > done]
        slices = slices if count else [slice(0, 0)]
        pool = ThreadPoolExecutor(workers)
        try:
            for part, result in zip(slices, pool.map(run, slices), strict=True):
                leaves = results.put(part, result)
                if record is not None:
                    record.add(part, leaves)
                progress(part.stop - part.start)
        finally:  # an interrupt does not wait for what is computed
            pool.shutdown(wait=False, cancel_futures=True)
        return results.tree()

    @property
    def _workers(self) -> int:
        """For each device."""
        return max(1, processors.count() // len(self.runner.devices)) if self.runner.platform == "cpu" else IN_FLIGHT

    def _parts(self, count: int) -> list[slice]:
        """The voxels of each part."""
        devices = len(self.runner.devices)
        shares = self._workers * devices if self.runner.platform == "cpu" else devices
        parts = max(1, -(-count // self._chunk))
        parts = max(parts, min(-(-parts // shares) * shares, count // self.size.lanes))
        edges = np.linspace(0, count, parts + 1).astype(int)
        return [slice(i, j) for i, j in itertools.pairwise(edges.tolist())]

    def _recorded(
        self, record: journal.Record, voxels: Callable[[slice], Any], count: int, progress: Callable[[int], None]
    ) -> tuple[_Results, int]:
        """What a journal has of the first voxels, and how many they are; its last part is computed once more."""
        results, last = _Results(count), None
        for part, leaves in record.parts():
            if part.stop > count or not results.is_alike(leaves):
                break
            results.fill(part, leaves)
            last = part, leaves
        else:
            if last is not None:
                part, leaves = last
                again = self._run_again(voxels, part)
                if _same(jax.tree.leaves(again), leaves):  # else they are another machine's, or of other voxels
                    results.put(part, again)
                    progress(part.stop)
                    return results, part.stop
        record.forget()
        return _Results(count), 0

    def _name(self, count: int) -> str:
        """What is computed, so that the results of other calls are not taken for those of this one."""
        return f"{getattr(self._function, '__name__', '')} of {count} voxels"

    def _run_again(self, voxels: Callable[[slice], Any], part: slice) -> Any:
        """Results of a part of any size."""
        pieces = range(part.start, part.stop, self._chunk)
        results = [self._run(voxels(slice(i, min(i + self._chunk, part.stop))), self.runner.device) for i in pieces]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)

    @property
    def _chunk(self) -> int:
        """Voxels in one call: fewer after the device ran out of memory."""
        return max(self.size.chunk >> self.runner.halvings, self.size.lanes)

    def _run(self, voxels: Any, device: jax.Device) -> Any:
        """Results of one part; in halves where the device has not enough memory for it."""
        count, chunk = len(jax.tree.leaves(voxels)[0]), self._chunk
        if count > chunk:  # as it has become smaller
            pieces = [jax.tree.map(lambda a, i=i: a[i : i + chunk], voxels) for i in range(0, count, chunk)]
            results = [self._run(piece, device) for piece in pieces]
            return jax.tree.map(lambda *leaves: np.concatenate(leaves), *results)
        try:
            return self._computed(voxels, count, chunk, device)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            if chunk == self.size.lanes:
                raise ResourceError(
                    f"the device is out of memory: {str(error).splitlines()[0]}", fix="free it, or use device='cpu'"
                ) from None
            fact = str(error).splitlines()[0]
        with _COMPILING:
            if self._chunk == chunk:  # another thread may have been first
                self.runner.halvings += 1
                warnings.warn(
                    f"the device is out of memory ({fact}): it gets {self._chunk} voxels at once instead of {chunk}",
                    JaxsmtWarning,
                    stacklevel=2,
                )
        return self._run(voxels, device)

    def _computed(self, voxels: Any, count: int, chunk: int, device: jax.Device) -> Any:
        """Results of at most a chunk of voxels."""
        shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], self.runner.dtype), voxels)
        compiled = self._compiled(shapes, device, chunk)
        # The setting is each thread's own.
        with jax.enable_x64(self.runner.dtype == np.float64), jax.default_device(device):
            padded = jax.tree.map(lambda values: self._padded(values, chunk), voxels)
            out = jax.block_until_ready(compiled(padded, self._shared, np.int32(count)))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], out)

    def _padded(self, values: np.ndarray, chunk: int) -> np.ndarray:
        """(n, …) values as a whole chunk of the runner's type."""
        padded = np.zeros((chunk, *np.shape(values)[1:]), self.runner.dtype)
        with np.errstate(over="ignore"):  # beyond single precision: infinite, and reported as such
            padded[: len(values)] = values
        return padded


class _Results:
    """Results of voxels, filled part by part; leaves (count, …)."""

    def __init__(self, count: int):
        self._count = count
        self._leaves: list[np.ndarray] | None = None
        self._tree: Any = None

    def put(self, part: slice, result: Any) -> list[np.ndarray]:
        """Take the results of a part; returns their leaves."""
        leaves, self._tree = jax.tree.flatten(result)
        self.fill(part, leaves)
        return leaves

    def fill(self, part: slice, leaves: journal.Leaves) -> None:
        """Take the leaves of a part."""
        if self._leaves is None:
            self._leaves = [np.empty((self._count, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        for whole, leaf in zip(self._leaves, leaves, strict=True):
            whole[part] = leaf

    def is_alike(self, leaves: journal.Leaves) -> bool:
        """Whether leaves of a part are of the kind of those that were taken before."""
        return self._leaves is None or _kinds(leaves) == _kinds(self._leaves)

    def tree(self) -> Any:
        """All results, as the program returns them."""
        assert self._leaves is not None
        return jax.tree.unflatten(self._tree, self._leaves)


def _same(expected: list[np.ndarray], leaves: list[np.ndarray]) -> bool:
    """Whether arrays are of the same kind and the same bytes."""
    if _kinds(expected) != _kinds(leaves):
        return False
    return all(a.tobytes() == b.tobytes() for a, b in zip(expected, leaves, strict=True))


def _kinds(leaves: journal.Leaves) -> list[tuple[np.dtype, tuple[int, ...]]]:
    """Types and shapes of arrays (voxels, …), but for the voxels."""
    return [(leaf.dtype, leaf.shape[1:]) for leaf in leaves]


_COMPILING, _TRACING = threading.Lock(), threading.Lock()
_locks: dict[Any, threading.Lock] = {}


@functools.cache
def _compiled(
    function: Any,
    static: tuple[tuple[str, Any], ...],
    tree: Any,
    kinds: tuple[tuple[tuple[int, ...], np.dtype], ...],
    device: jax.Device,
) -> Callable[..., Any]:
    """The executable of a jitted function for these shapes, made once in a process."""
    shapes = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in kinds])
    with jax.enable_x64(any(dtype == np.float64 for _, dtype in kinds)), jax.default_device(device):
        # Several threads that trace at once only hold each other up; the compiler itself runs in parallel.
        return cache.compiled(function, dict(static), shapes, device, _TRACING)


def compilations() -> int:
    """How many programs this process has compiled for chunks of voxels."""
    return _compiled.cache_info().misses
