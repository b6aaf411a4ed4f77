"""The output is a valid BIDS data set, as the validator of the standard sees it; it needs no network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.cohorts.data_sets import bids, write_raw


def validator():
    """The program, on the path or beside Python."""
    name = "bids-validator-deno"
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


@pytest.mark.skipif(validator() is None, reason="needs the validator: pip install bids-validator-deno")
def test_the_output_is_valid_bids(tmp_path, series):
    """And a name that BIDS does not know is an error, so that the test can fail."""
    write_raw(tmp_path, series[0], [f"sub-01/ses-1/dwi/sub-01_ses-1_run-{i}" for i in (1, 2)])
    assert bids(tmp_path, "--fod", "bingham", "--fibres", "1") == 0

    def validate():
        command = [validator(), str(tmp_path / "out"), "--ignoreWarnings", "--no-color"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    done = validate()
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "out" / ".bidsignore").write_text("")
    assert "NOT_INCLUDED" in validate().stdout
