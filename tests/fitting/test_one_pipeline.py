"""One pipeline for the command line and Python: the same maps, bit for bit."""

import re

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.acquisition.means import spherical_means
from jaxsmt.batch.runner import compilations
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.fitting.pipeline import Pipeline
from jaxsmt.fitting.settings import Settings
from tests.app.commands import run
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of

_FILE = re.compile(r"sub-01_model-(\w+)_param-([a-z0-9]+)(_desc-sd)?_dwimap.nii.gz")
MASK = mask_of(SHAPE) != 0


@pytest.fixture
def written(folder):
    """Maps of the command line by model and name, standard deviations as "sd of …"; and the folder of the inputs."""
    options = ["--noise", "rician", "--fod", "watson", "--fibres", "auto", "--uncertainty", "--no-report"]
    assert run(folder, *options) == 0
    maps = {}
    for path in (folder / "out").glob("*.nii.gz"):
        model, name, sd = _FILE.fullmatch(path.name).groups()
        maps[model, f"sd of {name}" if sd else name] = np.asarray(nib.load(path).dataobj)
    return maps, folder


def maps_of(fods):
    """The same of a fit in Python."""

    def by_name(model, maps, prefix=""):
        return {(model, prefix + re.sub(r"[^a-z0-9]", "", name.lower())): values for name, values in maps.items()}

    kernels = fods.model.fitted
    return {
        **by_name("smt", kernels.maps()),
        **by_name("smt", kernels.sd, "sd of "),
        **by_name("smtwatson", fods.maps()),
        **by_name("smtwatson", fods.sd, "sd of "),
    }


def fit(acquisition, data, **options):
    """What the command's options say, in Python."""
    model = js.FodModel(js.smt(), "watson", "auto")
    return js.fit(model, acquisition, data, MASK, noise="rician", **options)


def test_command_line_and_python_give_the_same_maps(written, series):
    """`js.fit` of a model's FODs does what one command does, whichever way the data lie in memory.

    The command reads directions into scanner axes. Directions as they are written are mirrored ones here: searches
    then start elsewhere, so only how well the FODs fit is comparable.
    """
    maps, folder = written
    data, _ = series
    files = folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec"
    scanner = js.Acquisition.from_fsl(*files, affine=AFFINE)
    before = compilations()
    for array in (np.ascontiguousarray(data), np.asfortranarray(data)):
        fods = fit(scanner, array, uncertainty=True)
        in_python = maps_of(fods)
        assert set(in_python) == set(maps)
        for key, values in maps.items():
            np.testing.assert_array_equal(values, in_python[key].astype(values.dtype), err_msg=str(key))
    assert compilations() == before  # the command compiled the very same programs
    assert np.count_nonzero(fods.n_fibres) > 0.9 * np.count_nonzero(MASK)
    plain = fit(js.Acquisition.from_fsl(*files), data, uncertainty=True)  # by the same programs
    assert plain.axes == "fsl"
    assert np.mean(np.abs(plain.mse - fods.mse)[MASK] <= 1e-6) >= 0.99


def test_progress_counts_voxels(series):
    """Once each: with several numbers of lobes, a second pass for the noise floor, and slabs."""
    data, _ = series
    pipeline = Pipeline(js.FodModel(js.smt(), "watson", "auto"), ACQUISITION, Settings.make({"noise": "rician"}), MASK)
    voxels, told = Voxels(MASK, "C"), {"fit": [0], "fit FODs": [0]}
    count = voxels.count

    def progress(stage, done, total):
        assert total == count
        told[stage].append(done)

    means = voxels.take(spherical_means(ACQUISITION, data).T.reshape(*SHAPE, -1)).T
    rows = voxels.rows(data)
    assert len(list(pipeline.slabs(pipeline.fit_kernels(means, rows, progress), rows, 60, progress))) == 2
    for done in told.values():
        assert done == sorted(done)
        assert done[-1] == count
    assert 60 in told["fit FODs"]  # the first slab ends where the second begins
