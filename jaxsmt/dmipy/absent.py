"""dmipy's modules that are not covered: importing one says so, as using one of its names does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from ..errors import NotCoveredError

#: Modules and packages of dmipy 1.0.5 that have no counterpart here, below its root.
MODULES = (
    "core.constants",
    "core.gradient_conversions",
    "core.signal_model_properties",
    "custom_optimizers",
    "custom_optimizers.intra_voxel_incoherent_motion",
    "custom_optimizers.single_shell_three_tissue_csd",
    "data.saved_data",
    "hcp_interface",
    "hcp_interface.downloader_aws",
    "optimizers",
    "optimizers.amico_cvxpy",
    "optimizers.brute2fine",
    "optimizers.mix",
    "optimizers.multi_tissue_convex_optimizer",
    "optimizers_fod",
    "optimizers_fod.csd_cvxpy",
    "optimizers_fod.csd_tournier",
    "signal_models.capped_cylinder_models",
    "signal_models.plane_models",
    "signal_models.tissue_response_models",
    "tissue_response",
    "tissue_response.three_tissue_response",
    "tissue_response.white_matter_response",
    "utils",
    "utils.construct_observation_matrix",
    "utils.spherical_convolution",
    "utils.spherical_mean",
    "utils.utils",
    "version",
)


class _Absent(MetaPathFinder):
    """Asked last, for modules that nobody has found.

    Attributes:
        package: the name under which dmipy's root is.
    """

    def __init__(self, package: str):
        self.package = package

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for a module that dmipy does not have either.

        Raises:
            NotCoveredError: dmipy has the module.
        """
        if fullname.removeprefix(f"{self.package}.") in MODULES and fullname.startswith(f"{self.package}."):
            raise NotCoveredError(
                f"{self.package} does not cover {fullname.removeprefix(f'{self.package}.')}",
                fix="it has the spherical mean models, their compartments and FODs: help(jaxsmt.dmipy)",
            )
        return None


def install(package: str) -> None:
    """Let imports of what is not covered say so.

    Args:
        package: the name under which dmipy's root is.
    """
    if not any(isinstance(finder, _Absent) and finder.package == package for finder in sys.meta_path):
        sys.meta_path.append(_Absent(package))
