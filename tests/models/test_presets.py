"""Models that come with jaxsmt: a file is one."""

import subprocess
import sys

import pytest

import jaxsmt as js
from jaxsmt.models import presets


def test_a_file_is_a_model(tmp_path, monkeypatch):
    """Python and the command line know the same ones, and one new file is one new model."""
    assert presets.names() == ("ball_stick", "mcsmt", "sandi", "smt", "smt_noddi")
    for name in presets.names():
        assert presets.find(name) is getattr(js, name)
    (tmp_path / "mine.py").write_text(
        "import jaxsmt as js\n\n\ndef mine():\n    return js.SphericalMeanModel(js.ball())\n"
    )
    monkeypatch.setattr(presets, "__path__", [*presets.__path__, str(tmp_path)])
    assert "mine" in presets.names()
    assert presets.find("mine")().parameter_names == ["diffusivity"]
    del sys.modules[f"{presets.__name__}.mine"], presets.mine


def test_an_unknown_model_is_refused():
    with pytest.raises(js.InputError, match="model='noddi' is unknown") as caught:
        presets.find("noddi")
    assert "model='smt'" in caught.value.fix


def test_names_need_no_jax():
    code = "import sys; from jaxsmt.models import presets, priors; presets.names(); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", presets.names())
def test_presets_are_complete(name):
    """Each can be made again as the same model, and typical values are those of all its free parameters."""
    model = presets.find(name)()
    assert model == presets.find(name)()
    for _, typical in model.tissues:
        assert set(dict(typical)) == set(model.parameter_names)
    for p in model.free:
        assert p.lower <= (p.typical if p.typical is not None else p.lower) <= p.upper
    if model.population is not None:
        assert set(model.population.names) <= set(model.names)
