"""Every case of the table, from the command line: exit code, file, fact and fix; no traceback; nothing left behind."""

import re

import pytest

from jaxsmt.app import cli
from tests.inputs.cases import CASES
from tests.inputs.files import Inputs


@pytest.fixture
def inputs(folder, series):
    return Inputs(folder, series[0])


def files_in(folder):
    """Every name below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def outcome(case, inputs):
    """Exit code of a case."""
    made = case.make(inputs)
    more = list(map(str, made)) if isinstance(made, list) else []
    before = files_in(inputs.folder)
    words = [case.command, str(inputs.dwi), *([] if "--mask" in more else ["--mask", str(inputs.mask)])]
    if case.command == "fit" and "-o" not in more:
        words += ["-o", str(inputs.out), "--quiet"]
    try:
        code = cli.main([*words, *more])
    except SystemExit as end:
        code = end.code
    return code, files_in(inputs.folder) == before


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * c.slow) for c in CASES], ids=lambda c: f"{c.topic}: {c.name}"
)
def test_a_case_of_the_table(case, inputs, capsys, monkeypatch):
    monkeypatch.chdir(inputs.folder)
    code, unchanged = outcome(case, inputs)
    said = capsys.readouterr().err
    assert code == case.code, said
    assert "Traceback" not in said
    assert re.search(case.says, said, re.S), said
    if case.code:
        assert re.search(r"^jaxsmt: ", said, re.M), said
        assert "  fix: " in said, said
        assert not re.search(r"\b[a-z_]+=(?!\d)", said.split("fix:")[0].replace("sub-01_dwi", "")), (
            said
        )  # Python's words
    elif not case.says:
        assert not said, said
    assert unchanged
