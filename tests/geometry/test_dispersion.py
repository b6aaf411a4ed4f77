"""ODI and concentration: the same of NumPy's arrays as of JAX's, in either precision."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsmt.geometry.dispersion import kappa_from_odi, odi_from_kappa

ODI = np.array([0.0, 1e-6, 0.3, 0.5, 0.9, 1.0])


def test_numpy_gives_what_jax_gives():
    """At 0 κ is inf without a warning."""
    kappa = kappa_from_odi(ODI)
    assert isinstance(kappa, np.ndarray)
    assert np.isinf(kappa[0])
    np.testing.assert_allclose(odi_from_kappa(kappa), ODI, atol=1e-15)
    with jax.enable_x64(True):
        np.testing.assert_allclose(kappa_from_odi(jnp.asarray(ODI)), kappa, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(odi_from_kappa(jnp.asarray(kappa)), ODI, rtol=1e-13, atol=1e-15)


def test_the_precision_is_that_of_the_argument():
    for values in (ODI, ODI.astype(np.float32)):
        assert kappa_from_odi(values).dtype == odi_from_kappa(values).dtype == values.dtype
