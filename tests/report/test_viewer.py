"""The viewer's section of the report: what it holds, how large it is, and that nothing gets out of it."""

import base64
import gzip
import hashlib
import json
import re
from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.files import map_table
from jaxsmt.report import viewer
from tests.conftest import AFFINE

SHAPE = (12, 10, 8)


def mask_of(shape):
    mask = np.zeros(shape, np.uint8)
    mask[2:-2, 1:-3, 3:] = 1
    return mask


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    names = ("lambda_par", "lambda_perp", "fraction", "fa", "s0", "r2", "mse")
    made = {name: rng.uniform(0, 1, SHAPE).astype(np.float32) for name in names}
    return {**made, "status": rng.integers(1, 4, SHAPE).astype(np.uint8)}


def entries(section):
    """What the section tells its script of each map."""
    return json.loads(re.search(r'id="viewer-maps">(.*?)</script>', section, re.S).group(1))


def test_the_maps_are_those_of_the_table_in_their_places(maps):
    """Names, ranges and colours are the table's; the data are the map's, cropped to the mask."""
    mask = mask_of(SHAPE)
    shown = entries(viewer.make_viewer(maps, mask, AFFINE))
    assert [entry["name"] for entry in shown] == ["lambda_par", "lambda_perp", "fa", "s0", "r2", "status"]
    first = shown[0]
    assert (first["title"], first["low"], first["high"]) == ("λ∥ [µm²/ms]", 0, 3.05)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(first["content"])))
    assert image.shape == (8, 6, 5)
    np.testing.assert_allclose(image.affine[:3, 3], (AFFINE @ [2, 1, 3, 1])[:3])
    np.testing.assert_allclose(np.asarray(image.dataobj), maps["lambda_par"][2:-2, 1:-3, 3:], atol=0.51 * 3.05 / 254)
    assert shown[-1]["labels"]["2"] == "at a bound"
    assert len(first["colours"]) == 6 * 256


def test_equal_maps_are_equal_text(maps):
    pages = [viewer.make_viewer(dict(maps), mask_of(SHAPE), AFFINE.copy()) for _ in range(2)]
    assert pages[0] == pages[1]


def test_names_from_outside_are_escaped(maps):
    """A user's model may call its parameters anything."""
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    section = viewer.make_viewer({evil: maps["fa"]}, mask_of(SHAPE), AFFINE)
    assert evil not in section
    assert "<img" not in section
    assert "&lt;img src=x" in section
    assert entries(section)[0]["name"] == evil
    assert section.count("<script") == section.count("</script>") == 3


def brain(shape):
    """An ellipsoid that fills a grid."""
    axes = [np.linspace(-1, 1, n) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return x**2 + y**2 + z**2 < 1


def noisy(mask, names):
    """Maps that do not compress: white noise in all of their range."""
    rng = np.random.default_rng(0)
    return {name: rng.uniform(*map_table.about(name).limits, mask.shape).astype(np.float32) * mask for name in names}


def test_a_whole_brain_of_the_hcp_keeps_the_page_small():
    """Voxels of 1.25 mm, one and a half litres, maps that are nothing but noise: fewer maps, but never too large."""
    mask = np.zeros((145, 174, 145), bool)
    mask[18:128, 17:157, 20:130] = brain((110, 140, 110))
    assert mask.sum() * 1.25**3 > 1.5e6
    maps = noisy(mask, ("intra", "diff", "fa", "odi"))
    page = 1_500_000
    section = viewer.make_viewer(maps, mask, np.diag([1.25, 1.25, 1.25, 1]), page)
    assert len(section.encode()) + page <= viewer.PAGE_LIMIT
    shown = entries(section)
    assert 3 <= len(shown) <= 4
    assert nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(shown[0]["content"]))).ndim == 3


def test_at_lower_resolution_rather_than_without_maps():
    """The section says so; where there is no room at all it says that."""
    mask = brain((60, 60, 60))
    maps = noisy(mask, ("intra", "diff", "fa", "odi"))
    page = viewer.PAGE_LIMIT - 1_400_000
    section = viewer.make_viewer(maps, mask, np.eye(4), page)
    assert "in voxels of 2 times their length" in section
    assert len(section.encode()) + page <= viewer.PAGE_LIMIT
    nothing = viewer.make_viewer(maps, mask, np.eye(4), viewer.PAGE_LIMIT)
    assert "There is no viewer" in nothing
    assert "<script" not in nothing


def test_maps_without_room_are_named():
    mask = brain((60, 60, 60))
    maps = noisy(mask, ("intra", "diff", "fa", "odi"))
    section = viewer.make_viewer(maps, mask, np.eye(4), viewer.PAGE_LIMIT - 1_700_000)
    assert [entry["name"] for entry in entries(section)] == ["intra", "diff", "fa"]
    assert "There was no room for ODI." in section


def test_a_page_with_the_viewer_may_load_nothing(maps):
    page = f'<!doctype html><meta charset="utf-8"><title>t</title><h1>t</h1>{viewer.MARK}<p>end</p>'
    whole = viewer.insert(page, viewer.make_viewer(maps, mask_of(SHAPE), AFFINE))
    assert re.search(r"Content-Security-Policy\" content=\"default-src 'none';", whole)
    assert whole.index('id="viewer"') < whole.index("<p>end</p>")
    assert viewer.MARK not in whole


def test_a_policy_that_forbids_scripts_is_replaced():
    """Browsers keep to all policies of a page: a second one would allow nothing more."""
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:">'
    whole = viewer.insert(f'<meta charset="utf-8">\n{policy}<title>t</title>{viewer.MARK}', "section")
    assert whole.count("Content-Security-Policy") == 1
    assert "script-src 'unsafe-inline'" in whole
    assert whole.endswith("<title>t</title>section")


def test_niivue_is_the_file_that_its_readme_names():
    """And its licences go with it, into the page too."""
    vendor = files("jaxsmt.report") / "vendor"
    content = (vendor / "niivue.umd.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() in (vendor / "README.md").read_text("utf-8")
    licence = (vendor / "LICENSE-niivue.txt").read_text("utf-8")
    assert "Copyright (c) 2021, Niivue" in licence
    assert "*/" not in licence
    section = viewer.make_viewer({"fa": np.ones(SHAPE)}, np.ones(SHAPE), np.eye(4))
    assert "Redistributions in binary form must reproduce" in section
