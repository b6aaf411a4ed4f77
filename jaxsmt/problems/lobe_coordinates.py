"""How one lobe of a FOD is written as a point of a search, and how a step moves it.

A point is unit vectors, then dispersion indices (ODI of each concentration). A step turns the lobe's frame and changes
the indices, so directions move on the sphere itself, without angles and their seams. There is a record for densities
with one axis, and one for those with two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from ..geometry import frames
from ..geometry.frames import Vector
from ..physics.densities.base import Density, kappa_from_odi, odi_from_kappa
from ..solvers import Point


class Shape(NamedTuple):
    """A lobe as its maps have it: μ, μ₂ (0 where there is none), κ and β."""

    direction: Vector
    across: Vector
    kappa: Array
    beta: Array


class Coordinates(NamedTuple):
    """The coordinates of a kind of lobe, a record of functions.

    vectors, indices: how many of each a point has. turns: pairs of axes that a step turns in their plane.
    largest_index: how far an index may go in one step.
    frame: `(point) -> {"u": , "v": , "w": }`, the axes of the lobe.
    move: `(point, step, least index) -> point`. shape: `(point) -> Shape`.
    begin: `(axis, concentration) -> point`. begin_single: `(axis, across, concentration)` -> the points from which one
        lobe alone is searched; across: where its signal is widest.
    """

    vectors: int
    indices: int
    turns: tuple[tuple[str, str], ...]
    largest_index: float
    frame: Callable[[Point], dict[str, Vector]]
    move: Callable[[Point, Point, float], Point]
    shape: Callable[[Point], Shape]
    begin: Callable[[Vector, Array], Point]
    begin_single: Callable[[Vector, Vector, Array], list[Point]]

    @property
    def point(self) -> int:
        """Numbers of a point."""
        return 3 * self.vectors + self.indices

    @property
    def step(self) -> int:
        """Numbers of a step."""
        return len(self.turns) + self.indices

    def split(self, point: Point) -> tuple[Point, Point]:
        """The vectors' numbers, and the dispersion indices."""
        return point[: 3 * self.vectors], point[3 * self.vectors :]

    def limits(self, point: Point, least: float) -> tuple[Point, Point]:
        """The box of a step: turns have no limits, indices go from `least` to `largest_index`."""
        far = [(jnp.full_like(point[0], limit),) * len(self.turns) for limit in (-jnp.inf, jnp.inf)]
        _, indices = self.split(point)
        lower = (*far[0], *(least - o for o in indices))
        return lower, (*far[1], *(self.largest_index - o for o in indices))

    def at_bound(self, point: Point, least: float, margin: float) -> list[Array]:
        """Whether the lobe is as narrow as it may be in a plane, or isotropic."""
        _, indices = self.split(point)
        return [*(o < least + margin for o in indices), reduce(jnp.minimum, indices) > 1 - margin]


def slope(kappa: Array) -> Array:
    """dκ/dODI."""
    return -(math.pi / 2) * (1 + kappa**2)


def _half_turn(step: Array) -> Array:
    """tan φ of the rotation that a step turns by: φ = ½ arctan(2 step), never more than 45°.

    That is how far the axes of the matrix B of a lobe turn when the step is added to B itself. So a step stays sensible
    where a lobe is so broad that its axes are hardly determined.
    """
    return 2 * step / (1 + jnp.sqrt(1 + 4 * step**2))


# One axis.


def _axial_frame(point: Point) -> dict[str, Vector]:
    axis = point[:3]
    v, u = frames.across(axis)
    return {"u": u, "v": v, "w": axis}


def _axial_move(point: Point, step: Point, least: float) -> Point:
    *axis, odi = point
    e1, e2 = frames.across(tuple(axis))
    square = step[0] ** 2 + step[1] ** 2
    some = square > 0
    length = jnp.sqrt(jnp.where(some, square, 1))
    scale = jnp.where(some, _half_turn(length) / length, 1)  # at rest the derivative counts
    turn = frames.combine(scale * step[0], e1, scale * step[1], e2)
    return (*frames.unit(frames.combine(1, tuple(axis), 1, turn)), jnp.clip(odi + step[2], least, 1))


def _axial_shape(point: Point) -> Shape:
    zero = jnp.zeros_like(point[0])
    return Shape(point[:3], (zero,) * 3, kappa_from_odi(point[3]), zero)


def _axial_begin(axis: Vector, concentration: Array) -> Point:
    return (*axis, odi_from_kappa(concentration))


def _axial_begin_single(axis: Vector, across: Vector, concentration: Array) -> list[Point]:
    return [_axial_begin(axis, concentration)]


#: A density with one axis: μ and the ODI of κ.
AXIAL = Coordinates(
    vectors=1,
    indices=1,
    turns=(("w", "v"), ("w", "u")),
    largest_index=1.0,
    frame=_axial_frame,
    move=_axial_move,
    shape=_axial_shape,
    begin=_axial_begin,
    begin_single=_axial_begin_single,
)


# Two axes. At β = 0 and β = κ there is no bound: the axes change their names there.


def _biaxial_frame(point: Point) -> dict[str, Vector]:
    axis, across = point[:3], point[3:6]
    return {"u": frames.cross(axis, across), "v": across, "w": axis}


def _biaxial_move(point: Point, step: Point, least: float) -> Point:
    """The step added to the lobe's matrix B, and B diagonalised pair by pair."""
    axes = _biaxial_frame(point)
    level = {
        "w": jnp.zeros_like(point[6]),
        "v": -kappa_from_odi(point[7] + step[4]),
        "u": -kappa_from_odi(point[6] + step[3]),
    }
    for (a, b), turn in zip(BIAXIAL.turns, step[:3], strict=True):
        t = _half_turn(turn)
        cos = 1 / jnp.sqrt(1 + t * t)
        sin = t * cos
        axes[a], axes[b] = frames.combine(cos, axes[a], sin, axes[b]), frames.combine(cos, axes[b], -sin, axes[a])
        apart = (level[a] - level[b]) * turn * t  # half of what the gap grows by, gap (√(1 + 4 step²) - 1)/2
        level[a], level[b] = level[a] + apart, level[b] - apart
    for other in ("v", "u"):  # μ is the axis of the largest level
        swap = level[other] > level["w"]
        level["w"], level[other] = jnp.maximum(level["w"], level[other]), jnp.minimum(level["w"], level[other])
        axes["w"], axes[other] = (
            tuple(jnp.where(swap, q, p) for p, q in zip(axes["w"], axes[other], strict=True)),
            tuple(jnp.where(swap, p, q) for p, q in zip(axes["w"], axes[other], strict=True)),
        )
    axis = frames.unit(axes["w"])
    across = frames.unit(frames.combine(1, axes["v"], -frames.dot(axis, axes["v"]), axis))
    indices = (jnp.clip(odi_from_kappa(level["w"] - level[k]), least, 1) for k in ("u", "v"))
    return (*axis, *across, *indices)


def _biaxial_shape(point: Point) -> Shape:
    """κ is the larger concentration, and μ₂ the axis along which the lobe is wider."""
    kappa, along = kappa_from_odi(point[6]), kappa_from_odi(point[7])
    keep, turned = along <= kappa, frames.cross(point[:3], point[3:6])
    across = tuple(jnp.where(keep, p, q) for p, q in zip(point[3:6], turned, strict=True))
    kappa, along = jnp.maximum(kappa, along), jnp.minimum(kappa, along)
    return Shape(point[:3], across, kappa, kappa - along)


def _biaxial_begin(axis: Vector, concentration: Array) -> Point:
    return (*axis, *frames.across(axis)[0], odi_from_kappa(concentration), odi_from_kappa(0.7 * concentration))


def _biaxial_begin_single(axis: Vector, across: Vector, concentration: Array) -> list[Point]:
    """Widened along either axis across μ, the likelier first."""
    narrow, wide = odi_from_kappa(concentration), odi_from_kappa(concentration / 2)
    return [(*axis, *across, narrow, wide), (*axis, *across, wide, narrow)]


#: A density with two axes: μ, μ₂ and the ODI of κ and of κ - β. An index may pass 1 in a step: axes change places.
BIAXIAL = Coordinates(
    vectors=2,
    indices=2,
    turns=(("w", "v"), ("w", "u"), ("v", "u")),
    largest_index=1.5,
    frame=_biaxial_frame,
    move=_biaxial_move,
    shape=_biaxial_shape,
    begin=_biaxial_begin,
    begin_single=_biaxial_begin_single,
)


def coordinates_of(density: Density) -> Coordinates:
    """The coordinates of a density's lobes."""
    return AXIAL if density.axes == 1 else BIAXIAL
