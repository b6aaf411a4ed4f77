"""What describes the output data set."""

import importlib.metadata
import json
import os
from email.message import Message

import pytest

from jaxsmt import __version__
from jaxsmt.app.cohorts import dataset
from jaxsmt.errors import InputError, OutputError
from tests.app.cohorts.data_sets import ABOUT, files_below


def describe(root, inside="derivatives/jaxsmt", kind="bids"):
    """The description in a folder inside of the data set `root/source`, or in the folder `inside`."""
    out = root / "source" / inside
    dataset.describe(out, root / "source", kind)
    return json.loads((out / "dataset_description.json").read_text())


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    facts = {"Name": "A study", "BIDSVersion": "1.10.0", "DatasetDOI": "doi:10.0/1"}
    (tmp_path / "source" / "dataset_description.json").write_text(json.dumps(facts))
    return tmp_path / "source"


def test_the_description_is_that_of_a_derivative(tmp_path, source):
    said = describe(tmp_path)
    assert said["Name"] == "Diffusion MRI maps of A study"
    assert (said["DatasetType"], said["BIDSVersion"]) == ("derivative", "1.10.0")
    assert said["GeneratedBy"] == [{"Name": "jaxsmt", "Version": __version__}]
    assert said["SourceDatasets"] == [{"URL": source.as_uri(), "DOI": "doi:10.0/1"}]
    assert said["DatasetLinks"] == {"raw": "../.."}
    assert files_below(source / "derivatives" / "jaxsmt") == ABOUT
    out = source / "derivatives" / "jaxsmt"
    assert f"jaxsmt {__version__} to the series of A study" in (out / "README.md").read_text()
    assert "*_dwimap.*" in (out / ".bidsignore").read_text().split()
    assert "10.1002/mrm.25734" in (out / "logs" / "CITATION.md").read_text()


def test_a_source_elsewhere_is_linked_by_its_address(tmp_path, source):
    said = describe(tmp_path, "../out", "qsiprep")
    assert said["DatasetLinks"] == {"qsiprep": source.as_uri()}


@pytest.mark.parametrize("text", ["{", "[]", '{"Name": 3, "DatasetDOI": []}', '{"Name": " "}', "\xff"])
def test_a_source_that_describes_itself_badly_is_named_after_its_folder(tmp_path, source, text):
    (source / "dataset_description.json").write_text(text, "latin-1")
    said = describe(tmp_path)
    assert said["Name"] == "Diffusion MRI maps of source"
    assert said["SourceDatasets"] == [{"URL": source.as_uri()}]


def test_a_path_need_not_be_text(tmp_path):
    """A folder named in Latin-1."""
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    dataset.describe(tmp_path / "out", odd, "hcp")
    assert json.loads((tmp_path / "out" / "dataset_description.json").read_text())["Name"].endswith("caf\\udce9")


def test_files_are_written_only_if_their_content_differs(tmp_path, source):
    """Jobs of a cluster begin side by side, and tools look at times."""
    describe(tmp_path)
    out = source / "derivatives" / "jaxsmt"
    for name in ABOUT:
        os.utime(out / name, (1, 1))
    (out / "README.md").write_text("changed")
    describe(tmp_path)
    assert {name for name in ABOUT if (out / name).stat().st_mtime == 1} == ABOUT - {"README.md"}
    assert "Maps of jaxsmt" in (out / "README.md").read_text()


def test_other_data_sets_are_not_touched(tmp_path, source):
    """Neither the input nor what another program has made gets our description."""
    before = (source / "dataset_description.json").read_bytes()
    with pytest.raises(InputError, match="is the input itself"):
        describe(tmp_path, "derivatives/..")
    other = tmp_path / "other"
    other.mkdir()
    for text in ('{"Name": "Q", "GeneratedBy": [{"Name": "QSIPrep"}]}', "{"):
        (other / "dataset_description.json").write_text(text)
        with pytest.raises(InputError, match="data set of something else"):
            describe(tmp_path, "../other")
        assert files_below(other) == {"dataset_description.json"}
    assert (source / "dataset_description.json").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        describe(tmp_path, "../file")


def test_jobs_that_begin_side_by_side(tmp_path, source, monkeypatch):
    """Another job may write a file while this one does, under the same temporary name: what counts is what is there."""
    real = dataset.nifti.write_bytes

    def overtaken(path, content):
        real(path, content)
        raise OutputError("No such file or directory", file=path)

    monkeypatch.setattr(dataset.nifti, "write_bytes", overtaken)
    describe(tmp_path)
    assert files_below(source / "derivatives" / "jaxsmt") == ABOUT

    def full(path, content):
        raise OutputError("No space left on device", file=path)

    monkeypatch.setattr(dataset.nifti, "write_bytes", full)
    with pytest.raises(OutputError, match="No space"):
        describe(tmp_path, "../out")


def test_the_code_has_an_address_if_the_package_says_it(tmp_path, source, monkeypatch):
    said = Message()
    said["Project-URL"] = "Documentation, https://docs.example"
    said["Project-URL"] = "Repository, https://code.example"
    monkeypatch.setattr(importlib.metadata, "metadata", lambda name: said)
    assert describe(tmp_path)["GeneratedBy"][0]["CodeURL"] == "https://code.example"
