"""`jaxsmt bids … participant`: from data sets to exact files, and what a cohort does about series that fail."""

import argparse
import json
import os
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.app import cli, workflow
from jaxsmt.app.cohorts import participants
from jaxsmt.batch.runner import compilations
from jaxsmt.files import sidecars
from tests.app.cohorts.data_sets import ABOUT, bids, files_below, series_files, write_hcp, write_raw, write_series
from tests.app.commands import PARAMETERS
from tests.conftest import ACQUISITION, SHAPE, mask_of

ALL = ABOUT | series_files("sub-01", "sub-01/dwi") | series_files("sub-02", "sub-02/dwi")
VOXELS = int(mask_of(SHAPE).sum())


@pytest.fixture
def raw(tmp_path, series):
    """A raw data set of two subjects; returns the folder that holds it."""
    write_raw(tmp_path, series[0])
    return tmp_path


def times(out):
    """When each file was written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def lines_of(capsys):
    """What was said: standard output and standard error."""
    said = capsys.readouterr()
    return said.out.splitlines(), said.err.splitlines()


def test_a_raw_data_set_gives_exactly_these_files(raw, capsys):
    assert bids(raw) == 0
    out, err = lines_of(capsys)
    assert files_below(raw / "out") == ALL
    assert out[0] == f"{raw / 'source'}: raw BIDS data set, 2 series to fit"
    for i, line in enumerate(out[1:3], 1):
        assert re.fullmatch(rf"\[{i}/2\] sub-0{i}: {VOXELS} voxels, \d+\.\d s", line)
    assert out[3:] == ["2 series: 2 fitted"]
    assert err == []
    assert not list((raw / "source" / "sub-01").rglob("*map*"))


def test_maps_are_those_of_fit(raw, series):
    """The masks of the derivatives are used; the report and the log tell of the series."""
    assert bids(raw, "--participant-label", "02") == 0
    place = raw / "out" / "sub-02" / "dwi"
    data = nib.load(raw / "source/sub-02/dwi/sub-02_dwi.nii.gz").get_fdata(dtype=np.float32)
    fit = js.fit(js.smt(), ACQUISITION, data, mask_of(SHAPE) > 0)
    written = nib.load(place / "sub-02_model-smt_param-lambdapar_dwimap.nii.gz").get_fdata(dtype=np.float32)
    np.testing.assert_allclose(written, fit.parameters["lambda_par"], atol=1e-5)
    assert "sub-02: smt maps" in (raw / "out" / "sub-02.html").read_text()
    log = (raw / "out" / "logs" / "sub-02.log").read_text()
    for text in ("participant --participant-label 02", "sub-02_desc-brain_mask.nii.gz", "voxels: ", "time: "):
        assert text in log
    assert not (raw / "out" / "sub-01").exists()


def test_a_second_run_does_only_what_is_missing(raw, capsys):
    """Nothing is read into a fit, compiled or written where the recorded hashes are those of the inputs."""
    assert bids(raw) == 0
    before, programs = times(raw / "out"), compilations()
    capsys.readouterr()
    assert bids(raw) == 0
    assert times(raw / "out") == before
    assert compilations() == programs
    assert capsys.readouterr().out.splitlines()[-3:] == [
        "[1/2] sub-01: complete already",
        "[2/2] sub-02: complete already",
        "2 series: 2 complete already",
    ]
    missing = raw / "out" / "sub-02" / "dwi" / "sub-02_model-smt_param-fa_dwimap.nii.gz"
    missing.unlink()
    assert bids(raw) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 series: 1 fitted, 1 complete already"
    assert missing.exists()
    kept = {path: time for path, time in before.items() if path.name.startswith("sub-01")}
    assert {path: time for path, time in times(raw / "out").items() if path in kept} == kept


@pytest.mark.parametrize("what", ["series", "mask", "table", "run.json", "sidecar", "report", "version", "options"])
def test_what_has_changed_is_fitted_anew(raw, capsys, what):
    """Each thing that decides the maps or belongs to them, in one of two subjects."""
    assert bids(raw) == 0
    source, place = raw / "source", raw / "out" / "sub-01" / "dwi"
    run = place / "sub-01_run.json"
    if what == "series":
        data = nib.load(source / "sub-02/dwi/sub-02_dwi.nii.gz").get_fdata(dtype=np.float32)
        write_series(source / "sub-01/dwi/sub-01_dwi.nii.gz", data, seed=7)
    elif what == "mask":
        path = source / "derivatives/masks/sub-01/dwi/sub-01_desc-brain_mask.nii.gz"
        mask = nib.load(path)
        nib.save(nib.Nifti1Image(np.ones_like(np.asarray(mask.dataobj)), mask.affine), path)
    elif what == "table":
        with (source / "sub-01/dwi/sub-01_dwi.bval").open("a") as file:
            file.write(" ")
    elif what == "run.json":
        run.write_text("[")
    elif what == "sidecar":
        (place / "sub-01_model-smt_param-md_dwimap.json").unlink()
    elif what == "report":
        (raw / "out" / "sub-01.html").unlink()
    else:
        recorded = json.loads(run.read_text())
        recorded["software"]["version" if what == "version" else "name"] = "0.0"
        if what == "options":
            recorded = json.loads(run.read_text())
            recorded["asked"]["shell_gap"] = 99.0
        run.write_bytes(sidecars.to_json(sidecars.sealed(recorded)))
    capsys.readouterr()
    assert bids(raw) == 0
    out, _ = lines_of(capsys)
    assert re.match(r"\[1/2\] sub-01: \d+ voxels", out[1])
    assert out[2] == "[2/2] sub-02: complete already"
    assert files_below(raw / "out") == ALL
    assert bids(raw) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 series: 2 complete already"


def test_a_changed_option_fits_all_anew(raw, capsys):
    """And the same option written otherwise does not; nor does what decides no number."""
    assert bids(raw) == 0
    for words, said in (
        (["--s0", "mean"], "2 fitted"),
        (["--s0", "mean", "--b0-threshold", "50.0", "--device", "cpu", "--n-cpus", "2"], "2 complete already"),
        (["--s0", "mean", "--sigma", "3"], "2 fitted"),
        (["--s0", "mean", "--sigma", "3", "--no-report"], "2 complete already"),
    ):
        capsys.readouterr()
        assert bids(raw, *words) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"2 series: {said}"


def test_memory_and_work_folder_reach_the_fit(raw):
    """Data that do not fit into memory go to a file there, and the maps are the same bytes."""
    assert bids(raw, "--participant-label", "01", "--fod", "watson", "--no-report") == 0
    maps = sorted((raw / "out/sub-01/dwi").glob("*_dwimap.nii.gz"))
    before = [path.read_bytes() for path in maps]
    (raw / "out/sub-01/dwi/sub-01_run.json").unlink()
    words = ["--participant-label", "01", "--fod", "watson", "--no-report", "--mem-mb", "1", "-w", raw / "work"]
    assert bids(raw, *words) == 0
    memory = json.loads((raw / "out/sub-01/dwi/sub-01_run.json").read_text())["memory"]
    assert (memory["limit_MiB"], memory["data_in"]) == (1, "scratch file")
    assert (raw / "work").is_dir()
    assert [path.read_bytes() for path in maps] == before


def test_a_page_that_is_drawn_later_stands_where_its_run_would_have_put_it(raw):
    """Beside the subject's folder, not beside the maps: also where the run was stopped before its page."""
    assert bids(raw, "--participant-label", "01", "--no-report") == 0
    place = raw / "out" / "sub-01" / "dwi"
    assert cli.main(["report", str(place)]) == 0
    assert (raw / "out" / "sub-01.html").exists()
    assert not (place / "report.html").exists()


def test_a_moved_data_set_is_complete_still(raw, capsys):
    """Hashes count, not paths: clusters copy data to other places."""
    assert bids(raw) == 0
    (raw / "elsewhere").mkdir()
    for name in ("source", "out"):
        (raw / name).rename(raw / "elsewhere" / name)
    capsys.readouterr()
    assert bids(raw / "elsewhere") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 series: 2 complete already"


def test_one_failing_series_does_not_stop_the_others(raw, series, capsys):
    """A cut file, no mask, missing tables and one that is done already: the rest is fitted, failures end the list."""
    assert bids(raw, "--participant-label", "sub-02") == 0
    source = raw / "source"
    for label in ("03", "04", "05"):
        write_series(source / f"sub-{label}/dwi/sub-{label}_dwi.nii.gz", series[0], seed=int(label))
    (source / "sub-04/dwi/sub-04_dwi.bvec").unlink()
    cut = source / "sub-01/dwi/sub-01_dwi.nii.gz"
    cut.write_bytes(cut.read_bytes()[:5000])
    (source / "sub-05/dwi/sub-05_dwi.nii.gz").unlink()
    os.symlink("/nowhere/at/all", source / "sub-05/dwi/sub-05_dwi.nii.gz")
    capsys.readouterr()
    assert bids(raw) == 1
    out, err = lines_of(capsys)
    assert out[1].startswith(f"[1/5] sub-01: failed: {cut}: the compressed data end too early")
    assert out[2] == "[2/5] sub-02: complete already"
    assert re.match(r"\[3/5\] sub-03: 120 voxels", out[3])
    assert out[-1] == "5 series: 1 fitted, 1 complete already, 3 failed"
    failed = [line for line in err if line.startswith("failed: ")]
    assert [line.split(": ")[1] for line in failed] == ["sub-01", "sub-04", "sub-05"]
    assert "the file is cut" in failed[0]
    assert "sub-04_dwi.bvec: No such file" in failed[1]
    assert "sub-05_dwi.nii.gz: No such file" in failed[2]
    assert [line for line in err if line.startswith("warning: ")] == [
        "warning: sub-03: no mask: every voxel is fitted, those outside the head too"
    ]
    assert "Traceback" not in "".join(out + err)
    logs = {f"logs/sub-0{i}.log" for i in (1, 4, 5)}
    fitted = series_files("sub-02", "sub-02/dwi") | series_files("sub-03", "sub-03/dwi")
    assert files_below(raw / "out") == ABOUT | fitted | logs
    assert "the file is cut" in (raw / "out" / "logs" / "sub-01.log").read_text()


def test_a_fault_of_the_program_is_named_and_its_traceback_is_in_the_log(raw, monkeypatch, capsys):
    real = workflow.prepare

    def prepare(request, inputs):
        if "sub-01" in str(request.dwi):
            raise ZeroDivisionError("of no use")
        return real(request, inputs)

    monkeypatch.setattr(workflow, "prepare", prepare)
    assert bids(raw) == 1
    out, err = lines_of(capsys)
    assert err == ["failed: sub-01: ZeroDivisionError: of no use"]
    assert out[-1] == "2 series: 1 fitted, 1 failed"
    log = (raw / "out" / "logs" / "sub-01.log").read_text()
    assert "Traceback (most recent call last)" in log
    assert "of no use" in log


def test_stop_on_first_crash(raw, capsys):
    (raw / "source/sub-01/dwi/sub-01_dwi.bval").unlink()
    assert bids(raw, "--stop-on-first-crash") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 series: 1 failed, 1 not begun or not ended"
    assert files_below(raw / "out") == ABOUT | {"logs/sub-01.log"}


def test_a_refit_that_fails_keeps_the_maps_of_before(raw):
    assert bids(raw) == 0
    before = times(raw / "out" / "sub-01")
    cut = raw / "source/sub-01/dwi/sub-01_dwi.nii.gz"
    cut.write_bytes(cut.read_bytes()[:5000])
    assert bids(raw) == 1
    assert times(raw / "out" / "sub-01") == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--participant-label", "../../x"], "letters and digits only"),
        (["--session-id", "1/../2"], "letters and digits only"),
        (["--participant-label", "01", "07", "sub-x"], "no diffusion series of sub-07, sub-x"),
        (["--session-id", "1"], "no diffusion series of these subjects of ses-1"),
        (["--input-type", "hcp"], "no diffusion series to fit"),
        (["--n-cpus", "0"], "--n-cpus 0 is not valid"),
        (["--mem-mb", "-1"], "--mem-mb -1 is not valid"),
        (["--fibres", "2"], "--fibres 2 without an FOD"),
        (["--coils", "4"], "--coils 4 without noncentral-chi noise"),
        (["--model", "smtt"], "unknown model 'smtt'"),
    ],
)
def test_bad_questions_are_refused_before_anything_is_written(raw, capsys, words, message):
    """Exit code 2 and one message, not one failure for each series."""
    assert bids(raw, *words) == 2
    out, err = lines_of(capsys)
    assert message in "\n".join(err)
    assert len([line for line in err if line.startswith("jaxsmt: ")]) == 1
    assert out == []
    assert not (raw / "out").exists()


def test_files_of_one_series_are_no_options(raw, capsys):
    """Each series has its own; a mask for all would be wrong."""
    for flag in ("--mask", "--bval", "--bvec", "--grad", "--prefix", "--overwrite"):
        with pytest.raises(SystemExit) as end:
            bids(raw, flag, "x")
        assert end.value.code == 2


def test_several_series_of_a_session_and_a_filter_file(tmp_path, series):
    """Each has its own entities in all names; the filter lets one pass."""
    stems = [f"sub-01/ses-a/dwi/sub-01_ses-a_run-{i}" for i in (1, 2)]
    write_raw(tmp_path, series[0], stems)
    (tmp_path / "filter.json").write_text('{"dwi": {"session": "a", "run": 2}}')
    assert bids(tmp_path, "--bids-filter-file", tmp_path / "filter.json") == 0
    second = series_files("sub-01_ses-a_run-2", "sub-01/ses-a/dwi")
    assert files_below(tmp_path / "out") == ABOUT | second
    assert bids(tmp_path, "--session-id", "ses-a", "--quiet") == 0
    first = series_files("sub-01_ses-a_run-1", "sub-01/ses-a/dwi")
    assert files_below(tmp_path / "out") == ABOUT | first | second


def test_a_qsiprep_data_set_with_fods(tmp_path, series, capsys):
    """`space-` stays in the names, also where the files are links; MRtrix's table alone is enough."""
    place = tmp_path / "source" / "sub-01" / "dwi"
    stem = "sub-01_space-ACPC"
    elsewhere = tmp_path / "annex" / "dwi.nii.gz"
    write_series(elsewhere, series[0], mask=place / f"{stem}_desc-brain_mask.nii.gz")
    os.symlink(elsewhere, place / f"{stem}_desc-preproc_dwi.nii.gz")
    affine = nib.load(elsewhere).affine
    table = js.Acquisition.from_fsl(tmp_path / "annex/dwi.bval", tmp_path / "annex/dwi.bvec", affine=affine)
    np.savetxt(place / f"{stem}_desc-preproc_dwi.b", np.column_stack([table.bvecs, ACQUISITION.bvals]))
    assert bids(tmp_path, "--fod", "watson", "--no-report") == 0
    assert "data set of QSIPrep" in capsys.readouterr().out
    found = files_below(tmp_path / "out")
    assert {f"sub-01/dwi/{stem}_model-{m}_param-mse_dwimap.nii.gz" for m in ("smt", "smtwatson")} <= found
    assert f"{stem}.html" not in found
    side = json.loads((tmp_path / f"out/sub-01/dwi/{stem}_model-smt_param-md_dwimap.json").read_text())
    assert side["SpatialReference"].endswith(f"{stem}_desc-preproc_dwi.nii.gz")


def test_an_hcp_data_set_with_its_gradient_deviation(tmp_path, series, capsys):
    """It is used unless it shall not be, and that is an option that changes the maps."""
    write_hcp(tmp_path, series[0])
    run = tmp_path / "out" / "sub-100307" / "dwi" / "sub-100307_run.json"
    assert bids(tmp_path) == 0
    assert "laid out as the HCP's" in capsys.readouterr().out
    maps = [*PARAMETERS, "sigma"] if "sigma" in json.loads(run.read_text())["options"] else PARAMETERS
    assert files_below(tmp_path / "out") == ABOUT | series_files("sub-100307", "sub-100307/dwi", maps)
    assert json.loads(run.read_text())["options"]["grad_dev"]["largest_b_change"] > 0.03
    assert bids(tmp_path, "--grad-dev", "none") == 0
    assert "1 fitted" in capsys.readouterr().out
    assert "grad_dev" not in json.loads(run.read_text())["options"]


def test_a_uk_biobank_folder_of_one_subject(tmp_path, series):
    place = tmp_path / "source" / "dMRI" / "dMRI"
    tables = (place / "bvals", place / "bvecs")
    write_series(place / "data_ud.nii.gz", series[0], tables, place / "nodif_brain_mask_ud.nii.gz")
    (tmp_path / "source").rename(tmp_path / "1000001_20250_2_0")
    (tmp_path / "source").symlink_to("1000001_20250_2_0")
    root = tmp_path / "1000001_20250_2_0"
    command = [sys.executable, "-m", "jaxsmt", "bids", str(root), str(tmp_path / "out"), "participant", "--n-cpus", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "laid out as UK Biobank's, 1 series" in done.stdout
    files = series_files("sub-1000001_ses-2", "sub-1000001/ses-2/dwi")
    assert files_below(tmp_path / "out") == ABOUT | files


def test_all_series_share_the_programs_of_the_first(raw, monkeypatch):
    """A second subject compiles nothing, though its mask has other voxels."""
    counts = []
    mask = raw / "source/derivatives/masks/sub-02/dwi/sub-02_desc-brain_mask.nii.gz"
    image = nib.load(mask)
    fewer = np.asarray(image.dataobj).copy()
    fewer[2] = 0
    nib.save(nib.Nifti1Image(fewer, image.affine), mask)
    real = participants.tasks.run_task

    def counted(*words):
        record = real(*words)
        counts.append(compilations())
        return record

    monkeypatch.setattr(participants.tasks, "run_task", counted)
    assert bids(raw, "--fod", "watson") == 0
    assert len(counts) == 2
    assert counts[0] == counts[1]


def test_a_run_that_has_nothing_to_do_does_not_load_jax(raw):
    """Array jobs of finished subjects end at once."""
    assert bids(raw) == 0
    code = (
        "import sys; from jaxsmt.app import cli; "
        "assert cli.main(['bids', sys.argv[1], sys.argv[2], 'participant']) == 0; "
        "assert not {'jax', 'matplotlib', 'distributed'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(raw / "source"), str(raw / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_number_of_processors_is_that_of_the_runtimes_threads(tmp_path):
    """The compiler's runtime makes a thread for each processor."""
    code = (
        "import os; from jaxsmt.batch import processors; processors.available = lambda: 7; processors.limit(3); "
        "assert processors.count() == 3; import jax; jax.devices(); "
        "names = [open(f'/proc/self/task/{t}/comm').read() for t in os.listdir('/proc/self/task')]; "
        "assert sum('XLAEigen' in name for name in names) == 3, names"
    )
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("needs Linux's list of threads")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_of_options_have_whole_paths(tmp_path, monkeypatch):
    """A worker may run in another folder; a number or a word stays one, whatever lies in this folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("30", "auto", "60,90", "sigma.nii.gz", "echo_times"):
        (tmp_path / name).write_text("")
    options = {"model": "smt", "prior": "population", "b_shape": None, "sigma": "30", "echo_time": "60,90"}
    assert vars(participants._absolute(argparse.Namespace(**options))) == options
    files = {**options, "sigma": "sigma.nii.gz", "echo_time": "echo_times"}
    whole = vars(participants._absolute(argparse.Namespace(**files)))
    assert whole == {**options, "sigma": str(tmp_path / "sigma.nii.gz"), "echo_time": str(tmp_path / "echo_times")}
    assert participants._absolute(argparse.Namespace(**{**options, "sigma": "auto"})).sigma == "auto"
