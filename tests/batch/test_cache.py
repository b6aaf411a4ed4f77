"""The start-up cache: what processes keep for later ones, and that nothing in it makes a wrong number."""

import functools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch import cache, processors, programs
from jaxsmt.batch.fingerprint import Unknown, fingerprint
from jaxsmt.batch.runner import compilations
from tests.known_means import ACQUISITION

XLA_FLAGS = os.environ.get("XLA_FLAGS", "")

# A small program of the package, compiled as fits are.
SCRIPT = """
import json, sys, threading, warnings
import jax, jax.numpy as jnp
import jaxsmt as js
from jaxsmt.batch import cache, fingerprint
from jaxsmt.physics.signal import zeppelin_mean
exec(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    shape = jax.ShapeDtypeStruct((3,), "float32")
    run = cache.compiled(jax.jit(zeppelin_mean), {}, (shape,) * 3, jax.devices()[0], threading.Lock())
    out = run(jnp.array([1.0, 2.0, 3.0]), jnp.full(3, 2.0), jnp.full(3, 0.5))
print(json.dumps([out.tolist(), cache.hits(), [str(w.message) for w in caught]]))
"""


def process(folder, before=""):
    """Values, hits and warnings of a fresh process."""
    environment = {**os.environ, "JAXSMT_CACHE": str(folder), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, before], env=environment, stdout=subprocess.PIPE, text=True)


def outcome(started):
    out, _ = started.communicate(timeout=120)
    assert started.returncode == 0
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def expected():
    return outcome(process("off"))[0]


@pytest.fixture
def filled(tmp_path, expected):
    """The folder of a cache that one process has filled."""
    values, hits, said = outcome(process(tmp_path / "cache"))
    assert (values, hits, said) == (expected, 0, [])
    return tmp_path / "cache"


def test_a_second_process_hits(filled, expected):
    """The same numbers bit for bit, from a folder that only its owner can enter."""
    assert outcome(process(filled)) == [expected, 1, []]
    assert filled.stat().st_mode & 0o777 == 0o700


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path):
    path.write_bytes(np.random.default_rng(0).bytes(path.stat().st_size))


@pytest.mark.parametrize("which", ["*.program", "*.digest", "compiled/*-cache"])
@pytest.mark.parametrize("spoil", [truncate, scramble])
def test_spoilt_files_are_thrown_away(filled, expected, spoil, which):
    """A process that meets them computes the same, and leaves files that the next one can use."""
    chosen = list(filled.glob(f"programs-*/{which}"))
    assert chosen
    for path in chosen:
        spoil(path)
    values, _, said = outcome(process(filled))
    assert (values, said) == (expected, [])
    assert outcome(process(filled)) == [expected, 1, []]


def test_another_version_has_other_programs(filled, expected):
    """Programs of a package with other source are not used."""
    other = "fingerprint.of_package = cache.of_package = lambda: 'other'"
    assert outcome(process(filled, other)) == [expected, 0, []]


def test_a_folder_that_others_can_write_is_refused(filled, expected):
    filled.chmod(0o777)
    values, hits, said = outcome(process(filled))
    assert (values, hits) == (expected, 0)
    assert len(said) == 1
    assert "only you can write" in said[0]


def test_a_full_disk_is_said_once(tmp_path, expected):
    full = "def full(*a): raise OSError(28, 'No space left on device')\ncache.os.replace = full"
    values, hits, said = outcome(process(tmp_path / "cache", full))
    assert (values, hits) == (expected, 0)
    assert len(said) == 1
    assert "No space left" in said[0]
    assert not list((tmp_path / "cache").rglob("new-*"))


def test_rejected_programs_are_said_once(filled, expected):
    """As some processors do with all programs that were compiled before (jax issue 38445)."""
    reject = """
from jax._src import compilation_cache
compilation_cache.get_executable_and_time = lambda *a, **k: (None, None)
"""
    values, hits, said = outcome(process(filled, reject))
    assert (values, hits) == (expected, 0)
    assert len(said) == 1
    assert "compiled anew" in said[0]


def test_two_processes_at_once(tmp_path, expected):
    """Both fill the cache at the same time; the third hits it."""
    both = [process(tmp_path / "cache") for _ in range(2)]
    assert [outcome(one)[::2] for one in both] == [[expected, []]] * 2
    assert outcome(process(tmp_path / "cache"))[0] == expected
    assert outcome(process(tmp_path / "cache")) == [expected, 1, []]


def test_a_cache_of_no_size_keeps_nothing(filled, expected):
    """And takes nothing that is not its own."""
    (filled / "mine.txt").write_text("mine")
    outcome(process(filled, "import os; os.environ['JAXSMT_CACHE_SIZE'] = '0'; cache.of_package = lambda: 'other'"))
    assert sum(path.stat().st_size for path in filled.rglob("*.program")) == 0
    assert (filled / "mine.txt").exists()


def test_what_was_not_used_for_longest_is_removed(tmp_path, monkeypatch):
    """Reading counts as use, and what processors of another kind left behind counts too."""
    monkeypatch.setenv("JAXSMT_CACHE_SIZE", "0.003")  # MB: three of these files
    here, elsewhere = (cache.Cache(tmp_path / f"programs-{kind}", None) for kind in ("here", "elsewhere"))
    for age, (kept, name) in enumerate([(here, "new"), (elsewhere, "old"), (here, "read")]):
        kept.folder.mkdir(exist_ok=True)
        kept.store(name, bytes(900))
        os.utime(kept.folder / name, (1000 - age, 1000 - age))
    here.load("read")
    here.store("last", bytes(900))
    assert {path.name for path in here.folder.iterdir()} == {"new", "read", "last"}
    assert not list(elsewhere.folder.iterdir())


def test_models_have_fingerprints():
    """Equal models have equal ones, made anew or not; another bound, name or solver is another program."""
    assert fingerprint(js.mcsmt()) == fingerprint(js.mcsmt())
    others = [js.smt(), js.mcsmt().bound(**{"stick.lambda_par": (0.1, 3.0)}), js.mcsmt().fix(**{"weight.stick": 0.5})]
    assert len({fingerprint(model) for model in [js.mcsmt(), *others]}) == 4
    assert fingerprint(js.levenberg_marquardt()) != fingerprint(js.levenberg_marquardt(max_steps=7))
    assert fingerprint(js.noncentral_chi(2)) != fingerprint(js.noncentral_chi(3))


def test_functions_of_the_users_have_none():
    """Their names say nothing of what they do in the next process."""
    mine = js.Compartment("mine", (js.Parameter("rate"),), lambda pulse, x, rate: rate * x)
    with pytest.raises(Unknown):
        fingerprint(js.SphericalMeanModel(mine))


def test_source_that_changed_since_it_was_loaded_is_not_kept(tmp_path, expected):
    """What runs is not what a later process would find under the digest of the source."""
    changed = "fingerprint.of_package.cache_clear(); fingerprint.LOADED = 0"
    assert outcome(process(tmp_path / "cache", changed)) == [expected, 0, []]
    assert not list((tmp_path / "cache").rglob("*.program"))


def test_users_wrappers_have_no_fingerprint():
    """`functools.wraps` makes them look like what they wrap."""

    @functools.wraps(js.signal.zeppelin_mean)
    def mine(b, par, perp):
        return 1.1 * b

    with pytest.raises(Unknown):
        fingerprint(mine)


def test_schemes_of_one_shape_share_programs():
    """Twenty subjects whose b-values and directions differ a little: one compilation of each program."""
    model = js.FodModel(js.smt(), "watson", 1)
    rng = np.random.default_rng(0)
    counts = []
    for _ in range(20):
        bvecs = ACQUISITION.bvecs + 0.01 * rng.standard_normal(ACQUISITION.bvecs.shape)
        bvecs /= np.maximum(np.linalg.norm(bvecs, axis=1, keepdims=True), 1e-9)
        weighted = ACQUISITION.bvals > 50
        bvals = np.where(weighted, ACQUISITION.bvals * (1 + 0.002 * rng.standard_normal(weighted.size)), 0)
        acquisition = js.Acquisition(bvals, np.where(weighted[:, None], bvecs, 0))
        data = np.exp(-0.7e-3 * bvals) * np.ones((4, 1))
        js.fit(model, acquisition, data, uncertainty=True, sigma=0.05)
        counts.append(compilations())
    assert counts[-1] == counts[0]


def test_threads_open_one_cache(tmp_path, expected):
    """Programs that several threads compile at first are all kept."""
    threads = """
import time
cache._processor = lambda: time.sleep(0.2) or "slow"
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    assert len({id(one) for one in pool.map(lambda i: cache.find(), range(8))}) == 1
"""
    assert outcome(process(tmp_path / "cache", threads)) == [expected, 0, []]


def test_the_doctor_says_whether_another_process_hits(tmp_path):
    script = """
import jax
from jaxsmt.app import doctor
doctor._error_of_fit("float32", jax.devices("cpu")[0])
print(doctor._start_up(jax.devices("cpu")[0]).fact)
"""
    environment = {**os.environ, "JAXSMT_CACHE": str(tmp_path / "cache")}
    said = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "another process starts from it" in said.stdout


def test_a_file_in_the_place_of_the_cache_is_said_once(tmp_path, expected):
    """Numbers are the same without one."""
    (tmp_path / "cache").write_text("mine")
    values, hits, said = outcome(process(tmp_path / "cache"))
    assert (values, hits) == (expected, 0)
    assert len(said) == 1
    assert "no start-up cache in" in said[0]
    assert (tmp_path / "cache").read_text() == "mine"


def test_where_the_cache_is_unless_it_is_named(monkeypatch, tmp_path):
    """As other programs of this user have it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache._default() == str(tmp_path / "jaxsmt")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache._default() == str(tmp_path / ".cache" / "jaxsmt")


def test_a_size_that_is_no_number_is_the_default(monkeypatch):
    monkeypatch.delenv("JAXSMT_CACHE_SIZE", raising=False)
    usual = cache._most_bytes()
    monkeypatch.setenv("JAXSMT_CACHE_SIZE", "plenty")
    assert cache._most_bytes() == usual > 0
    monkeypatch.setenv("JAXSMT_CACHE_SIZE", "3")
    assert cache._most_bytes() == 3e6


@pytest.mark.parametrize(
    ("platform", "version", "name"),
    [("cpu", "", "cpu"), ("gpu", "cuda 12090", "cuda"), ("gpu", "ROCM 7.1", "rocm"), ("tpu", "", "tpu")],
)
def test_devices_have_the_names_that_exports_have(platform, version, name):
    """JAX calls both kinds of GPU "gpu", but keeps programs by the maker's name. Options are the CPU's compiler's."""
    device = SimpleNamespace(platform=platform, client=SimpleNamespace(platform_version=version))
    assert cache._platform(device) == name
    assert (cache.compiler_options(device) is None) == (platform != "cpu" or "optimization_level" in XLA_FLAGS)


def test_options_are_those_of_programs_that_there_are():
    """They go by a program's name: one that has another name now would be compiled, and round, otherwise."""
    assert all(callable(getattr(programs, name)) for name in cache._PLAIN)


def test_bound_methods_and_partial_functions_have_fingerprints():
    """What they are bound to is a part of them."""
    model, mean = js.smt(), js.signal.zeppelin_mean
    bound = [fingerprint(m.signal) for m in (model, js.smt(), js.mcsmt())]
    assert bound[0] == bound[1] != bound[2]
    parts = [fingerprint(functools.partial(mean, shape)) for shape in (1.0, 1.0, 2.0)]
    assert parts[0] == parts[1] != parts[2]
    assert fingerprint(js.SphericalMeanModel) != fingerprint(js.FodModel)


@pytest.mark.parametrize("text", ["", "0", "-1", "many"])
def test_processors_are_all_unless_a_number_is_set(monkeypatch, text):
    """Never more than the process may use."""
    monkeypatch.setenv("PJRT_NPROC", text)
    assert processors.count() == processors.available() >= 1
    processors.limit(1)
    assert processors.count() == 1
    processors.limit(10**6)
    assert processors.count() == processors.available()
