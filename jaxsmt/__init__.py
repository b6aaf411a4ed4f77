"""jaxsmt: microstructure maps from multi-shell diffusion MRI with the Spherical Mean Technique."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Where each public name lives. They are loaded on first use, so that `import jaxsmt`, the command
# line's --help and its input checks do not wait for JAX.
_PUBLIC = {
    "Acquisition": "acquisition",
    "Fit": "fitting",
    "FodFit": "fods",
    "FodModel": "fods",
    "InputError": "errors",
    "JaxsmtError": "errors",
    "JaxsmtWarning": "errors",
    "SphericalMeanModel": "models",
    "Status": "solvers",
    "bingham": "orientation",
    "fit": "fitting",
    "levenberg_marquardt": "solvers",
    "smt": "models",
    "watson": "orientation",
    "signal": None,
    "simulate": None,
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'jaxsmt' has no attribute {name!r}")
    home = _PUBLIC[name]
    module = import_module(f"{__name__}.{home or name}")
    value = globals()[name] = getattr(module, name) if home else module
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from . import signal, simulate
    from .acquisition import Acquisition
    from .errors import InputError, JaxsmtError, JaxsmtWarning
    from .fitting import Fit, fit
    from .fods import FodFit, FodModel
    from .models import SphericalMeanModel, smt
    from .orientation import bingham, watson
    from .solvers import Status, levenberg_marquardt
