"""Each bad input is refused with one clear message, and nothing is written."""

import os
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.app import cli
from tests.app.commands import load, run, spoil
from tests.conftest import AFFINE, SHAPE, mask_of


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("one shell", "at least 2 shells"),
        ("no b = 0", "no b = 0 volume"),
        ("3-D", "diffusion series has four"),
        ("counts", "62 volumes, 61 b-values, 62 directions"),
        ("cut", "the file is cut"),
        ("bit", "sub-01_dwi.nii.gz: .*(damaged|checksum|cut)"),
        ("empty mask", "mask is empty"),
        ("mask shape", r"mask has dimensions \(6, 5, 5\), the series \(6, 5, 4\)"),
        ("mask affine", "mm away"),
        ("no bval", r"sub-01_dwi\.bval: No such file"),
        ("no dwi", r"sub-01_dwi\.nii\.gz: No such file"),
        ("units", "--b-unit ms/um2"),
    ],
)
def test_bad_input_is_refused_with_one_message_and_nothing_written(folder, series, capsys, what, message):
    spoil(folder, series, what)
    assert run(folder) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Traceback" not in error
    assert error.count("jaxsmt: ") == 1
    assert not re.search(r"\b[a-z_]+=", error)  # Python's words
    assert not (folder / "out").exists()


def test_mask_kinds(folder, capsys):
    """inputs.md 28: probabilities, NaN and labels, by a documented threshold and with a warning."""
    probability = np.where(mask_of(SHAPE) > 0, 0.7, 0.2).astype(np.float32)
    probability[1, 1, 1] = np.nan
    for values, inside in ((probability, probability > 0.5), (mask_of(SHAPE) * 3, mask_of(SHAPE) > 0)):
        nib.save(nib.Nifti1Image(values, AFFINE), folder / "mask.nii.gz")
        assert run(folder, "--overwrite", "--no-report") == 0
        assert "mask.nii.gz" in capsys.readouterr().err
        np.testing.assert_array_equal(load(folder, "status").get_fdata() > 0, inside)


def test_fibres_need_a_fod(folder, capsys):
    assert run(folder, "--fibres", "2") == 2
    said = capsys.readouterr().err
    assert "--fibres 2 without an FOD" in said
    assert "give --fod watson or --fod bingham too" in said
    with pytest.raises(SystemExit) as end:
        run(folder, "--fod", "watson", "--fibres", "4")
    assert end.value.code == 2


def test_inputs_are_checked_without_loading_jax(folder):
    """Bad input is refused at once: JAX takes seconds to load."""
    (folder / "sub-01_dwi.bval").write_text("1 2 3")
    code = (
        "import sys; from jaxsmt.app import cli; assert cli.main(['check', sys.argv[1]]) == 2; "
        "assert not {'jax', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "sub-01_dwi.nii.gz")], check=True, capture_output=True)


def test_a_damaged_series_is_reported_before_the_compiler_has_ended(folder, series):
    """And the process ends then, whatever its threads still do."""
    spoil(folder, series, "cut")
    code = (
        "import sys, time; from jaxsmt.app import cli; from jaxsmt.fitting.pipeline import Pipeline; "
        "Pipeline.prepare_kernels = Pipeline.prepare_fods = lambda self: time.sleep(600); "
        "sys.argv[0] = 'jaxsmt'; cli.entry()"
    )
    series_and_folder = [str(folder / "sub-01_dwi.nii.gz"), "-o", str(folder / "out")]
    command = [sys.executable, "-c", code, "fit", *series_and_folder, "--fod", "watson", "--fibres", "auto"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "the file is cut" in done.stderr
    assert not (folder / "out").exists()


def test_a_standard_output_that_fails_is_no_success(folder):
    """A pipe that nobody reads, as a disk that is full, fails when the buffered text is written at the end."""
    command = [sys.executable, "-m", "jaxsmt", "check", str(folder / "sub-01_dwi.nii.gz")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert done.returncode == 73


def test_a_closed_standard_output_is_no_error(folder):
    """As daemons have it: there is no text to lose."""
    code = (
        "import sys; sys.stdout = None; from jaxsmt.app import cli; "
        "sys.argv = ['jaxsmt', 'check', sys.argv[1]]; cli.entry()"
    )
    command = [sys.executable, "-c", code, str(folder / "sub-01_dwi.nii.gz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_other_formats_are_answered_with_a_command(folder, capsys):
    """As series, mask and σ map alike."""
    for name in ("sub-01_dwi.mif", "mask.mgz", "sigma.nrrd"):
        (folder / name).write_bytes(b"")
    out = ["-o", str(folder / "out")]
    dwi = str(folder / "sub-01_dwi.nii.gz")
    for arguments, command in (
        ([str(folder / "sub-01_dwi.mif")], "fix: mrconvert"),
        ([dwi, "--mask", str(folder / "mask.mgz")], "fix: mri_convert"),
        ([dwi, "--noise", "rician", "--sigma", str(folder / "sigma.nrrd")], "fix: DWIConvert"),
        ([str(folder)], "dcm2niix"),
    ):
        assert cli.main(["fit", *arguments, *out]) == 2
        assert command in capsys.readouterr().err
    assert not (folder / "out").exists()
