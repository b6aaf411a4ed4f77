"""A viewer inside the report: scrolls through maps in three planes, in the browser, without a network.

The section holds everything it needs: niivue (`vendor/`), a small script (`viewer.js`) and the maps.
"""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, to_hex

from ..files import map_table
from ..status import Status
from . import coded_maps
from .coded_maps import CodedMap, Grid
from .html import fill
from .maps import range_of

#: Where a page takes the viewer; pages without one keep this empty element.
MARK = '<template id="viewer"></template>'
_CHARSET = '<meta charset="utf-8">'
_POLICY = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
_WITH_SCRIPTS = (
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:\">"
)
#: Largest report in bytes.
PAGE_LIMIT = 8_000_000
_MOST, _FEWEST = 6, 3  # maps
_HALVINGS = 3  # of the resolution, at most
_AT_ONCE = 4  # maps that are packed side by side
_TEXTS = 60_000  # bytes of the section but for programs, licences and maps


@dataclass(frozen=True)
class _Chosen:
    """The maps that a viewer has.

    Attributes:
        maps: by name, in base64 as NIfTI, with their codes.
        left_out: names of maps for which there was no room.
        halvings: of their resolution.
    """

    maps: Mapping[str, tuple[CodedMap, str]]
    left_out: tuple[str, ...]
    halvings: int


def insert(page: str, section: str) -> str:
    """The page with the section where `MARK` is. Its policy lets scripts of the page run, and nothing be loaded.

    Args:
        page: HTML.
        section: as `make_viewer` gives it.
    """
    allowed, replaced = _POLICY.subn(_WITH_SCRIPTS, page, count=1)
    if not replaced:
        allowed = page.replace(_CHARSET, f"{_CHARSET}\n{_WITH_SCRIPTS}", 1)
    return allowed.replace(MARK, section, 1)


def make_viewer(maps: Mapping[str, np.ndarray], mask: np.ndarray, affine: np.ndarray, page: int = 0) -> str:
    """The section of a page that shows maps in three planes; equal maps are equal text.

    It has the first six of the maps that `files.map_table` has for it, in uint8, cropped to the mask. Where the page
    would become larger than `PAGE_LIMIT` there are fewer, at least three; and if that is not enough the resolution is
    halved, and the section says so.

    Args:
        maps: (x, y, z) by name; whole numbers are kept as they are, other values in 254 steps of the map's range.
        mask: (x, y, z), 0 where nothing is shown.
        affine: (4, 4), voxels to scanner axes.
        page: bytes of the page without the viewer.
    """
    licence, own = _text("vendor/LICENSE-niivue.txt"), _text("viewer.js")
    niivue = _packed(_text("vendor/niivue.umd.js").encode())
    room = PAGE_LIMIT - page - len(niivue) - len(licence) - len(own) - _TEXTS
    whole = Grid(mask != 0, affine)
    box = whole.around()
    chosen = _choose({name: maps[name][box] for name in names_of(maps)}, whole.cropped(box), room)
    return fill(
        "viewer.html",
        shown=[_entry(name, *coded) for name, coded in chosen.maps.items()],
        left_out=[map_table.about(name).title for name in chosen.left_out],
        lengths=2**chosen.halvings,
        niivue=niivue,
        licence=licence,
        script=own,
    )


def names_of(maps: Iterable[str]) -> list[str]:
    """Which of these maps a viewer shows.

    Example:
        >>> names_of(["lambda_par", "fraction", "fa"])
        ['lambda_par', 'fa']
    """
    return [name for name in maps if map_table.about(name).in_viewer][:_MOST]


def _choose(maps: Mapping[str, np.ndarray], grid: Grid, room: int) -> _Chosen:
    """As many of the maps as there is room for, in base64; at lower resolution rather than fewer than three."""
    limits = {name: map_table.about(name).limits or range_of(volume[grid.inside]) for name, volume in maps.items()}
    names = list(maps)
    for halvings in range(_HALVINGS + 1):
        if halvings:
            maps = {name: coded_maps.halve(volume, grid.inside) for name, volume in maps.items()}
            grid = grid.halved()
        coded: dict[str, tuple[CodedMap, str]] = {}
        for name, (one, text) in _encode(maps, grid, limits).items():
            if sum(len(other) for _, other in coded.values()) + len(text) <= room:
                coded[name] = one, text
        if coded and len(coded) >= min(_FEWEST, len(names)):
            return _Chosen(coded, tuple(name for name in names if name not in coded), halvings)
    return _Chosen({}, tuple(names), 0)


def _encode(
    maps: Mapping[str, np.ndarray], grid: Grid, limits: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[CodedMap, str]]:
    """Codes of the maps, and their files in base64; several maps are packed at a time."""

    def encode(name: str) -> tuple[CodedMap, str]:
        one = coded_maps.encode(maps[name], grid, limits[name])
        return one, base64.b64encode(one.to_nifti()).decode()

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(maps, pool.map(encode, maps), strict=True))


def _entry(name: str, coded: CodedMap, content: str) -> dict[str, Any]:
    """What the script is told of a map."""
    text = map_table.about(name)
    is_status = text.colours == "status"
    low, high = text.limits or (coded.inter + coded.slope, coded.inter + 255 * coded.slope)
    return {
        "name": name,
        "title": name if is_status else text.title,
        "description": text.description,
        "low": float(f"{low:.7g}"),
        "high": float(f"{high:.7g}"),
        "step": coded.slope,
        "outside": coded.inter,
        "colours": "".join(to_hex(colour)[1:] for colour in _colours(text.colours)(np.linspace(0, 1, 256))),
        "labels": {str(code.value): code.text for code in Status} if is_status else {},
        "content": content,
    }


def _colours(name: str) -> Colormap:
    """A colour map of the table."""
    return ListedColormap([code.colour for code in Status]) if name == "status" else matplotlib.colormaps[name]


def _text(name: str) -> str:
    """The text of a file beside this one."""
    assert __package__ is not None
    return files(__package__).joinpath(name).read_text("utf-8")


def _packed(content: bytes) -> str:
    """Bytes as gzip in base64: no letter of it means anything to HTML."""
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode()
