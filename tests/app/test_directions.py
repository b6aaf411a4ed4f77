"""Directions that are flipped or exchanged against the image: the warning, and the command that corrects the table."""

import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.app.directions import better_directions, direction_warnings, fix_of
from jaxsmt.files import gradients
from jaxsmt.geometry.coherence import TURNS, Turn
from jaxsmt.status import Status
from tests.app.commands import run
from tests.geometry.test_coherence import tube, undone

SHAPE = (14, 16, 18)
needs_awk = pytest.mark.skipif(shutil.which("awk") is None, reason="needs awk")


def oblique(determinant):
    """An affine of 2 mm voxels, oblique in the scanner; negative determinant: the first axis runs to the left."""
    turn = np.linalg.qr(np.eye(3) + 0.1 * np.random.default_rng(1).standard_normal((3, 3)))[0]
    turn = turn * np.sign(np.diag(turn))
    affine = np.eye(4)
    affine[:3, :3] = 2 * turn * [determinant * np.linalg.det(turn), 1, 1]
    return affine


def fods_of(at, lobes, shape):
    """What a FOD fit says of narrow lobes at places, and the mask."""
    mask = np.zeros(shape, bool)
    mask[tuple(at.T)] = True
    of_file = np.lexsort(at.T)  # the last axis is the slowest
    p = {"direction": lobes[of_file], "odi": np.full(lobes.shape[:2], 0.1), "weight": np.ones(lobes.shape[:2])}
    return SimpleNamespace(parameters=p, status=np.full(len(at), Status.CONVERGED, np.uint8)), mask


@pytest.mark.parametrize("determinant", [1, -1])
@pytest.mark.parametrize("axes", ["fsl", "scanner"])
def test_turns_are_those_of_the_table(determinant, axes):
    """Whatever the affine, the turn that is named is the one that the table needs, in the table's own axes."""
    affine = oblique(determinant)
    in_image, at = tube(SHAPE)
    to_scanner = affine[:3, :3] / 2
    scanner = in_image @ to_scanner.T
    mistake = Turn((1, 0, 2), (1, 1, -1))
    if axes == "fsl":
        fsl = gradients.scanner_to_fsl(scanner, affine) @ mistake.matrix.T
        wrong = gradients.fsl_to_scanner(fsl, affine)
    else:
        wrong = scanner @ mistake.matrix.T
    assert better_directions(*fods_of(at, scanner, SHAPE), affine, axes) is None
    better = better_directions(*fods_of(at, wrong, SHAPE), affine, axes)
    assert better is not None
    assert undone(mistake, better.turns[0])


def test_wide_light_and_failed_lobes_are_not_followed():
    """Their axes mean little: without others nothing is said."""
    affine = oblique(1)
    in_image, at = tube(SHAPE)
    wrong = in_image @ (affine[:3, :3] / 2).T @ TURNS[1].matrix.T
    fods, mask = fods_of(at, wrong, SHAPE)
    assert better_directions(fods, mask, affine, "scanner") is not None
    for name, value in (("odi", 0.5), ("weight", 0.1)):
        changed = SimpleNamespace(
            parameters={**fods.parameters, name: np.full(len(at), value)[:, None]}, status=fods.status
        )
        assert better_directions(changed, mask, affine, "scanner") is None
    failed = SimpleNamespace(parameters=fods.parameters, status=np.full(len(at), Status.NO_SIGNAL, np.uint8))
    assert better_directions(failed, mask, affine, "scanner") is None


def test_nothing_is_said_without_fods():
    assert direction_warnings(None, None) == []


@needs_awk
@pytest.mark.parametrize("layout", ["rows", "columns", "mrtrix"])
def test_the_command_makes_the_table_that_it_names(tmp_path, layout):
    """Run as it stands, in every layout, beside comments and with a blank in the path; digits are kept."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((7, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions[0] = 0
    folder = tmp_path / "a b"
    folder.mkdir()
    path = folder / ("grad.b" if layout == "mrtrix" else "dwi.bvec")
    table = directions.T if layout == "rows" else directions
    if layout == "mrtrix":
        table = np.column_stack([directions, np.full(7, 1000.0)])
    path.write_text("# by hand\n\n" + "".join(" ".join(f"{v:.9f}" for v in row) + "\n" for row in table))
    option, read = (
        ("grad", lambda p: gradients.read_mrtrix(p)[1]) if layout == "mrtrix" else ("bvec", gradients.read_bvec)
    )
    before = read(path)
    for turn in TURNS[1:]:
        text = fix_of(turn, {option: path})
        corrected = path.with_name(f"{path.stem}_corrected{path.suffix}")
        assert f"--{option} {corrected}" in text
        subprocess.run(text[text.index("awk ") :], shell=True, check=True)
        np.testing.assert_allclose(read(corrected), before @ turn.matrix.T, atol=2e-9)


def test_a_table_that_is_gone_has_no_command(tmp_path):
    """Whoever removes it while the fit runs does not lose the maps."""
    assert fix_of(TURNS[1], {"bvec": tmp_path / "dwi.bvec"}) is None


@needs_awk
def test_a_run_warns_and_its_command_corrects(tmp_path):
    """A series with an exchanged and flipped table: the warning's figures, and after its command no warning."""
    affine, acquisition = oblique(1), js.simulate.hcp_scheme(3, 20, (1000.0, 2000.0))
    in_image, at = tube(SHAPE)
    axes = in_image @ (affine[:3, :3] / 2).T
    one = np.ones((len(at), 1))
    signal = 1000 * js.simulate.zeppelin_signal(acquisition, 2 * one[:, 0], 0.4 * one[:, 0], axes, 30 * one, one)
    data, mask = np.zeros((*SHAPE, acquisition.bvals.size), np.float32), np.zeros(SHAPE, np.uint8)
    data[tuple(at.T)], mask[tuple(at.T)] = signal, 1
    data = js.simulate.rician(data, 20.0, np.random.default_rng(0))
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "sub-01_dwi.nii.gz")
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    right = gradients.scanner_to_fsl(acquisition.bvecs, affine)
    mistake = Turn((1, 0, 2), (1, 1, -1))
    bval, bvec = gradients.fsl_texts(acquisition.bvals, right @ mistake.matrix.T)
    (tmp_path / "sub-01_dwi.bval").write_text(bval)
    (tmp_path / "sub-01_dwi.bvec").write_text(bvec)

    options = ("--fod", "watson", "--no-report")
    assert run(tmp_path, *options) == 0
    facts = tmp_path / "out" / "sub-01_run.json"
    [text] = [w for w in json.loads(facts.read_text())["warnings"] if "do not go together with the image" in w]
    assert "with x and y exchanged and then z flipped in the gradient table" in text
    longer, given = map(float, re.search(r"over (.*) mm instead of (.*) mm", text).groups())
    assert longer > 2 * given
    subprocess.run(text[text.index("awk ") :], shell=True, check=True)
    corrected = tmp_path / "sub-01_dwi_corrected.bvec"
    np.testing.assert_allclose(gradients.read_bvec(corrected), right, atol=2e-9)

    assert run(tmp_path, *options, "--overwrite", "--bvec", corrected) == 0
    assert not [w for w in json.loads(facts.read_text())["warnings"] if "do not go together" in w]
    fitted = nib.load(tmp_path / "out" / "sub-01_model-smtwatson_param-direction_dwimap.nii.gz").get_fdata()
    cosine = np.abs(np.sum(fitted[tuple(at.T)] * axes[:, 0], axis=-1))
    assert np.median(np.degrees(np.arccos(np.minimum(cosine, 1)))) < 3
