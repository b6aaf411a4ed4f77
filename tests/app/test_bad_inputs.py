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
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of, write_table


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
        "import sys, time; from jaxsmt.app import cli; from jaxsmt.fitting.pipeline import Pipeline, Programs; "
        "Pipeline.programs = Programs([lambda: time.sleep(600)], [lambda: time.sleep(600)], []); "
        "sys.argv[0] = 'jaxsmt'; cli.entry()"
    )
    series_and_folder = [str(folder / "sub-01_dwi.nii.gz"), "-o", str(folder / "out")]
    command = [sys.executable, "-c", code, "fit", *series_and_folder, "--fod", "watson", "--fibres", "auto"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "the file is cut" in done.stderr
    assert not (folder / "out").exists()


def test_a_standard_output_that_fails_is_no_success(folder):
    """A disk that is full fails when the buffered text is written at the end."""
    command = [sys.executable, "-m", "jaxsmt", "check", str(folder / "sub-01_dwi.nii.gz")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, check=False)
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


def test_check_tells_all_problems_at_once(folder, capsys):
    """Who mends one problem a run needs many runs."""
    write_table(folder, -ACQUISITION.bvals, ACQUISITION.bvecs)
    (folder / "mask.nii.gz").write_bytes(b"")
    assert run(folder, "--sigma", str(folder / "missing.nii.gz"), command="check") == 2
    said = capsys.readouterr().err
    assert said.count("fix: ") >= 2
    for text in ("sub-01_dwi.bval", "b-value of volume", "mask.nii.gz: is empty", "missing.nii.gz"):
        assert text in said


def test_errors_of_tables_name_their_files(folder, capsys):
    """What only an acquisition finds names the files all the same."""
    write_table(folder, ACQUISITION.bvals, 2 * ACQUISITION.bvecs)
    assert run(folder) == 2
    said = capsys.readouterr().err
    assert "sub-01_dwi.bval and " in said
    assert "has length 2" in said


def test_a_sigma_map_with_holes_names_its_file(folder, capsys):
    path = folder / "sigma.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), AFFINE), path)
    assert run(folder, "--sigma", path, "--uncertainty") == 2
    assert f"{path}: --sigma is not positive" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["fit"], ["fit", "x.nii", "-o", "y", "--fibres", "4"], ["bake"], ["check", "--what"]]
)
def test_the_parser_says_what_to_do(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("jaxsmt: ")
    assert "fix: " in said


def test_the_series_itself_is_checked_when_asked_for(folder, series, capsys):
    """`check --data` reads it to its end, and says what speaks against it; `fit` says it too."""
    assert run(folder, "--data", command="check") == 0
    assert "the data are whole" in capsys.readouterr().out
    data = np.array(series[0])
    data[..., 3] = data[..., 2]
    nib.save(nib.Nifti1Image(data, AFFINE), folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--data", command="check") == 0
    assert "volume 3 is a copy of volume 2" in capsys.readouterr().err
    assert run(folder) == 0
    assert "volume 3 is a copy of volume 2" in capsys.readouterr().err
    spoil(folder, series, "cut")
    assert run(folder, "--data", command="check") == 2


def test_other_formats_are_answered_with_a_command(folder, capsys):
    """As series, mask and σ map alike."""
    for name in ("sub-01_dwi.mif", "mask.mgz", "sigma.nrrd"):
        (folder / name).write_bytes(b"")
    out = ["-o", str(folder / "out")]
    dwi = str(folder / "sub-01_dwi.nii.gz")
    for arguments, command in (
        ([str(folder / "sub-01_dwi.mif")], "fix: mrconvert"),
        ([dwi, "--mask", str(folder / "mask.mgz")], "fix: mri_convert"),
        ([dwi, "--noise", "rician", "--sigma", str(folder / "sigma.nrrd")], "fix: c3d"),
        ([str(folder)], "dcm2niix"),
    ):
        assert cli.main(["fit", *arguments, *out]) == 2
        assert command in capsys.readouterr().err
    assert not (folder / "out").exists()
