"""Labels and filters: what they let pass, and what is refused."""

import json
from pathlib import Path

import pytest

from jaxsmt.app.cohorts import selection
from jaxsmt.app.cohorts.layouts import Series
from jaxsmt.errors import InputError

SERIES = [
    Series("01", "1", (("acq", "multib"), ("run", "01")), Path("a_dwi.nii.gz")),
    Series("01", "1", (("run", "2"),), Path("b_dwi.nii.gz")),
    Series("01", "2", (), Path("c_dwi.nii")),
    Series("02", None, (("space", "ACPC"), ("desc", "preproc")), Path("d_dwi.nii.gz")),
]


def names(subjects=None, sessions=None, filters=None):
    """First letters of the series that pass."""
    return "".join(s.dwi.name[0] for s in selection.choose(SERIES, subjects, sessions, filters or {}))


def read(tmp_path, filters):
    path = tmp_path / "filter.json"
    path.write_text(filters if isinstance(filters, str) else json.dumps(filters))
    return selection.read_filters(path)


@pytest.mark.parametrize("text", ["../01", "01/..", "", "sub-", "0 1", "01\n", "*", "ses-1", "é", "sub-sub-01", "<b>"])
def test_labels_have_letters_and_digits_only(text):
    """Labels become parts of paths."""
    with pytest.raises(InputError, match="letters and digits"):
        selection.labels([text], "sub")


def test_labels():
    assert selection.labels(None, "sub") is None
    assert selection.labels(["sub-A1", "02"], "sub") == {"A1", "02"}
    assert selection.labels(["ses-1", "2"], "ses") == {"1", "2"}


def test_subjects_and_sessions():
    assert names() == "abcd"
    assert names({"01"}) == "abc"
    assert names(None, {"2"}) == "c"


@pytest.mark.parametrize(
    ("filters", "passing"),
    [
        ({"session": "1"}, "ab"),
        ({"session": "ses-2"}, "c"),
        ({"run": 1}, "a"),
        ({"run": ["1", 2]}, "ab"),
        ({"run": "002"}, "b"),
        ({"acquisition": "multib", "run": 1}, "a"),
        ({"acquisition": None}, "bcd"),
        ({"run": "*"}, "ab"),
        ({"session": [None, "2"]}, "cd"),
        ({"space": "ACPC", "desc": "preproc", "datatype": "dwi", "suffix": "dwi"}, "d"),
        ({"extension": ".nii"}, "c"),
        ({"extension": ["nii.gz"]}, "abd"),
    ],
)
def test_filters(tmp_path, filters, passing):
    """As fMRIPrep and QSIPrep read them: null means without, "*" with any; those of other data do not matter."""
    assert names(filters=read(tmp_path, {"dwi": filters, "t1w": {"anything": [{}]}})) == passing


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ([], "no filters of diffusion series"),
        ({"t1w": {}}, "no filters of diffusion series"),
        ({"dwi": {"sesion": "1"}}, "'sesion' is no entity"),
        ({"dwi": {"run": {"a": 1}}}, "run cannot be"),
        ({"dwi": {"run": True}}, "run cannot be"),
    ],
)
def test_bad_filter_files_are_refused(tmp_path, filters, message):
    """A filter that says nothing would let everything pass."""
    with pytest.raises(InputError, match=message):
        read(tmp_path, filters)
    with pytest.raises(InputError, match="No such file"):
        selection.read_filters(tmp_path / "missing.json")


def test_labels_that_do_not_exist_are_named():
    with pytest.raises(InputError, match=r"no diffusion series of sub-03, sub-9[^,]*there are 01, 02"):
        names({"01", "9", "03"})
    with pytest.raises(InputError, match=r"of these subjects of ses-3"):
        names(None, {"1", "3"})
    with pytest.raises(InputError, match="4 do not pass the filters"):
        names(filters={"run": "7"})
    with pytest.raises(InputError, match="no diffusion series to fit"):
        selection.choose([], None, None, {})
