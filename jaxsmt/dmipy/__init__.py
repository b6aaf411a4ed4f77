"""dmipy 1.0.5's spherical mean interface over jaxsmt: change the import and keep the script.

The module paths, names, order of parameters, SI units (b in s/m², diffusivities in m²/s, times in s) and
orientations [θ, φ] (inclination from +z, azimuth) are dmipy's; fits and signals are jaxsmt's. Where they differ:

- a shell's spherical mean is jaxsmt's, by harmonics of the order that its directions determine. The objective is
  dmipy's: equal weights of the shells, S0 the mean of the b = 0 volumes, diffusivities in (0.1, 3) µm²/ms.
- all voxels are fitted until they have converged; `Ns`, `maxiter`, `N_sphere_samples`, `use_parallel_processing` and
  `number_of_processors` are accepted and make no difference.
- FODs have ODI in [0.005, 1] and partial volumes in [0, 1], instead of (0.02, 0.99) and (0.01, 0.99).
- of the lines that a fit prints, only the last two remain, voxels and seconds.
- `peaks_spherical` and `peaks_cartesian` are (..., N, 2) and (..., N, 3) for any number N of compartments.
- a spherical mean model of `SD1WatsonDistributed` or `SD2BinghamDistributed` does not have the distribution's
  parameters, on which its signal does not depend.
- `wu_minn_hcp_acquisition_scheme` has the b-values and times of the protocol, and other directions.
- directions are in the axes of the script's table, which a scheme does not name: `native.save` asks for them.
- two fractional links do not disturb each other, and the fractions of three and more compartments are right in
  FOD models too.

What dmipy has and this does not raises `NotCoveredError`, which says so, by `import` too; what dmipy does not have
either is not found.

In: a dmipy script. Out: dmipy's names and SI units; `native` of a result is jaxsmt's. Imports jaxsmt's public names, as
users do, and what is not public from `fitting` and below; nothing imports it.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..errors import NotCoveredError
from . import absent

absent.install(__name__)


def refuse(
    module: str, covered: Sequence[str], others: Sequence[str], package: str = "", fix: str = ""
) -> Callable[[str], Any]:
    """A module's `__getattr__` that says which of dmipy's names are not covered.

    Args:
        module: what dmipy calls the module.
        covered: the names that are here; in a package these are modules, which are loaded on first use.
        others: the other names of dmipy's module.
        package: full name of the package, if the module is one.
        fix: what to do instead; by default one of the names that are here.

    Returns:
        the function. It raises AttributeError for names that dmipy does not have: tools look for such names.
    """

    def missing(name: str) -> Any:
        """Load a module that is covered, or raise."""
        if package and name in covered:
            return import_module(f"{package}.{name}")
        if name in others:
            raise NotCoveredError(
                f"jaxsmt.dmipy does not cover {module}.{name}", fix=fix or f"it has {', '.join(covered)}"
            )
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return missing


__getattr__ = refuse(
    "dmipy",
    ("core", "data", "distributions", "signal_models"),
    tuple(name for name in absent.MODULES if "." not in name),
    __name__,
)
