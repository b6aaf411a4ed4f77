"""Figures come from commands: results have one form, and the tables of pages are what they make."""

import json

import pytest

from benchmarks import tables
from benchmarks.__main__ import HERE, names
from benchmarks.record import RESULTS, Spent, in_turn, median, speed

FILES = sorted(RESULTS.glob("*.json"))


def test_all_benchmarks_are_listed_and_said():
    assert {"fods", "noise", "gpu", "tables"} <= set(names())
    assert all(line.endswith(".") for line in names().values())


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_results_have_one_form(file):
    """As `record.py` says; tables, and whoever compares machines, rely on it."""
    result = json.loads(file.read_text(encoding="utf-8"))
    assert set(result) == {"benchmark", "date", "machine", "versions", "settings", "rows"}
    assert result["benchmark"] == file.stem
    assert (HERE / f"{file.stem}.py").exists()
    assert set(result["machine"]) == {"processor", "cores", "load", "device"}
    assert {"jaxsmt", "jax", "python"} <= set(result["versions"])
    whats = [row["what"] for row in result["rows"]]
    assert len(set(whats)) == len(whats) > 0
    for row in result["rows"]:
        assert all(v is None or isinstance(v, int | float | str | list) for v in row.values())


@pytest.mark.parametrize("path", list(tables.pages()), ids=lambda path: path.stem)
def test_figures_of_pages_are_those_of_the_results(path):
    """A figure that no command made, or that an older one did, is found."""
    text = path.read_text(encoding="utf-8")
    assert tables.with_text(path, tables.pages()[path]) == text, "run python -m benchmarks tables --write"


def test_figures_are_rounded_as_they_are_known():
    assert [tables.rounded(v) for v in (98265, 12.6, 3.14, 0.028)] == ["98,000", "13", "3.1", "0.028"]


def test_ways_take_turns_and_medians_count():
    """Each round calls every way once, after one that does not count."""
    calls = []
    spent = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert [len(of_way) for of_way in spent.values()] == [3, 3]
    assert median([Spent(1, 5), Spent(3, 6), Spent(2, 9)]) == Spent(2, 6)
    figures = speed(100, [Spent(0.5, 2.0)])
    assert (figures["voxels_per_s"], figures["voxels_per_cpu_s"]) == (200, 50)
