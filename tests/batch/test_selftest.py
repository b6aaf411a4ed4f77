"""The self-test of a machine's compiler: it finds wrong numbers, runs once, and is quick."""

import time

import jax
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.app import cli, doctor
from jaxsmt.batch import cache, selftest
from jaxsmt.errors import ResourceError
from tests.app.commands import run
from tests.conftest import ACQUISITION

DEVICE = jax.devices("cpu")[0]
NAMES = ["batch of 40,000 rows", "matrix products", "exp and erf, float32", "exp and erf, float64", "stored fit"]


SOUND = selftest._run
_results = {}


def run_once(function, device, *arguments):
    """What a program gives; it is compiled for the first of these tests only."""
    key = tuple((a.shape, str(a.dtype)) for a in arguments)
    if key not in _results:
        _results[key] = SOUND(function, device, *arguments)
    return _results[key]


@pytest.fixture(autouse=True)
def fresh(tmp_path, monkeypatch):
    """Nothing is remembered of what was found, neither in this process nor in a cache."""
    monkeypatch.setenv(cache.VARIABLE, "off")
    monkeypatch.setattr(selftest, "_run", run_once)
    selftest._require_sound.cache_clear()
    yield
    selftest._require_sound.cache_clear()


@pytest.fixture
def remembered(tmp_path, monkeypatch):
    """A start-up cache of this test alone, in which JAX keeps nothing."""
    kept = cache.Cache(tmp_path, None)
    monkeypatch.setattr(cache, "find", lambda: kept)
    return kept


def wrong_from(row):
    """What jax 0.10.2 does: rows beyond 32,768 get the results of others."""

    def spoil(values):
        if values.ndim != 1 or len(values) <= 32_768:
            return values
        return np.concatenate([values[:row], np.roll(values[row:], 32)])

    return spoil


def scaled_by(factor):
    return lambda values: values * factor


#: What is spoiled: only of arrays of that many dimensions and of that type, as the tests' results have them.
WRONG = {
    "batch of 40,000 rows": (1, np.float32, wrong_from(32_768)),
    "matrix products": (2, np.float32, scaled_by(np.float32(1 + 4e-4))),  # ten bits of mantissa, as TF32 has
    "exp and erf, float32": (1, np.float32, scaled_by(np.float32(1 + 5e-6))),
    "exp and erf, float64": (1, np.float64, scaled_by(1 + 1e-9)),
    "stored fit": (2, np.float32, lambda values: values + np.float32(0.01)),
}


def spoil(monkeypatch, what):
    """Make the machine compute wrong numbers, of the kind of one test."""
    rank, dtype, change = WRONG[what]
    sound = selftest._run

    def wrong(*arguments):
        return jax.tree.map(lambda v: change(v) if v.ndim == rank and v.dtype == dtype else v, sound(*arguments))

    monkeypatch.setattr(selftest, "_run", wrong)


def test_this_machine_is_sound_and_told_so_within_a_second(monkeypatch):
    """Every fit of a new version waits for it; three times that is allowed, as tests share the processor."""
    monkeypatch.setattr(selftest, "_run", SOUND)
    start = time.process_time()
    found = list(selftest.findings(DEVICE))
    assert time.process_time() - start < 3
    assert [finding.what for finding in found] == NAMES
    assert all(finding.good for finding in found), found


@pytest.mark.parametrize("what", NAMES)
def test_wrong_numbers_are_found_by_the_test_that_looks_for_them(monkeypatch, what):
    spoil(monkeypatch, what)
    with pytest.raises(ResourceError, match=f"{what}: largest relative error") as refused:
        selftest.require_sound()
    assert refused.value.fix


def test_nan_is_no_number(monkeypatch):
    """A comparison with NaN is false, whichever way it is written."""
    monkeypatch.setattr(selftest, "_run", lambda function, device, *x: jax.tree.map(lambda v: v * np.nan, x[0]))
    assert not selftest._products(DEVICE).good


def test_a_sound_machine_is_tested_once(monkeypatch, remembered):
    """The next process reads that it passed; another version of anything is tested anew."""
    runs = []
    sound = selftest.findings
    monkeypatch.setattr(selftest, "findings", lambda device: runs.append(1) or sound(device))
    for _ in range(2):
        selftest._require_sound.cache_clear()  # as a new process
        selftest.require_sound()
    assert len(runs) == 1
    monkeypatch.setattr(jax, "__version__", "99.0")
    selftest._require_sound.cache_clear()
    selftest.require_sound()
    assert len(runs) == 2


def test_a_machine_that_failed_is_not_remembered_as_sound(monkeypatch, remembered):
    spoil(monkeypatch, "stored fit")
    for _ in range(2):
        with pytest.raises(ResourceError):
            selftest.require_sound()
    assert not list(remembered.folder.glob("selftest*"))


def test_a_stamp_with_a_flipped_bit_is_no_stamp(monkeypatch, remembered):
    selftest.require_sound()
    [stamp] = remembered.folder.glob("selftest*")
    content = bytearray(stamp.read_bytes())
    content[-1] ^= 1
    stamp.write_bytes(content)
    selftest._require_sound.cache_clear()
    spoil(monkeypatch, "stored fit")
    with pytest.raises(ResourceError):
        selftest.require_sound()


def test_fits_are_refused_with_the_way_around(monkeypatch, folder, series, capsys):
    """From the command line with exit code 75, and in Python; nothing is written."""
    spoil(monkeypatch, "batch of 40,000 rows")
    assert run(folder) == 75
    said = capsys.readouterr().err
    assert "jaxsmt: this machine computes wrong numbers: batch of 40,000 rows" in said
    assert "fix: install another version: pip install" in said
    assert not (folder / "out").exists()
    with pytest.raises(ResourceError, match="wrong numbers"):
        js.fit(js.smt(), ACQUISITION, series[0])


def test_the_doctor_says_what_to_do(monkeypatch, capsys):
    """With the name of the test that found it; the rest of the examination is not needed here."""
    spoil(monkeypatch, "batch of 40,000 rows")
    monkeypatch.setattr(doctor, "examine", selftest.findings)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "BAD  batch of 40,000 rows: largest relative error" in said
    assert "fix: install another version" in said
