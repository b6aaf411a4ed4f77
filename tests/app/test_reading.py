"""The one pass over a series: it begins at once, waits for nobody, and stops when nobody needs it."""

import gzip
import threading

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.acquisition.means import spherical_means
from jaxsmt.app import reading
from jaxsmt.app.inputs import open_inputs
from jaxsmt.app.request import Request
from jaxsmt.errors import InputError, JaxsmtWarning
from jaxsmt.files import nifti
from jaxsmt.files.voxels import InMemory
from tests.conftest import ACQUISITION


def nobody(stage, done, total):
    """A screen that shows nothing."""


@pytest.fixture
def inputs(folder):
    return open_inputs(Request(folder / "sub-01_dwi.nii.gz", mask=folder / "mask.nii.gz"))


def place_of(inputs):
    return InMemory(inputs.image.shape[3], int(inputs.mask.sum()), inputs.image.dtype)


def wait(condition):
    """Until something holds, which a thread makes true."""
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def test_means_and_data_are_those_inside_the_mask(inputs, series):
    """Oracle: the whole array, in the order of the file."""
    told = []
    with reading.Reader(inputs) as reader:
        read = reader.into(place_of(inputs), lambda *how_far: told.append(how_far))
    inside = series[0].reshape(-1, ACQUISITION.bvals.size, order="F")[inputs.mask.ravel(order="F")]
    np.testing.assert_array_equal(read.data.rows(slice(None)), inside)
    np.testing.assert_allclose(read.means, spherical_means(ACQUISITION, inside), rtol=1e-6)
    assert told == [("read", i + 1, ACQUISITION.bvals.size) for i in range(ACQUISITION.bvals.size)]


@pytest.mark.parametrize("slope", [(2.0, 0.0), (0.5, 3.0)])
def test_scaled_integers(folder, series, slope):
    """What is stored is kept as it is; means are of the scaled values."""
    path, data = folder / "sub-01_dwi.nii.gz", np.round(series[0]).astype(np.int16)
    image = nib.Nifti1Image(data, nib.load(path).affine)
    image.header.set_slope_inter(*slope)
    nib.save(image, path)
    inputs = open_inputs(Request(path, mask=folder / "mask.nii.gz"))
    with reading.Reader(inputs) as reader:
        read = reader.into(place_of(inputs), nobody)
    stored = inputs.image.slope, inputs.image.inter
    inside = data.reshape(-1, data.shape[-1], order="F")[inputs.mask.ravel(order="F")]
    assert read.data.rows(slice(None)).dtype == np.int16
    np.testing.assert_allclose(read.means, spherical_means(ACQUISITION, inside * stored[0] + stored[1]), rtol=1e-6)


def test_reading_begins_before_anybody_asks(inputs, monkeypatch):
    """So that JAX can be loaded meanwhile: volumes wait for the place where they will be kept, as many as may."""
    read, volumes = [], nifti.read_volumes

    def watched(image, tell):
        for volume in volumes(image, tell=tell):
            read.append(len(read))
            yield volume

    monkeypatch.setattr(nifti, "read_volumes", watched)
    monkeypatch.setattr(reading, "WAITING", 5 * int(inputs.mask.sum()) * inputs.image.dtype.itemsize)
    with reading.Reader(inputs) as reader:
        wait(lambda: len(read) == 5)
        threading.Event().wait(0.05)
        assert len(read) == 5
        whole = reader.into(place_of(inputs), nobody).data.rows(slice(None))
    with reading.Reader(inputs) as reader:
        np.testing.assert_array_equal(whole, reader.into(place_of(inputs), nobody).data.rows(slice(None)))


def test_nothing_is_read_after_the_end(inputs):
    """A refused fit leaves no thread behind, whatever it waits for."""
    threads = threading.active_count()
    with reading.Reader(inputs):
        pass
    wait(lambda: threading.active_count() <= threads)


def test_what_is_wrong_with_the_stream_is_told_to_who_asks(folder, inputs):
    """Errors and warnings of the thread reach its caller, where they are collected."""
    path = folder / "sub-01_dwi.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0" * 512)
    with reading.Reader(inputs) as reader, pytest.warns(JaxsmtWarning, match="zeros follow"):
        reader.into(place_of(inputs), nobody)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with reading.Reader(inputs) as reader, pytest.raises(InputError, match="promises"):
        reader.into(place_of(inputs), nobody)
