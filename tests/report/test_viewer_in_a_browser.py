"""The report's viewer in a real browser: it draws, changes maps, reports no error, and loads nothing from elsewhere."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

import jaxsmt as js
from jaxsmt.report import viewer
from tests.app.commands import run
from tests.conftest import AFFINE

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")

SHAPE = (16, 14, 12)
_WITH_WEBGL = ["--use-gl=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """A page with the viewer of maps that are told apart: one rises from left to right, one is the same everywhere."""
    mask = np.zeros(SHAPE, bool)
    mask[2:-2, 2:-2, 2:-2] = True
    x = np.broadcast_to(np.linspace(0, 1, SHAPE[0])[:, None, None], SHAPE)
    status = np.full(SHAPE, js.Status.AT_BOUND, np.uint8)
    maps = {"lambda_par": 3 * x, "fa": np.full(SHAPE, 0.8), "<b>mine</b>": x, "status": status}
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title><h1>t</h1>{viewer.MARK}</html>'
    path = tmp_path_factory.mktemp("viewer") / "report.html"
    path.write_text(viewer.insert(page, viewer.make_viewer(maps, mask, AFFINE)), "utf-8")
    return path


@pytest.fixture(scope="module")
def opened():
    """A function that opens a page in a new browser, and notes what it asks for and what it complains of."""
    with playwright.sync_playwright() as driver:

        def open_page(file, *arguments):
            browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", *arguments])
            page = browser.new_page(viewport={"width": 900, "height": 900})
            page.asked, page.complaints = [], []
            page.on("request", lambda request: page.asked.append(request.url))
            page.on("pageerror", lambda error: page.complaints.append(str(error)))
            page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
            page.goto(file.as_uri())
            return page

        yield open_page


@pytest.fixture(scope="module")
def page(opened, page_file):
    """The page with its viewer ready."""
    page = opened(page_file, *_WITH_WEBGL)
    page.wait_for_selector("#viewer-canvas[data-ready]", timeout=60_000)
    return page


def picture(page):
    """The canvas as it is seen, (height, width, 3)."""
    content = page.locator("#viewer-canvas").screenshot()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def shows(page, index):
    """Choose a map, and wait until it is told."""
    title = page.locator("#viewer-map option").nth(index).text_content()
    page.select_option("#viewer-map", str(index))
    page.wait_for_function("title => document.getElementById('viewer-place').textContent.startsWith(title)", arg=title)


def test_the_canvas_is_drawn(page):
    """It is not of one colour: the map has many, and black is around it."""
    shows(page, 0)
    colours = np.unique(picture(page).reshape(-1, 3), axis=0)
    assert len(colours) > 10
    assert (picture(page).sum(axis=-1) == 0).mean() > 0.1


def test_another_map_is_another_picture_in_its_own_colours(page):
    """FA is grey and the same everywhere; a status has the colour of the table, and its meaning in words."""
    shows(page, 0)
    before = picture(page)
    shows(page, 1)
    after = picture(page)
    assert (before != after).any(axis=-1).mean() > 0.1
    grey = np.array([204, 204, 204])  # 0.8 of 255
    assert (np.abs(after - grey).max(axis=-1) <= 3).mean() > 0.1
    assert page.input_value("#viewer-high") == "1"
    shows(page, 3)
    gold = np.array([255, 215, 0])
    assert (np.abs(picture(page) - gold).max(axis=-1) <= 3).mean() > 0.1
    assert "2, at a bound" in page.inner_text("#viewer-place")


def test_a_slider_moves_the_planes_and_the_value_is_told(page):
    """The keyboard is enough. The map rises along the first axis, which is the scanner's second by the affine."""
    shows(page, 0)

    def value():
        return float(page.inner_text("#viewer-place").split(": ")[1].split(" at ")[0])

    page.focus("#viewer-y")
    first = value()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert value() - first == pytest.approx(2 * 3 / (SHAPE[0] - 1), abs=3.05 / 254)
    assert page.get_attribute("#viewer-y", "aria-valuetext").endswith(" mm")


def test_the_range_of_the_colours_can_be_changed(page):
    shows(page, 1)
    page.fill("#viewer-low", "0.6")
    page.press("#viewer-low", "Enter")
    page.wait_for_function("document.getElementById('viewer-ends').textContent === '0.61'")
    half = np.array([128, 128, 128])
    assert (np.abs(picture(page) - half).max(axis=-1) <= 3).mean() > 0.1
    shows(page, 0)
    shows(page, 1)
    assert page.input_value("#viewer-low") == "0"


def test_every_control_has_a_name(page):
    """As a screen reader tells it."""
    shows(page, 0)
    for kind, names in (
        ("combobox", ["Map"]),
        ("spinbutton", ["Colours from", "to"]),
        ("slider", ["Left to right", "Back to front", "Down to up"]),
        ("img", ["λ∥ [µm²/ms] in three planes"]),
    ):
        for name in names:
            assert page.get_by_role(kind, name=name, exact=True).count() == 1, name


def test_nothing_is_loaded_and_nothing_complains(page, page_file):
    """No request but that for the page itself and for what it holds; names from outside are text."""
    for index in range(4):
        shows(page, index)
    assert [url for url in page.asked if not url.startswith(("data:", "blob:"))] == [page_file.as_uri()]
    assert page.complaints == []
    assert page.locator("#viewer b").count() == 0
    assert page.locator("#viewer-map option").nth(2).text_content() == "<b>mine</b>"


def test_without_webgl_a_sentence_stands_instead_and_no_script_reaches_the_network(opened, page_file):
    """Even a script that tried to could not: the page's policy refuses it."""
    page = opened(page_file, "--disable-gpu", "--disable-3d-apis")
    page.wait_for_selector("#viewer-fallback:visible", timeout=60_000)
    assert "needs WebGL 2" in page.inner_text("#viewer-fallback")
    assert not page.is_visible("#viewer-canvas")
    assert page.complaints == []
    page.evaluate("fetch('https://example.org/').catch(() => 0)")
    assert "Content Security Policy" in " ".join(page.complaints)


def test_the_report_of_a_fit(folder, opened):
    """As the command writes it: the viewer works in the whole page, which is silent and loads nothing."""
    assert run(folder, "--viewer") == 0
    report = folder / "out" / "report.html"
    page = opened(report, *_WITH_WEBGL)
    page.wait_for_selector("#viewer-canvas[data-ready]", timeout=60_000)
    shows(page, 1)
    assert len(np.unique(picture(page).reshape(-1, 3), axis=0)) > 10
    assert [url for url in page.asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    assert page.complaints == []
