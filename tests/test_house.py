"""The house: lengths, imports of the public names, and docstrings of everything that users call."""

import ast
import inspect
import re
import types
from pathlib import Path

import pytest

import jaxsmt as js

PACKAGE = Path(js.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
#: Rooms that may use the public names, as users do.
OUTER = ("dmipy",)


def name_of(path):
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_are_short(path):
    """A file is one room's furniture, a function one thought: what grows longer must be divided."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1 - length_of_docstring(node)}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 - length_of_docstring(node) > 60
    ]
    assert not long


def length_of_docstring(node):
    first = node.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return first.end_lineno - first.lineno + 1 if is_docstring else 0


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_rooms_import_each_other_and_not_the_public_names(path):
    """`import jaxsmt` inside a room would hide which room it needs, and circles with it, from the import tool."""
    if path.relative_to(PACKAGE).parts[0] in OUTER:
        return
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not [alias.name for alias in node.names if alias.name.split(".")[0] == "jaxsmt"]
        if isinstance(node, ast.ImportFrom) and node.level == depth and node.module is None:
            rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir()} | {p.stem for p in PACKAGE.glob("*.py")}
            assert {alias.name for alias in node.names} <= rooms


def public_objects():
    """(name, object) of every public name, the functions of `js.signal` and `js.simulate`, and public methods."""
    for name in js.__all__:
        value = getattr(js, name)
        if isinstance(value, types.ModuleType):
            for member, function in vars(value).items():
                home = getattr(function, "__module__", "")  # of a folder's names, one of its files
                defined_here = home == value.__name__ or home.startswith(f"{value.__name__}.")
                if not member.startswith("_") and defined_here and callable(function):
                    yield f"{name}.{member}", function
                    yield from methods_of(f"{name}.{member}", function)
        elif callable(value):
            yield name, value
            yield from methods_of(name, value)


def methods_of(name, value):
    if inspect.isclass(value) and not issubclass(value, Exception):
        for member, attribute in vars(value).items():
            function = getattr(attribute, "__func__", attribute)
            if not member.startswith("_") and inspect.isfunction(function):
                yield f"{name}.{member}", function


def missing_parts(name, value):
    """What a public docstring lacks: a sentence, its parameters, what is returned and raised, an example."""
    value = inspect.unwrap(value)
    doc = inspect.getdoc(value) or ""
    parameters = (
        [p for p in inspect.signature(value).parameters.values() if p.name not in ("self", "cls")]
        if inspect.isfunction(value)
        else []
    )
    lacks = [] if re.match(r"\S.*[.:?]", doc, re.S) else ["a sentence"]
    lacks += [f"the parameter {p.name}" for p in parameters if not re.search(rf"\b{re.escape(p.name)}\b", doc)]
    if parameters and not re.search(r"^\s*(Args|Attributes):", doc, re.M):
        lacks.append("Args:")
    if inspect.isfunction(value):
        source = inspect.getsource(value)
        returns = inspect.signature(value).return_annotation
        if returns not in (None, "None", inspect.Signature.empty) and not re.search(r"^\s*Returns:", doc, re.M):
            lacks.append("Returns:")
        if re.search(r"^\s+raise \w", source, re.M) and "Raises:" not in doc:
            lacks.append("Raises:")
    is_method = name.count(".") and name.split(".")[0] not in ("signal", "simulate")
    if not is_method and not issubclass_exception(value) and ">>>" not in doc:
        lacks.append("an example")
    return lacks


def issubclass_exception(value):
    return inspect.isclass(value) and issubclass(value, Exception)


@pytest.mark.parametrize(("name", "value"), list(public_objects()), ids=lambda v: v if isinstance(v, str) else "")
def test_public_names_are_documented(name, value):
    """Users read docstrings before anything else: none may lack its arguments, results, errors or example."""
    assert not missing_parts(name, value)


def test_no_room_has_the_name_of_a_public_object():
    """Importing a folder puts it into the package under its name, in place of the public object."""
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} | {path.stem for path in PACKAGE.glob("*.py")}
    assert rooms & set(js.__all__) == {"simulate"}  # which is that room
