"""The Cramér-Rao bound: inverse of the information, infinite where nothing is known, differentiable."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from tests.acquisition.test_acquisition import scheme

ACQUISITION = scheme([1000, 2000, 3000])
ONE_SHELL = scheme([1000])


def test_crlb_is_the_inverse_of_the_information_and_has_derivatives():
    with jax.enable_x64(True):
        point = {"lambda_par": jnp.float64(1.7), "fraction": jnp.float64(0.3)}
        crlb = jax.jit(lambda point: js.crlb(js.smt(), ACQUISITION, point, 0.02))
        bound = crlb(point)
        information = jax.jit(lambda point: js.fisher_information(js.smt(), ACQUISITION, point, 0.02))(point)
        np.testing.assert_allclose(bound @ information, np.eye(2), atol=1e-9)
        # Along which λ∥ and f of isotropic tensors can go, and one shell's with S0, nothing is known.
        many = {"lambda_par": jnp.array([1, 2]), "fraction": jnp.array([0.3, 1.0])}
        entry, slopes = jax.jit(jax.value_and_grad(lambda f: js.crlb(js.smt(), ACQUISITION, many | f, 0.02)[1, 0, 0]))(
            {"fraction": many["fraction"]}
        )
        assert np.isinf(entry)
        assert not np.any(slopes["fraction"])
        assert np.all(np.isinf(jax.jit(lambda point: js.crlb(js.smt(), ONE_SHELL, point, 0.02))(point)))
        assert np.all(np.isfinite(crlb(many)[0]))  # of an integer too

        @jax.jit
        def variance(bvals):
            return js.crlb(js.smt(), ACQUISITION.with_values(bvals=bvals), point, 0.02)[0, 0]

        b = ACQUISITION.bvals
        slope = jax.jit(jax.grad(variance))(jnp.asarray(b))
        h = np.zeros_like(b)
        h[40] = 1.0
        difference = (variance(jnp.asarray(b + h)) - variance(jnp.asarray(b - h))) / 2
        assert float(slope[40]) == pytest.approx(float(difference), rel=1e-4)
