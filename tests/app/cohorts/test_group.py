"""The group level: numbers against NumPy, what is unlike the others, and data sets that are not whole."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.app.cohorts import outliers
from jaxsmt.app.cohorts.written import find_series
from jaxsmt.errors import InputError
from jaxsmt.files import outputs
from jaxsmt.models import regions
from tests.app.cohorts import derivatives
from tests.app.cohorts.derivatives import SHAPE, gather, read_table, smt_maps, status_map, write_cohort, write_series
from tests.report.pages import Read

TABLE, FOUND = "group_dwimap.tsv", "group_desc-outliers_dwimap.tsv"
OUTPUTS = [TABLE, "group_dwimap.json", FOUND, "group_desc-outliers_dwimap.json", "group.html"]
SIGMA = {"from": "repeats of b = 0", "median": 25.0, "relative_error": 0.01}


def test_numbers_are_those_of_numpy(tmp_path):
    """Median and quartiles of each map in both regions, counts, shares and SNR."""
    rng = np.random.default_rng(0)
    maps, status = smt_maps(rng), status_map(rng)
    maps["lambda_par"][1, 1, 1] = np.nan  # is left out
    write_series(tmp_path, "sub-01_ses-b_acq-hi", maps, status, sigma=SIGMA, warnings=["one", "two"])
    assert gather(tmp_path) == 0
    (row,) = read_table(tmp_path / TABLE)
    assert (row["participant_id"], row["session_id"], row["acq"]) == ("sub-01", "ses-b", "hi")
    assert (row["state"], row["model"], row["fod"]) == ("complete", "smt", "n/a")

    fitted = np.isin(status, (1, 2, 3))
    white = (status == 1) & (maps["fa"] >= 0.6) & (maps["md"] <= 1.5)
    assert 0 < white.sum() < fitted.sum()
    for region, inside in (("mask", fitted), ("wm", white)):
        for name, values in maps.items():
            values = values[inside][np.isfinite(values[inside])].astype(float)
            for statistic, share in (("q1", 0.25), ("median", 0.5), ("q3", 0.75)):
                column = f"{outputs.sidecars.label(name)}_{region}_{statistic}"
                assert float(row[column]) == pytest.approx(np.quantile(values, share), rel=1e-6)
    voxels = np.count_nonzero(status)
    assert int(row["voxels"]) == voxels
    assert int(row["at_bound"]) == np.count_nonzero(status == 2)
    assert float(row["at_bound_share"]) == pytest.approx(np.count_nonzero(status == 2) / voxels, rel=1e-6)
    assert float(row["failed_share"]) == pytest.approx(np.count_nonzero(status > 2) / voxels, rel=1e-6)
    assert int(row["wm_voxels"]) == white.sum()
    assert float(row["sigma"]) == 25
    assert float(row["snr"]) == pytest.approx(np.median(maps["s0"][fitted]) / 25, rel=1e-6)
    assert row["warnings"] == "2"


def test_every_column_is_described(tmp_path):
    write_cohort(tmp_path, 7, odd=1)
    gather(tmp_path)
    for name in (TABLE, FOUND):
        rows = read_table(tmp_path / name)
        about = json.loads((tmp_path / name.replace(".tsv", ".json")).read_text())
        assert rows
        assert set(rows[0]) == set(about)
        assert all(text["Description"] for text in about.values())
    about = json.loads((tmp_path / "group_dwimap.json").read_text())
    assert about["lambdapar_wm_median"]["Units"] == "µm²/ms"
    assert "microscopic FA at least 0.6" in about["wm_voxels"]["Description"]


def test_snr_is_that_of_the_map_of_sigma(tmp_path):
    """Where σ was estimated voxel by voxel its median says less."""
    rng = np.random.default_rng(1)
    maps, status = smt_maps(rng), status_map(rng)
    maps["sigma"] = rng.uniform(10, 40, SHAPE).astype(np.float32)
    write_series(tmp_path, "sub-01", maps, status, sigma=SIGMA)
    gather(tmp_path)
    fitted = np.isin(status, (1, 2, 3))
    expected = np.median((maps["s0"] / maps["sigma"].astype(float))[fitted])
    assert float(read_table(tmp_path / TABLE)[0]["snr"]) == pytest.approx(expected, rel=1e-6)


def test_fods_are_told_of_the_heaviest_lobe_where_there_is_one(tmp_path):
    rng = np.random.default_rng(2)
    maps, status, lobes = smt_maps(rng), status_map(rng), rng.integers(0, 3, SHAPE).astype(np.uint8)
    fod_status = np.where(status == 0, 0, rng.integers(1, 3, SHAPE)).astype(np.uint8)
    odi = rng.uniform(0, 1, (*SHAPE, 2)).astype(np.float32)
    folder = write_series(tmp_path, "sub-01", maps, status, fod=("watson", fod_status))
    vectors = np.zeros((*SHAPE, 6), np.float32)
    fods = {"odi": odi, "nfibres": lobes, "direction": vectors, "status": fod_status}
    derivatives.write_maps(folder, "sub-01_", "smtwatson", fods)
    gather(tmp_path)
    (row,) = read_table(tmp_path / TABLE)
    inside = np.isin(status, (1, 2, 3)) & np.isin(fod_status, (1, 2, 3)) & (lobes > 0)
    white = (status == 1) & (fod_status == 1) & (lobes > 0) & (maps["fa"] >= 0.6) & (maps["md"] <= 1.5)
    assert float(row["fod_odi_mask_median"]) == pytest.approx(np.median(odi[inside][:, 0]), rel=1e-6)
    assert float(row["fod_odi_wm_median"]) == pytest.approx(np.median(odi[white][:, 0]), rel=1e-6)
    assert int(row["fod_at_bound"]) == np.count_nonzero(fod_status == 2)
    assert row["fod"] == "watson"
    assert not any("direction" in name for name in row)


@pytest.mark.parametrize("n", [7, 30])
def test_a_planted_outlier_is_found_and_no_other(tmp_path, n, capsys):
    write_cohort(tmp_path, n, odd=2)
    gather(tmp_path)
    found = read_table(tmp_path / FOUND)
    assert {row["participant_id"] for row in found} == {"sub-03"}
    assert {row["column"] for row in found} == {"lambdapar_mask_median", "lambdapar_wm_median"}
    text = next(row["reason"] for row in found if row["column"] == "lambdapar_wm_median")
    expected = r"median λ∥ in white-matter-like voxels is 1\.2\d µm²/ms, the others 1\.9\d? to 2\.\d+, z = −[\d.]+"
    assert re.fullmatch(expected, text)
    page = (tmp_path / "group.html").read_text("utf-8")
    assert text in page
    assert page.index(text) < page.index("<img")  # words come first
    pictures = re.findall('<img width="[0-9]+" alt="([^"]*)" src="data:image/png;base64,', page)
    assert len(pictures) == page.count("<img")
    assert "outliers: sub-03 1.2" in pictures[0]  # for those who do not see it
    assert 'href="sub-03.html"' in page
    read = Read(page)
    assert not read.problems  # well-formed, every heading of a table with its scope
    links = {value for tag, _, value in read.addresses if tag == "a"}
    assert {value[1:] for value in links if value[0] == "#"} <= set(read.ids)
    assert {value for value in links if value[0] != "#"} == {f"sub-{i + 1:02d}.html" for i in range(n)}
    assert all(value.startswith("data:image/png;base64,") for tag, _, value in read.addresses if tag != "a")
    assert "default-src 'none'" in page


def test_nothing_is_found_among_those_that_differ_by_chance(tmp_path):
    write_cohort(tmp_path, 20)
    gather(tmp_path)
    assert read_table(tmp_path / FOUND) == []
    assert "None is unlike the others" in (tmp_path / "group.html").read_text("utf-8")


def test_too_few_series_are_not_compared(tmp_path):
    write_cohort(tmp_path, 5, odd=2)
    gather(tmp_path)
    assert read_table(tmp_path / FOUND) == []
    assert "too few to be compared: at least 6" in (tmp_path / "group.html").read_text("utf-8")


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_subjects_have_a_page(tmp_path, n):
    write_cohort(tmp_path, n)
    assert gather(tmp_path) == 0
    assert len(read_table(tmp_path / TABLE)) == n
    assert "<img" in (tmp_path / "group.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("values", "step", "odd"),
    [
        ([2.0] * 9, 0, []),  # ties
        ([2.0] * 5 + [9.0], 0, [5]),  # MAD is 0: one differs from all others, which are equal
        ([2.0] * 9 + [2.04], 0, []),  # by what nobody minds
        ([0.0] * 9 + [0.002], 0.001, []),  # of a share
        ([0.0] * 9 + [0.2], 0.001, [9]),
        ([1.0] * 6 + [1.5, 0.6, 1.4, 0.7], 0, []),  # MAD is 0, but many differ
        ([1.0, 1.1, 0.9, 1.05, 0.95, np.nan, np.inf], 0, []),  # five numbers are too few
        ([1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 5.0, np.nan], 0, [6]),
        ([], 0, []),
    ],
)
def test_outliers(values, step, odd):
    assert [found.index for found in outliers.find_outliers(values, step)] == odd


def test_the_others_are_those_that_are_no_outliers():
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.02, 0.98, 1.01, 0.99, 1.03, 9.0, -9.0]
    found = outliers.find_outliers(values)
    assert [(one.value, one.low, one.high) for one in found] == [(9.0, 0.9, 1.1), (-9.0, 0.9, 1.1)]


@pytest.mark.parametrize("n", [6, 10, 30, 100, 500])
def test_normal_numbers_exceed_the_limit_in_one_column_of_a_hundred(n):
    """What the page says of the limit."""
    rng = np.random.default_rng(n)
    alarms = [bool(outliers.find_outliers(10 + rng.standard_normal(n))) for _ in range(3000)]
    assert 0.003 < np.mean(alarms) < 0.02


def test_incomplete_series_are_listed(tmp_path):
    """A fit that was stopped has no run.json; a series that failed has a folder or a log only."""
    write_cohort(tmp_path, 2)
    derivatives.write_maps(tmp_path / "sub-03" / "dwi", "sub-03_", "smt", smt_maps(np.random.default_rng(0)))
    (tmp_path / "sub-04" / "ses-1" / "dwi").mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "sub-01_run-2.log").write_text("failed")
    (tmp_path / "logs" / "sub-01_ses-9.log").write_text("of no folder")
    assert gather(tmp_path) == 0
    states = [(row["participant_id"], row["session_id"], row["run"], row["state"])
              for row in read_table(tmp_path / TABLE)]  # fmt: skip
    assert states == [
        ("sub-01", "n/a", "n/a", "complete"),
        ("sub-01", "n/a", "2", "incomplete"),
        ("sub-02", "n/a", "n/a", "complete"),
        ("sub-03", "n/a", "n/a", "incomplete"),
        ("sub-04", "ses-1", "n/a", "incomplete"),
    ]
    page = (tmp_path / "group.html").read_text("utf-8")
    assert "<b>sub-03, incomplete</b>: has maps but no run.json: its fit has not ended" in page
    assert "<b>sub-04_ses-1, incomplete</b>: has no maps" in page


@pytest.mark.parametrize("what", ["bit", "cut", "shape", "missing", "json", "counts", "deep json"])
def test_damaged_series_are_said_and_the_rest_is_kept(tmp_path, what, capsys):
    write_cohort(tmp_path, 3)
    folder = tmp_path / "sub-02" / "dwi"
    path, run = folder / "sub-02_model-smt_param-md_dwimap.nii.gz", folder / "sub-02_run.json"
    if what == "bit":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    elif what == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif what == "shape":
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.float32), np.eye(4)), path)
    elif what == "missing":
        (folder / "sub-02_model-smt_param-status_dwimap.nii.gz").unlink()
    elif what == "counts":
        content = json.loads(run.read_text())
        content["voxels"]["converged"] += 1
        run.write_text(json.dumps(content))
    else:
        run.write_text('{"model": 3' if what == "json" else "[" * 100_000)
    assert gather(tmp_path) == 0
    rows = read_table(tmp_path / TABLE)
    assert [row["state"] for row in rows] == ["complete", "damaged", "complete"]
    assert "n/a" not in (rows[0]["md_wm_median"], rows[2]["md_wm_median"])
    assert rows[1]["md_mask_median"] == "n/a"
    assert "sub-02: damaged: " in capsys.readouterr().err
    if what in ("bit", "cut", "shape"):  # a region that cannot be told has no numbers; all fitted voxels have
        assert rows[1]["lambdapar_wm_median"] == "n/a"
        assert float(rows[1]["lambdapar_mask_median"]) > 1


def test_models_that_differ_are_kept_apart(tmp_path):
    """mcSMT's λ is no outlier among those of SMT; options that differ are said with the few that have them."""
    write_cohort(tmp_path, 6)
    rng = np.random.default_rng(9)
    status = status_map(rng)
    maps = {name: rng.uniform(0.3, 0.7, SHAPE).astype(np.float32) for name in ("intra", "extramd", "s0", "r2")}
    write_series(tmp_path, "sub-mc", maps, status, model="mcsmt", noise="gaussian")
    gather(tmp_path)
    assert read_table(tmp_path / FOUND) == []
    row = read_table(tmp_path / TABLE)[-1]
    white = (status == 1) & (maps["intra"] >= 0.45)
    assert float(row["intra_wm_median"]) == pytest.approx(np.median(maps["intra"][white].astype(float)), rel=1e-6)
    assert row["lambdapar_wm_median"] == "n/a"
    page = (tmp_path / "group.html").read_text("utf-8")
    assert "The models differ: smt of 6 series, mcsmt of 1 series." in page
    assert "The option noise differs: rician in 6; gaussian in 1 (sub-mc)." in page


def test_a_model_without_a_sign_of_white_matter_has_its_converged_voxels(tmp_path):
    rng = np.random.default_rng(3)
    maps, status = {"radius": rng.uniform(1, 9, SHAPE).astype(np.float32)}, status_map(rng)
    write_series(tmp_path, "sub-01", maps, status, model="mine")
    gather(tmp_path)
    (row,) = read_table(tmp_path / TABLE)
    expected = np.median(maps["radius"][status == 1].astype(float))
    assert float(row["radius_converged_median"]) == pytest.approx(expected, rel=1e-6)
    assert not any("_wm_" in name for name in row)


def test_white_matter_is_told_by_maps_that_the_models_write():
    """A map that is renamed in the table of maps, or in a model, must be renamed here."""
    import jaxsmt as js
    from jaxsmt.app.targets import map_names

    for model in (js.smt(), js.mcsmt(), js.ball_stick(), js.smt_noddi(), js.sandi()):
        names = [outputs.sidecars.label(name) for name in map_names(model)]
        assert regions.region_of(names).key == "wm"


HOSTILE = "sub-<img src=x onerror=alert(1)>&\"'$x^$"


def test_labels_from_folder_names_are_escaped(tmp_path):
    """A folder may have any name: it is no markup, no formula of a picture, and its link leads to its report."""
    rng = np.random.default_rng(4)
    write_cohort(tmp_path, 6)
    write_series(tmp_path, HOSTILE, smt_maps(rng, -0.9), status_map(rng), warnings=["<script>alert(2)</script>"])
    gather(tmp_path)
    page = (tmp_path / "group.html").read_text("utf-8")
    assert "<img src=x" not in page
    assert "<script" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert 'href="sub-%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%26%22%27%24x%5E%24.html"' in page
    assert {row["participant_id"] for row in read_table(tmp_path / FOUND)} == {HOSTILE}


def test_names_that_are_no_text_and_control_characters_stay_in_their_cell(tmp_path):
    rng = np.random.default_rng(5)
    write_series(tmp_path, "sub-a\tb\nc", smt_maps(rng), status_map(rng))
    write_series(tmp_path, "sub-\udcff", smt_maps(rng), status_map(rng))
    gather(tmp_path)
    assert [row["participant_id"] for row in read_table(tmp_path / TABLE)] == ["sub-a\\tb\\nc", "sub-\\udcff"]


def test_a_series_without_report_has_no_link(tmp_path):
    rng = np.random.default_rng(6)
    write_series(tmp_path, "sub-01", smt_maps(rng), status_map(rng), report=False)
    gather(tmp_path)
    assert not re.findall('href="(?!#)', (tmp_path / "group.html").read_text("utf-8"))


def test_equal_inputs_are_equal_bytes_wherever_they_are(tmp_path):
    """And a second run does not read the first one's outputs."""
    write_cohort(tmp_path / "a", 7, odd=1)
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "c")
    gather(tmp_path / "a")
    first = {name: (tmp_path / "a" / name).read_bytes() for name in OUTPUTS}
    for folder in (tmp_path / "a", tmp_path / "b" / "c"):
        gather(folder)
        assert {name: (folder / name).read_bytes() for name in OUTPUTS} == first


@pytest.mark.parametrize("what", ["nothing", "no folder", "only incomplete"])
def test_nothing_to_gather_is_bad_input(tmp_path, what):
    if what == "only incomplete":
        (tmp_path / "sub-01" / "dwi").mkdir(parents=True)
    out = tmp_path / "missing" if what == "no folder" else tmp_path
    with pytest.raises(InputError) as caught:
        gather(out)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.glob("group*"))


def test_series_are_found_by_session_and_prefix(tmp_path):
    """Maps of another model, standard deviations and other files do not make further series."""
    rng = np.random.default_rng(7)
    for name in ("sub-02_ses-2_run-2", "sub-02_ses-2_run-1", "sub-02_ses-1", "sub-01"):
        folder = write_series(tmp_path, name, smt_maps(rng), status_map(rng))
    derivatives.write_maps(folder, "sub-01_", "mcsmt", {"intra": np.zeros(SHAPE, np.float32)})
    (folder / "sub-01_model-smt_param-fa_desc-sd_dwimap.nii.gz").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    (tmp_path / "sub-03.html").write_text("")
    found = find_series(tmp_path)
    assert [one.label for one in found] == ["sub-01", "sub-02_ses-1", "sub-02_ses-2_run-1", "sub-02_ses-2_run-2"]
    assert sorted(found[0].maps("smt")) == ["fa", "lambdapar", "md", "r2", "s0", "status"]
