"""`report` draws the page of a finished fit again from what the fit wrote: byte for byte."""

import json

import pytest

from jaxsmt.app import cli
from jaxsmt.files import sidecars
from tests.app.commands import run


def draw_again(folder, *more):
    return cli.main(["report", str(folder / "out"), *more])


@pytest.mark.parametrize(
    "options",
    [
        ("--uncertainty", "--second-solution", "--sigma", "5", "--viewer"),
        ("--fod", "bingham", "--noise", "rician", "--uncertainty"),
        ("--model", "mcsmt", "--sigma", "20", "--prefix", "other_"),
    ],
    ids=["deviations", "FODs", "mcsmt"],
)
def test_page_is_the_same(folder, capsys, options):
    assert run(folder, *options) == 0
    page = folder / "out" / "report.html"
    before = page.read_bytes()
    page.unlink()
    capsys.readouterr()
    assert draw_again(folder) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_bytes() == before


def test_page_of_a_fit_without_one(folder):
    """Residuals were not computed then: the page says so, and has all the rest."""
    assert run(folder, "--no-report") == 0
    assert draw_again(folder) == 0
    text = (folder / "out" / "report.html").read_text()
    assert "not known" in text
    assert "λ∥" in text


def test_several_fits_need_a_prefix(folder, capsys):
    for prefix in ("a_", "b_"):
        assert run(folder, "--prefix", prefix, "--overwrite") == 0
    assert draw_again(folder) == 2
    assert "a_, b_" in capsys.readouterr().err
    assert draw_again(folder, "--prefix", "b_") == 0


def test_changed_input_is_refused(folder, capsys):
    """A page with new b-values over old maps would be wrong."""
    assert run(folder) == 0
    table = folder / "sub-01_dwi.bval"
    table.write_text(table.read_text().replace("1000", "1100"))
    assert draw_again(folder) == 2
    assert "has changed since the fit" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[" * 100_000, '{"asked": 1}'])
def test_broken_facts_are_refused(folder, capsys, content):
    (folder / "out").mkdir()
    (folder / "out" / "run.json").write_text(content)
    assert draw_again(folder) == 2
    assert "is no run.json" in capsys.readouterr().err


def test_asked_for_something_that_is_no_fit_any_more(folder, capsys):
    assert run(folder) == 0
    path = folder / "out" / "sub-01_run.json"
    facts = json.loads(path.read_text())
    facts["asked"]["model"] = "smtt"
    path.write_text(json.dumps(facts))
    assert draw_again(folder) == 2
    assert "has changed since it was written" in capsys.readouterr().err
    path.write_bytes(sidecars.to_json(sidecars.sealed(facts)))
    assert draw_again(folder) == 2
    assert "smtt" in capsys.readouterr().err


def test_no_fit_here(folder, capsys):
    assert draw_again(folder) == 2
    assert "no such folder" in capsys.readouterr().err
    (folder / "out").mkdir()
    assert draw_again(folder) == 2
    assert "no finished fit" in capsys.readouterr().err


def test_missing_map_is_told(folder, capsys):
    assert run(folder) == 0
    (folder / "out" / "sub-01_model-smt_param-md_dwimap.nii.gz").unlink()
    assert draw_again(folder) == 2
    assert "param-md" in capsys.readouterr().err


def test_page_belongs_to_its_maps(folder):
    """A page that was drawn again goes when its maps are replaced, though it is younger than they are."""
    assert run(folder, "--no-report") == 0
    assert draw_again(folder) == 0
    assert (folder / "out" / "report.html").exists()
    assert run(folder, "--no-report", "--overwrite") == 0
    assert not (folder / "out" / "report.html").exists()


def test_changed_series_is_refused(folder, capsys):
    """Another file of the same name would lend its header to these maps."""
    assert run(folder) == 0
    dwi = folder / "sub-01_dwi.nii.gz"
    dwi.write_bytes(dwi.read_bytes()[:-1])
    assert draw_again(folder) == 2
    assert "has changed since the fit" in capsys.readouterr().err
