"""The benchmark `peers`: its data, errors and residuals, without any peer."""

import numpy as np
import pytest

import jaxsmt as js
from benchmarks.comparison import figures
from benchmarks.comparison.environments import Failed, python_of, run_script
from benchmarks.comparison.simulated import TASKS, make_case

ACQUISITION = js.simulate.hcp_scheme(n_b0=2, n_directions=30)


def test_signals_are_those_of_another_quadrature():
    case = make_case("two_watson", ACQUISITION, 4, None)
    truth = [case.truth[name] for name in ("lambda_par", "lambda_perp", "direction", "kappa", "weight")]
    expected = js.simulate.zeppelin_signal(ACQUISITION, *truth)
    np.testing.assert_allclose(case.signals / 1000, expected, atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_truth_has_no_error_and_no_residual(task):
    case = make_case(task, ACQUISITION, 4, None)
    residual = figures.mean_squared_residual(task, ACQUISITION, case.signals, case.truth)["mse"]
    assert residual < (1e-12 if "watson" in task or task == "bingham" else 1e-8)  # means of few directions
    assert max(figures.errors(case.truth, case.truth).values()) < 1e-5


def test_lobes_in_another_order_are_the_same_and_errors_are_seen():
    truth = make_case("two_watson", ACQUISITION, 6, None).truth
    lobes = ("direction", "odi", "weight")
    other = {**truth, **{name: truth[name][:, ::-1] for name in lobes}}
    other["direction"] = -other["direction"]
    assert max(figures.errors(other, truth).values()) < 1e-5
    other["odi"] = other["odi"] + 0.1
    assert figures.errors(other, truth)["odi_error"] == pytest.approx(0.1, rel=1e-3)


def test_a_script_that_fails_says_why(tmp_path):
    with pytest.raises(Failed, match="No such file"):
        run_script(python_of(None, tmp_path), "exchange_that_is_not_there.py", tmp_path, tmp_path, 60)
