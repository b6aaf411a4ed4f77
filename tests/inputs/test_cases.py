"""Every case of the table, from the command line: exit code, file, fact and fix; no traceback; nothing left behind;
less than 1 GB of memory.
"""

import re

import numpy as np
import pytest

from jaxsmt.app import cli
from tests.inputs import __main__ as table
from tests.inputs import memory
from tests.inputs.cases import CASES
from tests.inputs.files import Inputs
from tests.inputs.python_calls import CALLS


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


# In the usual run every third refusal is tried: a case that is fitted, or accepted, needs JAX for longer.
USUAL = [case for case in CASES if case.code and not case.slow][::3]
MARKED = [pytest.param(case, marks=[] if case in USUAL else [pytest.mark.slow]) for case in CASES]


@pytest.mark.parametrize("case", MARKED, ids=lambda case: f"{case.topic}: {case.name}")
def test_a_case_of_the_table(case, inputs, capsys, monkeypatch):
    monkeypatch.chdir(inputs.folder)
    with memory.at_most():
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


def test_the_limit_of_memory_is_that_of_the_peak():
    """What is given back at once counts too; what stood there before does not."""
    kept = np.ones(300_000_000, np.uint8)
    with memory.at_most(100_000_000):
        assert kept.any()
    with pytest.raises(AssertionError, match="MB at the peak"), memory.at_most(100_000_000):
        np.ones(300_000_000, np.uint8)


def test_no_two_cases_have_one_name():
    """So that each has a line of its own in the table."""
    names = [(case.topic, case.name) for case in CASES]
    assert len(set(names)) == len(names)


def test_the_table_of_the_docs_is_that_of_the_tests():
    """Who changes a case makes the page anew: `python -m tests.inputs`."""
    assert table.TABLE.read_text("utf-8") == table.page()
    assert len(CASES) + len(CALLS) >= 400
