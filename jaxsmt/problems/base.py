"""What a problem of one voxel must have, so that searches, chunks, results and their errors are written once.

A `Search` is what a solver minimises. An `Estimation` says how a voxel's data become one, and what the minimum means.
Both are frozen dataclasses without arrays, as programs are compiled for them. `batch` maps their methods over voxels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array

from ..solvers import Point, Problem

Leaf = Any  #: an array: JAX's of one voxel inside a program, NumPy's of many voxels, (voxels, …), outside


@runtime_checkable
class Search(Protocol):
    """The minimum that is searched for in one voxel; `data` is a pytree of its numbers.

    Attributes:
        kind: "kernels" or "fods"; `batch.sizes` has the sizes of each.
        size: degrees of freedom of a step. n_starts: how many starting points `starts` gives.
        stride: steps between two exchanges of finished voxels for fresh ones; most voxels are done after a few.
    """

    @property
    def kind(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def n_starts(self) -> int: ...
    @property
    def stride(self) -> int: ...

    def starts(self, data: Any) -> Point:
        """Starting points, (n_starts,) each coordinate."""

    def problem_of(self, data: Any) -> Problem:
        """The bounded problem that a solver minimises."""

    def trial(self, selective: bool) -> Trial | None:
        """How the best of several starting points is chosen; None: all are searched from to their end.

        selective: minima above a cost are of no use, so that an easier choice will do.
        """


class Trial(NamedTuple):
    """A few steps from each starting point; only the best point goes on. easier: a search that takes them instead."""

    steps: int
    easier: Easier | None = None


class Easier(NamedTuple):
    """A search of the same points whose cost is nearly the same and faster to compute.

    summary: from the data of the whole search, what the easier one reads of a voxel; data_of: of that, its `data`.
    """

    search: Search
    summary: Callable[[Any], Any]
    data_of: Callable[[Any], Any]


class Prepared(NamedTuple):
    """A voxel before its search.

    varying: what the search reads of this voxel alone. for_results: what only its results need. worth: the cost below
    which a minimum is of use, so that a search that will not get there may be given up; None: every minimum is.
    earlier: the point where a search of nearly the same data ended, (numbers of a point,); the search starts there and
    nowhere else. NaN or None: there is none.
    """

    varying: Any
    for_results: Any
    worth: Array | None = None
    earlier: Array | None = None


class Results(NamedTuple):
    """What the minimum of one voxel means.

    maps: everything by name, in units of the data. at_bound: whether a parameter is at its bound.
    usable, finite: whether the voxel has a usable signal, and whether its numbers are finite.
    """

    maps: dict[str, Array]
    at_bound: Array
    usable: Array
    finite: Array


@runtime_checkable
class Estimation(Protocol):
    """From one voxel's data to results by name.

    `voxel` is what differs between voxels, `shared` what all have in common; pytrees of arrays.
    """

    @property
    def search(self) -> Search: ...

    def prepare(self, voxel: Any, shared: Any) -> Prepared:
        """What is computed once for a voxel."""

    def data(self, varying: Any, shared: Any) -> Any:
        """The `data` of the search."""

    def results(self, prepared: Prepared, shared: Any, x: Point, cost: Array) -> Results:
        """What a point means; cost: that of the search there."""

    def uncertainty(self, voxel: Any, shared: Any, x: Point) -> Any:
        """Standard deviations of the estimate, and what else is known of its noise."""
