"""The report of a command: what it shows of the data, and that it never costs maps nor delays them."""

import json
import threading

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.app import cli
from jaxsmt.files import outputs, sidecars
from jaxsmt.report import page
from tests.app.commands import run
from tests.conftest import AFFINE


def spoil(folder, volume):
    """Darken a volume."""
    path = folder / "sub-01_dwi.nii.gz"
    data = np.asarray(nib.load(path).dataobj).copy()
    data[..., volume] *= 0.7
    nib.save(nib.Nifti1Image(data, AFFINE), path)


def test_a_bad_volume_is_named_before_all_else(folder):
    assert run(folder) == 0
    assert "No volume stands out" in (folder / "out" / "report.html").read_text("utf-8")
    spoil(folder, 40)
    assert run(folder, "--overwrite") == 0
    text = (folder / "out" / "report.html").read_text("utf-8")
    remark = "Volume 40 (counted from 0) differs from what the other volumes of the same shell tell"
    assert text.index(remark) < text.index(">Methods</h2>")
    assert "Standing out: 40 (-" in text


def test_the_page_is_drawn_while_maps_are_written(folder, monkeypatch):
    """Pictures take a second: it is that of the compression."""
    drawing, draw, write = threading.Event(), page.make_page, outputs.write_maps

    def watched(*arguments):
        drawing.set()
        return draw(*arguments)

    def later(*arguments):
        assert drawing.wait(60)
        assert not list((folder / "out").glob("*.nii.gz"))
        return write(*arguments)

    monkeypatch.setattr(page, "make_page", watched)
    monkeypatch.setattr(outputs, "write_maps", later)
    assert run(folder) == 0
    assert (folder / "out" / "report.html").exists()


@pytest.mark.parametrize("error", [ValueError("a font is missing"), MemoryError()])
def test_a_page_that_cannot_be_drawn_costs_no_maps(folder, monkeypatch, error):
    def broken(*arguments):
        raise error

    monkeypatch.setattr(page, "make_page", broken)
    assert run(folder) == 0
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert [text for text in facts["warnings"] if text.startswith(f"no report: {type(error).__name__}")]
    assert "report" not in facts
    assert not (folder / "out" / "report.html").exists()
    assert all((folder / "out" / name).exists() for name in facts["maps"])
    assert not list((folder / "out").glob(".*"))


@pytest.fixture
def stopped(folder, monkeypatch):
    """The output folder of a fit that was stopped while its page was drawn."""

    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(page, "make_page", stop)
        assert run(folder) == 130
    return folder / "out"


def test_a_drawing_that_is_stopped_leaves_all_maps_and_true_facts(stopped):
    """So that nothing is lost but the page, which `report` draws, residuals of the series included."""
    facts = json.loads((stopped / "sub-01_run.json").read_text())
    assert sidecars.is_whole(facts)
    assert "report" not in facts
    assert all((stopped / name).exists() and outputs.sidecar_path(stopped / name).exists() for name in facts["maps"])
    assert not (stopped / "report.html").exists()
    assert cli.main(["report", str(stopped)]) == 0
    assert "No volume stands out" in (stopped / "report.html").read_text("utf-8")
    assert not list(stopped.glob(".*"))  # nothing is unfinished any more


def test_the_same_command_goes_on_after_a_stopped_drawing(folder, stopped):
    """Maps that are there are its own: they are no reason to refuse."""
    maps = {path.name: path.read_bytes() for path in stopped.glob("*.nii.gz")}
    assert run(folder) == 0
    assert {path.name: path.read_bytes() for path in stopped.glob("*.nii.gz")} == maps
    facts = json.loads((stopped / "sub-01_run.json").read_text())
    assert facts["report"] == "report.html"
    assert (stopped / "report.html").exists()
    assert not list(stopped.glob(".*"))
