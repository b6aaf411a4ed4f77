"""A flipped bit in a file that the program reads is never taken for what was written: it is found, or does no harm."""

import json
import warnings
from contextlib import suppress

import numpy as np
import pytest

from jaxsmt.app import unfinished
from jaxsmt.app.cohorts import tasks, written
from jaxsmt.batch.cache import Cache
from jaxsmt.batch.journal import Journal
from jaxsmt.errors import InputError, JaxsmtWarning
from jaxsmt.files import nifti, sidecars
from tests.inputs.files import Inputs

SEEDS = [pytest.param(20, 0, id="20"), pytest.param(200, 1, id="200", marks=pytest.mark.slow)]
OF_SERIES = [pytest.param(20, 0, id="20"), pytest.param(600, 1, id="600", marks=pytest.mark.slow)]


def flipped(content, n, seed):
    """The content with another bit flipped each time."""
    rng = np.random.default_rng(seed)
    for position in rng.choice(len(content) * 8, min(n, len(content) * 8), replace=False):
        bad = bytearray(content)
        bad[position // 8] ^= 1 << (position % 8)
        yield bytes(bad)


def read_all(path):
    image = nifti.open_image(path)
    return np.stack([volume.copy() for volume in nifti.read_volumes(image)]), image


@pytest.mark.parametrize(("n", "seed"), OF_SERIES)
def test_of_a_series(folder, series, n, seed):
    """gzip has no check of the name and time that it holds: there a flip changes nothing that is read."""
    inputs = Inputs(folder, series[0])
    expected, header = read_all(inputs.dwi)
    refused = 0
    for bad in flipped(inputs.dwi.read_bytes(), n, seed):
        inputs.dwi.write_bytes(bad)
        try:
            data, image = read_all(inputs.dwi)
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(data, expected)
        np.testing.assert_array_equal(image.affine, header.affine)
    assert refused > 0.9 * n


@pytest.mark.parametrize(("n", "seed"), SEEDS)
def test_of_a_journal(tmp_path, n, seed):
    """What is found in it is what was written, from the first part on; the rest is computed again."""
    parts = [(slice(0, 40), [np.arange(80.0).reshape(40, 2)]), (slice(40, 50), [np.ones((10, 2))])]
    record = Journal(tmp_path).record("fit")
    list(record.parts())
    for part, leaves in parts:
        record.add(part, leaves)
    [path] = tmp_path.glob("call-*")
    for bad in flipped(path.read_bytes(), n, seed):
        path.write_bytes(bad)
        found = list(Journal(tmp_path).record("fit").parts())
        assert len(found) < len(parts)
        for (part, leaves), (expected, values) in zip(found, parts, strict=False):
            assert part == expected
            np.testing.assert_array_equal(leaves[0], values[0])


@pytest.mark.parametrize(("n", "seed"), SEEDS)
def test_of_the_facts_of_an_unfinished_run(tmp_path, n, seed):
    """It goes on only if it was asked for the same; else that is told, or it begins anew."""
    asked = {"options": {"sigma": 3.0, "noise": "rician"}, "inputs": {"dwi": "ab12"}}
    machine = {"processor": "x", "jax": "0.10"}
    for bad in flipped(sidecars.to_json({"asked": asked, "machine": machine, "slab": 100}), n, seed):
        run = unfinished.Unfinished(tmp_path, "a_")
        run.folder.mkdir(exist_ok=True)
        (run.folder / "run.json").write_bytes(bad)
        (run.folder / "call-0000").write_bytes(b"what was computed")
        with suppress(InputError), warnings.catch_warnings():
            warnings.simplefilter("ignore", JaxsmtWarning)
            run.begin(asked, machine, 100, anew=False)
            if (run.folder / "call-0000").exists():
                facts = json.loads(bad)
                assert (facts["asked"], facts["machine"]) == (asked, machine)
        run.finish()


RUN = {
    "asked": {"noise": "rician"},
    "inputs": {"dwi": {"sha256": "ab" * 32}},
    "maps": ["sub-01_model-smt_param-md_dwimap.nii.gz"],
    "model": "smt",
    "options": {"noise": "rician", "sigma": {"median": 31.25, "relative_error": 0.01}},
    "shells": [{"b_s_per_mm2": 0.0, "volumes": 6}, {"b_s_per_mm2": 1000.0, "volumes": 30}],
    "software": {"name": "jaxsmt", "version": "1.0"},
    "voxels": dict.fromkeys(("outside", "converged", "at_bound", "not_converged", "no_signal", "non_finite"), 1234),
    "warnings": ["λ∥ is at its bound"],
}


@pytest.mark.parametrize(("n", "seed"), SEEDS)
def test_of_run_json(tmp_path, n, seed):
    """The group's table, and whether a series is complete, read it; of its digest alone nothing depends."""
    path = tmp_path / "sub-01_run.json"
    path.write_bytes(sidecars.to_json(sidecars.sealed(RUN)))
    series = written.FittedSeries(tmp_path, "sub-01_", "sub-01", "")
    expected = written.read_run(series)
    for bad in flipped(path.read_bytes(), n, seed):
        path.write_bytes(bad)
        found = tasks._read_run(path)
        assert not found or {name: found[name] for name in RUN} == RUN
        with suppress(InputError):
            assert written.read_run(series) == expected


@pytest.mark.parametrize(("n", "seed"), SEEDS)
def test_of_the_start_up_cache(tmp_path, n, seed):
    """What is not as it was stored is thrown away, of what was traced and of what was compiled alike."""
    (tmp_path / "compiled").mkdir()
    kept = Cache(tmp_path, tmp_path / "compiled")
    content = np.random.default_rng(5).bytes(2_000)
    kept.store("one.program", content)
    traced, entry = tmp_path / "one.program", tmp_path / "compiled" / "jit_one-x-cache"
    entry.write_bytes(content)
    kept.seal("one")
    assert kept.load("one.program") == content
    assert kept.check("one")
    digest = tmp_path / "one.digest"
    sound = {path: path.read_bytes() for path in (traced, entry, digest)}
    for path, of_path in sound.items():
        for bad in flipped(of_path, n // 2, seed):
            for each, whole in sound.items():
                each.write_bytes(bad if each == path else whole)
            assert kept.load("one.program") == (None if path == traced else content)
            assert kept.check("one") == (path == traced)
