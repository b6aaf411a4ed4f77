"""Options are declared once: the command line, sidecars and the report follow from the declarations."""

import json
import subprocess
import sys

import pytest

from jaxsmt.app import parser
from jaxsmt.app.request import Request, make_request
from jaxsmt.errors import InputError
from jaxsmt.fitting.settings import Settings, options_of
from jaxsmt.models import presets
from jaxsmt.physics import densities, noises
from tests.app.commands import run

DECLARED = {**options_of(Request), **options_of(Settings)}


def parse(*words):
    return make_request(vars(parser.make_parser().parse_args([*words])))


def help_of(command, capsys):
    with pytest.raises(SystemExit):
        parser.make_parser().parse_args([command, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_every_option_is_a_flag_with_its_help_and_default(capsys):
    said = help_of("fit", capsys)
    for name, (declared, field) in DECLARED.items():
        if declared.flag is None:
            continue
        assert name == "dwi" or "--" + name.replace("_", "-") in said
        if isinstance(field.default, str) and "default" not in declared.flag:
            assert f"(default: {field.default})" in said
    for names in (noises.names(), densities.names(), presets.names()):
        assert all(name in said for name in names)


def test_check_takes_every_option_of_fit_that_changes_the_fit(capsys):
    said = help_of("check", capsys)
    for name, (declared, _) in DECLARED.items():
        if declared.flag is not None and declared.fact is not None:
            assert "--" + name.replace("_", "-") in said
    assert "--overwrite" not in said


def test_flags_without_values_are_the_defaults_of_python():
    request = parse("fit", "dwi.nii.gz", "-o", "out")
    assert request.n_fibres == 1
    settings = {name: value for name, value in request.settings.items() if name != "sigma"}
    assert Settings(**settings).changed() == []
    assert request.settings["sigma"] == "auto"


def test_flags_reach_the_request():
    request = parse(
        *("fit", "dwi.nii.gz", "-o", "out", "--noise", "noncentral-chi", "--coils", "4", "--prior", "--fod", "watson"),
        *("--fibres", "auto", "--delta", "12.9", "--Delta", "21.8", "--shell-gap", "60"),
    )
    assert (request.fod, request.n_fibres, request.shell_gap) == ("watson", "auto", 60.0)
    assert (request.delta, request.Delta) == (12.9, 21.8)
    assert (request.settings["noise"], request.settings["coils"]) == ("noncentral-chi", 4)
    assert request.settings["prior"] == "population"


@pytest.mark.parametrize("words", [["--noise", "poisson"], ["--fod", "fisher"], ["--fibres", "4"], ["--coils", "two"]])
def test_values_that_no_option_has_are_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        parse("fit", "dwi.nii.gz", "-o", "out", *words)
    assert end.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_a_request_checks_its_values_in_python_too(tmp_path):
    with pytest.raises(InputError, match="fod='fisher' is unknown"):
        Request(tmp_path / "dwi.nii.gz", fod="fisher")


def test_sidecars_and_report_tell_every_option_that_changes_the_fit(folder):
    """All facts that options declare, without a list of them in between."""
    scheme = ("--shell-gap", "80", "--delta", "10", "--Delta", "20", "--b-shape", "1", "--echo-time", "90")
    assert run(folder, "--s0", "mean", *scheme) == 0
    sidecar = json.loads((folder / "out" / "sub-01_model-smt_param-md_dwimap.json").read_text())
    expected = {name for name, (declared, _) in DECLARED.items() if declared.fact is not None} - {"fibres"}
    assert set(sidecar["options"]) == expected
    assert sidecar["options"]["s0"] == "mean"
    assert sidecar["options"]["shell_gap"] == 80
    assert sidecar["options"]["Delta"] == 20
    assert json.loads((folder / "out" / "sub-01_run.json").read_text())["options"] == sidecar["options"]
    page = (folder / "out" / "report.html").read_text()
    assert '<th scope="row">s0</th><td>mean</td>' in page
    assert '<th scope="row">shell gap</th><td>80</td>' in page


def test_help_does_not_wait_for_jax():
    code = (
        "import sys, runpy\n"
        "sys.argv = ['jaxsmt', 'fit', '--help']\n"
        "try:\n    runpy.run_module('jaxsmt', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "assert not {'jax', 'jaxlib', 'matplotlib'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: jaxsmt fit" in done.stdout
