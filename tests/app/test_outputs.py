"""Output files: their names, what is kept, what is replaced, and what trouble leaves."""

import os
from pathlib import Path

import pytest

from jaxsmt.errors import InputError
from jaxsmt.files import map_table, nifti, outputs, sidecars
from jaxsmt.status import Status
from tests.app.commands import run, spoil


def test_existing_output_is_kept_unless_told(folder, capsys):
    assert run(folder, "--no-report") == 0
    before = {p: p.read_bytes() for p in (folder / "out").iterdir()}
    assert run(folder, "--no-report") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (folder / "out").iterdir()} == before
    (folder / "out" / "report.html").write_text("of another series")
    assert run(folder, "--prefix", "other_") == 2
    assert (folder / "out" / "report.html").read_text() == "of another series"


def test_overwriting_with_bad_input_loses_nothing(folder, series):
    """The stream is found to be cut after reading began: maps, report and run.json of before still stand."""
    assert run(folder) == 0
    before = {p: p.read_bytes() for p in (folder / "out").iterdir()}
    spoil(folder, series, "cut")
    assert run(folder, "--overwrite") == 2
    assert {p: p.read_bytes() for p in (folder / "out").iterdir()} == before


def test_output_that_cannot_be_written(folder, capsys):
    (folder / "out").write_text("a file where the folder should be")
    assert run(folder) == 73
    assert "out" in capsys.readouterr().err
    assert run(folder, "--prefix", "../x_", "--overwrite") == 2


@pytest.mark.parametrize("position", [1, 2, 5, 9, 14])
def test_disk_that_fills_up_leaves_nothing(folder, monkeypatch, capsys, position):
    """From one file on all fail half-way: the outputs get their names only when all are written, and can be again."""
    out = folder / "out"
    out.mkdir()
    writes = []
    real = os.fsync

    def failing(descriptor):
        writes.append(descriptor)
        if len(writes) >= position:
            raise OSError(28, "No space left on device")
        return real(descriptor)

    with monkeypatch.context() as full:
        full.setattr(nifti.os, "fsync", failing)
        assert run(folder) == 73
    assert "No space left" in capsys.readouterr().err
    assert len(writes) >= position
    assert not list(out.iterdir())
    assert run(folder) == 0
    assert (out / "sub-01_run.json").exists()


def test_default_prefix():
    assert sidecars.default_prefix(Path("sub-01_dwi.nii.gz")) == "sub-01_"
    assert sidecars.default_prefix(Path("sub-01_dwi_preproc.nii")) == "sub-01_"
    assert sidecars.default_prefix(Path("data.nii")) == "data_"
    assert sidecars.default_prefix(Path("dwi.nii.gz")) == "dwi_"
    # Entities stay, but for desc, which BIDS puts last.
    preprocessed = "sub-01_ses-2_space-ACPC_desc-preproc_dwi.nii.gz"
    assert sidecars.default_prefix(Path(preprocessed)) == "sub-01_ses-2_space-ACPC_"
    assert sidecars.default_prefix(Path("desc-preproc_dwi.nii.gz")) == ""


def test_names_hold_letters_and_digits_and_differ():
    """BIDS puts desc last; two maps of a user's model must not share a file."""
    name = sidecars.map_name("s_", "mine", "stick.Lambda_par2", "sd")
    assert name == "s_model-mine_param-sticklambdapar2_desc-sd_dwimap"
    assert outputs.file_names("s_", "mine", ["a", "r2"], sd=True) == [
        "s_model-mine_param-a_dwimap.nii.gz",
        "s_model-mine_param-r2_dwimap.nii.gz",
        "s_model-mine_param-a_desc-sd_dwimap.nii.gz",
    ]
    with pytest.raises(InputError, match=r"maps a\.b and AB of the mine model"):
        outputs.file_names("s_", "mine", ["a.b", "AB"])


def test_standard_deviations_of_an_earlier_fit_are_removed(folder):
    """They must not stay beside new maps."""
    (folder / "out").mkdir()
    stale = ["sub-01_model-smt_param-lambdapar_desc-sd_dwimap", "sub-01_model-smtwatson_param-odi_desc-sd_dwimap"]
    others = ["sub-02_model-smt_param-lambdapar_desc-sd_dwimap", "sub-01_model-mine_param-lambdapar_dwimap"]
    for name in [*stale, *others]:
        for extension in (".nii.gz", ".json"):
            (folder / "out" / f"{name}{extension}").write_text("of an earlier fit")
    assert run(folder, "--no-report", "--overwrite") == 0
    left = {path.name.partition(".")[0] for path in (folder / "out").iterdir()}
    assert left >= set(others)
    assert not left & set(stale)


def test_an_input_is_not_overwritten(folder, capsys):
    """The mask may be a map of an earlier fit, but then it cannot be replaced."""
    assert run(folder, "--no-report") == 0
    status = folder / "out" / "sub-01_model-smt_param-status_dwimap.nii.gz"
    before = status.read_bytes()
    capsys.readouterr()
    assert run(folder, "--no-report", "--overwrite", "--mask", status, mask=False) == 2
    assert "is --mask and would be an output too" in capsys.readouterr().err
    assert status.read_bytes() == before


def test_the_status_texts_are_one():
    """The sidecar, the picture and `Status` use the same texts and colours."""
    text = map_table.about("status")
    assert text.description.startswith("0 outside mask, 1 converged, 2 at a bound, 3 not converged")
    assert text.limits == (-0.5, max(Status) + 0.5)


def test_maps_that_the_table_does_not_hold():
    """A user's model has maps of its own."""
    text = map_table.about("stick.radius")
    assert text.title == text.description == "stick.radius"
    assert map_table.with_sd(["stick.radius", "mse"]) == ("stick.radius",)


def test_the_page_of_another_prefix_stays(folder):
    """`report.html` has no prefix: a fit that writes none must not remove that of another series."""
    assert run(folder, "--prefix", "a_") == 0
    page = (folder / "out" / "report.html").read_bytes()
    assert run(folder, "--prefix", "b_", "--no-report") == 0
    assert run(folder, "--prefix", "b_", "--no-report", "--overwrite") == 0
    assert (folder / "out" / "report.html").read_bytes() == page


def test_maps_of_another_model_stay_and_are_told(folder, capsys):
    """run.json and the page of the first are gone: whoever finds its maps must know that these do not tell of them."""
    assert run(folder, "--no-report") == 0
    first = sorted((folder / "out").glob("*.nii.gz"))
    capsys.readouterr()
    assert run(folder, "--no-report", "--model", "mcsmt", "--overwrite") == 0
    assert "maps of the smt model, which an earlier fit wrote here, stay" in capsys.readouterr().err
    assert all(path.exists() for path in first)
