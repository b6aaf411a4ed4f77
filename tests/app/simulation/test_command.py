"""`jaxsmt simulate` of one phantom: the files, that a fit takes them, and what is refused."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from jaxsmt import Acquisition, simulate
from jaxsmt.app import cli

TRUTH = ["lambdapar", "lambdaperp", "fraction", "s0", "nfibres", "direction", "weight", "odi"]
FILES = {f"phantom_dwi{e}" for e in (".nii.gz", ".bval", ".bvec", ".b")} | {"phantom_mask.nii.gz"}
FILES |= {f"truth_{name}.nii.gz" for name in TRUTH}
SMALL = ["--shape", "8", "10", "7", "--directions", "12", "--b0", "2"]


def run(out, *extra):
    """Exit code of the command."""
    return cli.main(["simulate", "-o", str(out), *map(str, extra)])


def contents(folder):
    """Bytes of each file by its path in the folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_files_are_exactly_those_that_are_promised(tmp_path, capsys):
    assert run(tmp_path / "out", *SMALL, "--snr", 30, "--seed", 4) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    said = capsys.readouterr().out
    assert "8 × 10 × 7 × 26" in said
    assert "σ = 33.3333" in said


def test_files_hold_the_phantom(tmp_path):
    """The series, its table in both conventions, the mask and the truth are those of `simulate.phantom`."""
    out = tmp_path / "out"
    assert run(out, *SMALL, "--snr", 30, "--seed", 4, "--shells", 700, 1500, 2500, "--quiet") == 0
    scheme = simulate.hcp_scheme(2, 12, (700.0, 1500.0, 2500.0))
    phantom = simulate.phantom((8, 10, 7), snr=30, seed=4, acquisition=scheme)
    series = nib.load(out / "phantom_dwi.nii.gz")
    np.testing.assert_array_equal(series.get_fdata(dtype=np.float32), phantom.data)
    np.testing.assert_allclose(series.affine, phantom.affine, atol=1e-4)
    np.testing.assert_array_equal(nib.load(out / "phantom_mask.nii.gz").get_fdata(), phantom.mask)
    for name, values in zip(TRUTH, phantom.truth.values(), strict=True):
        np.testing.assert_array_equal(nib.load(out / f"truth_{name}.nii.gz").get_fdata(dtype=np.float32), values)
    fsl = Acquisition.from_fsl(out / "phantom_dwi.bval", out / "phantom_dwi.bvec", affine=series.affine)
    for read in (fsl, Acquisition.from_mrtrix(out / "phantom_dwi.b")):
        np.testing.assert_allclose(read.bvals, scheme.bvals)
        np.testing.assert_allclose(read.bvecs, scheme.bvecs, atol=1e-8)


def test_no_jax_is_loaded(tmp_path):
    """NumPy is enough: the command need not wait for JAX."""
    command = ["simulate", "-o", str(tmp_path / "out"), *SMALL, "--bids", "--quiet"]
    code = f"import sys; from jaxsmt.app import cli; assert cli.main({command!r}) == 0; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_commands_write_equal_bytes(tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        assert run(tmp_path / name, *SMALL, "--seed", seed, "--quiet") == 0
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert {name for name in one if one[name] != other[name]} == {"phantom_dwi.nii.gz"}


def test_a_fit_of_the_files_finds_the_truth(tmp_path, capsys):
    """The command that is named at the end, as it stands."""
    assert run(tmp_path / "out", "--shape", 10, 12, 9, "--snr", 200) == 0
    words = capsys.readouterr().out.splitlines()[-1].removeprefix("fit it: jaxsmt ").split()
    assert cli.main([*words, "--no-report", "--quiet"]) == 0
    mask = nib.load(tmp_path / "out" / "phantom_mask.nii.gz").get_fdata() > 0
    for name, limit in (("lambdapar", 0.15), ("lambdaperp", 0.05)):
        fitted = nib.load(tmp_path / "out" / "maps" / f"phantom_model-smt_param-{name}_dwimap.nii.gz").get_fdata()
        truth = nib.load(tmp_path / "out" / f"truth_{name}.nii.gz").get_fdata()
        assert np.median(np.abs(fitted - truth)[mask]) < limit, name


@pytest.mark.parametrize("bids", [[], ["--bids"]])
def test_a_folder_that_holds_something_is_refused(tmp_path, capsys, bids):
    (tmp_path / "notes.txt").write_text("mine")
    assert run(tmp_path, *SMALL, *bids) == 2
    assert "is not empty" in capsys.readouterr().err
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_an_empty_folder_is_taken_and_stays_when_something_fails(tmp_path):
    assert run(tmp_path, "--shape", 1, 2, 2) == 2
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, *SMALL, "--quiet") == 0


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("")
    assert run(tmp_path / "out", *SMALL) == 73


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shape", 0, 4, 4], "--shape is (0, 4, 4)"),
        (["--shape", 1, 2, 2], "--shape"),
        (["--snr", 0], "--snr 0.0 is not valid"),
        (["--snr", "nan"], "--snr nan is not valid"),
        (["--seed", -1], "--seed takes a whole number from 0"),
        (["--directions", 5], "--directions takes a whole number from 6"),
        (["--b0", 0], "--b0 takes a whole number from 1"),
        (["--shells", 1000, 20], "--shells takes numbers above 50"),
        (["--subjects", 3], "give --bids too"),
        (["--sessions", 1], "give --bids too"),
        (["--bids", "--subjects", 0], "--subjects takes a whole number from 1"),
    ],
)
def test_what_cannot_be_is_refused_in_flags(tmp_path, capsys, words, said):
    """Exit code 2, one message, and no folder."""
    assert run(tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_word_that_is_no_number_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        run(tmp_path / "out", "--shape", 4, 4, "many")
    assert end.value.code == 2
    assert "--shape" in capsys.readouterr().err
