"""jaxsmt: microstructure maps from multi-shell diffusion MRI with the Spherical Mean Technique."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public names by the module that has them. They are loaded on first use, so that `import jaxsmt`, the command
# line's --help and its input checks do not wait for JAX.
_NAMES = {
    "acquisition.pytree": ("Acquisition",),
    "acquisition.shells": ("Pulse",),
    "errors": ("InputError", "JaxsmtError", "JaxsmtWarning"),
    "fitting.estimate": ("estimate",),
    "fitting.fit": ("fit",),
    "fitting.fod_results": ("FodFit",),
    "fitting.results": ("Fit", "FodModel"),
    "fitting.settings": ("Settings",),
    "models.contract": ("check_compartment", "check_solver"),
    "models.information": ("crlb", "fisher_information"),
    "models.links": ("Link", "equal", "fixed", "fraction", "ordering", "tortuosity"),
    "models.model": ("SphericalMeanModel",),
    "models.presets": ("ball_stick", "mcsmt", "sandi", "smt", "smt_noddi"),
    "models.priors": ("NormalPrior",),
    "physics.compartments": ("Compartment", "Parameter", "ball", "dot", "sphere", "stick", "zeppelin"),
    "physics.densities.base": ("Density", "axial_density"),
    "physics.densities.bingham": ("bingham",),
    "physics.densities.watson": ("watson",),
    "solvers": ("Solver", "first_order", "lbfgs", "levenberg_marquardt", "optimistix_minimiser"),
    "status": ("Status",),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
_MODULES = {"signal": "physics.signal", "simulate": "simulate"}
__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'jaxsmt' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from . import simulate
    from .acquisition.acquisition import Acquisition
    from .acquisition.shells import Pulse
    from .errors import InputError, JaxsmtError, JaxsmtWarning
    from .fitting.estimate import estimate
    from .fitting.fit import fit
    from .fitting.fod_results import FodFit
    from .fitting.results import Fit, FodModel
    from .fitting.settings import Settings
    from .models.contract import check_compartment, check_solver
    from .models.information import crlb, fisher_information
    from .models.links import Link, equal, fixed, fraction, ordering, tortuosity
    from .models.model import SphericalMeanModel
    from .models.presets import ball_stick, mcsmt, sandi, smt, smt_noddi
    from .models.priors import NormalPrior
    from .physics import signal
    from .physics.compartments import Compartment, Parameter, ball, dot, sphere, stick, zeppelin
    from .physics.densities.base import Density, axial_density
    from .physics.densities.bingham import bingham
    from .physics.densities.watson import watson
    from .solvers import Solver, first_order, lbfgs, levenberg_marquardt, optimistix_minimiser
    from .status import Status
