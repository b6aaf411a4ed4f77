"""The search for kernels: many shells, which are arrays there, are no other problem than shells written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.problems import shell_means
from jaxsmt.problems.shell_means import Data, ShellMeans
from tests.acquisition.test_levels import acquisition_of, table


@pytest.mark.parametrize("b_delta", [None, 0.5])
@pytest.mark.parametrize("fit_s0", [True, False])
@pytest.mark.parametrize("prior", [(), ("lambda_par",)])
def test_many_shells_are_the_same_problem_as_few(monkeypatch, b_delta, fit_s0, prior):
    """Residuals, their derivatives, starts and estimates, with a prior and without."""
    acquisition = acquisition_of(*table(np.arange(100, 1300, 50), 6), b_delta=b_delta)
    static, numbers, _ = js.smt().without_values()
    search = ShellMeans(static, fit_s0, prior, unweighted=True)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        means = js.smt().signal(acquisition, {"lambda_par": 1.9, "fraction": 0.3})
        y = tuple(means * rng.uniform(0.97, 1.03, len(means)))
        roots, rows = tuple(rng.uniform(0.5, 1, len(means))), ((jnp.asarray(0.2),),) * len(prior)
        data = Data(y, acquisition.pulses, roots, tuple(map(jnp.asarray, numbers)), (1.7,) * len(prior), rows)
        x = jnp.asarray(0.6), jnp.asarray(0.4)

        def everything():
            residual = search.residual(data, x)
            slopes = jax.jacfwd(lambda x: jnp.stack(tuple(search.residual(data, x))))(x)
            return type(residual), (jnp.stack(tuple(residual)), slopes, search.starts(data), search.estimate(data, x))

        kind, many = everything()
        monkeypatch.setattr(shell_means, "_WRITTEN_OUT", 99)
        kind_of_few, few = everything()
    assert issubclass(kind, jax.Array)
    assert kind_of_few is tuple
    assert len(many[0]) == 25 + len(prior)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), many, few)
