"""Maps as files: what is written, what is removed, and folders that trouble leaves as they were."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from jaxsmt.errors import InputError, OutputError
from jaxsmt.files import nifti, outputs, series
from jaxsmt.files.outputs import MapSet

SHAPE = (4, 3, 2)
AFFINE = np.diag([2.0, 2.5, 3.0, 1.0])
INSIDE = np.random.default_rng(0).random(SHAPE) < 0.6
STATUS = INSIDE.astype(np.uint8)


def maps_of(inside, **more):
    """A scalar map, axes and the status of the voxels inside, as rows in file order."""
    count, rng = int(inside.sum()), np.random.default_rng(1)
    maps = {"s0": rng.random(count), "direction": rng.random((count, 3)), "status": np.ones(count)}
    sd = {"s0": rng.random(count), "direction": rng.random(count)}
    return MapSet("smt", maps, {"s0": "arbitrary"}, sd, inside=inside, **more)


def placed(values, inside):
    """Rows as a map, by the definition of file order: the first axis is the fastest."""
    out = np.zeros((*inside.shape, *values.shape[1:]))
    for row, at in zip(values, np.argwhere(inside.T)[:, ::-1], strict=True):
        out[tuple(at)] = row
    return out


@pytest.fixture
def like(tmp_path):
    """A series, the names of whose maps have a space."""
    bvals, bvecs = np.zeros(2), np.zeros((2, 3))
    path = tmp_path / "sub-01_space-T1w_dwi.nii.gz"
    series.write_series(path, np.ones((*SHAPE, 2), np.float32), bvals, bvecs, AFFINE)
    return path


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_rows_are_written_where_their_voxels_are(out, like):
    """Values of the voxels inside a mask, and whole maps, are the same files."""
    rows = maps_of(INSIDE)
    whole = MapSet("smt", {name: placed(v, INSIDE) for name, v in rows.maps.items()}, rows.units)
    image = nifti.open_image(like)
    for name, values in rows.maps.items():
        rows.write(out / "rows.nii.gz", name, values, image)
        whole.write(out / "whole.nii.gz", name, whole.maps[name], image)
        assert (out / "rows.nii.gz").read_bytes() == (out / "whole.nii.gz").read_bytes()
        read = nib.load(out / "rows.nii.gz")
        np.testing.assert_allclose(read.get_fdata(), placed(values, INSIDE), rtol=1e-6)
        assert read.get_data_dtype() == (np.uint8 if name == "status" else np.float32)
        np.testing.assert_allclose(read.affine, AFFINE)


def test_every_map_has_a_sidecar_that_says_what_it_is(out, like):
    maps, seen = maps_of(INSIDE, about_model={"Description": "of a test"}), []
    paths = outputs.write_maps(
        out, "sub-01_space-T1w_", maps, nifti.open_image(like), {"Sources": ["a"]}, lambda: seen.append(1)
    )
    start = "sub-01_space-T1w_model-smt_param-"
    names = ["s0", "direction", "status", "s0_desc-sd", "direction_desc-sd"]
    assert [path.name for path in paths] == [f"{start}{name}_dwimap.nii.gz" for name in names]
    assert len(paths) == len(seen) == len(maps) == 5
    assert {p.name for p in out.iterdir()} == {
        f"{start}{name}_dwimap{e}" for name in names for e in (".nii.gz", ".json")
    }
    told = {name: json.loads((out / f"{start}{name}_dwimap.json").read_text()) for name in names}
    for side in told.values():
        assert side["Sources"] == ["a"]
        assert side["SpatialReference"] == str(like)
        assert side["SkullStripped"] is True
        assert (side["model"], side["Model"]) == ("smt", {"Description": "of a test"})
    units = {name: side.get("Units") for name, side in told.items()}
    assert units == {
        "s0": "arbitrary",
        "direction": None,
        "status": None,
        "s0_desc-sd": "arbitrary",
        "direction_desc-sd": "degrees",
    }
    assert told["s0"]["Description"].startswith("Signal at b = 0")
    assert told["s0_desc-sd"]["Description"].startswith("Signal at b = 0")
    assert "standard deviation" in told["s0_desc-sd"]["Description"]
    assert told["direction_desc-sd"]["Description"].startswith("Expected angle")
    assert [name for name, side in told.items() if "OrientationEncoding" in side] == ["direction"]


def test_maps_are_skull_stripped_if_a_voxel_was_left_out():
    assert maps_of(INSIDE).is_masked
    assert not maps_of(np.ones(SHAPE, bool)).is_masked
    assert MapSet("smt", {"status": STATUS}, {}).is_masked
    assert not MapSet("smt", {"status": np.ones(SHAPE)}, {}).is_masked


def test_standard_deviations_are_of_maps_that_have_one():
    """Not of R², and not of maps whose standard deviation was not computed."""
    maps = {"s0": STATUS, "fa": STATUS, "r2": STATUS, "status": STATUS}
    assert MapSet("smt", maps, {}, {"s0": STATUS, "r2": STATUS}).with_sd == ("s0",)
    assert MapSet("smt", maps, {}).with_sd == ()
    assert len(MapSet("smt", maps, {})) == 4


def test_what_an_earlier_fit_has_left_is_removed(out):
    """Maps and sidecars; nothing of other models, series or users."""
    stale = ["s_model-smt_param-lambdapar_dwimap", "s_model-smt_param-lambdapar_desc-sd_dwimap"]
    others = ["s_model-mine_param-lambdapar_dwimap", "t_model-smt_param-lambdapar_dwimap", "s_run", "notes"]
    for name in [*stale, *others, "s_model-smt_param-fa_dwimap"]:
        for extension in (".nii.gz", ".json"):
            (out / f"{name}{extension}").write_text("of an earlier fit")
    outputs.remove_stale(out, "s_", "smt", ["lambda_par", "fa", "r2"], keep=["s_model-smt_param-fa_dwimap.nii.gz"])
    left = {path.name.partition(".")[0] for path in out.iterdir()}
    assert left == {*others, "s_model-smt_param-fa_dwimap"}


def test_maps_of_python_go_where_the_caller_says(tmp_path, like):
    """The folder is made; names are those of the series, or begin as the caller says."""
    for prefix, start in ((None, "sub-01_space-T1w_"), ("x_", "x_"), ("", "")):
        paths = outputs.save(tmp_path / "a" / "b", like, prefix, "smt", {"status": STATUS}, {}, facts={"options": 1})
        assert [path.name for path in paths] == [f"{start}model-smt_param-status_dwimap.nii.gz"]
        side = json.loads(outputs.sidecar_path(paths[0]).read_text())
        assert (side["options"], side["Sources"]) == (1, [str(like)])
        np.testing.assert_array_equal(nib.load(paths[0]).get_fdata(), STATUS)


def test_maps_of_python_replace_those_of_a_fit_before(out, like):
    """No standard deviation of other estimates stays; what the command line wrote, and tells of, is left alone."""
    maps, sd = {"s0": np.ones(SHAPE), "status": STATUS}, {"s0": np.ones(SHAPE)}
    outputs.save(out, like, "x_", "smt", maps, {}, sd)
    assert len(list(out.iterdir())) == 6
    paths = outputs.save(out, like, "x_", "smt", maps, {})
    assert {path.name for path in out.glob("*.nii.gz")} == {path.name for path in paths}
    (out / "x_run.json").write_text("{}")
    with pytest.raises(InputError, match=r"x_run\.json: tells of maps that the command line wrote here"):
        outputs.save(out, like, "x_", "smt", maps, {})
    outputs.save(out, like, "y_", "smt", maps, {})


@pytest.mark.parametrize("prefix", ["../x_", "/x_", "a/b_", "a\0b", 3])
def test_prefixes_that_are_no_plain_names_are_refused(tmp_path, like, prefix):
    """Nothing is written outside the folder, and the folder is not made."""
    with pytest.raises(InputError, match="is not a plain name"):
        outputs.save(tmp_path / "a", like, prefix, "smt", {"status": STATUS}, {})
    assert not (tmp_path / "a").exists()


def test_maps_of_another_grid_are_refused(tmp_path, like):
    with pytest.raises(InputError, match=r"maps of shape \(4, 3, 3\) for a series of \(4, 3, 2\)"):
        outputs.save(tmp_path / "a", like, None, "smt", {"status": np.ones((4, 3, 3))}, {})
    for folder, series_like, name in ((3, like, "folder"), (tmp_path / "a", None, "like")):
        with pytest.raises(InputError, match=f"{name}= is of type"):
            outputs.save(folder, series_like, None, "smt", {"status": STATUS}, {})


def test_maps_of_one_file_name_are_refused(tmp_path, like):
    """Before anything is written: the second would replace the first."""
    with pytest.raises(InputError, match="have the same file name"):
        outputs.save(tmp_path / "a", like, None, "mine", {"status": STATUS, "a.b": STATUS, "AB": STATUS}, {})
    assert not (tmp_path / "a").exists()


def test_folders_that_cannot_be_made_or_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a folder that can be made"):
        outputs.make_folder(tmp_path / "file" / "in")
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(OutputError, match="cannot be written"):
        outputs.make_folder(tmp_path)


def test_a_new_folder_is_gone_if_nothing_was_written(tmp_path):
    """One that was there, or that holds something, stays."""

    def write_and_fail(path, names):
        with outputs.new_folder(path):
            for name in names:
                (path / name).write_text("written")
            raise ZeroDivisionError

    def fail(path, *names):
        with pytest.raises(ZeroDivisionError):
            write_and_fail(path, names)

    fail(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    fail(tmp_path / "old")
    assert (tmp_path / "old").is_dir()
    fail(tmp_path / "partly", "a.txt")
    assert (tmp_path / "partly" / "a.txt").is_file()
    with pytest.raises(InputError, match="is not empty"), outputs.new_folder(tmp_path / "partly"):
        pass
    with outputs.new_folder(tmp_path / "good"):
        assert (tmp_path / "good").is_dir()
    assert (tmp_path / "good").is_dir()
