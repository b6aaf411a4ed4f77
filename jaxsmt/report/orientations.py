"""Pictures of FODs in a page: directions as colours in all slices, and glyphs where fibres cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..files import masks
from . import glyphs, images, maps
from .slices import Sheet, Slice

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit


@dataclass(frozen=True)
class Patch:
    """Where glyphs are drawn.

    Attributes:
        nth: which slice. corner: its first voxel, to the right and up. size: voxels. crossing: part of its voxels in
            which the second lobe has a weight of a fifth or more.
    """

    nth: int
    corner: tuple[int, int]
    size: tuple[int, int]
    crossing: float


def find_patch(fods: FodFit, slices: Sequence[Slice], affine: np.ndarray) -> Patch:
    """The patch of all slices in which fibres cross most clearly; where none do, in which one is clearest.

    Fibres that come out of the slice are hardly seen: lobes count by how much they lie in it.

    Args:
        fods: of the voxels inside the mask. slices: at least one. affine: (4, 4), voxels to scanner axes.
    """
    best, found = -1.0, Patch(0, (0, 0), (1, 1), 0.0)
    for nth, cut in enumerate(slices):
        of_slice = glyphs.turned(fods.voxels(cut.indices[cut.inside]), affine)
        parameters = of_slice.parameters
        across = cut.affine[:3, 2] / np.linalg.norm(cut.affine[:3, 2])
        within = np.sqrt(np.maximum(1 - (parameters["direction"] @ across.astype(np.float32)) ** 2, 0))
        clear = np.sort(parameters["weight"] * (1 - parameters["odi"]) * within, axis=-1)
        second = clear[:, -2] if clear.shape[1] > 1 else np.zeros(len(clear))
        score = masks.place(second + 1e-3 * clear[:, -1] + 1e-6, cut.inside)
        size = min(glyphs.PATCH[0], score.shape[0]), min(glyphs.PATCH[1], score.shape[1])
        corner = glyphs.best_patch(score, size)
        window = slice(corner[0], corner[0] + size[0]), slice(corner[1], corner[1] + size[1])
        if (total := float(score[window].sum())) > best:
            weight = np.sort(parameters["weight"], axis=-1)
            crosses = masks.place(weight[:, -2] >= 0.2, cut.inside) if clear.shape[1] > 1 else np.zeros_like(cut.inside)
            part = crosses[window].sum() / max(np.count_nonzero(cut.inside[window]), 1)
            best, found = total, Patch(nth, corner, size, float(part))
    return found


def direction_picture(fods: FodFit, sheet: Sheet, patch: Patch, affine: np.ndarray) -> str:
    """Directions as colours on black, with the patch of glyphs framed.

    Args:
        fods: of the voxels inside the mask. sheet: of the slices. patch: of glyphs.
        affine: (4, 4), voxels to scanner axes.
    """
    inside = sheet.indices >= 0
    colours = np.zeros((*inside.shape, 3))
    colours[inside] = glyphs.direction_colours(glyphs.turned(fods.voxels(sheet.indices[inside]), affine))
    (left, bottom), scale = sheet.corners[patch.nth], sheet.scales[patch.nth]
    height, width = inside.shape
    x = [left + round(scale[0] * (patch.corner[0] + n)) for n in (0, patch.size[0])]
    y = [bottom - round(scale[1] * (patch.corner[1] + n)) for n in (patch.size[1], 0)]
    x, y = [min(max(v, 0), width - 1) for v in x], [min(max(v, 0), height - 1) for v in y]
    colours[y, x[0] : x[1] + 1] = 1
    colours[y[0] : y[1] + 1, x] = 1
    return images.rgb_picture(colours)


def glyph_picture(fods: FodFit, background: np.ndarray, cut: Slice, patch: Patch, affine: np.ndarray) -> str:
    """Glyphs of the patch over a map in grey.

    Args:
        fods: of the voxels inside the mask. background: map, (voxels,).
        cut: the slice of the patch. patch: which one. affine: (4, 4), voxels to scanner axes.
    """
    shown = glyphs.turned(fods.voxels(cut.indices[cut.inside]), affine)
    figure = glyphs.draw_patch(shown, cut.of(background), cut, patch.corner, patch.size)
    return images.reduced(maps.to_png(figure))
