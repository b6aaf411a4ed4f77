"""Data of voxels, written volume by volume and read voxel by voxel: memory and file give the same."""

import os

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.files import voxels
from jaxsmt.files.voxels import InFile, InMemory

VOLUMES = 7


def filled(kind, data, *more):
    store = kind(*data.shape, data.dtype, *more)
    for volume, values in enumerate(data):
        store.put(volume, values)
    return store


@pytest.mark.parametrize("dtype", ["<f4", ">i2"])
@pytest.mark.parametrize("count", [1, 16, 100])
def test_a_file_gives_what_memory_gives(tmp_path, monkeypatch, dtype, count):
    """Slices and scattered numbers, within a block of the file and across several; either byte order."""
    monkeypatch.setattr(voxels, "_BLOCK", 16)
    rng = np.random.default_rng(0)
    data = rng.integers(-1000, 1000, (VOLUMES, count)).astype(dtype)
    in_memory, in_file = filled(InMemory, data), filled(InFile, data, tmp_path)
    unsorted = rng.permutation(count)[: count // 2 + 1]
    for index in (
        slice(0, count),
        slice(count // 3, count // 2),
        slice(0, 0),
        slice(count, 0),
        unsorted,
        np.array([], int),
    ):
        np.testing.assert_array_equal(in_file.rows(index), in_memory.rows(index))
        np.testing.assert_array_equal(in_file.rows(index), data[:, index].T)
    in_file.close()


def test_the_file_is_private_and_goes_with_the_process(tmp_path):
    """It has no name, so that nobody else opens it and a killed run leaves nothing."""
    store = filled(InFile, np.ones((VOLUMES, 5), np.float32), tmp_path)
    assert not list(tmp_path.iterdir())
    store.close()


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    store = InFile(VOLUMES, 5, np.dtype(np.float32), tmp_path)
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(js.JaxsmtError, match=r"No space left(.|\n)*scratch=") as caught:
        store.put(0, np.ones(5, np.float32))
    store.close()
    assert caught.value.exit_code == 75
    with pytest.raises(js.JaxsmtError, match="scratch="):
        InFile(VOLUMES, 5, np.dtype(np.float32), tmp_path / "missing")
