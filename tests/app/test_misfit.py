"""What a run and a check say of a model that does not fit its shells."""

import pytest

from jaxsmt.app.describe import misfit_warnings
from tests.app.commands import run
from tests.conftest import ACQUISITION, write_table
from tests.fitting.test_misfit import SHELLS, fit_of


def test_a_model_that_does_not_fit():
    """The share at the bound, each shell's residual with its sign, and what to try in the words of the command line."""
    fit, _ = fit_of(SHELLS, two_kinds_of_water=True)
    [text] = misfit_warnings(fit)
    assert f"lambda_par is at its bound in {100 * fit.misfit.share:.0f} % of the fitted voxels" in text
    assert "b = 0 +" in text
    assert "b = 2000 -" in text
    assert "b = 6000 +" in text
    assert "The smt model does not fit these shells." in text
    assert "fewer shells, without the highest b; or --model mcsmt; or --prior" in text


def test_two_shells_do_not_determine_the_model():
    """No residual can show that it does not fit, and fewer shells are no advice."""
    [text] = misfit_warnings(fit_of((1000, 2000), two_kinds_of_water=True)[0])
    assert "as many parameters as there are means, so these hardly determine it" in text
    assert "fewer shells" not in text
    assert "--prior" in text


def test_noise_alone():
    [text] = misfit_warnings(fit_of(SHELLS, two_kinds_of_water=False, snr=6)[0])
    assert "Noise alone can do this" in text


def test_nothing_of_a_model_that_fits():
    assert misfit_warnings(fit_of(SHELLS, two_kinds_of_water=False)[0]) == []


@pytest.mark.parametrize(("scale", "model", "told"), [(1, "smt", False), (2, "smt", True), (2, "mcsmt", False)])
def test_check_tells_by_the_highest_b(folder, capsys, scale, model, told):
    """One compartment does not fit tissue beyond b = 3500 s/mm²; two may."""
    write_table(folder, scale * ACQUISITION.bvals, ACQUISITION.bvecs)
    assert run(folder, "--model", model, command="check") == 0
    output = capsys.readouterr()
    assert ("tends to end at its bound" in output.out + output.err) == told
