"""Solvers of one voxel's bounded least-squares problem.

`base` says what a solver is, and `contract` checks it. This room imports nothing of jaxsmt but its errors.
"""

from .adjoint import Minimum, implicit, unrolled
from .base import Normal, Point, Problem, Solver
from .box import in_box
from .first_order import first_order
from .lm import levenberg_marquardt
from .unbounded import lbfgs, optimistix_minimiser

__all__ = [
    "Minimum",
    "Normal",
    "Point",
    "Problem",
    "Solver",
    "first_order",
    "implicit",
    "in_box",
    "lbfgs",
    "levenberg_marquardt",
    "optimistix_minimiser",
    "unrolled",
]
