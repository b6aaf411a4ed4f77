"""jaxsmt: microstructure maps from multi-shell diffusion MRI with the Spherical Mean Technique."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Where each public name lives. They are loaded on first use, so that `import jaxsmt`, the command
# line's --help and its input checks do not wait for JAX.
_PUBLIC = {
    "Acquisition": "schemes",  # which knows JAX
    "Compartment": "compartments",
    "Fit": "fitting",
    "FodFit": "fods",
    "FodModel": "fods",
    "InputError": "errors",
    "JaxsmtError": "errors",
    "JaxsmtWarning": "errors",
    "Link": "links",
    "Parameter": "compartments",
    "Pulse": "acquisition",
    "SphericalMeanModel": "models",
    "Status": "solvers",
    "ball": "compartments",
    "ball_stick": "presets",
    "bingham": "orientation",
    "check_compartment": "contracts",
    "check_solver": "contracts",
    "crlb": "uncertainty",
    "dot": "compartments",
    "estimate": "estimation",
    "equal": "links",
    "fisher_information": "uncertainty",
    "first_order": "solvers",
    "fit": "fitting",
    "fixed": "links",
    "fraction": "links",
    "lbfgs": "solvers",
    "levenberg_marquardt": "solvers",
    "mcsmt": "presets",
    "optimistix_minimiser": "solvers",
    "ordering": "links",
    "sandi": "presets",
    "smt": "presets",
    "smt_noddi": "presets",
    "sphere": "compartments",
    "stick": "compartments",
    "tortuosity": "links",
    "watson": "orientation",
    "zeppelin": "compartments",
    "Solver": "solvers",
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
    from .acquisition import Acquisition, Pulse
    from .compartments import Compartment, Parameter, ball, dot, sphere, stick, zeppelin
    from .contracts import check_compartment, check_solver
    from .errors import InputError, JaxsmtError, JaxsmtWarning
    from .estimation import estimate
    from .fitting import Fit, fit
    from .fods import FodFit, FodModel
    from .links import Link, equal, fixed, fraction, ordering, tortuosity
    from .models import SphericalMeanModel
    from .orientation import bingham, watson
    from .presets import ball_stick, mcsmt, sandi, smt, smt_noddi
    from .solvers import Solver, Status, first_order, lbfgs, levenberg_marquardt, optimistix_minimiser
    from .uncertainty import crlb, fisher_information
