"""Strict numerics and quick compilation for all tests, and the reference data where they are present."""

import functools
import gc
import os
import tempfile
from pathlib import Path

# A process for each core: threads of BLAS would only wait for each other. NumPy reads this when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import nibabel as nib
import numpy as np
import pytest

from jaxsmt.batch import cache, runner
from jaxsmt.batch.sizes import SIZES, BatchSize
from jaxsmt.simulate import rician, zeppelin_signal
from tests.acquisition.test_acquisition import scheme

# Most of the tests' time is the compiler's: it need not optimise here. `XLA_FLAGS= pytest` tests what users run; so do
# later versions, which compile faster and do not know all of these.
if jax.__version_info__ < (0, 11):
    flags = ("backend_optimization_level=0", "cpu_use_fusion_emitters=false", "cpu_parallel_codegen_split_count=1")
    os.environ.setdefault("XLA_FLAGS", " ".join(f"--xla_{flag}" for flag in flags))
# One start-up cache for the processes of this run, so that no program is compiled twice.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _folder = tempfile.TemporaryDirectory(prefix="jaxsmt-tests-")
    os.environ["JAXSMT_CACHE"] = _folder.name
cache.find()
# Tracing makes millions of objects that live on; to look through all of them again and again is a tenth of its time.
gc.freeze()
gc.set_threshold(100_000, 20, 20)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of real data and of other programs' estimates (JAXSMT_REFERENCE); not part of the project."""
    folder = os.environ.get("JAXSMT_REFERENCE")
    if not folder:
        pytest.skip("needs the reference data, which are not part of the project: set JAXSMT_REFERENCE")
    return Path(folder)


@pytest.fixture(autouse=True, scope="module")
def dropped_programs():
    """Compiled programs and what was traced for them are megabytes each: those of many files would fill the memory."""
    yield
    jax.clear_caches()


@pytest.fixture
def sizes_of_users():
    """A test that uses this has the batches of users, not `small_batches`."""


@pytest.fixture
def optimised(monkeypatch, sizes_of_users):
    """Programs are compiled as for users: with many voxels, arithmetic takes longer than the compiler."""
    options = {"xla_backend_optimization_level": 1, "xla_cpu_use_fusion_emitters": True}
    monkeypatch.setattr(
        cache, "compiler_options", lambda device, function="": options if device.platform == "cpu" else None
    )
    monkeypatch.setattr(runner, "_compiled", functools.cache(runner._compiled.__wrapped__))


@pytest.fixture(autouse=True)
def small_batches(request, monkeypatch):
    """Fits of few voxels do not wait for thousands of lanes; as all tests have these sizes, they share programs.

    Corrections keep their lanes, on which rounding depends: with 32 of them maps of a command, whose voxels are in file
    order, differ from those of Python in the last digits.
    """
    if "sizes_of_users" not in request.fixturenames:
        monkeypatch.setitem(SIZES["kernels"], "cpu", BatchSize(chunk=4_096, lanes=256))
        monkeypatch.setitem(SIZES["fods"], "cpu", BatchSize(chunk=128, lanes=32))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def gauss_mean(b, lambda_par, lambda_perp, n=0, b_delta=1.0):
    """Oracle by another route: ∫₀¹ x²ⁿ exp(-B:D) dx by 120-node Gauss-Legendre, in float64.

    B:D = bλ⊥ + b(λ∥-λ⊥)x² for linear encoding.
    """
    b, par, perp, shape = (np.asarray(v, np.float64)[..., None] for v in (b, lambda_par, lambda_perp, b_delta))
    exponent = (1 - shape) * (par + 2 * perp) / 3 + shape * (perp + (par - perp) * _NODES**2)
    return (_NODES ** (2 * n) * np.exp(-b * exponent)) @ _WEIGHTS


def degrees(a, b):
    """Angle between axes (..., 3), exact for small ones in single precision too."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.abs(np.sum(a * b, axis=-1))))


# A good set of inputs of the command line.
ACQUISITION = scheme([1000, 2000], n=30)
SHAPE = (6, 5, 4)
AFFINE = np.array([[0, -2.0, 0, 3], [2.0, 0, 0, -5], [0, 0, 2.5, 7], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def series():
    """A small noisy series with known kernels."""
    rng = np.random.default_rng(0)
    n = int(np.prod(SHAPE))
    par, fraction = rng.uniform(1.0, 2.5, n), rng.uniform(0.1, 0.6, n)
    axes = rng.standard_normal((n, 1, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    signal = zeppelin_signal(ACQUISITION, par, par * fraction, axes, np.full((n, 1), 5.0), np.ones((n, 1)))
    return rician(1000 * signal, 1.0, rng).reshape(*SHAPE, -1).astype(np.float32), par.reshape(SHAPE)


@pytest.fixture
def folder(tmp_path, series):
    """sub-01_dwi.nii.gz with bval and bvec beside it, and a mask."""
    data, _ = series
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "sub-01_dwi.nii.gz")
    nib.save(nib.Nifti1Image(mask_of(SHAPE), AFFINE), tmp_path / "mask.nii.gz")
    write_table(tmp_path, ACQUISITION.bvals, ACQUISITION.bvecs)
    return tmp_path


def mask_of(shape):
    mask = np.ones(shape, np.uint8)
    mask[0], mask[-1, :, 0] = 0, 0
    return mask


def write_table(folder, bvals, bvecs):
    np.savetxt(folder / "sub-01_dwi.bval", bvals[None], fmt="%g")
    np.savetxt(folder / "sub-01_dwi.bvec", bvecs.T, fmt="%.9f")
