"""Pictures of results for those who work in Python: `fit.plot()`, `fods.plot()`, and an image with a region.

All are figures of Matplotlib without a display: a notebook shows them, `savefig` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ..errors import InputError
from ..files import map_table, masks
from ..status import Status
from . import glyphs, maps
from .page import background as background_of
from .slices import choose_slice

if TYPE_CHECKING:
    from ..fitting.fod_results import FodFit
    from ..fitting.results import Fit

_COLUMNS = 4  # panels in a row
_REGION = "#ff4fa3"  # stands out on grey, and for colour-blind people


def draw_fit(
    fit: Fit, names: Sequence[str] = (), mask: ArrayLike | None = None, affine: ArrayLike | None = None
) -> Figure:
    """`Fit.plot`, which describes the arguments.

    Raises:
        InputError: there is no such map, or the fit is not of an image.
    """
    available = fit.maps()
    for name in names:
        if name not in available:
            raise InputError(f"there is no map {name!r}", fix=f"one of {', '.join(available)}")
    chosen = list(names) or [name for name in available if map_table.about(name).in_report]
    volumes = {name: _image(available[name]) for name in chosen}
    inside = _mask(mask, fit.status)
    rows = [chosen[i : i + _COLUMNS] for i in range(0, len(chosen), _COLUMNS)]
    with maps.plain_style():
        return maps.draw_maps([("", {name: volumes[name] for name in row}) for row in rows], inside, _matrix(affine))


def draw_fods(
    fods: FodFit, background: ArrayLike | None, affine: ArrayLike | None, mask: ArrayLike | None, **how: Any
) -> Figure:
    """`FodFit.plot`, which describes the arguments; `how`: more of `glyphs.draw_glyphs`.

    Raises:
        InputError: the fit is not of an image.
    """
    image, grey, inside, matrix = _of_fods(fods, background, affine, mask)
    with maps.plain_style():
        parts = (
            glyphs.draw_directions(image, inside, matrix),
            glyphs.draw_glyphs(image, grey, inside, matrix, **how),
        )
        return _side_by_side(parts)


def draw_fod_glyphs(
    fods: FodFit, background: ArrayLike | None, affine: ArrayLike | None, mask: ArrayLike | None, **how: Any
) -> Figure:
    """`FodFit.plot_glyphs`, which describes the arguments; `how`: more of `glyphs.draw_glyphs`.

    Raises:
        InputError: the fit is not of an image.
    """
    image, grey, inside, matrix = _of_fods(fods, background, affine, mask)
    with maps.plain_style():
        return glyphs.draw_glyphs(image, grey, inside, matrix, **how)


def draw_region(
    image: ArrayLike,
    region: ArrayLike,
    title: str = "",
    colours: str = "gray",
    limits: tuple[float, float] | None = None,
    affine: ArrayLike | None = None,
) -> Figure:
    """Draw an image with a region outlined: the slice that has most of the region.

    Args:
        image: (x, y, z) or (x, y), such as a map of a fit.
        region: of the image's shape, 0 outside of the region.
        title: above the picture.
        colours: Matplotlib's name of a colour map.
        limits: lowest and highest value of the colours; None: 1st to 99th percentile of the slice.
        affine: (4, 4) voxel-to-scanner matrix, for the shape of the voxels and the way the head stands: the slice is
            axial, or one of a slab, with the subject's left to the left, and front or head up. None: voxels are cubes,
            the slice is one of the last axis, or of a slab, its first axis to the right and its second up.

    Returns:
        A Matplotlib figure.

    Raises:
        InputError: the shapes differ, or the region is empty.

    Example:
        >>> import numpy as np
        >>> import jaxsmt as js
        >>> image = np.arange(60.0).reshape(5, 4, 3)
        >>> region = image > 40
        >>> figure = js.draw_region(image, region, "a corner")
        >>> figure.axes[0].get_title()
        'a corner: slice 2'
    """
    values, inside = _image(np.asarray(image, float)), _image(np.asarray(region)) != 0
    if values.shape != inside.shape:
        raise InputError(f"image {np.shape(image)} and region {np.shape(region)} differ in shape", fix="give one shape")
    if not inside.any():
        raise InputError("the region is empty", fix="give a region= that has voxels")
    everywhere = np.ones(inside.shape, bool)
    cut = choose_slice(inside, _matrix(affine), everywhere)
    panel, outlined = (cut.of(masks.take(volume, everywhere, "F")) for volume in (values, inside))
    known = panel[np.isfinite(panel)]
    low, high = limits or (np.percentile(known, (1, 99)) if known.size else (0.0, 1.0))
    width, height = 5.0, 5.0 * panel.shape[1] / panel.shape[0] * cut.aspect
    with maps.plain_style():
        figure = Figure(figsize=(width, height + 0.35))
        FigureCanvasAgg(figure)
        ax = figure.add_axes((0, 0, 1, height / (height + 0.35)))
        ax.imshow(
            panel.T, origin="lower", interpolation="nearest", cmap=colours, vmin=low, vmax=high, aspect=cut.aspect
        )
        ax.add_collection(LineCollection(_outline(outlined), colors=_REGION, linewidths=2.0), autolim=False)
        ax.set_axis_off()
        where = f"slice {cut.position}" if affine is None else cut.text
        ax.set_title(f"{title}: {where}" if title else where, fontsize=9)
    return figure


def _outline(inside: np.ndarray) -> list[list[tuple[float, float]]]:
    """Edges between the voxels of a region, (width, height) bool, and those around it; centres at whole numbers."""
    padded = np.pad(inside, 1)
    x, y = np.nonzero(padded[1:, :] != padded[:-1, :])  # upright edges, right of padded voxel x
    lines = [[(i - 0.5, j - 1.5), (i - 0.5, j - 0.5)] for i, j in zip(x.tolist(), y.tolist(), strict=True)]
    x, y = np.nonzero(padded[:, 1:] != padded[:, :-1])
    return lines + [[(i - 1.5, j - 0.5), (i - 0.5, j - 0.5)] for i, j in zip(x.tolist(), y.tolist(), strict=True)]


def _of_fods(
    fods: FodFit, background: ArrayLike | None, affine: ArrayLike | None, mask: ArrayLike | None
) -> tuple[FodFit, np.ndarray, np.ndarray, np.ndarray | None]:
    """FODs of an image, what is behind them, the mask, and the affine."""
    kernels = fods.model.fitted
    grey = kernels.maps()[background_of(kernels)] if background is None else np.asarray(background)
    image = fods.changed(lambda values: values[:, :, None]) if fods.status.ndim == 2 else fods
    return image, _image(grey), _mask(mask, fods.status), _matrix(affine)


def _matrix(affine: ArrayLike | None) -> np.ndarray | None:
    """An affine as an array, if there is one."""
    return None if affine is None else np.asarray(affine, float)


def _image(values: np.ndarray) -> np.ndarray:
    """Values as (x, y, z)."""
    if values.ndim not in (2, 3):
        raise InputError(
            f"values of shape {values.shape} are not those of an image",
            fix="a picture needs (x, y, z) or (x, y): fit data of shape (x, y, z, volumes)",
        )
    return values[:, :, None] if values.ndim == 2 else values


def _mask(mask: ArrayLike | None, status: np.ndarray) -> np.ndarray:
    """(x, y, z) bool: the mask that is given, or the voxels that were to be fitted."""
    return _image(status != Status.OUTSIDE if mask is None else np.asarray(mask) != 0)


def _side_by_side(figures: Sequence[Figure]) -> Figure:
    """Figures as parts of one, at one height."""
    pictures = []
    for figure in figures:
        assert isinstance(figure.canvas, FigureCanvasAgg)
        figure.set_dpi(150)
        figure.canvas.draw()
        pictures.append(np.asarray(figure.canvas.buffer_rgba()).copy())
    height = 4.5
    widths = [height * picture.shape[1] / picture.shape[0] for picture in pictures]
    whole = Figure(figsize=(sum(widths), height))
    FigureCanvasAgg(whole)
    left = 0.0
    for picture, width in zip(pictures, widths, strict=True):
        ax = whole.add_axes((left / sum(widths), 0, width / sum(widths), 1))
        ax.imshow(picture, aspect="auto")
        ax.set_axis_off()
        left += width
    return whole
