"""The tables that notebooks show."""

import re
import subprocess
import sys

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.report import summaries
from tests.conftest import ACQUISITION, SHAPE, mask_of


@pytest.fixture(scope="module")
def fit(series):
    return js.fit(js.smt(), ACQUISITION, series[0], mask_of(SHAPE))


def rows(shown):
    """Names and values of a table, and its heading."""
    table = shown._repr_html_()
    assert table.count("<table>") == table.count("</table>") == 1
    cells = re.findall(r"<tr><th[^>]*>(.*?)</th><td[^>]*>(.*?)</td></tr>", table)
    return dict(cells), re.search(r"<caption[^>]*>(.*?)</caption>", table).group(1)


def test_an_acquisition_shows_its_shells():
    cells, heading = rows(ACQUISITION)
    assert heading == f"Acquisition of {ACQUISITION.bvals.size} volumes"
    assert cells["shell 1"] == str(ACQUISITION.shells[1])


def test_a_model_shows_its_parameters_and_what_becomes_of_them():
    cells, heading = rows(js.smt().fix(lambda_par=1.7))
    assert heading == "smt: 1 free parameters and S0"
    assert cells["lambda_par"] == "fixed, = 1.7 µm²/ms"
    assert cells["fraction"].startswith("free, in [")


def test_a_fit_shows_statuses_and_medians(fit):
    cells, heading = rows(fit)
    assert heading == "Fit of smt"
    inside = int(mask_of(SHAPE).sum())
    assert cells["voxels"] == f"{inside} of {np.prod(SHAPE)}"
    assert int(cells["converged"]) == fit.count(js.Status.CONVERGED)
    assert cells["noise"] == "gaussian"
    fitted = np.isin(fit.status, (1, 2, 3))
    assert float(cells["median λ∥ [µm²/ms]"]) == pytest.approx(
        np.median(fit.parameters["lambda_par"][fitted]), rel=1e-3
    )


def test_fods_show_lobes(fit, series):
    fods = js.fit(fit.fod_model("watson"), ACQUISITION, series[0], mask_of(SHAPE))
    cells, heading = rows(fods)
    assert heading == "FODs of smtwatson"
    assert int(cells["1 lobe"]) == int(mask_of(SHAPE).sum())
    assert 0 < float(cells["median ODI of the first lobe"]) < 1


def test_names_from_outside_are_escaped():
    """Whatever an object says of itself is text."""
    said = {"bvals": np.zeros(3), "shells": ["<b>"], "spherical_mean": "<img src=x>", "axes": "a & b"}
    kind = type("Acquisition", (), {**said, "concrete": lambda self: self})
    table = summaries.html_of(kind())
    assert "<b>" not in table
    assert "<img" not in table
    assert "&lt;b&gt;" in table
    assert "a &amp; b" in table


def test_tables_and_pictures_are_loaded_when_they_are_asked_for():
    """`import jaxsmt` must not wait for Matplotlib or JAX."""
    code = (
        "import sys, jaxsmt; assert 'jax' not in sys.modules; js = jaxsmt; js.smt()._repr_html_(); "
        "assert 'matplotlib' not in sys.modules; js.draw_region; assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
