"""Solvers of one voxel's bounded least-squares problem; `base` has the contract."""

from .base import Problem, Solver, Status
from .lm import levenberg_marquardt

__all__ = ["Problem", "Solver", "Status", "levenberg_marquardt"]
