"""jaxsmt: microstructure maps from multi-shell diffusion MRI with the Spherical Mean Technique.

The public names are listed in `__init__.pyi`. Each is loaded on first use, so that `import jaxsmt`, the command line's
--help and its input checks do not wait for JAX.
"""

import ast
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from . import display as _display
from .version import __version__ as __version__

# Before JAX is loaded. On some Intel processors its compiler prints a page of errors for each program from a cache,
# about features that are hints and no instructions; what is wrong raises an exception anyway.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# (module, name) of each public name, as the stub imports them; "from . import x" is a module of its own.
_HOMES = {
    alias.name: (node.module, alias.name)
    for node in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
__all__ = list(_HOMES)
_display.found_by(lambda name: import_module(f"{__name__}.report.{name}"))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'jaxsmt' has no attribute {name!r}")
    home, attribute = _HOMES[name]
    module = import_module(f"{__name__}.{home}") if home else import_module(__name__)
    value = getattr(module, attribute, None) if home else None
    if value is None:  # a module
        value = import_module(f"{__name__}.{home}.{attribute}" if home else f"{__name__}.{attribute}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
