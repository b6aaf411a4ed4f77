"""Pictures of fibre orientations: a colour map of directions, and FOD glyphs; no display is needed.

Colours are those of the field: red left-right, green front-back, blue up-down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import TriMesh
from matplotlib.figure import Figure
from matplotlib.tri import Triangulation

from ..files import masks
from ..geometry.quadrature import icosphere
from .slices import Slice, choose_slice

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit

#: Voxels of a glyph picture: most across and up.
PATCH = (18, 12)


def direction_colours(fods: FodFit) -> np.ndarray:
    """(..., 3) RGB in [0, 1]: Σ_j w_j (1 - ODI_j) |μ_j|, brightened."""
    p = fods.parameters
    share = (p["weight"] * (1 - p["odi"]))[..., None]
    return np.clip(1.2 * np.sum(share * np.abs(p["direction"]), axis=-2), 0, 1)


def draw_directions(fods: FodFit, mask: np.ndarray, affine: np.ndarray | None) -> Figure:
    """The directions' colours in the slice that `slices.choose_slice` chooses.

    Args:
        fods: of an image. mask: (x, y, z), 0 where nothing is shown. affine: (4, 4), voxels to scanner axes, or None.
    """
    of_slice, cut = _slice_of(fods, mask, affine)
    picture = masks.place(direction_colours(of_slice), cut.inside)
    height = 5.0 * picture.shape[1] / picture.shape[0] * cut.aspect
    figure = Figure(figsize=(5.0, height + 0.3))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, height / (height + 0.3)))
    ax.imshow(picture.transpose(1, 0, 2), origin="lower", interpolation="nearest", aspect=cut.aspect)
    ax.set_axis_off()
    ax.set_title("directions: red left-right, green front-back, blue up-down", fontsize=9)
    return figure


def draw_glyphs(
    fods: FodFit,
    background: np.ndarray,
    mask: np.ndarray,
    affine: np.ndarray | None,
    corner: tuple[int, int] | None = None,
    size: tuple[int, int] = PATCH,
    odi_floor: float = 0.1,
) -> Figure:
    """FODs of a patch of the slice that `slices.choose_slice` chooses, over a map such as λ⊥.

    Args:
        fods: of an image.
        background: (x, y, z) map, drawn in grey.
        mask: (x, y, z), 0 where nothing is shown.
        affine: (4, 4), voxels to scanner axes, or None.
        corner, size, odi_floor: as of `draw_patch`.
    """
    of_slice, cut = _slice_of(fods, mask, affine)
    grey = cut.of(masks.take(background, mask != 0, "F"))
    return draw_patch(of_slice, grey, cut, corner, size, odi_floor)


def _slice_of(fods: FodFit, mask: np.ndarray, affine: np.ndarray | None) -> tuple[FodFit, Slice]:
    """The FODs of the voxels inside the mask of the slice that shows most of it, in scanner axes; and the slice."""
    inside = mask != 0
    cut = choose_slice(inside, affine)
    indices = masks.take(np.arange(inside.size).reshape(inside.shape), inside, "F")  # as `FodFit.voxels` has them
    of_slice = fods.voxels(indices[cut.indices[cut.inside]])
    return turned(of_slice, np.eye(4) if affine is None else affine), cut


def turned(fods: FodFit, affine: np.ndarray) -> FodFit:
    """FODs as they are drawn: with directions in scanner axes, for which unknown ones are taken.

    Args:
        fods: of any axes. affine: (4, 4) voxel-to-scanner matrix.
    """
    return fods if fods.axes == "unknown" else fods.in_scanner_axes(affine)


def draw_patch(
    fods: FodFit,
    background: np.ndarray,
    cut: Slice,
    corner: tuple[int, int] | None = None,
    size: tuple[int, int] = PATCH,
    odi_floor: float = 0.1,
) -> Figure:
    """FODs of a patch of a slice over a map, lobes coloured by their direction.

    Args:
        fods: of the slice's voxels inside the mask, `cut.indices[cut.inside]`, in scanner axes.
        background: (width, height) map of the slice, drawn in grey.
        cut: the slice.
        corner: first voxel of the patch, to the right and up in the picture; None: where the fibres are best seen.
        size: voxels of the patch, across and up.
        odi_floor: see `FodFit.odf`.
    """
    inside = cut.inside
    size = (min(size[0], inside.shape[0]), min(size[1], inside.shape[1]))
    if corner is None:
        clarity = np.sum(fods.parameters["weight"] * (1 - fods.parameters["odi"]), axis=-1)
        corner = best_patch(masks.place(clarity + 1e-6, inside), size)
    patch = slice(corner[0], corner[0] + size[0]), slice(corner[1], corner[1] + size[1])
    centres = np.argwhere(inside[patch])

    vertices, faces = icosphere(3)
    indices = masks.place(np.arange(len(fods.status)), inside)
    radius = _radii(fods.voxels(indices[patch][tuple(centres.T)]).odf(vertices, odi_floor))
    ax = _grey_axes(np.where(inside, background, np.nan)[patch], size, cut.aspect)
    if len(centres):
        ax.add_collection(_surfaces(centres, radius, vertices, faces, _view(cut)), autolim=False)
    figure = ax.figure
    assert isinstance(figure, Figure)
    return figure


def _view(cut: Slice) -> np.ndarray:
    """Scanner axes of the picture: to the right, up, and towards the viewer, (3, 3)."""
    right, up = (cut.affine[:3, k] / np.linalg.norm(cut.affine[:3, k]) for k in range(2))
    return np.stack([right, up, np.cross(right, up)])


def _radii(densities: np.ndarray) -> np.ndarray:
    """Radii of glyphs (n, vertices): one scale for all, so that sharp FODs stand out; but none leaves its voxel."""
    longest = densities.max(axis=1, initial=0)
    scale = 0.5 / max(float(np.quantile(longest, 0.7)), 1e-9) if len(longest) else 1.0
    return densities * np.minimum(scale, 0.5 / np.maximum(longest, 1e-9))[:, None]


def _grey_axes(grey: np.ndarray, size: tuple[int, int], aspect: float) -> Axes:
    """A new figure's axes over all of it, with a map (NaN outside) in grey, voxel centres at whole numbers."""
    figure = Figure(figsize=(9.0, 9.0 * size[1] / size[0] * aspect))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0, 0, 1, 1))
    shown = grey[np.isfinite(grey)]
    bright = max(float(np.percentile(shown, 95)), 1e-9) if shown.size else 1.0
    ax.imshow(
        grey.T,
        origin="lower",
        cmap="gray",
        vmin=-0.5 * bright,
        vmax=1.3 * bright,
        aspect=aspect,
        extent=(-0.5, size[0] - 0.5, -0.5, size[1] - 0.5),
        interpolation="nearest",
    )
    ax.set_axis_off()
    return ax


def _surfaces(
    centres: np.ndarray, radius: np.ndarray, vertices: np.ndarray, faces: np.ndarray, view: np.ndarray
) -> TriMesh:
    """All glyphs as drawn: their visible faces, far ones first in each glyph, smoothly shaded.

    Args:
        centres: (n, 2), n > 0. radius: (n, vertices).
    """
    points = (radius[..., None] * vertices.astype(np.float32)) @ view.T.astype(np.float32)
    a, b, c = (points[:, faces[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    colours = np.abs(vertices) / np.abs(vertices).max(axis=1, keepdims=True)
    colours = colours * (0.35 + 0.65 * _lit(normals, faces)[..., None])

    seen = normals[..., 2] > 0
    order = np.argsort(np.where(seen, a[..., 2] + b[..., 2] + c[..., 2], np.inf), axis=1)
    glyph, place = np.nonzero(np.arange(len(faces)) < seen.sum(axis=1, keepdims=True))
    visible = faces[order[glyph, place]] + len(vertices) * glyph[:, None]
    x, y = (points[..., :2] + centres[:, None]).reshape(-1, 2).T
    mesh = TriMesh(Triangulation(x, y, visible))
    mesh.set_facecolor(colours.reshape(-1, 3))
    return mesh


def _lit(normals: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """How much each vertex faces the viewer, in [0, 1], from the normals of the faces around it: (n, vertices)."""
    corners = np.argsort(faces, axis=None, kind="stable")
    starts = np.searchsorted(faces.ravel()[corners], np.arange(faces.max() + 1))
    around = np.add.reduceat(normals[:, corners // 3], starts, axis=1)
    length = np.linalg.norm(around, axis=-1)
    lit: np.ndarray = np.clip(around[..., 2] / np.where(length > 0, length, 1), 0, 1)
    return lit


def best_patch(values: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    """Corner of the window with the largest sum.

    Args:
        values: (across, up). size: of the window.
    """
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    a, b = size
    sums = table[a:, b:] - table[:-a, b:] - table[a:, :-b] + table[:-a, :-b]
    i, j = np.unravel_index(np.argmax(sums), sums.shape)
    return int(i), int(j)
