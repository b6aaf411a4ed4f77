"""Pictures for those who work in Python: what they show, and what they refuse."""

from dataclasses import replace

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxsmt as js
from jaxsmt.files import map_table
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of


@pytest.fixture(scope="module")
def fit(series):
    return js.fit(js.smt(), ACQUISITION, series[0], mask_of(SHAPE))


@pytest.fixture(scope="module")
def fods(fit, series):
    return js.fit(fit.fod_model("watson"), ACQUISITION, series[0], mask_of(SHAPE))


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def pixels(figure):
    """What is drawn, (height, width, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def test_a_fit_is_drawn_as_in_the_report(fit):
    figure = fit.plot()
    assert isinstance(figure, Figure)
    shown = [name for name in fit.maps() if map_table.about(name).in_report]
    assert titles(figure) == [map_table.about(name).title for name in shown]
    assert titles(fit.plot(["fapow3"])) == ["microscopic FA³"]


def test_a_picture_is_of_the_voxels_of_the_mask(fit):
    """Those that were not fitted have no colour; another mask shows fewer."""
    whole = fit.plot(["fa"]).axes[0].images[0].get_array()
    few = np.zeros(SHAPE, bool)
    few[2:4, 2:4, 1] = True
    part = fit.plot(["fa"], mask=few).axes[0].images[0].get_array()
    assert np.isfinite(part).sum() == 4
    # A slice of the mask that the fit had, which leaves out the first column.
    assert np.isfinite(whole).sum() == (SHAPE[0] - 1) * SHAPE[1]


def test_maps_that_there_are_not_are_refused(fit):
    with pytest.raises(js.InputError, match=r"no map 'fb'\n  fix: one of .*fa, "):
        fit.plot(["fb"])


def test_voxels_that_are_no_image_are_refused_and_a_slice_is_one(fit):
    with pytest.raises(js.InputError, match="not those of an image"):
        fit.voxels(np.arange(5)).plot()
    flat = fit.changed(lambda values: values[:, :, 1])
    assert titles(flat.plot(["fa"])) == ["microscopic FA"]


def test_fods_are_drawn_with_directions_and_glyphs(fods):
    """Beside each other; the glyphs alone are shapes, whose lobes have the colours of their directions."""
    both = fods.plot(affine=AFFINE)
    assert len(both.axes) == 2
    glyphs = fods.plot_glyphs(affine=AFFINE, size=(3, 2))
    (meshes,) = glyphs.axes[0].collections
    assert len(meshes.get_facecolor()) > 1000
    width = both.get_figwidth() * both.dpi
    assert pixels(both).shape[1] == pytest.approx(width, abs=1)
    for ax in both.axes:  # neither is empty
        assert np.ptp(np.asarray(ax.images[0].get_array())[..., :3]) > 100


def test_directions_are_turned_into_scanner_axes(fods):
    """FODs in the axes of FSL are drawn as those of the scanner: red stays left-right."""
    right = {**fods.parameters, "direction": np.zeros_like(fods.parameters["direction"])}
    right["direction"][..., 1] = 1  # the image's second axis, which the affine turns into the scanner's first
    turned = replace(fods, parameters=right, axes="fsl")
    seen = np.asarray(turned.plot(affine=AFFINE).axes[0].images[0].get_array())[..., :3].astype(int)
    coloured = np.ptp(seen, axis=-1) > 50
    assert coloured.mean() > 0.3
    assert (seen[coloured][:, 0] > 2 * seen[coloured][:, 1:].max(axis=1)).all()


def test_fods_of_a_slice_are_drawn(fods):
    flat = fods.changed(lambda values: values[:, :, 1])
    assert len(flat.plot(background=np.ones(SHAPE[:2])).axes) == 2
    with pytest.raises(js.InputError, match="not those of an image"):
        fods.voxels(np.arange(5)).plot()


def test_a_region_is_outlined_where_it_is():
    """Its outline has all edges between it and the rest, and none inside; outside of the slice nothing is drawn."""
    image = np.random.default_rng(0).random((6, 5, 4))
    region = np.zeros(image.shape, np.uint8)
    region[1:4, 2:4, 2] = 1  # three by two
    region[0, 0, 0] = 1
    figure = js.draw_region(image, region, "mine", limits=(0, 2))
    (ax,) = figure.axes
    assert ax.get_title() == "mine: slice 2"
    np.testing.assert_array_equal(ax.images[0].get_array(), image[:, :, 2].T)
    assert ax.images[0].get_clim() == (0, 2)
    (lines,) = ax.collections
    drawn = {tuple(map(tuple, segment)) for segment in np.array(lines.get_segments()).tolist()}
    below = {((x - 0.5, 1.5), (x + 0.5, 1.5)) for x in (1, 2, 3)}
    above = {((x - 0.5, 3.5), (x + 0.5, 3.5)) for x in (1, 2, 3)}
    left = {((0.5, y - 0.5), (0.5, y + 0.5)) for y in (2, 3)}
    right = {((3.5, y - 0.5), (3.5, y + 0.5)) for y in (2, 3)}
    assert drawn == below | above | left | right
    colour = np.round(255 * np.array(matplotlib.colors.to_rgb("#ff4fa3")))
    assert (np.abs(pixels(figure) - colour).max(axis=-1) < 30).sum() > 100


def test_voxels_of_a_region_have_their_shape():
    """In the slice across the third axis they are 1 mm wide and 3 mm high."""
    figure = js.draw_region(np.zeros((8, 6, 7)), np.ones((8, 6, 7)), affine=np.diag([1, 3, 2, 1]))
    assert figure.axes[0].get_aspect() == 3
    assert figure.get_figheight() == pytest.approx(5 * 6 / 8 * 3 + 0.35)


def test_with_an_affine_pictures_stand_as_the_head_does(fit):
    """The subject's left is to the left and front is up, as in the report, however voxels are stored.

    The affine's first axis goes to the front and its second to the left, so that the picture's pixels are the image's
    with its axes exchanged, and the second turned round.
    """
    region = np.zeros(SHAPE, bool)
    region[1:, :2, 1] = True
    image = np.random.default_rng(0).random(SHAPE)
    (ax,) = js.draw_region(image, region, affine=AFFINE).axes
    np.testing.assert_array_equal(ax.images[0].get_array(), image[:, ::-1, 1])
    assert ax.get_title() == "axial 1"
    drawn = np.array(ax.collections[0].get_segments())
    assert drawn[..., 0].max() == SHAPE[1] - 0.5  # the region is at the subject's right
    panel = fit.plot(["s0"], mask=region, affine=AFFINE).axes[0].images[0].get_array()
    np.testing.assert_array_equal(np.isfinite(panel), region[:, ::-1, 1])


def test_a_region_at_the_edge_of_an_image_is_closed():
    region = np.zeros((3, 3), bool)
    region[2, 0] = True
    (lines,) = js.draw_region(np.zeros((3, 3)), region).axes[0].collections
    assert len(lines.get_segments()) == 4


@pytest.mark.parametrize(
    ("image", "region", "fact"),
    [
        (np.zeros((3, 3, 3)), np.zeros((3, 3, 3)), "the region is empty"),
        (np.zeros((3, 3, 3)), np.ones((3, 3, 2)), "differ in shape"),
        (np.zeros(3), np.ones(3), "not those of an image"),
    ],
)
def test_regions_that_cannot_be_drawn_are_refused(image, region, fact):
    with pytest.raises(js.InputError, match=fact):
        js.draw_region(image, region)
