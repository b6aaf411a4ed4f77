"""`--second-solution` on the command line: maps of second solutions, and what `check` expects."""

import json

import numpy as np

from tests.app.commands import PARAMETERS, load, map_files, run


def test_second_solutions_are_written_and_expected(folder, capsys):
    assert run(folder, "--second-solution", "--sigma", "20", "--no-report") == 0
    names = [*PARAMETERS, "second", "secondlambdapar", "secondfraction"]
    assert map_files(names) <= {path.name for path in (folder / "out").iterdir()}
    marked = np.asarray(load(folder, "second").dataobj)
    assert set(np.unique(marked)) <= {0, 1}
    fraction = load(folder, "fraction").get_fdata()
    assert np.all(fraction[marked == 1] > 0.9)
    sidecar = json.loads((folder / "out" / "sub-01_model-smt_param-secondlambdapar_dwimap.json").read_text())
    assert sidecar["Units"] == "um2/ms"
    capsys.readouterr()
    assert run(folder, command="check") == 0
    said = capsys.readouterr().out
    assert "nearly isotropic estimates of anisotropic tissue to expect (--second-solution): " in said
    assert " % of white matter, " in said
    assert run(folder, "--second-solution", "--model", "mcsmt", command="check") == 2
    assert "--second-solution with the mcsmt model" in capsys.readouterr().err
