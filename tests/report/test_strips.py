"""Pictures of a group: what is drawn and labelled, and that labels do not overlap."""

import matplotlib.colors
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jaxsmt.report import maps, strips
from jaxsmt.report.strips import Strip, draw_shares, draw_strips, shorten, spread
from jaxsmt.status import Status


def strip_of(n, odd=0, seed=0):
    values = np.random.default_rng(seed).standard_normal(n)
    values[:odd] += 20
    return Strip("λ∥ [µm²/ms]", [f"sub-{i:03d}_ses-followup$" for i in range(n)], values, frozenset(range(odd)))


def boxes(figure):
    """Where each text stands, in pixels of the picture."""
    FigureCanvasAgg(figure).draw()
    texts = []
    for ax in figure.axes:
        low, high = sorted(ax.get_ylim())
        ticks = [tick.label1 for tick in ax.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
        texts += [text for text in (*ax.texts, *ticks) if text.get_text()]
    return [(text.get_text(), text.get_window_extent()) for text in texts]


@pytest.mark.parametrize(("n", "odd"), [(1, 0), (2, 0), (6, 1), (60, 3), (60, 12), (300, 40)])
def test_no_text_overlaps_another_or_is_cut(n, odd):
    figure = draw_strips([strip_of(n, odd, seed) for seed in range(5)])
    found = boxes(figure)
    width, height = figure.canvas.get_width_height()
    for i, (text, box) in enumerate(found):
        assert box.x0 >= 0, text
        assert box.x1 <= width, text
        assert box.y0 >= 0, text
        assert box.y1 <= height, text
        assert not [other for other, its in found[i + 1 :] if box.padded(-1.5).overlaps(its.padded(-1.5))], text


@pytest.mark.parametrize("n", [1, 2, 60, 400])
def test_bars_have_labels_that_can_be_read(n):
    counts = [dict.fromkeys(Status, 10) for _ in range(n)]
    figure = draw_shares([f"sub-{i:03d}_acq-averyverylongname_run-{i}$" for i in range(n)], counts)
    found = boxes(figure)
    assert any(text.startswith("sub-000") for text, _ in found)
    for i, (text, box) in enumerate(found):
        assert box.x0 >= 0, text
        assert not [other for other, its in found[i + 1 :] if box.padded(-1).overlaps(its.padded(-1))], text


def test_bars_are_shares_of_the_mask_in_the_colours_of_statuses():
    counts = dict.fromkeys(Status, 0) | {Status.OUTSIDE: 1000, Status.CONVERGED: 60, Status.AT_BOUND: 40}
    (ax,) = draw_shares(["sub-01"], [counts]).axes
    widths = {code: bar.get_width() for code, bar in zip(list(Status)[1:], ax.patches, strict=True)}
    assert widths[Status.CONVERGED] == pytest.approx(60)
    assert widths[Status.AT_BOUND] == pytest.approx(40)
    assert matplotlib.colors.same_color(ax.patches[1].get_facecolor(), Status.AT_BOUND.colour)


def test_every_series_has_its_dot_and_only_outliers_are_labelled():
    strip = strip_of(60, 2)
    (ax,) = draw_strips([strip]).axes
    dots = np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() in ("o", "D")])
    np.testing.assert_allclose(np.sort(dots), np.sort(strip.values))
    labels = [text.get_text() for text in ax.texts]
    assert labels == [strip.title, *(shorten(label, 18) for label in strip.labels[:2])]


def test_values_that_are_not_known_have_no_dot():
    (ax,) = draw_strips([Strip("a", ["x", "y"], [np.nan, 1.0])]).axes
    assert [list(line.get_ydata()) for line in ax.lines if line.get_marker() == "o"] == [[1.0]]
    (ax,) = draw_strips([Strip("a", ["x"], [np.nan])]).axes
    assert "no values" in [text.get_text() for text in ax.texts]


def test_equal_strips_are_equal_pictures():
    assert maps.to_png(draw_strips([strip_of(60, 3)])) == maps.to_png(draw_strips([strip_of(60, 3)]))


def test_the_text_tells_what_the_picture_shows():
    assert strip_of(60, 1).text.startswith("λ∥ [µm²/ms]: 60 values from ")
    assert strip_of(60, 1).text.endswith("; outliers: sub-000_ses-followup$ 20.13")
    assert Strip("a", ["x"], [np.nan]).text == "a: no values"


@pytest.mark.parametrize("preferred", [[0.0] * 5, [1.0] * 5, [0.5] * 8, [0, 0.01, 0.5, 0.99, 1], [0.3], []])
def test_labels_are_spread_within_the_panel(preferred):
    places = spread(np.array(preferred, float), 0.1)
    assert np.all(np.diff(places) >= 0.1 - 1e-9)
    assert np.all((places >= 0) & (places <= 1))


def test_labels_stay_where_there_is_room():
    np.testing.assert_allclose(spread(np.array([0.9, 0.1, 0.5]), 0.1), [0.9, 0.1, 0.5])


def test_letters_that_the_font_lacks_do_not_warn():
    """Warnings are errors here."""
    assert shorten("sub-山田\n", 20) == "sub-???"
    maps.to_png(draw_strips([Strip("a", ["sub-山田"], [1.0])]))
    assert strips.Strip("a", ["sub-山田"], [1.0]).text
