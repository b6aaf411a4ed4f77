"""Users' models: whatever their code does, the user is told the file, the line and the reason."""

import re

import pytest

from jaxsmt.app import catalogue, workflow
from jaxsmt.errors import InputError
from jaxsmt.fitting.pipeline import Pipeline, Programs
from tests.app.commands import run

HEAD = "import jax\nimport jax.numpy as jnp\nimport jaxsmt as js\n"
ZEPPELIN = "(js.Parameter('rate', 0.1, 3.0, unit='um2/ms'),)"


def compartment(attenuation, more=""):
    """A model of one compartment; its attenuation is line 5."""
    return (
        f"def build():\n    def k(pulse, x, rate):\n        {attenuation}\n    return "
        f"js.SphericalMeanModel(js.Compartment('mine', {ZEPPELIN}, k{more}), name='mine')\n"
    )


#: What a file says after its three imports, and what the message must say of it.
FILES = {
    "raises at import": ("raise KeyError('at once')", "line 4: KeyError: 'at once'"),
    "leaves at import": ("import sys; sys.exit(0)", "line 4: SystemExit: 0"),
    "leaves without a word": ("raise SystemExit", "line 4: SystemExit"),
    "generator's exit": ("raise GeneratorExit('g')", "line 4: GeneratorExit: g"),
    "base exception of its own": ("class Mine(BaseException): pass\nraise Mine('x')", "line 5: Mine: x"),
    "no Python": ("def build(:\n    return", "line 4: SyntaxError"),
    "wrong indentation": ("def build():\nreturn 3", "line 5: IndentationError"),
    "no module": ("import nowhere_at_all", "line 4: ModuleNotFoundError"),
    "recursion": ("def build():\n    return build()", "line 5: RecursionError"),
    "memory": ("def build():\n    raise MemoryError('much')", "line 5: MemoryError: much"),
    "unicode": ("def build():\n    raise ValueError('\\u03bb\\u2225')", "line 5: ValueError: λ∥"),
    "assertion": ("def build():\n    assert False", "line 5: AssertionError"),
    "arguments": ("def build(x):\n    return js.smt()", "TypeError: .*missing 1 required"),
    "no function": ("x = 3", "has no function build"),
    "no callable": ("build = 3", "has no function build"),
    "no model": ("def build():\n    return 3", r"build\(\) returned int"),
    "nothing": ("def build():\n    pass", r"build\(\) returned NoneType"),
    "the class": ("def build():\n    return js.SphericalMeanModel", r"build\(\) returned type"),
    "nothing to fit": ("def build():\n    return js.smt().fix(lambda_par=1.7, fraction=0.3)", "nothing to fit"),
    "NaN bound": (
        "def build():\n    return js.smt().bound(lambda_par=(0.1, float('nan')))",
        "line 5: lambda_par is NaN",
    ),
    "NaN value": ("def build():\n    return js.smt().fix(lambda_par=float('nan'))", "line 5: lambda_par is NaN"),
    "bounds exchanged": (
        "def build():\n    return js.smt().bound(lambda_par=(2.0, 1.0))",
        "line 5: bounds of lambda_par",
    ),
    "unknown parameter": ("def build():\n    return js.smt().fix(speed=3.0)", "line 5: no parameter 'speed'"),
    "raises when traced": (compartment("raise KeyError('traced')"), "line 6: KeyError: 'traced'"),
    "leaves when traced": (compartment("raise SystemExit(3)"), "line 6: SystemExit: 3"),
    "Python's if": (compartment("return x if rate > 1 else -x"), "line 6: TracerBoolConversionError"),
    "NumPy's numbers": (compartment("return float(rate) * x"), "line 6: (TypeError|ConcretizationTypeError)"),
    "divides by zero": (compartment("return x / (1 / 0)"), "line 6: ZeroDivisionError"),
    "nothing when traced": (
        compartment("pass"),
        "attenuation of the compartment 'mine' returns something of type NoneType",
    ),
    "sum over directions": (compartment("return jnp.sum(jnp.exp(-pulse.b * rate * x))"), r"returns the shape \(\)"),
    "one direction too few": (compartment("return jnp.exp(-pulse.b * rate * x)[..., 1:]"), r"returns the shape \(2,\)"),
    "a list": (compartment("return [x, x]"), "returns something of type list"),
    "whole numbers": (compartment("return (x * rate).astype(int)"), "returns the type int32"),
    "complex numbers": (compartment("return jax.lax.complex(x * rate, x * rate)"), "returns the type complex64"),
    "shape of the mean": (
        compartment("return jnp.exp(-pulse.b * rate * x**2)", ", mean=lambda pulse, rate: jnp.stack([rate, rate])"),
        r"the mean of the compartment 'mine' returns the shape \(2,\)",
    ),
    "shape of the moments": (
        compartment("return jnp.exp(-pulse.b * rate * x**2)", ", legendre=lambda pulse, lmax, rate: rate"),
        r"the table of Legendre moments of the compartment 'mine' returns the shape \(\)",
    ),
    "link that raises": (
        "def f(a):\n    raise RuntimeError('link')\ndef build():\n    return js.SphericalMeanModel(js.zeppelin(), "
        "links=[js.Link('lambda_perp', ('lambda_par',), f)])",
        "line 5: RuntimeError: link",
    ),
    "link of another shape": (
        "def build():\n    return js.SphericalMeanModel(js.zeppelin(), "
        "links=[js.Link('lambda_perp', ('lambda_par',), lambda a: jnp.ones(3) * a)])",
        r"the function of the link to lambda_perp returns the shape \(3,\)",
    ),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_is_told_what_it_raised_and_where(tmp_path, what):
    """At import, when built, and when traced on shapes, before anything is compiled."""
    text, message = FILES[what]
    path = tmp_path / "model.py"
    path.write_text(HEAD + text + "\n", "utf-8")
    with pytest.raises(InputError) as refused:
        catalogue.load(catalogue.locate(f"{path}:build"))
    assert re.search(message, refused.value.fact), refused.value.fact
    assert refused.value.file == str(path)
    assert refused.value.fix


def test_a_relative_path_is_blamed_too(tmp_path, monkeypatch):
    """As people name their file; Python makes the path absolute."""
    (tmp_path / "model.py").write_text(HEAD + "def build():\n    return 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="ZeroDivisionError") as refused:
        catalogue.load(catalogue.locate("model.py:build"))
    assert refused.value.fact.startswith("line ")


def test_ctrl_c_in_a_users_file_is_ctrl_c(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        catalogue.load(catalogue.locate(f"{path}:build"))


def test_the_command_line_says_it_in_one_message(folder, capsys):
    path = folder / "model.py"
    path.write_text(HEAD + FILES["leaves when traced"][0])
    assert run(folder, "--model", f"{path}:build") == 2
    said = capsys.readouterr().err
    assert f"{path}: line 6: SystemExit: 3\n  fix: " in said
    assert "Traceback" not in said
    assert not (folder / "out").exists()


def test_what_a_model_raises_later_is_the_files_fault_too(folder, capsys, monkeypatch):
    """As when only the compiler's thread asks for a function of it."""
    path = folder / "model.py"
    path.write_text(HEAD + "def later():\n    raise ArithmeticError('late')\ndef build():\n    return js.smt()\n")

    def prepare():
        namespace = {"__name__": "late"}
        exec(compile(path.read_text(), str(path), "exec"), namespace)
        namespace["later"]()

    monkeypatch.setattr(Pipeline, "programs", Programs([prepare], [], []))
    assert run(folder, "--model", f"{path}:build") == 2
    assert f"{path}: line 5: ArithmeticError: late" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_presets_are_nobodys_fault(folder, monkeypatch):
    """A mistake of jaxsmt's own is not hidden."""

    def prepare():
        raise ArithmeticError("ours")

    monkeypatch.setattr(Pipeline, "programs", Programs([prepare], [], []))
    with pytest.raises(ArithmeticError, match="ours"):
        workflow.run_fit(workflow.Request(folder / "sub-01_dwi.nii.gz", out=folder / "out"))
