"""Pixels as PNG in a page: maps in the colours of a table, directions in red, green and blue. No figure is drawn."""

from __future__ import annotations

import base64
import io

import matplotlib
import numpy as np
from matplotlib.colors import to_hex
from PIL import Image

from ..status import Status

_STEPS = 255  # colours of a map; one more is transparent


def png(picture: Image.Image) -> str:
    """A picture as the address that a page embeds; equal pictures are equal text."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=6)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def colour_list(colours: str, steps: int) -> list[str]:
    """So many colours of a colour map of Matplotlib's, from its low to its high end, as #rrggbb.

    Example:
        >>> colour_list("gray", 3)
        ['#000000', '#808080', '#ffffff']
    """
    table = matplotlib.colormaps[colours](np.linspace(0, 1, steps))
    return [to_hex(colour) for colour in table]


def status_colour(code: Status) -> str:
    """The colour of a status, as #rrggbb."""
    return to_hex(code.colour)


def map_picture(values: np.ndarray, inside: np.ndarray, colours: str, limits: tuple[float, float]) -> str:
    """A map; what is outside, or not finite, is transparent.

    Args:
        values: (height, width), rows from the top.
        inside: (height, width) bool.
        colours: Matplotlib's name of a colour map.
        limits: range of the colours.
    """
    low, high = limits
    with np.errstate(invalid="ignore"):
        part = (np.asarray(values, float) - low) / (high - low)
    shown = inside & np.isfinite(part)
    codes = np.zeros(values.shape, np.uint8)
    codes[shown] = 1 + np.clip(np.floor(part[shown] * _STEPS), 0, _STEPS - 1).astype(np.uint8)
    return _indexed(codes, ["#000000", *colour_list(colours, _STEPS)], transparent=True)


def status_picture(codes: np.ndarray) -> str:
    """A map of statuses in their colours; nothing is transparent.

    Args:
        codes: (height, width), rows from the top.
    """
    return _indexed(codes.astype(np.uint8), [status_colour(code) for code in Status], transparent=False)


def _indexed(codes: np.ndarray, colours: list[str], transparent: bool) -> str:
    """A picture of few colours, of which the first may be transparent."""
    picture = Image.fromarray(codes)
    picture.putpalette(b"".join(bytes.fromhex(colour[1:]) for colour in colours))
    if transparent:
        picture.info["transparency"] = 0
    return png(picture)


def rgb_picture(colours: np.ndarray) -> str:
    """A picture from red, green and blue.

    Args:
        colours: (height, width, 3) in [0, 1], rows from the top.
    """
    return png(Image.fromarray((255 * np.clip(colours, 0, 1)).round().astype(np.uint8)))


def reduced(content: bytes) -> str:
    """A drawn PNG with 256 colours, a third as large, as the address that a page embeds."""
    picture = Image.open(io.BytesIO(content)).convert("RGB")
    return png(picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE))
