"""The command line with a user's model whose compartment has a T2."""

import json

import nibabel as nib
import numpy as np

import jaxsmt as js
from tests.app.commands import run
from tests.conftest import AFFINE, write_table
from tests.models.known import echoes_scheme

MODEL = """import jaxsmt as js

def build():
    links = [js.fraction("lambda_perp", of="lambda_par", name="f")]
    return js.SphericalMeanModel(js.relaxing(js.zeppelin()), links, name="decaying")
"""


def test_a_users_model_with_a_t2(tmp_path, capsys):
    """Its map has the unit and the text of a T2; `check` tells its error, and refuses a single echo time."""
    scheme = echoes_scheme(shells=(1000.0, 2000.0), echo_times=(60.0, 80.0, 110.0), n=15)
    model, t2 = tmp_path / "model.py", np.array([60.0, 75.0, 90.0])
    model.write_text(MODEL)
    means = np.stack([np.exp(-shell.te / t2) * np.exp(-1.2 * shell.b) for shell in scheme.shells], axis=-1)
    data = 1000 * means[:, np.argmax(scheme.weights != 0, axis=0)]
    nib.save(nib.Nifti1Image(data.astype(np.float32).reshape(3, 1, 1, -1), AFFINE), tmp_path / "sub-01_dwi.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((3, 1, 1), np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    write_table(tmp_path, scheme.bvals, scheme.bvecs)
    np.savetxt(tmp_path / "te.txt", scheme.te)
    options = ("--model", f"{model}:build", "--echo-time", tmp_path / "te.txt")
    assert run(tmp_path, *options, command="check") == 0
    assert "t2 80 ± " in capsys.readouterr().out
    assert run(tmp_path, *options, "--no-report") == 0
    path = tmp_path / "out" / "sub-01_model-decaying_param-t2_dwimap.nii.gz"
    np.testing.assert_allclose(np.ravel(nib.load(path).get_fdata()), t2, rtol=1e-3)
    sidecar = json.loads((path.parent / path.name.replace(".nii.gz", ".json")).read_text())
    assert sidecar["Units"] == "ms"
    assert sidecar["Description"].startswith("Transverse relaxation time T2")
    capsys.readouterr()
    assert run(tmp_path, *options[:2], "--echo-time", "70", command="check") == 2
    said = capsys.readouterr().err
    assert "cannot determine t2 of the decaying model" in said
    assert "a scheme with other echo times" in said
    assert run(tmp_path, *options[:2], command="check") == 2
    assert "give --echo-time, in ms" in capsys.readouterr().err
    assert js.relaxing(js.zeppelin()).parameters[-1].unit == "ms"
