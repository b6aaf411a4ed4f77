"""run.json is read in one way: what is not as it was written is refused, or counts as nothing."""

import pytest

from jaxsmt.app import run_json
from jaxsmt.errors import InputError
from jaxsmt.files import sidecars

WHOLE = sidecars.to_json(sidecars.sealed({"model": "smt"}))


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / run_json.NAME
    path.write_bytes(WHOLE)
    assert run_json.require(path, "again") == run_json.read(path)
    assert run_json.require(path, "again")["model"] == "smt"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"{", "is no run.json"),
        (b"\xff", "is no run.json"),
        (b"[1]", "is no run.json"),
        (b"1", "is no run.json"),
        (b"[" * 100_000, "is no run.json"),
        (WHOLE.replace(b"smt", b"smd"), "has changed"),
    ],
    ids=["missing", "cut", "no text", "a list", "a number", "nested", "changed"],
)
def test_what_is_damaged_is_refused(tmp_path, content, says):
    path = tmp_path / run_json.NAME
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says) as refused:
        run_json.require(path, "again")
    assert refused.value.file == str(path)
    if says != "has changed":
        assert run_json.read(path) is None
