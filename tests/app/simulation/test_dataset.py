"""`jaxsmt simulate --bids`: the tree, what its files say, and how subjects and sessions differ."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from jaxsmt import simulate
from jaxsmt.app.simulation import dataset
from jaxsmt.app.simulation.options import Simulation
from tests.app.simulation.test_command import SMALL, contents, run

TOP = {"README", "dataset_description.json", "participants.json", "participants.tsv"}
TOP |= {"derivatives/masks/dataset_description.json", "derivatives/truth/dataset_description.json"}
TOP |= {"derivatives/truth/.bidsignore"}
TRUTH = {"smt": ["lambdapar", "lambdaperp", "fraction", "s0"], "smtwatson": ["nfibres", "direction", "weight", "odi"]}


def files_of(*entities):
    """Files of one series, its mask and its truth."""
    folder, prefix = "/".join([*entities, "dwi"]), "_".join(entities)
    files = {f"{folder}/{prefix}_dwi{e}" for e in (".nii.gz", ".bval", ".bvec", ".json")}
    names = [("masks", "desc-brain_mask")]
    names += [("truth", f"model-{m}_param-{p}_desc-truth_dwimap") for m, maps in TRUTH.items() for p in maps]
    return files | {f"derivatives/{d}/{folder}/{prefix}_{n}{e}" for d, n in names for e in (".nii.gz", ".json")}


@pytest.fixture(scope="module")
def two_by_two(tmp_path_factory):
    """Two subjects with two sessions."""
    folder = tmp_path_factory.mktemp("bids")
    assert run(folder, *SMALL, "--bids", "--sessions", 2, "--seed", 5) == 0
    return folder


def load(folder, *entities, name="dwi"):
    return nib.load(folder.joinpath(*entities, "dwi", "_".join([*entities, f"{name}.nii.gz"])))


def content(folder, name):
    return json.loads((folder / name).read_text("utf-8"))


def test_tree_without_sessions(tmp_path):
    """The default: two subjects; sessions have no names."""
    assert run(tmp_path / "out", *SMALL, "--bids", "--quiet") == 0
    assert set(contents(tmp_path / "out")) == TOP | files_of("sub-01") | files_of("sub-02")


def test_tree_with_sessions(two_by_two):
    series = [files_of(f"sub-0{i}", f"ses-{j}") for i in (1, 2) for j in (1, 2)]
    assert set(contents(two_by_two)) == TOP.union(*series)


def test_labels_are_long_enough_for_all_subjects():
    scans = list(dataset.scans_of(Simulation(out=".", bids=True, subjects=100)))
    assert [scans[i].prefix for i in (0, 99)] == ["sub-001_", "sub-100_"]


def test_descriptions_say_what_bids_requires(two_by_two):
    raw = content(two_by_two, "dataset_description.json")
    assert {"Name", "BIDSVersion"} <= raw.keys()
    assert raw["DatasetType"] == "raw"
    for name in ("masks", "truth"):
        derivative = content(two_by_two, f"derivatives/{name}/dataset_description.json")
        assert {"Name", "BIDSVersion", "GeneratedBy"} <= derivative.keys()
        assert derivative["DatasetType"] == "derivative"
        assert (two_by_two / "derivatives" / name / derivative["DatasetLinks"]["raw"]).samefile(two_by_two)


def test_sources_are_there(two_by_two):
    """Masks and truth name the series that they belong to, by a link which resolves."""
    sidecars = list(two_by_two.glob("derivatives/*/sub-*/**/*.json"))
    assert len(sidecars) == 4 * 9
    for path in sidecars:
        (source,) = json.loads(path.read_text("utf-8"))["Sources"]
        series = two_by_two / source.removeprefix("bids:raw:")
        assert series.is_file()
        assert series.name.removesuffix("dwi.nii.gz") in path.name


def test_participants_and_sidecars_state_the_factors(two_by_two):
    with (two_by_two / "participants.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-01", "sub-02"]
    assert set(content(two_by_two, "participants.json")) == set(rows[0])
    for row in rows:
        subject = row["participant_id"]
        side = content(two_by_two, f"{subject}/ses-2/dwi/{subject}_ses-2_dwi.json")
        assert side["Simulation"]["factors"] == {n: float(row[f"{n}_factor"]) for n in ("lambda_par", "fraction", "s0")}
        assert not {"EchoTime", "MagneticFieldStrength"} & side.keys()  # nothing was measured


def test_a_series_is_the_phantom_of_its_facts(two_by_two):
    """Truth and mask are those of `simulate.phantom` with the factors of the sidecar."""
    entities = ("sub-02", "ses-1")
    facts = content(two_by_two, "sub-02/ses-1/dwi/sub-02_ses-1_dwi.json")["Simulation"]
    scheme = simulate.hcp_scheme(2, 12, (1000.0, 2000.0))
    phantom = simulate.phantom((8, 10, 7), acquisition=scheme, factors=facts["factors"])
    assert facts["sigma"] == phantom.sigma
    for model, name, values in (("smt", "lambdapar", "lambda_par"), ("smtwatson", "direction", "direction")):
        path = load(
            two_by_two / "derivatives" / "truth", *entities, name=f"model-{model}_param-{name}_desc-truth_dwimap"
        )
        np.testing.assert_array_equal(path.get_fdata(dtype=np.float32), phantom.truth[values])
    mask = load(two_by_two / "derivatives" / "masks", *entities, name="desc-brain_mask").get_fdata()
    np.testing.assert_array_equal(mask, phantom.mask)
    # The noise is another one, of the same σ, so that the series are near each other.
    data = load(two_by_two, *entities).get_fdata(dtype=np.float32)
    difference = (data - phantom.data)[phantom.mask][:, scheme.bvals == 0]
    assert np.std(difference) == pytest.approx(np.sqrt(2) * phantom.sigma, rel=0.1)


def test_sessions_differ_in_the_noise_only(two_by_two):
    truth = two_by_two / "derivatives" / "truth"
    for subject in ("sub-01", "sub-02"):
        first, second = (load(two_by_two, subject, f"ses-{i}").get_fdata() for i in (1, 2))
        assert not np.any((first == second).all(axis=-1))
        maps = [load(truth, subject, f"ses-{i}", name="model-smt_param-fraction_desc-truth_dwimap") for i in (1, 2)]
        np.testing.assert_array_equal(*(map_.get_fdata() for map_ in maps))


def test_subjects_spread():
    """Each factor is within its range, which twenty subjects fill; no two are alike, nor with another seed."""
    factors = np.array([list(dataset.factors_of(seed, i).values()) for seed in (0, 1) for i in range(1, 21)])
    assert len(np.unique(factors, axis=0)) == 40
    for values, spread in zip(factors.T, (0.08, 0.15, 0.1), strict=True):
        assert np.all(np.abs(values - 1) <= spread)
        assert np.ptp(values) > spread


def test_equal_commands_write_equal_bytes(tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        assert run(tmp_path / name, *SMALL, "--bids", "--subjects", 1, "--seed", seed, "--quiet") == 0
    one, again, other = (contents(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one["participants.tsv"] != other["participants.tsv"]
