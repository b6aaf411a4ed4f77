"""Solvers of one voxel's bounded least-squares problem; `base` has the contract."""

from .adjoint import Minimum, implicit, unrolled
from .base import Normal, Point, Problem, Solver, Status
from .box import in_box
from .lm import levenberg_marquardt

__all__ = [
    "Minimum",
    "Normal",
    "Point",
    "Problem",
    "Solver",
    "Status",
    "implicit",
    "in_box",
    "levenberg_marquardt",
    "unrolled",
]
