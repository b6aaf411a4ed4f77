"""Charts: what they show is what the numbers are."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxsmt.report.charts import Band, Panel, VoxelGroup, histogram, volumes_chart


def parts(chart, tag, kind=None):
    root = ElementTree.fromstring(chart.svg)
    return [e for e in root.iter(tag) if kind is None or kind in (e.get("class") or "").split()]


def area(polygon):
    x, y = np.array([point.split(",") for point in polygon.get("points").split()], float).T
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_groups_of_any_size_have_the_same_area():
    rng = np.random.default_rng(0)
    groups = [
        VoxelGroup("wm", "white", rng.uniform(0.2, 0.6, 10_000)),
        VoxelGroup("gm", "grey", rng.uniform(0.4, 0.8, 500)),
    ]
    chart = histogram("a map", groups, (0.0, 1.0))
    first, second = (area(polygon) for polygon in parts(chart, "polygon"))
    assert first == pytest.approx(second, rel=0.01)
    assert "white: median 0.4" in chart.text
    assert "500 voxels" in chart.text


def test_a_bound_that_holds_most_voxels_does_not_flatten_the_rest():
    values = np.concatenate([np.full(5000, 3.05), np.random.default_rng(0).normal(1, 0.2, 500)])
    (polygon,) = parts(histogram("λ", [VoxelGroup("wm", "white", values)], (0, 3.05)), "polygon")
    x, y = np.array([point.split(",") for point in polygon.get("points").split()], float).T
    inside = (x > 60) & (x < 200)
    assert y[inside].min() == pytest.approx(y.min(), abs=0.1)
    assert y.min() >= 0


def test_ranges_stand_where_their_values_are():
    bands = [Band("wm", "white 0.62 to 0.79", 0.62, 0.79), Band("fluid", "fluid <1>", 3.04, 3.25)]
    chart = histogram("D", [VoxelGroup("wm", "white", np.array([0.7]))], (0.0, 3.4), bands)
    ticks = {e.text: float(e.get("x")) for e in parts(chart, "text")}
    scale = ticks["3"] / 3 - ticks["1"] / 3  # two units
    for band, shown in zip(bands, parts(chart, "rect", "band"), strict=True):
        left, width = float(shown.get("x")), float(shown.get("width"))
        at = ticks["1"] + (band.low - 1) * (ticks["3"] - ticks["1"]) / 2
        assert left == pytest.approx(at, abs=0.2)
        assert width == pytest.approx((band.high - band.low) * (ticks["3"] - ticks["1"]) / 2, abs=0.2)
    assert scale > 0
    assert "fluid &lt;1&gt;" in chart.svg


def test_no_values_are_no_trouble():
    chart = histogram("a map", [VoxelGroup("wm", "white", np.empty(0))], (0, 1))
    assert chart.text.endswith("white: none")
    assert not parts(chart, "polygon")


def test_volumes_that_stand_out_are_ringed_and_numbered():
    values = np.array([0.1, -0.2, np.nan, -8.0, 0.0])
    chart = volumes_chart([Panel("mean", values)], np.array([0, 1, 1, 1, 7]), np.array([3]), "what <it> shows")
    assert len(parts(chart, "circle")) == 4 + 1
    (ring,) = parts(chart, "circle", "ring")
    dots = [e for e in parts(chart, "circle") if e is not ring and e.get("class") != "ring"]
    heights = [float(dot.get("cy")) for dot in dots]
    assert float(ring.get("cy")) == max(heights)  # the lowest value is lowest in the picture
    assert "3" in [e.text for e in parts(chart, "text")]
    assert re.search('aria-label="what &lt;it&gt; shows"', chart.svg)
