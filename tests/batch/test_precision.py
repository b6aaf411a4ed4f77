"""Products of matrices ask for full single precision, which a GPU gives only if asked: TF32 costs three digits."""

from functools import partial
from unittest import mock

import jax
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch import runner
from jaxsmt.batch.corrector import Corrector
from jaxsmt.batch.fitters import KernelFitter
from jaxsmt.fitting.fods import FodStage
from jaxsmt.fitting.inputs import Voxels
from jaxsmt.fitting.settings import Settings
from jaxsmt.physics.noises import find
from jaxsmt.simulate import hcp_scheme

SCHEME = hcp_scheme(2, 20)


def kernels():
    fitter = KernelFitter(js.mcsmt(), SCHEME)
    return [fitter.compile, fitter.compile_uncertainty]


def fods(density, count, noise):
    settings = Settings(noise=noise, uncertainty=True)
    model = js.FodModel(js.smt(), density, count)
    (fitter,) = FodStage(model, SCHEME, settings, Voxels(np.ones(1, bool)))._fitters
    return [fitter.compile, partial(fitter.compile_uncertainty, 3)]


def corrections():
    corrector = Corrector(js.smt().kernel, SCHEME, find("rician"))
    how = {"sigma": True, "correct": True, "floor": True, "deviation": True, "second": True}
    return corrector.programs(**how)


CASES = {
    "kernels": kernels,
    "watson": partial(fods, "watson", 1, "gaussian"),
    "bingham": partial(fods, "bingham", 1, "gaussian"),
    "two watson, rician": partial(fods, "watson", 2, "rician"),
    "corrections": corrections,
}


@pytest.mark.parametrize("case", CASES)
def test_products_of_matrices_are_precise(case):
    """Each `dot_general` of every program, before any compiler sees it."""
    products = []

    def lower(function, static, tree, kinds, device):
        shapes = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(*kind) for kind in kinds])
        text = function.lower(*shapes, **dict(static)).as_text()
        products.extend(line for line in text.splitlines() if "dot_general" in line)

    with mock.patch.object(runner, "_compiled", lower):
        for compile in CASES[case]():
            compile()
    careless = [line.strip() for line in products if "HIGHEST, HIGHEST" not in line]
    assert not careless, "\n".join(careless[:5])
    assert products
