"""Which series of a data set are found, and what belongs to each."""

import os
import warnings
from pathlib import Path

import pytest

from jaxsmt.app.cohorts import layouts
from jaxsmt.app.cohorts.layouts import Series
from jaxsmt.app.cohorts.names import BidsFile
from jaxsmt.errors import InputError, JaxsmtWarning
from tests.app.cohorts.data_sets import touch


def only(series):
    assert len(series) == 1
    return series[0]


def test_raw_series_inherit_their_tables_from_the_nearest_folder(tmp_path):
    """BIDS's inheritance principle: a table applies to all below it whose names have its entities."""
    names = [f"sub-01/ses-{s}/dwi/sub-01_ses-{s}_acq-{a}_dwi.nii.gz" for s in "12" for a in ("hi", "lo")]
    inherited = ["dwi.bval", "sub-01/sub-01_acq-hi_dwi.bval", "sub-01/ses-1/sub-01_ses-1_dwi.bvec"]
    touch(tmp_path, *names, "sub-01/sub-01_dwi.bvec", "sub-01/ses-1/dwi/sub-01_ses-1_acq-lo_dwi.bval", *inherited)
    (tmp_path / "dwi.bval").rename(tmp_path / "acq-lo_dwi.bval")
    found = layouts.find_series(tmp_path, "bids")
    assert [s.stem for s in found] == [Path(name).name.removesuffix("_dwi.nii.gz") for name in names]
    tables = [tuple(str(path.relative_to(tmp_path)) for path in (s.bval, s.bvec)) for s in found]
    assert tables == [
        ("sub-01/sub-01_acq-hi_dwi.bval", "sub-01/ses-1/sub-01_ses-1_dwi.bvec"),
        ("sub-01/ses-1/dwi/sub-01_ses-1_acq-lo_dwi.bval", "sub-01/ses-1/sub-01_ses-1_dwi.bvec"),
        ("sub-01/sub-01_acq-hi_dwi.bval", "sub-01/sub-01_dwi.bvec"),
        ("acq-lo_dwi.bval", "sub-01/sub-01_dwi.bvec"),
    ]
    assert found[0].folder == Path("sub-01/ses-1/dwi")
    assert found[0].title == "sub-01 ses-1 acq-hi"


def test_a_table_for_all_lies_at_the_top(tmp_path):
    """`dwi.bval` has no entity, so it applies to every series."""
    touch(tmp_path, "sub-01/dwi/sub-01_dwi.nii.gz", "sub-02/dwi/sub-02_dwi.nii", "dwi.bval", "dwi.bvec", "dwi.json")
    for series in layouts.find_series(tmp_path, "bids"):
        assert [path.name for path in (series.bval, series.bvec)] == ["dwi.bval", "dwi.bvec"]
        assert series.mask is None


def test_two_tables_that_apply_equally_are_refused(tmp_path):
    """To take one of them would be a guess."""
    tables = [f"sub-01/dwi/sub-01_{entity}_dwi.bval" for entity in ("acq-hi", "run-1")]
    touch(tmp_path, "sub-01/dwi/sub-01_acq-hi_run-1_dwi.nii.gz", *tables)
    with pytest.raises(InputError, match=r"sub-01_acq-hi_dwi\.bval and sub-01_run-1_dwi\.bval both apply"):
        layouts.find_series(tmp_path, "bids")


def test_masks_of_raw_series(tmp_path):
    """Beside the series first, then in derivatives; never one of another space, subject or kind."""
    touch(tmp_path, *(f"sub-0{i}/dwi/sub-0{i}_run-1_dwi.nii.gz" for i in (1, 2, 3)))
    near = "sub-01/dwi/sub-01_desc-brain_mask.nii.gz"
    far = [f"derivatives/{pipeline}/sub-0{i}/dwi/sub-0{i}" for pipeline, i in (("a", 1), ("b", 2), ("c", 3))]
    touch(tmp_path, near, f"{far[0]}_run-1_desc-brain_mask.nii.gz", f"{far[1]}_run-1_desc-brain_mask.nii.gz")
    touch(
        tmp_path, f"{far[2]}_space-T1w_desc-brain_mask.nii.gz", f"{far[2]}_desc-wm_mask.nii.gz", f"{far[2]}_mask.nii.gz"
    )
    masks = [s.mask and str(s.mask.relative_to(tmp_path)) for s in layouts.find_series(tmp_path, "bids")]
    assert masks == [near, f"{far[1]}_run-1_desc-brain_mask.nii.gz", None]


def test_qsiprep_series(tmp_path):
    """Only what is preprocessed, with FSL's tables, or MRtrix's where those are missing."""
    stems = ["sub-01/ses-a/dwi/sub-01_ses-a_run-1_space-ACPC", "sub-02/dwi/sub-02_space-ACPC"]
    for stem in stems:
        ends = ["desc-preproc_dwi.nii.gz", "desc-preproc_dwi.b", "desc-brain_mask.nii.gz", "dwiref.nii.gz"]
        touch(tmp_path, *(f"{stem}_{end}" for end in ends))
    touch(tmp_path, *(f"{stems[0]}_desc-preproc_dwi.{end}" for end in ("bval", "bvec", "json")))
    assert layouts.recognise(tmp_path) == "qsiprep"
    first, second = layouts.find_series(tmp_path, "qsiprep")
    assert first.stem == "sub-01_ses-a_run-1_space-ACPC"
    assert (first.bval.suffix, first.bvec.suffix, first.grad) == (".bval", ".bvec", None)
    assert (second.bval, second.bvec, second.grad.suffix) == (None, None, ".b")
    assert [s.mask.name for s in (first, second)] == [f"{Path(s).name}_desc-brain_mask.nii.gz" for s in stems]


def hcp_files(subject):
    names = ["data.nii.gz", "bvals", "bvecs", "nodif_brain_mask.nii.gz", "grad_dev.nii.gz"]
    return [f"{subject}/T1w/Diffusion/{name}" for name in names]


def test_hcp_series(tmp_path):
    touch(tmp_path, *hcp_files("100307"), *hcp_files("HCA01_V1_MR")[:3], "notes/readme.txt")
    assert layouts.recognise(tmp_path) == "hcp"
    first, second = layouts.find_series(tmp_path, "hcp")
    names = [path.name for path in (first.dwi, first.bval, first.bvec, first.mask, first.grad_dev)]
    assert [f"100307/T1w/Diffusion/{name}" for name in names] == hcp_files("100307")
    assert (second.stem, second.mask, second.grad_dev) == ("sub-HCA01V1MR", None, None)
    assert [s.subject for s in layouts.find_series(tmp_path, "hcp", {"100307", "5"})] == ["100307"]


def ukb_files(subject):
    return [f"{subject}/dMRI/dMRI/{n}" for n in ("data_ud.nii.gz", "bvals", "bvecs", "nodif_brain_mask_ud.nii.gz")]


def test_ukb_series(tmp_path):
    """A folder of the bulk download has the instance, which is a visit, in its name."""
    touch(tmp_path, *ukb_files("1000001"), *ukb_files("1000002_20250_2_0"), *ukb_files("1000002_20250_3_0"))
    assert layouts.recognise(tmp_path) == "ukb"
    found = layouts.find_series(tmp_path, "ukb")
    assert [s.stem for s in found] == ["sub-1000001", "sub-1000002_ses-2", "sub-1000002_ses-3"]
    names = [path.name for path in (found[0].dwi, found[0].bval, found[0].bvec, found[0].mask)]
    assert [f"1000001/dMRI/dMRI/{name}" for name in names] == ukb_files("1000001")
    assert found[0].grad_dev is None


@pytest.mark.parametrize(("kind", "files"), [("ukb", ukb_files("1000001")), ("hcp", hcp_files("1000001"))])
def test_a_folder_may_be_that_of_one_subject(tmp_path, monkeypatch, kind, files):
    """Also where it is named by `.`."""
    touch(tmp_path, *files)
    for root in (tmp_path / "1000001", Path()):
        monkeypatch.chdir(tmp_path / "1000001")
        assert layouts.recognise(root) == kind
        assert only(layouts.find_series(root, kind)).stem == "sub-1000001"


@pytest.mark.parametrize("kind", layouts.kinds())
def test_a_folder_without_series_is_no_data_set(tmp_path, kind):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "notes.txt")
    assert layouts.find_series(tmp_path, kind) == []
    with pytest.raises(InputError, match="no diffusion series"):
        layouts.recognise(tmp_path)
    for look in (layouts.recognise, lambda root: layouts.find_series(root, kind)):
        with pytest.raises(InputError, match="is no folder"):
            look(tmp_path / "notes.txt")


def test_what_has_no_valid_name_is_left_out_with_a_warning(tmp_path):
    """Names of people's own files must not stop a cohort, nor reach paths or pages."""
    good = "sub-01/dwi/sub-01_dwi.nii.gz"
    odd = ["sub-01/dwi/sub-01_dwi copy.nii.gz", "sub-01/dwi/sub-01_run_dwi.nii.gz", "sub-01/dwi/sub-02_dwi.nii.gz"]
    touch(tmp_path, good, *odd, "sub-<b>/dwi/sub-3_dwi.nii.gz", "sub-01/dwi/sub-01_part-phase_dwi.nii.gz")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert only(layouts.find_series(tmp_path, "bids")).dwi == tmp_path / good
    texts = [str(warning.message) for warning in caught]
    assert all(issubclass(warning.category, JaxsmtWarning) for warning in caught)
    for name in (*odd, "sub-<b>", "sub-01_part-phase_dwi.nii.gz"):
        assert any(name in text and "left out" in text for text in texts)
    assert len(texts) == 5


def test_series_whose_maps_would_have_the_same_names_are_refused(tmp_path):
    touch(tmp_path, "sub-01/dwi/sub-01_dwi.nii.gz", "sub-01/dwi/sub-01_dwi.nii")
    with pytest.raises(InputError, match="would have the names of those of"):
        layouts.find_series(tmp_path, "bids")


def test_links_are_followed_but_not_in_circles(tmp_path):
    """Files of annexes are links, dangling where the content is not here: the series is found, and its fit fails."""
    touch(tmp_path, "sub-01/dwi/sub-01_dwi.bval")
    os.symlink("/nowhere/at/all", tmp_path / "sub-01/dwi/sub-01_dwi.nii.gz")
    os.symlink(tmp_path, tmp_path / "sub-01/ses-1")
    assert only(layouts.find_series(tmp_path, "bids")).stem == "sub-01"


def test_the_kind_is_that_of_the_first_series(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/ses-1/dwi/sub-02_ses-1_dwi.nii.gz")
    assert layouts.recognise(tmp_path) == "bids"
    (tmp_path / "dataset_description.json").write_text('{"GeneratedBy": [{"Name": "QSIPrep"}]}')
    assert layouts.recognise(tmp_path) == "qsiprep"
    for nonsense in ("[", "[]", '{"GeneratedBy": "QSIPrep"}', "\xff"):
        (tmp_path / "dataset_description.json").write_text(nonsense, "latin-1")
        assert layouts.recognise(tmp_path) == "bids"


def test_names_after_bids():
    for name in ("dwi.bval", "sub-01_dwi", "sub-01_sub-02_dwi.nii.gz", "sub-_dwi.nii", "../sub-01_dwi.nii.gz"):
        file = BidsFile.parse(Path("folder") / name)
        assert (file is None) == (name not in ("dwi.bval", "../sub-01_dwi.nii.gz"))


def test_stems_of_series():
    assert Series("1", None, (), Path("d")).stem == "sub-1"
    assert Series("1", None, (), Path("d")).folder == Path("sub-1/dwi")
