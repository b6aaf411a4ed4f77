"""Strict numerics and quick compilation for all tests, and the reference data where they are present."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest

# Most of the tests' time is the compiler's: it need not optimise here. `XLA_FLAGS= pytest` tests what users run.
_QUICK = "--xla_backend_optimization_level=0"
if jax.__version_info__ < (0, 11):  # later ones do not know it, and refuse what they do not know
    _QUICK += " --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", _QUICK)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of real data and of other programs' estimates (JAXSMT_REFERENCE); not part of the project."""
    folder = os.environ.get("JAXSMT_REFERENCE")
    if not folder:
        pytest.skip("needs the reference data, which are not part of the project: set JAXSMT_REFERENCE")
    return Path(folder)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(120)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2


def gauss_mean(b, lambda_par, lambda_perp, n=0):
    """Oracle by another route: ∫₀¹ x²ⁿ exp(-bλ⊥ - b(λ∥-λ⊥)x²) dx by 120-node Gauss-Legendre, in float64."""
    b, par, perp = (np.asarray(v, np.float64)[..., None] for v in (b, lambda_par, lambda_perp))
    return (_NODES ** (2 * n) * np.exp(-b * perp - b * (par - perp) * _NODES**2)) @ _WEIGHTS


def degrees(a, b):
    """Angle between axes (..., 3), exact for small ones in single precision too."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.abs(np.sum(a * b, axis=-1))))
