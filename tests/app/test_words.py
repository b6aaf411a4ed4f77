"""Messages: the library speaks of Python's arguments, the command line of its flags."""

import ast
from pathlib import Path

import pytest

import jaxsmt
from jaxsmt.app import words
from jaxsmt.errors import InputError

PACKAGE = Path(jaxsmt.__file__).parent
BELOW_APP = [p for p in sorted(PACKAGE.rglob("*.py")) if p.relative_to(PACKAGE).parts[0] != "app"]


def literals(path):
    """Text literals of a file but for docstrings, each with its line."""
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


@pytest.mark.parametrize("path", BELOW_APP, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_does_not_know_flags(path):
    """A Python user has no flags: texts below app/ name arguments, which `words` turns into flags."""
    flags = [(line, text) for line, text in literals(path) if "--" in text]
    assert not flags


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noise='rician' is unknown", "--noise rician is unknown"),
        ("give sigma= a number or a map", "give --sigma a number or a map"),
        ("if these are s/m2, say so: b_unit='s/m2'", "if these are s/m2, say so: --b-unit s/m2"),
        ("n_fibres=4 is not valid", "--fibres 4 is not valid"),
        ("uncertainty=True, noise='gaussian' or coils=2", "--uncertainty, --noise gaussian or --coils 2"),
        ("(Delta=21.8)", "(--Delta 21.8)"),
        ("density='watson'; bvals= and bvecs=", "--fod watson; --bval and --bvec"),
        ("prior='my prior.json'", "--prior 'my prior.json'"),
        # Not arguments: parts of paths and of longer names, and names that are no option.
        ("/data/sigma=3/dwi.nii.gz is cut", "/data/sigma=3/dwi.nii.gz is cut"),
        ("run_mask=1, s0_model=2, x=3", "run_mask=1, s0_model=2, x=3"),
        ("1 - model.weight = 3 and b = 0", "1 - model.weight = 3 and b = 0"),
    ],
)
def test_arguments_become_flags(text, expected):
    assert words.in_flags(text) == expected


def test_files_keep_their_names():
    """A file may be called as an argument is."""
    error = InputError("mask= has another grid", file="mask=1.nii.gz", fix="give mask= on the grid of the series")
    assert words.message(error) == (
        "mask=1.nii.gz: --mask has another grid\n  fix: give --mask on the grid of the series"
    )
