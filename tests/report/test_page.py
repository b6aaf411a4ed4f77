"""The page of a fit: right numbers in every section, one file that asks for nothing, readable by eye and ear."""

import base64
import io
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxsmt.acquisition.volumes import VolumeResiduals
from jaxsmt.app.describe import residual_facts
from jaxsmt.files import masks
from jaxsmt.fitting.misfit import residuals_of
from jaxsmt.fitting.settings import Settings
from jaxsmt.report import distributions, orientations, page, references, slices
from jaxsmt.status import Status
from tests.conftest import ACQUISITION, gauss_mean
from tests.report.pages import Read, fit_of, fods_of, run_of

SHAPE = (14, 13, 12)
HOSTILE = '"><script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)>'
#: All that a page may link to.
LINKS = {reference.url for reference in references.REFERENCES.values()}


def mask_of(shape):
    mask = np.ones(shape, bool)
    mask[0], mask[-1, :, 0] = False, False
    return mask


MASK = mask_of(SHAPE)
N = int(MASK.sum())


def volumes_of(bad=()):
    """Residuals of the acquisition's volumes, of which some are far off."""
    n = len(ACQUISITION.bvals)
    shells = np.zeros(n, int)
    for k, shell in enumerate(ACQUISITION.shells):
        shells[shell.volumes] = k
    mean = 0.001 * np.random.default_rng(0).standard_normal(n)
    mean[list(bad)] = -0.1
    level = np.array([1.0, 0.4, 0.2])[shells]
    return VolumeResiduals(mean, np.full(n, 0.02), level, 0.02, shells, (0, 4, 4), np.array(bad, int), 4000)


def make(fit, fods=None, run=None, volumes=None, title="sub-01: smt maps", mask=MASK):
    run = run or run_of(fit)
    return page.make_page(title, fit, fods, mask, np.eye(4), run | residual_facts(run, fit, volumes), volumes)


@pytest.fixture(scope="module")
def full():
    """A page with everything: FODs, standard deviations, σ, deviations of the gradients, a bad volume, warnings."""
    sd = {name: np.full(N, 0.1, np.float32) for name in ("lambda_par", "lambda_perp", "fraction", "md", "fa", "s0")}
    fit = fit_of(N, sigma=np.full(N, 25.0), sigma_error=0.01, sigma_from="residuals of smooth signals", sd=sd)
    maps = {**fit.parameters, "s0": fit.s0}
    means = np.asarray([np.full(N, 1000.0), np.full(N, 400.0), np.full(N, 200.0)])
    fit = replace(fit, residuals=residuals_of(fit.model, ACQUISITION, True, maps, fit.status, means))
    crossing = np.zeros(N, bool)
    crossing[: N // 2] = True
    fods = fods_of(fit, crossing)
    options = {"noise": "rician", "fod": "watson", "fibres": "auto", "uncertainty": True, "s0": "fit"}
    sigma = {"from": "residuals of smooth signals", "median": 25.0, "relative_error": 0.01}
    counts = {code.name.lower(): fods.count(code) for code in Status}
    run = run_of(
        fit,
        options=options | {"sigma": sigma},
        fod_voxels=counts,
        fibres={"1": N - N // 2, "2": N // 2},
        warnings=["mind the <gap>"],
    )
    return fit, make(fit, fods, run, volumes_of(bad=[7]))


def test_the_page_is_sound(full):
    """Well-formed, headings in order, tables and pictures that a screen reader can tell, unique ids, one h1."""
    read = Read(full[1])
    assert not read.problems
    levels = [level for level, _ in read.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert len(set(read.ids)) == len(read.ids)
    assert {value[1:] for tag, _, value in read.addresses if tag == "a" and value[0] == "#"} <= set(read.ids)
    assert all(text for tag, text in read.cells if tag == "caption")
    for picture in read.images:
        assert re.search(r"\d", picture["alt"]), picture["alt"]
    for chart in read.charts:
        assert chart["role"] == "img"
        assert re.search(r"median \d|\d %", chart["aria-label"])
    assert '<html lang="en">' in full[1]


def test_the_page_asks_for_nothing(full):
    """No script, nothing that a browser would fetch, and a policy that forbids what slips through."""
    read = Read(full[1])
    for tag, key, value in read.addresses:
        if tag == "a":
            assert value[0] == "#" or value in LINKS
        else:
            assert (tag, key) == ("img", "src")
            assert value.startswith("data:image/png;base64,")
    assert "<script" not in full[1]
    assert "<link" not in full[1]
    assert not re.search(r"url\(|@import", full[1])
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in full[1]


def test_words_come_first(full):
    """What is odd stands before methods, maps and all else."""
    text = full[1]
    headings = [title for level, title in Read(text).headings if level == 2]
    assert headings == [
        "Warnings",
        "Methods",
        "Maps",
        "Tissues",
        "Status",
        "Residuals",
        "Fit quality and noise",
        "Fibre orientations",
        "Time and inputs",
        "References",
    ]
    assert text.index("mind the &lt;gap&gt;") < text.index("Methods</h2>")
    assert text.index("Volume 7 (counted from 0) differs") < text.index("Methods</h2>")


def test_numbers_of_the_tables(full):
    fit, text = full
    rows = Read(text).rows
    white = slice(0, N // 2)
    par = fit.parameters["lambda_par"]
    first, middle, third = (f"{v:.3g}" for v in np.percentile(par[white], (25, 50, 75)))
    assert rows["λ∥ [µm²/ms]"][0] == f"{middle} ({first} to {third})"
    assert rows["voxels"] == [f"{n:,}" for n in (N // 2, N // 3, N - N // 2 - N // 3, N)]
    assert rows["2 at a bound"][0] == "0"  # of FODs, the last table
    assert rows["0 outside mask"][0] == str(MASK.size - N)
    assert rows["b = 1000 s/mm²"][2] == "40.0"  # mean signal
    assert rows["b = 0 s/mm²"][2] == "100.0"
    assert rows["σ in units of the series"] == ["25 (25 to 25), from residuals of smooth signals, standard error 1 %"]
    snr = np.median(fit.s0 / 25.0)
    assert rows["SNR at b = 0, S0/σ"][0].startswith(f"{snr:.3g} (")
    assert rows["SNR at b = 0, from its repeats"] == ["50.0, of the median voxel"]
    assert rows["fit"] == ["1.25", f"{N / 1.25:,.0f}"]
    assert rows["all"] == ["1.75", f"{N / 1.75:,.0f}"]
    assert rows["2"] == [f"{N // 2:,}", f"{50 - 50 * (N % 2) / N:.1f} %"]  # lobes
    assert rows["dwi"] == ["<b>.nii", "00ff"]
    assert rows["command"] == ["jaxsmt fit <b>.nii"]
    assert rows["sigma, median"] == ["25"]
    assert rows["uncertainty"] == ["yes"]


def test_residuals_by_shell_are_measured_less_fitted_means(full):
    """Means of 1000, 400 and 200 are against what the fitted kernels predict, of all fitted voxels."""
    fit, text = full
    par, perp = (fit.parameters[name].astype(float) for name in ("lambda_par", "lambda_perp"))
    rows = Read(text).rows
    for i, (b, mean) in enumerate(((0.0, 1000.0), (1.0, 400.0), (2.0, 200.0))):
        left = mean / fit.s0 - gauss_mean(b, par, perp)
        cells = rows[f"b = {1000 * b:.0f} s/mm²"]
        assert float(cells[3]) == pytest.approx(100 * left.mean(), abs=0.006), i
        assert float(cells[4]) == pytest.approx(100 * left.std(), abs=0.006), i


def test_statuses_have_counts_and_meanings():
    fit = fit_of(N)
    text = make(fit)
    rows = Read(text).rows
    assert rows["1 converged"][:2] == [f"{fit.count(Status.CONVERGED):,}", f"{100 * fit.count(1) / N:.2f} %"]
    for code in Status:
        assert len(rows[f"{code.value} {code.text}"][2]) > 20
    [src] = re.findall(r'alt="Status of the kernels[^"]*" src="data:image/png;base64,([^"]*)"', text)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(src))).convert("RGB"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 3  # outside, converged, at a bound


def test_a_map_is_shown_in_its_colours_and_nothing_is_outside():
    """The first column of the mask is outside: transparent; brightness follows the values."""
    fit = fit_of(N)
    text = make(fit)
    [src] = re.findall(r'alt="microscopic FA in [^"]*" src="data:image/png;base64,([^"]*)"', text)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(src))).convert("RGBA"))
    axial, *_ = cuts = slices.choose_slices(MASK, np.eye(4))
    sheet = slices.lay_out(cuts)
    assert picture.shape[:2] == sheet.indices.shape
    np.testing.assert_array_equal(picture[..., 3] > 0, sheet.indices >= 0)
    inside = sheet.indices >= 0
    np.testing.assert_allclose(picture[inside][:, 0] / 255, fit.derived["fa"][sheet.indices[inside]], atol=0.008)
    assert axial.plane == "axial"


def test_a_bad_volume_is_seen_and_a_good_series_is_left_alone(full):
    text = full[1]
    assert "Standing out: 7 (-10.00 %)" in text
    assert text.count('class="ring"') == 2  # of the mean and of the spread
    good = make(fit_of(N), volumes=volumes_of())
    assert "No volume stands out" in good
    assert 'class="ring"' not in good
    assert "Warnings</h2>\n<p>None.</p>" in good
    assert "Residuals of volumes are not known" in make(fit_of(N))


def test_kernels_alone_have_no_orientations():
    text = make(fit_of(N))
    assert "Fibre orientations" not in text
    assert 'href="#orientations"' not in text
    assert not Read(text).problems


def test_everything_from_outside_is_escaped():
    """Titles, warnings, options, paths and commands are text, whatever they hold."""
    fit = fit_of(N)
    run = run_of(
        fit,
        command=[HOSTILE],
        warnings=[HOSTILE],
        device=HOSTILE,
        inputs={HOSTILE: {"path": HOSTILE, "sha256": HOSTILE}},
        options={"noise": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}, "sigma": {"from": HOSTILE, "median": 1.0}},
        timings_s={HOSTILE: 1.0},
        versions={HOSTILE: HOSTILE, "jax": HOSTILE},
    )
    text = make(fit, run=run, title=HOSTILE)
    read = Read(text)
    assert not read.problems
    assert "<script" not in text
    assert "src=x" not in text.replace("&lt;img src=x", "")
    assert all(value.startswith(("data:", "#", "https://doi.org/", "https://pmc.")) for _, _, value in read.addresses)
    assert read.headings[0][1] == HOSTILE


def test_equal_facts_are_equal_text(full):
    fit = fit_of(N)
    assert make(fit, volumes=volumes_of([3])) == make(fit_of(N), volumes=volumes_of([3]))


def test_a_page_of_a_whole_brain_is_small():
    """Voxels of 1.25 mm in all three planes, of noise that no compression makes smaller: 1.5 MB at most."""
    shape = (145, 174, 145)
    mask = np.zeros(shape, bool)
    grid = (np.indices(shape) - np.array(shape).reshape(3, 1, 1, 1) / 2) / (np.array(shape).reshape(3, 1, 1, 1) / 2.2)
    mask[(grid**2).sum(axis=0) < 1] = True
    cuts = [mask[mask.shape[0] // 2], mask[:, mask.shape[1] // 2], mask[:, :, mask.shape[2] // 2]]
    assert sum(cut.sum() for cut in cuts) > 40_000
    mask &= np.isin(np.indices(shape)[0], (72,)) | np.isin(np.indices(shape)[1], (87,)) | (np.indices(shape)[2] == 72)
    n = int(mask.sum())
    rng = np.random.default_rng(0)
    fit = fit_of(n)
    fit = fit.changed(lambda values: values if values.dtype == np.uint8 else rng.permutation(values))
    fods = fods_of(fit, rng.random(n) < 0.3)
    run = run_of(
        fit, fod_voxels=run_of(fit)["voxels"], fibres={"1": n}, options=run_of(fit)["options"] | {"fod": "watson"}
    )
    assert len(make(fit, fods, run, volumes_of(), mask=mask)) < 1_500_000


def test_healthy_tissue_is_within_the_ranges_and_a_wrong_unit_is_far_off():
    """Apparent diffusivities are those at b = 1000 s/mm², whatever the b-values of the series are."""
    fit = fit_of(300)
    found = distributions.apparent_diffusivity(fit)
    par, perp = (fit.parameters[name].astype(float) for name in ("lambda_par", "lambda_perp"))
    np.testing.assert_allclose(found, -np.log(gauss_mean(1.0, par, perp)), rtol=1e-3)
    ranges = {r.name: r for r in references.APPARENT_DIFFUSIVITIES}
    white = np.median(found[:150])
    assert ranges["white matter"].low < white < ranges["white matter"].high
    assert ranges["deep grey matter"].low < np.median(found[150:250]) < ranges["cortex"].high
    tenfold = distributions.apparent_diffusivity(fit_of(300, scale=0.1))
    assert np.median(tenfold[:150]) < 0.5 * ranges["white matter"].low


def test_every_range_has_a_source_and_every_citation_a_number(full):
    assert all(r.sources and set(r.sources) <= set(references.REFERENCES) for r in references.APPARENT_DIFFUSIVITIES)
    text = full[1]
    cited = {
        int(n) for mark in re.findall(r"\[([\d, ]+)\]", re.sub(r"<svg.*?</svg>", "", text)) for n in mark.split(",")
    }
    listed = text.count('<li><a href="https://')
    assert cited == set(range(1, listed + 1))


def test_glyphs_are_drawn_where_fibres_cross():
    """Crossings fill one corner of a large slice: the patch is there, and most of it crosses."""
    mask = np.ones((60, 50, 1), bool)
    there = np.zeros(mask.shape, bool)
    there[38:58, 30:46] = True
    fit = fit_of(mask.size)
    fods = fods_of(fit, masks.take(there, mask, "F"))
    cuts = slices.choose_slices(mask, np.eye(4))
    patch = orientations.find_patch(fods, cuts, np.eye(4))
    assert 38 <= patch.corner[0] <= 58 - patch.size[0]
    assert 30 <= patch.corner[1] <= 46 - patch.size[1]
    assert patch.crossing == 1
    none = orientations.find_patch(fods_of(fit, np.zeros(mask.size, bool)), cuts, np.eye(4))
    assert none.crossing == 0


def test_directions_have_the_colours_of_their_axes_and_the_patch_a_frame():
    mask = np.ones((60, 50, 1), bool)
    fods = fods_of(fit_of(mask.size), np.zeros(mask.size, bool))
    cuts = slices.choose_slices(mask, np.eye(4))
    sheet, patch = slices.lay_out(cuts), orientations.Patch(0, (10, 20), (18, 12), 0.0)
    src = orientations.direction_picture(fods, sheet, patch, np.eye(4))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(src.partition(",")[2])))) / 255
    white = np.all(picture == 1, axis=-1)
    assert np.flatnonzero(white.any(axis=0))[[0, -1]].tolist() == [10, 28]
    assert np.flatnonzero(white.any(axis=1))[[0, -1]].tolist() == [50 - 32, 50 - 20]
    red = picture[~white]
    assert np.all(red[:, 0] > 0.9)
    assert np.all(red[:, 1:] == 0)


def test_a_mask_of_one_voxel_has_a_page():
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 3, 4] = True
    fit = fit_of(1)
    text = make(fit, fods_of(fit, np.zeros(1, bool)), run_of(fit, fibres={"1": 1}), mask=mask)
    assert not Read(text).problems


def test_deviations_of_gradients_are_shown_by_what_they_change():
    """Gradients longer by 1 % change b by 2.01 %."""
    settings = Settings(grad_dev=np.broadcast_to(0.01 * np.eye(3), (N, 3, 3)))
    fit = replace(fit_of(N), settings=settings)
    assert "change of b by gradient deviations, mean over directions [%]</figcaption>" in make(fit)
    [note] = re.findall('alt="change of b[^"]*: median ([0-9.]+)', make(fit))
    assert float(note) == pytest.approx(2.01)


def test_voxels_without_a_fit_have_a_page():
    fit = fit_of(N)
    none = fit.changed(np.zeros_like)
    none = none.changed(lambda values: values if values.dtype != np.uint8 else values + np.uint8(Status.NO_SIGNAL))
    text = make(none)
    assert not Read(text).problems
    assert "no values" in text
