"""Wrong calls of Python end in an error of jaxsmt's own, which says what came and what belongs there."""

import re
import warnings

import pytest

from jaxsmt.errors import InputError, JaxsmtWarning
from tests.inputs import memory
from tests.inputs.python_calls import CALLS

MARKED = [pytest.param(call, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, call in enumerate(CALLS)]


@pytest.mark.parametrize("call", MARKED, ids=lambda call: call.text)
def test_a_wrong_call_is_refused_in_its_own_words(call):
    """By inheritance a ValueError, so that whoever catches those goes on as before; nothing foreign, no silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", JaxsmtWarning)
        with memory.at_most(), pytest.raises(InputError) as refused:
            call.function()
    assert re.search(call.says, str(refused.value), re.S)
    assert refused.value.fix
    assert isinstance(refused.value, ValueError)
