"""Sidecars: numbers that JSON has, content that was changed, orientations, and what is said of a model."""

import hashlib
import json

import numpy as np
import pytest

from jaxsmt.files import sidecars


def test_equal_content_is_equal_bytes_of_valid_json():
    """Whatever the order; numbers that are not finite are null, which every reader takes."""
    content = {"b": [1.5, float("nan"), (float("inf"), {"x": -float("inf")})], "a": {"λ": "µm²/ms", "none": None}}
    written = sidecars.to_json(content)
    assert written == sidecars.to_json(dict(reversed(content.items())))

    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    read = json.loads(written, parse_constant=refuse)
    assert read == {"a": {"λ": "µm²/ms", "none": None}, "b": [1.5, None, [None, {"x": None}]]}
    assert list(read) == ["a", "b"]
    assert "λ".encode() in written  # people read it


def test_a_path_need_not_be_text():
    """Linux takes any bytes as a file's name; Python has them as surrogates."""
    path = b"/data/\xff.nii.gz".decode("utf-8", "surrogateescape")
    assert json.loads(sidecars.to_json({"path": path}))["path"] == path


def test_content_that_was_changed_is_not_whole():
    """Whatever entry it is; content of other programs has no digest, and counts as whole."""
    sealed = sidecars.sealed({"a": 1, "b": [0.1, float("nan")]})
    read = json.loads(sidecars.to_json(sealed))
    assert sidecars.is_whole(read)
    for changed in ({**read, "a": 2}, {**read, "c": 0}, {k: v for k, v in read.items() if k != "a"}):
        assert not sidecars.is_whole(changed)
    assert not sidecars.is_whole({**read, "sha256": "0" * 64})
    assert sidecars.is_whole({"a": 1})


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sidecars.sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@pytest.mark.parametrize("degree", [0, 2, 4, 8, 12])
def test_the_degree_of_harmonics_follows_from_their_number(degree):
    """Even harmonics up to a degree are (degree + 1)(degree + 2)/2."""
    values = sum(2 * l + 1 for l in range(0, degree + 1, 2))
    encoding = sidecars.orientation_encoding("fod", values)
    assert (encoding["Type"], encoding["SphericalHarmonicDegree"], encoding["EncodingAxis"]) == ("sh", degree, 3)


def test_maps_without_orientations_have_no_encoding():
    assert sidecars.orientation_encoding("fa", 1) is None
    assert {sidecars.orientation_encoding(name, 6)["Type"] for name in ("direction", "across")} == {"unit3vector"}


def test_what_is_said_of_a_model():
    assert sidecars.about_model("mine") == {"Description": "mine model", "Parameters": {"FitMethod": "nlls"}}
    told = sidecars.about_model("smt", "of Kaden", "https://doi.org/x", Fibres=2)
    assert told == {
        "Description": "of Kaden",
        "Parameters": {"FitMethod": "nlls", "Fibres": 2},
        "URL": "https://doi.org/x",
    }


def test_space_is_named_where_the_names_of_maps_have_one(tmp_path):
    """An entity of that name, not a part of another."""
    dwi = tmp_path / "dwi.nii.gz"
    told = {
        prefix: sidecars.spatial_reference(dwi, prefix)
        for prefix in ("space-T1w_", "sub-1_space-T1w_", "myspace-1_", "")
    }
    assert told == {"space-T1w_": str(dwi), "sub-1_space-T1w_": str(dwi), "myspace-1_": None, "": None}
    assert np.all([sidecars.label(name) == "ab1" for name in ("a.b_1", "A-B 1", "ab1")])
