"""The report of a command: what it shows of the data, and that it never costs maps nor delays them."""

import json
import threading

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.files import outputs
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
    """Pictures take a second: it is that of the compression. All appear together."""
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
