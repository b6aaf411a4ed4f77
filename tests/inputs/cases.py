"""The table of cases: what is given, what the command does with it, and what it must say."""

from __future__ import annotations

from tests.inputs import cases_of_arguments, cases_of_series
from tests.inputs.case import Case

CASES: list[Case] = [*cases_of_series.CASES, *cases_of_arguments.CASES]
