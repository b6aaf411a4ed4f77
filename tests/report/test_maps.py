"""Panels of maps: what is shown of a fit, in which colours."""

from dataclasses import replace

import matplotlib.colors
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.files import map_table
from jaxsmt.report import maps, page
from tests.conftest import ACQUISITION, SHAPE, mask_of


@pytest.fixture(scope="module")
def fit(series):
    return js.fit(js.smt(), ACQUISITION, series[0], mask_of(SHAPE), sigma=20.0, uncertainty=True)


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def test_maps_are_drawn_as_the_table_says(fit):
    shown = {name: values for name, values in fit.maps().items() if map_table.about(name).in_report}
    assert not {"fapow3", "mse"} & set(shown)
    figure = maps.draw_maps([("", shown)], mask_of(SHAPE))
    assert titles(figure) == [map_table.about(name).title for name in shown]
    status = figure.axes[list(shown).index("status")].images[0]
    for code in js.Status:
        assert matplotlib.colors.same_color(status.cmap(status.norm(code.value)), code.colour)


def test_rows_of_one_map_share_their_colours(fit):
    """So that a fit and the truth can be compared."""
    fitted = {"s0": fit.s0}
    figure = maps.draw_maps([("fitted", fitted), ("truth", {"s0": fit.s0 * 2})], mask_of(SHAPE))
    first, second = (ax.images[0].get_clim() for ax in figure.axes[:2])
    assert first == second
    assert titles(figure) == ["fitted: S0", "truth: S0"]


def test_fods_are_drawn_over_a_map_that_there_is(fit):
    assert page.background(fit) == "lambda_perp"
    few = replace(fit, model=replace(js.smt(), maps=("fraction", "fa")))
    assert page.background(few) == "fraction"
    fewer = replace(fit, model=replace(js.smt(), maps=("fa",)))
    assert page.background(fewer) == "fa"


def test_a_map_without_finite_values_is_drawn():
    empty = np.full(SHAPE, np.nan)
    figure = maps.draw_maps([("", {"anything": empty})], mask_of(SHAPE))
    assert maps.to_png(figure)[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("limits", "ticks"),
    [
        ((0, 3.05), [0, 0.5, 1, 1.5, 2, 2.5, 3]),
        ((-0.5, 5.5), range(6)),
        ((10000, 17000), [10000, 12000, 14000, 16000]),
        ((0.00011, 0.00019), [0.00012, 0.00014, 0.00016, 0.00018]),
        ((7.0, 7.0), [7]),
    ],
)
def test_bars_of_colours_have_round_numbers_that_fit(limits, ticks):
    """Long numbers are fewer; a map that is the same everywhere has a bar too."""
    np.testing.assert_allclose(maps.round_ticks(*limits), list(ticks))
    constant = np.full(SHAPE, limits[1])
    assert maps.to_png(maps.draw_maps([("", {"anything": constant})], mask_of(SHAPE)))[:4] == b"\x89PNG"


def test_a_bar_tells_the_colours_of_its_map(fit):
    figure = maps.draw_maps(
        [("", {"fraction": fit.derived.get("fraction", fit.parameters["fraction"])})], mask_of(SHAPE)
    )
    panel, bar = figure.axes[0].images
    assert panel.get_clim() == bar.get_clim() == (0, 1)
    assert panel.get_cmap() == bar.get_cmap()
    left, right, *_ = bar.get_extent()
    for label in figure.axes[0].texts:
        assert label.get_position()[0] == pytest.approx(left + float(label.get_text()) * (right - left))
