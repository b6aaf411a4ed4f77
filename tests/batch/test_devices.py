"""Several devices share the chunks: the same numbers, all busy, each program the same."""

import os
import subprocess
import sys

import jax
import pytest

import jaxsmt as js
from jaxsmt.batch.runner import Runner, devices_of, find_devices

# In a process of its own, as the number of devices is fixed once JAX has started.
SCRIPT = """
import threading

import jax
import numpy as np

import jaxsmt as js
from jaxsmt.batch.runner import Program
from jaxsmt.batch.sizes import SIZES, BatchSize

SIZES["kernels"]["cpu"] = BatchSize(64, 16)
devices = jax.devices()
assert len(devices) == 8
acquisition = js.simulate.hcp_scheme(2, 12)
rng = np.random.default_rng(0)
data = np.exp(-acquisition.bvals / 1000 * rng.uniform(0.3, 3, (1000, 1))).astype(np.float32)

alone = js.fit(js.smt(), acquisition, data, device=devices[0])

events, lock, run, together = [], threading.Lock(), Program._run, threading.Barrier(8)


def logged(self, voxels, device):
    with lock:
        first = device not in events
        events.append(device)
    if first:
        together.wait(60)  # all eight have a part at the same time, or this fails
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a)[1:], np.float32), voxels)
    places = self._compiled(shapes, device, self.size.chunk).output_shardings
    assert {d for place in jax.tree.leaves(places) for d in place.device_set} == {device}
    return run(self, voxels, device)


Program._run = logged
shared = js.fit(js.smt(), acquisition, data, device=devices)
assert set(events) == set(devices), events
assert len(events) >= 16
for name, values in {**alone.parameters, "status": alone.status, "s0": alone.s0}.items():
    other = {**shared.parameters, "status": shared.status, "s0": shared.s0}[name]
    np.testing.assert_array_equal(values, other)
print("equal")
"""


def test_eight_devices_are_busy_and_give_the_numbers_of_one():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAXSMT_CACHE": "off", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "equal", done.stderr


def test_devices_are_one_or_several_of_a_kind():
    device = jax.devices()[0]
    assert devices_of(device) == devices_of([device]) == find_devices() == (device,)
    assert find_devices("all") == tuple(jax.local_devices())
    assert Runner(device=[device]).device is device
    for wrong in ("gpu", [], [device, "gpu"], 0):
        with pytest.raises(js.InputError, match="is no device"):
            devices_of(wrong)
