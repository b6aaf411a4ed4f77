"""Solvers of one voxel's bounded least-squares problem; `base` has the contract."""

from .base import Normal, Point, Problem, Solver, Status
from .box import in_box
from .lm import levenberg_marquardt

__all__ = ["Normal", "Point", "Problem", "Solver", "Status", "in_box", "levenberg_marquardt"]
