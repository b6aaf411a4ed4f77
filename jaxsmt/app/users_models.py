"""Models of users' files: run, tried, and blamed for what they raise, with file, line and reason."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import InputError, JaxsmtError

if TYPE_CHECKING:
    from ..models.model import SphericalMeanModel
    from ..physics.compartments import Compartment


@contextmanager
def blamed(file: Path | None) -> Iterator[None]:
    """Whatever code of a user's file raises inside ends as an InputError that names the file, the line and the reason.

    What is raised elsewhere goes on as it is, and so does Ctrl-C.

    Args:
        file: of the model; None: there is none.
    Raises:
        InputError: code of the file raised something.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file may raise
        line = None if file is None else _line(error, file)
        if line is None or (isinstance(error, JaxsmtError) and error.file is not None):
            raise
        if isinstance(error, JaxsmtError):
            raise InputError(f"line {line}: {error.fact}", file=file, fix=error.fix) from error
        raise InputError(f"line {line}: {_reason(error)}", file=file, fix="mend this line of the model") from error


def _line(error: BaseException, file: Path) -> int | None:
    """The last line of a file that took part in an error; None: it did not."""
    file = file.resolve()
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).resolve() == file:
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file]
    return lines[-1] if lines else None


def _reason(error: BaseException) -> str:
    """The kind of an error, and the first line of its text."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}".rstrip(": ")


def run(file: Path, function: str) -> tuple[Any, Callable[[], Any]]:
    """What a function of a user's file returns, and the function.

    Raises:
        InputError: the file has no such function, or raises something.
    """
    # Not the file's name, which another file or a package may have too.
    name = "_jaxsmt_model_" + hashlib.sha256(os.fsencode(file.resolve())).hexdigest()[:16]
    folder = os.fspath(file.parent.resolve())
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.append(folder)  # last, so that its neighbours hide no package
    try:
        with _blamed_wholly(file, function), blamed(file):
            spec.loader.exec_module(module)
            build = getattr(module, function, None)
            if not callable(build):
                raise InputError(f"has no function {function}", file=file, fix=f"def {function}(): return ...")
            return build(), build
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)


@contextmanager
def _blamed_wholly(file: Path, function: str) -> Iterator[None]:
    """What is raised without a line of the file, as by a call with missing arguments, is the file's fault too."""
    try:
        yield
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:
        raise InputError(
            _reason(error), file=file, fix=f"import it in Python and call {function}() to see where"
        ) from error


def require_traceable(model: SphericalMeanModel, file: Path) -> None:
    """Try each function of a model on shapes alone, so that what JAX cannot trace is told before anything is compiled.

    Raises:
        InputError: a function raises something, or returns another shape or type than it should.
    """
    from ..models.links import Link

    for name, compartment in model.compartments:
        called = f"the compartment {name or compartment.kind!r}"
        for shape in ((), (4,)):
            _try_compartment(compartment, called, shape, file)
    for link in (*model.links, *model.derived):
        if isinstance(link, Link):
            values = [()] * len(link.sources)
            _try(link.function, values, (), f"the function of the link to {link.target}", file)
    if model.move is not None and not model.held:
        n, move = len(model.free), model.move
        whole = [()] * (2 * n)
        for i in range(n):
            _try(lambda *x, i=i: move(x[:n], x[n:])[i], whole, (), "move=", file)


def _try_compartment(compartment: Compartment, called: str, shape: tuple[int, ...], file: Path) -> None:
    """Try the functions of a compartment on parameters of a shape."""
    from ..acquisition.shells import Pulse

    pulse = Pulse(1.0, 10.0, 20.0, None, 60.0)
    values = [shape] * len(compartment.parameters)
    cosines = (*shape, 3)

    def mean(*parameters: Any) -> Any:
        return compartment.spherical_mean(pulse, *parameters)

    def moments(*parameters: Any) -> Any:
        return compartment.moments(pulse, 2, *parameters)

    def attenuation(x: Any, *parameters: Any) -> Any:
        return compartment.at(pulse, x, *parameters)

    if values or shape == ():
        _try(attenuation, [(3,), *values], cosines if values else (3,), f"the attenuation of {called}", file)
        _try(moments, values, (*shape, 2), f"the table of Legendre moments of {called}", file)
        _try(mean, values, shape, f"the mean of {called}", file)


def _try(
    function: Callable[..., Any], shapes: Sequence[tuple[int, ...]], expected: tuple[int, ...], what: str, file: Path
) -> None:
    """Trace a function for arguments of these shapes, and check the shape of what it returns."""
    import jax
    import numpy as np

    arguments = [jax.ShapeDtypeStruct(shape, np.dtype(np.float32)) for shape in shapes]
    try:
        with blamed(file):
            found = jax.eval_shape(function, *arguments)
    except (KeyboardInterrupt, InputError):
        raise
    except BaseException as error:
        raise InputError(
            f"{what} cannot be traced: {_reason(error)}", file=file, fix="use functions of jax.numpy"
        ) from error
    shape = getattr(found, "shape", None)
    if shape != expected:
        kind = f"the shape {shape}" if shape is not None else f"something of type {type(found).__name__}"
        raise InputError(
            f"{what} returns {kind} for parameters of shape {shapes[-1] if shapes else ()}, and should return "
            f"{expected}",
            file=file,
            fix="write it elementwise, of jax.numpy",
        )
    if not np.issubdtype(found.dtype, np.floating):
        raise InputError(f"{what} returns the type {found.dtype}", file=file, fix="return real floating numbers")
