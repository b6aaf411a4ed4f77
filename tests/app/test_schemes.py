"""The command line with schemes of many shells, several echo times and shapes of the encoding."""

import json

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.geometry.quadrature import gradient_directions
from jaxsmt.simulate import zeppelin_signal
from tests.app.commands import load, run
from tests.conftest import AFFINE, write_table

PAR = np.array([1.6, 2.0, 2.4])
LEVELS, N = np.arange(100, 1900, 50), 12


@pytest.fixture
def many(tmp_path):
    """36 shells 50 apart at four echo times, without noise, and a file of the echo times."""
    bvals = np.concatenate([np.zeros(8), np.repeat(LEVELS, N)])
    bvecs = np.concatenate([np.zeros((8, 3)), np.tile(gradient_directions(N), (36, 1))])
    te = np.concatenate([np.tile([60.0, 75.0, 90.0, 105.0], 2), np.repeat(np.tile([60.0, 75.0, 90.0, 105.0], 9), N)])
    axes = np.tile([[[0.0, 0.0, 1.0]]], (3, 1, 1))
    signal = zeppelin_signal(js.Acquisition(bvals, bvecs), PAR, 0.3 * PAR, axes, np.full((3, 1), 4.0), np.ones((3, 1)))
    data = (1000 * signal * np.exp(-(te - 60) / 70)).astype(np.float32).reshape(3, 1, 1, -1)
    nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / "sub-01_dwi.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((3, 1, 1), np.uint8), AFFINE), tmp_path / "mask.nii.gz")
    write_table(tmp_path, bvals, bvecs)
    np.savetxt(tmp_path / "te.txt", te)
    return tmp_path


@pytest.mark.filterwarnings("ignore::jaxsmt.JaxsmtWarning")
def test_36_shells_at_four_echo_times(many):
    assert run(many, "--echo-time", many / "te.txt") == 0
    np.testing.assert_allclose(np.ravel(load(many, "lambdapar").get_fdata()), PAR, rtol=2e-3)
    np.testing.assert_allclose(load(many, "s0").get_fdata(), 1000, rtol=1e-3)
    facts = json.loads((many / "out/sub-01_run.json").read_text())
    assert len(facts["shells"]) == 40
    fourth = dict(facts["shells"][3])
    assert abs(fourth.pop("residuals")["mean"]) < 1e-4
    assert fourth == {"b_s_per_mm2": 0.0, "volumes": 2, "order": 0, "noise_amplification": 1.0, "echo_time_ms": 105.0}
    assert facts["inputs"]["echo_time"]["path"] == str(many / "te.txt")


def test_check_prints_what_makes_a_shell(many, capsys):
    np.savetxt(many / "shape.txt", np.repeat([1.0, -0.5, 0.0], [8 + 34 * N, N, N]))
    extra = ("--echo-time", many / "te.txt", "--b-shape", many / "shape.txt")
    assert run(many, *extra, command="check") == 0
    said = capsys.readouterr().out
    assert "  b = 0 s/mm², TE = 75 ms: 2 volumes\n" in said
    assert "  b = 150 s/mm², TE = 75 ms: 12 volumes" in said
    assert "  b = 1800 s/mm², TE = 90 ms, b_Δ = -0.5: 12 volumes" in said
    assert "  b = 1850 s/mm², TE = 105 ms, b_Δ = 0: 12 volumes\n" in said


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--echo-time", "0.08"), "--echo-time is in ms, not in s"),
        (("--b-shape", "2"), "--b-shape is from -0.5"),
        (("--shell-gap", "200"), "--shell-gap names the gap"),
        (("--b-shape", "none.txt"), "none.txt"),
        (("--b-shape", "short.txt"), "3 numbers for 440 volumes"),
    ],
)
def test_messages_speak_of_flags(many, monkeypatch, capsys, extra, message):
    monkeypatch.chdir(many)
    np.savetxt("short.txt", [1.0, 1.0, 0.0])
    assert run(many, *extra) == 2
    assert message in capsys.readouterr().err
