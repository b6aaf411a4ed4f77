"""The report's viewer through the commands."""

import json
from dataclasses import replace

import pytest

from jaxsmt.app import cli, workflow
from jaxsmt.app.cohorts import tasks
from jaxsmt.app.request import Request
from tests.app.commands import run
from tests.report.test_viewer import entries


def test_a_fit_with_a_viewer(folder):
    """The same page, and the viewer below its pictures; the maps of the fit are in it."""
    assert run(folder, "--viewer") == 0
    page = (folder / "out" / "report.html").read_text("utf-8")
    assert page.index("<img") < page.index('id="viewer"') < page.index("</html>")
    assert [entry["name"] for entry in entries(page)] == ["lambda_par", "lambda_perp", "fa", "s0", "r2", "status"]
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text("utf-8"))
    assert facts["viewer"] is True
    assert not [text for text in facts["warnings"] if text.startswith("no report")]
    assert run(folder, "--overwrite") == 0
    assert "<script" not in (folder / "out" / "report.html").read_text("utf-8")


def test_a_viewer_without_a_report_is_refused(folder, capsys):
    assert run(folder, "--viewer", "--no-report") == 2
    said = capsys.readouterr().err
    assert "--viewer is part of the report that --no-report leaves out\n  fix: " in said
    assert not (folder / "out").exists()


def test_a_data_set_gets_the_viewers_that_it_has_not(folder):
    """`bids` leaves out series that are complete: without a viewer that is asked for they are not."""
    files = {"dwi": folder / "sub-01_dwi.nii.gz", "mask": folder / "mask.nii.gz", "out": folder / "out"}
    request = Request(**files, overwrite=True)
    workflow.run_fit(request)
    assert tasks.is_complete(request)
    with_viewer = replace(request, viewer=True)
    assert not tasks.is_complete(with_viewer)
    workflow.run_fit(with_viewer)
    assert tasks.is_complete(with_viewer)
    assert tasks.is_complete(request)


def test_the_option_stands_where_reports_are_made(capsys):
    for command in ("fit", "bids", "demo"):
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert "--viewer" in capsys.readouterr().out
