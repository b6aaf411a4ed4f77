"""The search for kernels: many shells, which are arrays there, are no other problem than shells written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.acquisition.echoes import echoes_of
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


def test_each_echo_time_has_an_s0_of_its_own():
    """Residuals are what least squares over one S0 for each echo time leave; the S0 told is that of the first."""
    bvals, bvecs = table([1000, 2000, 3000], 12)
    te = np.repeat([60.0, 90.0, 60.0, 90.0, 60.0], [2, 1, 12, 12, 12])
    acquisition = acquisition_of(bvals, bvecs, te=te)
    static, numbers, _ = js.smt().without_values()
    echoes = echoes_of(acquisition)
    assert echoes == (0, 1, 0, 1, 0)
    search = ShellMeans(static, echoes=echoes)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        e = np.asarray(js.smt().signal(acquisition, {"lambda_par": 1.9, "fraction": 0.3}))
        y, roots = e * rng.uniform(0.9, 1.1, 5) * np.array([1.0, 0.6, 1.0, 0.6, 1.0]), rng.uniform(0.5, 1, 5)
        inputs = tuple(map(jnp.asarray, numbers))
        data = Data(tuple(map(jnp.asarray, y)), acquisition.pulses, tuple(roots), inputs)
        x = jnp.asarray(0.6), jnp.asarray(0.4)
        predicted = np.asarray(js.smt().signal(acquisition, _free(search.estimate(data, x).values)))
        of_shells = np.zeros(5)
        for echo in (0, 1):
            at = np.array(echoes) == echo
            weights = roots[at] ** 2
            of_shells[at] = np.sum(weights * y[at] * predicted[at]) / np.sum(weights * predicted[at] ** 2)
        np.testing.assert_allclose(search.residual(data, x), roots * (y - of_shells * predicted), rtol=1e-10)
        np.testing.assert_allclose(search.estimate(data, x).s0, of_shells[0], rtol=1e-10)


def _free(values):
    """The values of SMT's free parameters."""
    return {name: values[name] for name in js.smt().parameter_names}
