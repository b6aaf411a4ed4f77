"""The scripts for schedulers on the page about clusters run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.cohorts.data_sets import files_below, write_raw

PAGE = Path(__file__).parents[3] / "docs" / "cluster.md"


def script(begin):
    """The code block of the page that begins so."""
    found = re.search(rf"^```\w+\n({re.escape(begin)}.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return found.group(1)


@pytest.fixture
def study(tmp_path, series):
    """A folder with `study`, `subjects.txt`, and the program `jaxsmt` on the path; returns it and the environment."""
    write_raw(tmp_path, series[0]).rename(tmp_path / "study")
    (tmp_path / "subjects.txt").write_text("01\n02\n")
    program = tmp_path / "bin" / "jaxsmt"
    program.parent.mkdir()
    program.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m jaxsmt "$@"\n')
    program.chmod(0o755)
    return tmp_path, {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


def test_the_job_array_of_slurm(study):
    """Each job fits the subject of its line."""
    folder, environment = study
    (folder / "job.sh").write_text(script("#!/bin/bash\n#SBATCH"))
    environment |= {"SLURM_ARRAY_TASK_ID": "2", "SLURM_CPUS_PER_TASK": "1"}
    subprocess.run(["bash", "-eu", "job.sh"], cwd=folder, env=environment, check=True, capture_output=True)
    assert "sub-02/dwi/sub-02_run.json" in files_below(folder / "maps")
    assert not (folder / "maps" / "sub-01").exists()


@pytest.mark.skipif(shutil.which("snakemake") is None, reason="needs snakemake: pip install snakemake")
def test_the_rule_of_snakemake(study):
    folder, environment = study
    (folder / "Snakefile").write_text(script("# Snakefile"))
    subprocess.run(["snakemake", "-c", "2"], cwd=folder, env=environment, check=True, capture_output=True)
    maps = files_below(folder / "maps")
    assert {f"sub-{label}/dwi/sub-{label}_run.json" for label in ("01", "02")} <= maps
