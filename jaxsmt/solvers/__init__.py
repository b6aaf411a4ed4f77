"""Solvers of one voxel's bounded least-squares problem; `base` has the contract."""

from .base import Solver, Status
from .lm import levenberg_marquardt

__all__ = ["Solver", "Status", "levenberg_marquardt"]
