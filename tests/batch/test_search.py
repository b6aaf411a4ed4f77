"""Searches side by side, of a problem that is none of the library's own."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.batch.search import minimum, search_voxels, status_of
from jaxsmt.problems.base import Easier, Search, Trial
from jaxsmt.solvers import in_box


@dataclass(frozen=True)
class Wells:
    """(x² - 1)² + (x - d)²/10: two wells at about ±1, of which the data's sign says which is deeper."""

    trial_steps: int | None = None
    kind: str = "kernels"
    size: int = 1
    n_starts: int = 2
    stride: int = 3
    easier: bool = False  # the trial's search is another one

    def starts(self, data):
        return (jnp.array([-0.5, 0.5], data.dtype),)

    def problem_of(self, data):
        def residual(x):
            return x[0] ** 2 - 1, (x[0] - data) / 10**0.5

        return in_box(residual, (jnp.full_like(data, -2),), (jnp.full_like(data, 2),))

    def trial(self, selective):
        if self.trial_steps is None:
            return None
        easier = Easier(replace(self, kind="fods"), lambda data: data, lambda data: data) if self.easier else None
        return Trial(self.trial_steps, easier)


DATA = np.concatenate([np.linspace(-0.9, -0.3, 10), np.linspace(0.3, 0.9, 13)]).astype(np.float32)


def deeper_well(d):
    """By Newton's steps from the right side."""
    x = np.sign(d)
    for _ in range(30):
        x = x - (4 * x * (x * x - 1) + (x - d) / 5) / (12 * x * x - 4 + 1 / 5)
    return x


@pytest.mark.parametrize(("trial_steps", "easier"), [(None, False), (3, False), (3, True)])
@pytest.mark.parametrize("lanes", [1, 4, 64])
def test_the_best_of_the_starts_counts(trial_steps, easier, lanes):
    """Fewer lanes than voxels or more, all searches to their end or only the promising: each voxel's deeper well."""
    search = Wells(trial_steps, easier=easier)
    assert isinstance(search, Search)
    end = jax.jit(lambda d: search_voxels(search, js.levenberg_marquardt(), d, lambda v: v, len(DATA), lanes))(DATA)
    np.testing.assert_allclose(end.x[0], deeper_well(DATA), atol=1e-4)
    assert np.all(end.converged)
    assert end.steps.shape == (len(DATA),)


def test_only_the_first_voxels_are_searched():
    """The rest of a chunk is padding, on which no step is spent."""
    search = Wells()
    end = jax.jit(lambda d, n: search_voxels(search, js.levenberg_marquardt(), d, lambda v: v, n, 4))(DATA, 9)
    np.testing.assert_allclose(end.x[0][:9], deeper_well(DATA[:9]), atol=1e-4)
    assert not np.any(end.steps[9:])


@pytest.mark.parametrize(("trial_steps", "easier"), [(None, False), (3, False), (3, True)])
@pytest.mark.parametrize(("count", "worth"), [(len(DATA), None), (17, None), (17, np.inf)])
def test_a_search_starts_at_an_earlier_point(trial_steps, easier, count, worth):
    """Next to the shallower well it ends there; elsewhere in the deeper one, in the order of the data."""
    search, earlier = Wells(trial_steps, easier=easier), np.full((len(DATA), 1), np.nan, np.float32)
    earlier[::3] = -0.9 * np.sign(DATA[::3, None])
    worths = None if worth is None else jnp.full(len(DATA), worth, jnp.float32)

    @jax.jit
    def run(d, e, n):
        return search_voxels(search, js.levenberg_marquardt(), d, lambda v: v, n, 4, worths, e)

    end = jax.tree.map(lambda leaf: leaf[:count], run(DATA, earlier, count))
    has_one, data = ~np.isnan(earlier[:count, 0]), DATA[:count]
    np.testing.assert_allclose(end.x[0][~has_one], deeper_well(data)[~has_one], atol=1e-4)
    np.testing.assert_array_equal(np.sign(end.x[0][has_one]), -np.sign(data[has_one]))
    assert np.all(end.converged)


def test_searches_that_cannot_pay_are_given_up():
    """Where the minimum is worth it nothing changes; elsewhere fewer steps are taken."""
    search, solver, n = Wells(stride=1), js.levenberg_marquardt(), len(DATA)

    @jax.jit
    def run(worth):
        return search_voxels(search, solver, DATA, lambda v: v, n, 4, worth)

    whole = run(jnp.full(n, jnp.inf, jnp.float32))
    cost = np.asarray(whole.cost)
    good = cost < np.median(cost)
    end = run(jnp.where(good, 1.001 * cost, 0.2 * cost))
    for name in ("x", "cost", "converged", "steps"):
        for values, expected in zip(*map(jax.tree.leaves, (getattr(end, name), getattr(whole, name))), strict=True):
            np.testing.assert_array_equal(values[good], expected[good])
    stubborn = solver._replace(hope=None)
    to_the_end = search_voxels(search, stubborn, DATA, lambda v: v, n, 4, 0.2 * cost)
    np.testing.assert_array_equal(to_the_end.steps, whole.steps)  # of a solver whose gains tell nothing
    assert np.all(end.steps <= whole.steps)
    assert np.mean(end.converged[~good]) < 0.5
    assert np.all(end.cost[~good] > 0.2 * cost[~good])


@pytest.mark.parametrize("adjoint", ["implicit", "unrolled"])
def test_a_minimum_has_its_derivative(adjoint):
    """dx/dd = (1/5)/(12x² - 4 + 1/5) of the deeper well, alone and under vmap."""
    with jax.enable_x64(True):
        solver = js.levenberg_marquardt(rtol=1e-14)

        def x_of(d):
            return minimum(Wells(), solver, adjoint, d).x[0]

        d = jnp.asarray(DATA, jnp.float64)
        x, slope = jax.jit(jax.vmap(jax.value_and_grad(x_of)))(d)
        expected = deeper_well(np.asarray(d))
        np.testing.assert_allclose(x, expected, atol=1e-7)
        np.testing.assert_allclose(slope, 0.2 / (12 * expected**2 - 3.8), rtol=1e-5)
        assert float(jax.jit(jax.grad(x_of))(d[3])) == pytest.approx(float(slope[3]), rel=1e-8)


def test_status_tells_the_worst():
    """No signal hides how the search ended, and what is not finite hides that there is none."""
    S = js.Status
    rows = {
        S.CONVERGED: (True, True, True, False),
        S.AT_BOUND: (True, True, True, True),
        S.NOT_CONVERGED: (True, True, False, True),
        S.NO_SIGNAL: (False, True, True, True),
        S.NON_FINITE: (False, False, True, False),
    }
    status = status_of(*(jnp.array(column) for column in zip(*rows.values(), strict=True)))
    np.testing.assert_array_equal(status, list(rows))
    assert status.dtype == jnp.uint8
