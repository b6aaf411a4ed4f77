"""The one room that batches: a chunk of voxels of fixed size in one compiled program."""

from .expectations import (
    IdealVolumes,
    fod_signals,
    ideal_volumes,
    kernel_means,
    lobe_densities,
    lobe_harmonics,
    sigmas,
)
from .fits import LobeFits, VoxelFits, fit_lobes, fit_means, minimum, outcome
from .lanes import LANES

__all__ = [
    "LANES",
    "IdealVolumes",
    "LobeFits",
    "VoxelFits",
    "fit_lobes",
    "fit_means",
    "fod_signals",
    "ideal_volumes",
    "kernel_means",
    "lobe_densities",
    "lobe_harmonics",
    "minimum",
    "outcome",
    "sigmas",
]
