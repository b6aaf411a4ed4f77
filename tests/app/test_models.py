"""Models on the command line: presets, and functions of users' files."""

import json
import sys

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.app import catalogue
from jaxsmt.files import sidecars
from jaxsmt.report import page
from tests.app.commands import run
from tests.conftest import ACQUISITION, SHAPE, mask_of


def test_a_model_of_a_users_file(folder, series, capsys):
    """Another SMT, written by hand: same estimates, files under its own name, its file among the inputs.

    The file is called as a package is, imports its neighbour, and its model holds a map, low in one voxel.
    """
    path = folder / "matplotlib.py"
    (folder / "limits.py").write_text(f"import numpy as np\nmost = np.full({SHAPE}, 3.05)\nmost[2, 1, 0] = 0.9\n")
    path.write_text(
        "import jaxsmt as js\n"
        "import numpy as np\n"
        "from limits import most\n"
        "def build(most=most):\n"
        "    '''My model. It is SMT.\n\n    Source: Me, doi:10.1000/xyz.\n    '''\n"
        "    links = [js.fraction('lambda_perp', of='lambda_par', name='fraction')]\n"
        "    model = js.SphericalMeanModel(js.zeppelin(), links=links, name='mine')\n"
        "    return model.bound(lambda_par=(0.0, most))\n"
        "def small():\n    return build(np.full((6, 5), 3.05))\n"
        "def number():\n    return 3\n"
        "def broken():\n    raise KeyError('no such thing')\n"
        "def leaves():\n    raise SystemExit(0)\n"
        "def fixed():\n    return js.smt().fix(lambda_par=1.7, fraction=0.3)\n"
        "def few():\n    return js.SphericalMeanModel(js.zeppelin(), maps=('lambda_par',), name='few')\n"
    )
    assert run(folder, "--model", f"{path}:build", "--no-report") == 0
    fit = js.fit(js.smt(), ACQUISITION, series[0], mask_of(SHAPE))
    stored = nib.load(folder / "out" / "sub-01_model-mine_param-lambdapar_dwimap.nii.gz").get_fdata()
    assert stored[2, 1, 0] == np.float32(0.9)
    stored[2, 1, 0] = fit.parameters["lambda_par"][2, 1, 0]
    np.testing.assert_allclose(stored, fit.parameters["lambda_par"], atol=2e-3)
    source = json.loads((folder / "out" / "sub-01_run.json").read_text())["inputs"]["model"]
    assert (source["path"], source["function"]) == (str(path), "build")
    sidecar = json.loads((folder / "out" / "sub-01_model-mine_param-lambdapar_dwimap.json").read_text())
    assert (sidecar["Model"]["Description"], sidecar["Model"]["URL"]) == ("My model.", "https://doi.org/10.1000/xyz")
    assert sys.modules["matplotlib"].__file__ != str(path)
    assert str(folder) not in sys.path
    few = catalogue.load(catalogue.locate(f"{path}:few")).model
    # FODs are drawn over it: it is among the maps, if not the last free parameter.
    assert page.background(js.fit(few, ACQUISITION, series[0], mask_of(SHAPE))) == "lambda_par"
    for model, message in (
        (f"{path}:small", "a map of shape"),
        (f"{path}:leaves", "SystemExit"),
        (f"{path}:fixed", "nothing to fit"),
        (f"{path}:number", "returned int"),
        (f"{path}:broken", "no such thing"),
        (f"{path}:absent", "has no function absent"),
        (f"{folder / 'other.py'}:build", "no such file"),
        ("noddi", "unknown model 'noddi'"),
    ):
        capsys.readouterr()
        assert run(folder, "--model", model, "--overwrite") == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ball_stick", "smt_noddi", "sandi"])
def test_every_preset_is_a_model_of_the_command_line(folder, name, capsys):
    """Those with two free parameters fit here; sandi needs timings and five shells, and says so."""
    assert name in catalogue.names()
    if name == "sandi":
        assert run(folder, "--model", name) == 2
        assert "--delta" in capsys.readouterr().err
        assert run(folder, "--model", name, "--delta", "12.9", "--Delta", "21.8") == 2
        assert "at least 5 shells" in capsys.readouterr().err
        return
    assert run(folder, "--model", name, "--no-report") == 0
    model = catalogue.load(catalogue.locate(name)).model
    run_facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert run_facts["model"] == model.name
    expected = {sidecars.label(parameter) for parameter in fit_maps(model)}
    written = {path.name.split("_param-")[1].split("_")[0] for path in (folder / "out").glob("*_dwimap.nii.gz")}
    assert written == expected


def fit_maps(model):
    """Names of the maps that a fit of a model gives."""
    return [*(model.maps or (*model.names, *(link.target for link in model.derived))), "s0", "mse", "r2", "status"]


def test_a_file_that_changes_is_another_model(tmp_path):
    """A process that lives long fits what the file says now, as the recorded hash tells."""
    path = tmp_path / "model.py"
    for preset in ("smt", "mcsmt"):
        path.write_text(f"import jaxsmt as js\n\n\ndef mine():\n    return js.{preset}()\n")
        assert catalogue.load(catalogue.locate(f"{path}:mine")).model.name == preset
