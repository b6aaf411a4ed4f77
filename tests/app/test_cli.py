"""The command line end to end: good input to exact files, each bad input to one clear message."""

import dataclasses
import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt import __version__, simulate
from jaxsmt.app import catalogue, cli
from jaxsmt.files import nifti
from jaxsmt.files import sidecars as sidecar
from tests.conftest import ACQUISITION, AFFINE, SHAPE, mask_of, write_table

PARAMETERS = ["lambdapar", "lambdaperp", "fraction", "md", "fa", "fapow3", "s0", "mse", "r2", "status"]


def run(folder, *extra, command="fit", mask=True):
    arguments = [command, str(folder / "sub-01_dwi.nii.gz"), *(["--mask", str(folder / "mask.nii.gz")] if mask else [])]
    if command == "fit":
        arguments += ["-o", str(folder / "out"), "--quiet"]
    return cli.main([*arguments, *map(str, extra)])


def load(folder, parameter, prefix="sub-01_"):
    return nib.load(folder / "out" / f"{prefix}model-smt_param-{parameter}_dwimap.nii.gz")


def test_fit_writes_exactly_what_it_promises(folder, series):
    assert run(folder) == 0
    stems = [f"sub-01_model-smt_param-{p}_dwimap" for p in PARAMETERS]
    expected = {f"{s}{e}" for s in stems for e in (".nii.gz", ".json")} | {"sub-01_run.json", "report.html"}
    assert set(os.listdir(folder / "out")) == expected

    data, par = series
    mask = mask_of(SHAPE) != 0
    fit = js.fit(js.smt(), ACQUISITION, data, mask)
    for parameter in PARAMETERS:
        image = load(folder, parameter)
        values = image.get_fdata(dtype=np.float32)
        assert image.get_data_dtype() == (np.uint8 if parameter == "status" else np.float32)
        np.testing.assert_allclose(image.affine, AFFINE)
        assert np.all(values[~mask] == 0)
        sidecar = json.loads((folder / "out" / f"sub-01_model-smt_param-{parameter}_dwimap.json").read_text())
        assert sidecar["software"] == {"name": "jaxsmt", "version": __version__}
        assert sidecar["model"] == "smt"
        assert sidecar.get("Units") == ("um2/ms" if parameter in ("lambdapar", "lambdaperp", "md") else None)
        assert re.fullmatch("[0-9a-f]{64}", sidecar["inputs"]["dwi"]["sha256"])
    # The streamed fit and the array fit are the same program on the same means.
    written = load(folder, "lambdapar").get_fdata(dtype=np.float32)
    np.testing.assert_allclose(written, fit.parameters["lambda_par"], atol=1e-5)
    assert np.median(np.abs(written - par)[mask]) < 0.05
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert facts["voxels"]["converged"] + facts["voxels"]["at_bound"] == mask.sum()
    assert {"read", "fit", "write"} <= set(facts["timings_s"])
    shells = [(s["b_s_per_mm2"], s["volumes"], s["order"]) for s in facts["shells"]]
    assert shells == [(0, 2, 0), (1000, 30, 6), (2000, 30, 6)]


def test_mcsmt_writes_exactly_what_it_promises(folder, series):
    assert run(folder, "--model", "mcsmt") == 0
    maps = [*("intra", "diff", "extratrans", "extramd"), "s0", "mse", "r2", "status"]
    stems = [f"sub-01_model-mcsmt_param-{p}_dwimap" for p in maps]
    expected = {f"{s}{e}" for s in stems for e in (".nii.gz", ".json")} | {"sub-01_run.json", "report.html"}
    assert set(os.listdir(folder / "out")) == expected
    sidecar = json.loads((folder / "out" / "sub-01_model-mcsmt_param-extramd_dwimap.json").read_text())
    assert sidecar["Units"] == "um2/ms"
    assert "diff (1 - 2/3 intra)" in sidecar["Description"]
    data, _ = series
    fit = js.fit(js.mcsmt(), ACQUISITION, data, mask_of(SHAPE))
    for name in ("intra", "diff", "extratrans"):
        stored = nib.load(folder / "out" / f"sub-01_model-mcsmt_param-{name}_dwimap.nii.gz").get_fdata()
        np.testing.assert_allclose(stored, fit.parameters[name], atol=2e-3)
    for name, model in (("smt", js.smt()), ("mcsmt", js.mcsmt())):
        entry = catalogue.find(name)
        shown = js.fit(model, ACQUISITION, data, mask_of(SHAPE)).maps()
        assert list(shown) == list(entry.maps)
        assert (entry.name, entry.shells) == (name, len(model.free))
        assert entry.build() == model


def test_a_model_of_a_users_file(folder, series, capsys):
    """Another SMT, written by hand: same estimates, files under its own name, its file among the inputs.

    The file is called as a package is, imports its neighbour, and its model holds a map, low in one voxel.
    """
    path = folder / "matplotlib.py"
    (folder / "limits.py").write_text(f"import numpy as np\nmost = np.full({SHAPE}, 3.05)\nmost[2, 1, 0] = 0.9\n")
    path.write_text(
        "import jaxsmt as js\n"
        "import numpy as np\n"
        "from limits import most\n"
        "def build(most=most):\n"
        "    links = [js.fraction('lambda_perp', of='lambda_par', name='fraction')]\n"
        "    model = js.SphericalMeanModel(js.zeppelin(), links=links, name='mine')\n"
        "    return model.bound(lambda_par=(0.0, most))\n"
        "def small():\n    return build(np.full((6, 5), 3.05))\n"
        "def number():\n    return 3\n"
        "def broken():\n    raise KeyError('no such thing')\n"
        "def leaves():\n    raise SystemExit(0)\n"
        "def fixed():\n    return js.smt().fix(lambda_par=1.7, fraction=0.3)\n"
        "def few():\n    return js.SphericalMeanModel(js.zeppelin(), maps=('lambda_par',), name='few')\n"
    )
    assert run(folder, "--model", f"{path}:build", "--no-report") == 0
    fit = js.fit(js.smt(), ACQUISITION, series[0], mask_of(SHAPE))
    stored = nib.load(folder / "out" / "sub-01_model-mine_param-lambdapar_dwimap.nii.gz").get_fdata()
    assert stored[2, 1, 0] == np.float32(0.9)
    stored[2, 1, 0] = fit.parameters["lambda_par"][2, 1, 0]
    np.testing.assert_allclose(stored, fit.parameters["lambda_par"], atol=2e-3)
    told = json.loads((folder / "out" / "sub-01_run.json").read_text())["inputs"]["model"]
    assert (told["path"], told["function"]) == (str(path), "build")
    assert sys.modules["matplotlib"].__file__ != str(path)
    assert str(folder) not in sys.path
    assert catalogue.find(f"{path}:few").background == "lambda_par"  # among the maps, if not the last free parameter
    for model, message in (
        (f"{path}:small", "a map of shape"),
        (f"{path}:leaves", "SystemExit"),
        (f"{path}:fixed", "nothing to fit"),
        (f"{path}:number", "returned int"),
        (f"{path}:broken", "no such thing"),
        (f"{path}:absent", "has no function absent"),
        (f"{folder / 'other.py'}:build", "no such file"),
        ("noddi", "unknown model 'noddi'"),
    ):
        capsys.readouterr()
        assert run(folder, "--model", model, "--overwrite") == 2
        assert message in capsys.readouterr().err


def test_maps_are_the_same_bytes_every_time(folder):
    assert run(folder) == 0
    first = {p.name: p.read_bytes() for p in (folder / "out").glob("*_dwimap.*")}
    assert run(folder, "--overwrite") == 0
    assert {p.name: p.read_bytes() for p in (folder / "out").glob("*_dwimap.*")} == first


@pytest.mark.parametrize("kind", ["big-endian", "int16", "float64", "nifti2", "nii"])
def test_every_storage_gives_the_same_maps(folder, series, kind):
    """inputs.md 12: the way the numbers are stored does not change the maps."""
    assert run(folder) == 0
    expected = load(folder, "lambdapar").get_fdata()
    data, _ = series
    image = nib.Nifti1Image(data, AFFINE)
    if kind == "int16":
        image = nib.Nifti1Image(data, AFFINE)
        image.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
    elif kind == "float64":
        image = nib.Nifti1Image(data.astype(float), AFFINE)
    elif kind == "nifti2":
        image = nib.Nifti2Image(data, AFFINE)
    elif kind == "big-endian":
        image = nib.Nifti1Image(data, AFFINE, nib.Nifti1Header(endianness=">"))
    dwi = folder / ("other.nii" if kind == "nii" else "other.nii.gz")
    nib.save(image, dwi)
    tables = ["--bval", folder / "sub-01_dwi.bval", "--bvec", folder / "sub-01_dwi.bvec"]
    arguments = ["fit", dwi, *tables, "--mask", folder / "mask.nii.gz", "-o", folder / "out", "--quiet", "--no-report"]
    assert cli.main([str(a) for a in arguments]) == 0
    tolerance = 0.05 if kind == "int16" else 1e-4
    written = load(folder, "lambdapar", prefix="other_").get_fdata()
    np.testing.assert_allclose(written, expected, atol=tolerance)


def test_mrtrix_table_and_options(folder):
    assert run(folder, "--no-report", "--spherical-mean", "arithmetic", "--s0", "mean", "--dtype", "float64") == 0
    expected = load(folder, "lambdapar").get_fdata()
    assert not (folder / "out" / "report.html").exists()
    bvecs = js.Acquisition.from_fsl(folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec", affine=AFFINE).bvecs
    np.savetxt(folder / "grad.b", np.column_stack([bvecs, ACQUISITION.bvals]))
    (folder / "sub-01_dwi.bval").unlink()
    options = ["--spherical-mean", "arithmetic", "--s0", "mean", "--dtype", "float64", "--prefix", "x_"]
    assert run(folder, "--no-report", "--grad", folder / "grad.b", *options) == 0
    np.testing.assert_array_equal(load(folder, "lambdapar", prefix="x_").get_fdata(), expected)


def test_nan_voxels_leave_the_rest_unaffected(folder, series, capsys):
    """inputs.md 15: non-finite, all-zero, constant and negative voxels get their status, exit 0, a warning."""
    assert run(folder) == 0
    expected = load(folder, "lambdapar").get_fdata()
    data = series[0].copy()
    data[1, 0, 0, 5], data[1, 1, 0, 0], data[1, 2, 0], data[1, 3, 0] = np.nan, np.inf, 0, 7.0
    data[1, 4, 0] = -data[1, 4, 0]
    nib.save(nib.Nifti1Image(data, AFFINE), folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--overwrite") == 0
    assert "2 voxels have non-finite values" in capsys.readouterr().err
    status = load(folder, "status").get_fdata()[1, :, 0]
    np.testing.assert_array_equal(status, [5, 5, 4, 2, 4])
    good = np.ones(SHAPE, bool)
    good[1, :, 0] = False
    np.testing.assert_array_equal(load(folder, "lambdapar").get_fdata()[good], expected[good])
    assert "non-finite" in (folder / "out" / "report.html").read_text()


def spoil(folder, series, what):
    """Replace one input by a bad one."""
    data, _ = series
    dwi, mask = folder / "sub-01_dwi.nii.gz", folder / "mask.nii.gz"
    if what == "one shell":
        keep = ACQUISITION.bvals < 1500
        nib.save(nib.Nifti1Image(data[..., keep], AFFINE), dwi)
        write_table(folder, ACQUISITION.bvals[keep], ACQUISITION.bvecs[keep])
    elif what == "no b = 0":
        keep = ACQUISITION.bvals > 0
        nib.save(nib.Nifti1Image(data[..., keep], AFFINE), dwi)
        write_table(folder, ACQUISITION.bvals[keep], ACQUISITION.bvecs[keep])
    elif what == "3-D":
        nib.save(nib.Nifti1Image(data[..., 0], AFFINE), dwi)
    elif what == "counts":
        write_table(folder, ACQUISITION.bvals[1:], ACQUISITION.bvecs)
    elif what == "cut":
        dwi.write_bytes(dwi.read_bytes()[: int(0.6 * dwi.stat().st_size)])
    elif what == "bit":
        content = bytearray(dwi.read_bytes())
        content[len(content) // 2] ^= 4
        dwi.write_bytes(content)
    elif what == "empty mask":
        nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), mask)
    elif what == "mask shape":
        nib.save(nib.Nifti1Image(np.ones((6, 5, 5), np.uint8), AFFINE), mask)
    elif what == "mask affine":
        nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), AFFINE + np.eye(4)[:, [3, 0, 1, 2]] * 3), mask)
    elif what == "no bval":
        (folder / "sub-01_dwi.bval").unlink()
    elif what == "no dwi":
        dwi.unlink()
    elif what == "units":
        write_table(folder, ACQUISITION.bvals / 1000, ACQUISITION.bvecs)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("one shell", "at least 2 shells"),
        ("no b = 0", "no b = 0 volume"),
        ("3-D", "diffusion series has four"),
        ("counts", "62 volumes, 61 b-values, 62 directions"),
        ("cut", "the file is cut"),
        ("bit", "sub-01_dwi.nii.gz: .*(damaged|checksum|cut)"),
        ("empty mask", "mask is empty"),
        ("mask shape", r"mask has dimensions \(6, 5, 5\), the series \(6, 5, 4\)"),
        ("mask affine", "mm away"),
        ("no bval", r"sub-01_dwi\.bval: No such file"),
        ("no dwi", r"sub-01_dwi\.nii\.gz: No such file"),
        ("units", "--b-unit ms/um2"),
    ],
)
def test_bad_input_is_refused_with_one_message_and_nothing_written(folder, series, capsys, what, message):
    spoil(folder, series, what)
    assert run(folder) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert "Traceback" not in error
    assert error.count("jaxsmt: ") == 1
    assert not (folder / "out").exists()


def test_mask_kinds(folder, capsys):
    """inputs.md 28: probabilities, NaN and labels, by a documented threshold and with a warning."""
    probability = np.where(mask_of(SHAPE) > 0, 0.7, 0.2).astype(np.float32)
    probability[1, 1, 1] = np.nan
    for values, inside in ((probability, probability > 0.5), (mask_of(SHAPE) * 3, mask_of(SHAPE) > 0)):
        nib.save(nib.Nifti1Image(values, AFFINE), folder / "mask.nii.gz")
        assert run(folder, "--overwrite", "--no-report") == 0
        assert "mask.nii.gz" in capsys.readouterr().err
        np.testing.assert_array_equal(load(folder, "status").get_fdata() > 0, inside)


def test_existing_output_is_kept_unless_told(folder, capsys):
    assert run(folder, "--no-report") == 0
    before = {p: p.read_bytes() for p in (folder / "out").iterdir()}
    assert run(folder, "--no-report") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in (folder / "out").iterdir()} == before
    (folder / "out" / "report.html").write_text("of another series")
    assert run(folder, "--prefix", "other_") == 2
    assert (folder / "out" / "report.html").read_text() == "of another series"


def test_overwriting_with_bad_input_loses_nothing(folder, series):
    """The stream is found to be cut after reading began: maps, report and run.json of before still stand."""
    assert run(folder) == 0
    before = {p: p.read_bytes() for p in (folder / "out").iterdir()}
    spoil(folder, series, "cut")
    assert run(folder, "--overwrite") == 2
    assert {p: p.read_bytes() for p in (folder / "out").iterdir()} == before


def test_output_that_cannot_be_written(folder, capsys):
    (folder / "out").write_text("a file where the folder should be")
    assert run(folder) == 73
    assert "out" in capsys.readouterr().err
    assert run(folder, "--prefix", "../x_", "--overwrite") == 2


def test_disk_that_fills_up_leaves_nothing_partial(folder, monkeypatch, capsys):
    """The third file fails half-way: what stands under a final name is whole, nothing else is left."""
    (folder / "out").mkdir()
    writes = []
    real = os.fsync

    def failing(descriptor):
        writes.append(descriptor)
        if len(writes) == 3:
            raise OSError(28, "No space left on device")
        return real(descriptor)

    monkeypatch.setattr(nifti.os, "fsync", failing)
    assert run(folder) == 73
    assert "No space left" in capsys.readouterr().err
    left = sorted(p.name for p in (folder / "out").iterdir())
    assert len(left) == 2
    for name in left:
        content = (folder / "out" / name).read_bytes()
        assert json.loads(content) if name.endswith(".json") else len(gzip.decompress(content)) == 352 + 4 * 120


def test_report_escapes_what_comes_from_outside(folder):
    evil = folder / "<script>alert(1)_dwi.nii.gz"
    (folder / "sub-01_dwi.nii.gz").rename(evil)
    tables = ["--bval", folder / "sub-01_dwi.bval", "--bvec", folder / "sub-01_dwi.bvec"]
    arguments = ["fit", evil, *tables, "--mask", folder / "mask.nii.gz", "-o", folder / "out", "--quiet"]
    assert cli.main([str(a) for a in arguments]) == 0
    page = (folder / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)_dwi" in page


def test_a_path_need_not_be_text(folder):
    """A folder named in Latin-1: bytes that are no UTF-8."""
    odd = os.fsdecode(os.fsencode(folder) + b"/caf\xe9")
    os.mkdir(odd)
    for name in ("sub-01_dwi.nii.gz", "sub-01_dwi.bval", "sub-01_dwi.bvec"):
        (folder / name).rename(os.path.join(odd, name))
    assert cli.main(["fit", os.path.join(odd, "sub-01_dwi.nii.gz"), "-o", str(folder / "out"), "--quiet"]) == 0
    assert len(list((folder / "out").iterdir())) == 2 * len(PARAMETERS) + 2


def test_check_says_what_fit_would_do(folder, capsys):
    assert run(folder, command="check") == 0
    said = capsys.readouterr().out
    assert "b = 1000 s/mm²: 30 volumes, harmonic order 6" in said
    assert "least standard deviations to expect at SNR 30:" in said
    for tissue in ("white", "grey"):
        assert re.search(rf"{tissue} matter: lambda_par [\d.]+ ± 0\.\d+ µm²/ms, fraction [\d.]+ ± 0\.\d+", said)
    assert f"{mask_of(SHAPE).sum()} of 120 voxels" in said
    assert run(folder, command="check", mask=False) == 0
    assert "no mask" in capsys.readouterr().err
    assert not (folder / "out").exists()


def test_inputs_are_checked_without_loading_jax(folder):
    """Bad input is refused at once: JAX takes seconds to load."""
    (folder / "sub-01_dwi.bval").write_text("1 2 3")
    code = (
        "import sys; from jaxsmt import cli; assert cli.main(['check', sys.argv[1]]) == 2; "
        "assert 'jax' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(folder / "sub-01_dwi.nii.gz")], check=True, capture_output=True)


def test_program_runs_as_a_module(folder):
    done = subprocess.run(
        [sys.executable, "-m", "jaxsmt", "fit", str(folder / "no.nii.gz"), "-o", str(folder / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "no.nii.gz: No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_progress_is_plain_lines_off_a_terminal(folder, capsys):
    arguments = ["fit", str(folder / "sub-01_dwi.nii.gz"), "-o", str(folder / "out"), "--no-report"]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["read", "fit", "write", "warning"]


def test_demo(tmp_path, capsys, monkeypatch):
    """With four columns of the slice in the mask."""
    whole = simulate.coronal_slice()
    few = dataclasses.replace(whole, mask=whole.mask & (np.arange(len(whole.mask)) % 32 == 16)[:, None, None])
    monkeypatch.setattr(simulate, "coronal_slice", lambda: few)
    assert cli.main(["demo", "-o", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"\d voxels/s", said)
    for name in ("maps_and_truth.png", "fods.png", "report.html", "slice_model-smt_param-lambdapar_dwimap.nii.gz"):
        assert (tmp_path / "demo" / name).stat().st_size > 1000
    median = float(re.search(r"\|lambda_par - truth\|: median ([\d.]+)", said).group(1))
    assert median < 0.15
    # What the demo wrote is an input like any other.
    assert cli.main(["check", str(tmp_path / "demo" / "slice_dwi.nii.gz")]) == 0
    assert cli.main(["demo", "-o", str(tmp_path / "demo")]) == 2  # never into a used folder
    assert cli.main(["demo", "-o", str(tmp_path / "demo" / "report.html")]) == 73


FOD_MAPS = ["direction", "weight", "odi", "kappa", "beta", "fod", "mse", "r2", "status"]


def fod_names(family, maps=FOD_MAPS):
    return {f"sub-01_model-smt{family}_param-{m}_dwimap{e}" for m in maps for e in (".nii.gz", ".json")}


def test_fods_are_those_of_python_and_the_files_are_exact(folder, series, capsys):
    """From integers with slope and intercept, inside a mask, in file order; directions in scanner axes."""
    data, _ = series
    image = nib.Nifti1Image(np.round((data - 7) / 0.5).astype(np.int16), AFFINE)
    image.header.set_slope_inter(0.5, 7)
    nib.save(image, folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--fod", "bingham", "--fibres", "2") == 0
    kernels = {f"sub-01_model-smt_param-{p}_dwimap{e}" for p in PARAMETERS for e in (".nii.gz", ".json")}
    expected = kernels | fod_names("bingham") | {"sub-01_run.json", "report.html"}
    assert set(os.listdir(folder / "out")) == expected

    mask = mask_of(SHAPE) != 0
    files = folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec"
    acquisition = js.Acquisition.from_fsl(*files, affine=AFFINE)
    stored = nifti.read_array(nifti.open_image(folder / "sub-01_dwi.nii.gz"))
    fods = js.fit(js.fit(js.smt(), acquisition, stored, mask).fod_model("bingham", 2), acquisition, stored, mask)
    for name, values in fods.maps().items():
        written = np.asarray(nib.load(folder / "out" / f"sub-01_model-smtbingham_param-{name}_dwimap.nii.gz").dataobj)
        np.testing.assert_array_equal(written, values.astype(written.dtype))
        assert np.all(written[~mask] == 0)
    assert written.dtype == np.uint8  # the status, last
    side = json.loads((folder / "out" / "sub-01_model-smtbingham_param-odi_dwimap.json").read_text())
    assert side["model"] == "smtbingham"
    assert "dispersion" in side["Description"]
    facts = json.loads((folder / "out" / "sub-01_run.json").read_text())
    assert facts["options"]["fod"] == "bingham"
    assert facts["fibres"] == {"2": int(mask.sum())}
    assert sum(facts["fod_voxels"].values()) == mask.size
    assert (folder / "out" / "report.html").read_text().count("data:image/png") == 3

    # Without axes from the affine, `save` still writes scanner axes.
    plain = js.Acquisition.from_fsl(*files)
    own = js.fit(js.fit(js.smt(), plain, stored, mask).fod_model("watson"), plain, stored, mask)
    own.save(folder / "own", folder / "sub-01_dwi.nii.gz")
    other = js.fit(js.fit(js.smt(), acquisition, stored, mask).fod_model("watson"), acquisition, stored, mask)
    written = np.asarray(nib.load(folder / "own" / "sub-01_model-smtwatson_param-direction_dwimap.nii.gz").dataobj)
    cosine = np.abs(np.sum(written * other.parameters["direction"][..., 0, :], axis=-1))[mask]
    assert np.degrees(np.arccos(np.clip(cosine, 0, 1))).max() < 0.3

    # A fit of another family replaces these, and none of theirs stay beside the new kernels.
    capsys.readouterr()
    assert run(folder, "--fod", "watson", "--no-report") == 2
    assert run(folder, "--fod", "watson", "--no-report", "--overwrite") == 0
    assert set(os.listdir(folder / "out")) == kernels | fod_names("watson") | {"sub-01_run.json"}
    assert run(folder, "--no-report", "--overwrite") == 0
    assert set(os.listdir(folder / "out")) == kernels | {"sub-01_run.json"}


def test_fibres_need_a_fod(folder, capsys):
    assert run(folder, "--fibres", "2") == 2
    assert "--fibres without --fod" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        run(folder, "--fod", "watson", "--fibres", "4")
    assert end.value.code == 2


def test_nothing_but_isotropic_voxels(folder):
    """No direction anywhere: the report has nothing to show, and is written all the same."""
    signal = 1000 * np.exp(-ACQUISITION.bvals * 1e-3)
    data = np.broadcast_to(signal, (*SHAPE, signal.size)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, AFFINE), folder / "sub-01_dwi.nii.gz")
    assert run(folder, "--fod", "watson", "--fibres", "auto") == 0
    assert (folder / "out" / "report.html").exists()


def test_doctor(capsys):
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "BAD" not in said
    assert said.count("ok ") == 7


def test_default_prefix():
    assert sidecar.default_prefix(Path("sub-01_dwi.nii.gz")) == "sub-01_"
    assert sidecar.default_prefix(Path("sub-01_dwi_preproc.nii")) == "sub-01_"
    assert sidecar.default_prefix(Path("data.nii")) == "data_"
