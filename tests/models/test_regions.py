"""White matter, grey matter and fluid as maps tell them."""

import numpy as np
import pytest

import jaxsmt as js
from jaxsmt.models import regions
from jaxsmt.status import Status


@pytest.mark.parametrize(
    ("maps", "keys"),
    [
        (["fa", "md", "s0"], ["wm", "gm", "fluid"]),
        (["intra", "extramd", "diff"], ["wm", "gm", "fluid"]),
        (["weightstick", "weightzeppelin", "weightball"], ["wm", "gm", "fluid"]),  # NODDI's compartments
        (["weightstick", "sticklambdapar", "balldiffusivity"], ["wm", "gm", "fluid"]),  # ball and stick
        (["weightstick", "sphereradius"], ["wm"]),
        (["radius"], ["converged"]),
    ],
)
def test_tissues_that_the_maps_of_a_model_tell(maps, keys):
    found = regions.tissues_of(maps)
    assert [region.key for region in found] == keys
    for region in found:
        assert {limit.map for limit in region.limits} <= set(maps)
        assert "-inf" not in region.text


def test_white_matter_is_what_cohorts_compare():
    """One definition: the report's histogram and the group's medians are of the same voxels."""
    for maps in (["fa", "md"], ["intra", "extramd"], ["weightstick"]):
        assert regions.tissues_of(maps)[0] == regions.region_of(maps)


def test_voxels_of_a_region_have_its_status_and_are_within_its_limits():
    white, grey, fluid = regions.tissues_of(["fa", "md"])
    maps = {"fa": np.array([0.8, 0.8, 0.3, 0.1, 0.1, np.nan]), "md": np.array([0.9, 0.9, 0.9, 2.9, 1.7, 0.9])}
    status = np.array([Status.CONVERGED, Status.AT_BOUND, *[Status.CONVERGED] * 4])
    assert list(white.contains(status, maps)) == [True, False, False, False, False, False]
    assert list(grey.contains(status, maps)) == [False, False, True, False, False, False]
    assert list(fluid.contains(status, maps)) == [False, False, False, True, False, False]
    assert fluid.contains(np.full(6, Status.AT_BOUND), maps)[3]  # free water is at the bound


# The tissues that the models name, and free water: of λ∥ 2.1 and λ⊥ 0.42, of 1.3 and 0.715, of 3 and 3 µm²/ms.
TISSUES = {
    "smt": {"fa": [0.77, 0.355, 0.0], "md": [0.98, 0.91, 3.0]},
    "mcsmt": {"intra": [0.6, 0.3, 0.05], "extramd": [1.14, 1.2, 2.9]},
    "noddi": {
        "weightstick": [0.6, 0.3, 0.02],
        "weightzeppelin": [0.35, 0.6, 0.03],
        "weightball": [0.05, 0.1, 0.95],
    },
    "ball and stick": {
        "weightstick": [0.6, 0.3, 0.02],
        "sticklambdapar": [1.9, 1.5, 2.9],
        "balldiffusivity": [1.9, 1.5, 2.9],
    },
}


@pytest.mark.parametrize("model", TISSUES)
def test_each_tissue_is_in_its_own_region(model):
    """And in no other; near the limits too, where noise takes it."""
    maps = {name: np.array(values) for name, values in TISSUES[model].items()}
    converged = np.full(3, Status.CONVERGED)
    for number, region in enumerate(regions.tissues_of(maps)):
        assert region.contains(converged, maps).tolist() == [i == number for i in range(3)], region.text


@pytest.mark.parametrize(("model", "name"), [("smt", "fa"), ("mcsmt", "intra"), ("noddi", "weightstick")])
def test_white_and_grey_matter_meet_halfway(model, name):
    """The limit is between what the models name, so that noise takes as many voxels over it either way."""
    white, grey, _ = regions.tissues_of(TISSUES[model])
    [low] = [limit.low for limit in white.limits if limit.map == name]
    [high] = [limit.high for limit in grey.limits if limit.map == name]
    assert low == high == pytest.approx(np.mean(TISSUES[model][name][:2]), abs=0.05)


@pytest.mark.parametrize("number", [0, 1])
def test_the_tissues_are_those_that_the_models_name(number):
    """The check command tells what a scheme determines in these; regions must tell them apart."""
    smt, mcsmt = dict(js.smt().tissues[number][1]), dict(js.mcsmt().tissues[number][1])
    par, perp = smt["lambda_par"], smt["lambda_par"] * smt["fraction"]
    md, fa = (par + 2 * perp) / 3, (par - perp) / np.sqrt(par**2 + 2 * perp**2)
    assert TISSUES["smt"]["md"][number] == pytest.approx(md, abs=0.01)
    assert TISSUES["smt"]["fa"][number] == pytest.approx(fa, abs=0.01)
    intra = mcsmt["weight.stick"]
    assert TISSUES["mcsmt"]["intra"][number] == intra
    assert TISSUES["mcsmt"]["extramd"][number] == pytest.approx(mcsmt["stick.lambda_par"] * (1 - 2 / 3 * intra))


@pytest.mark.parametrize("maps", [{"fa": 0.8, "md": 2.9}, {"intra": 0.6, "extramd": 2.9}])
def test_fluid_whose_noise_looks_anisotropic_is_no_white_matter(maps):
    values = {name: np.array([value]) for name, value in maps.items()}
    white, grey, fluid = (
        region.contains(np.array([Status.CONVERGED]), values)[0] for region in regions.tissues_of(maps)
    )
    assert (white, grey, fluid) == (False, False, True)


def test_limits_in_words():
    assert regions.Limit("md", 0.5, 1.5).text == "mean diffusivity at least 0.5 and at most 1.5 µm²/ms"
    assert not regions.Limit("md").is_bounded
    assert regions.title("weightstick") == "weight of the sticks"
    assert regions.title("radius") == "radius"
    assert regions.Limit("md", 0.5, 1.5).contains(np.array([0.4, 0.5, 1.5, 1.6, np.nan])).tolist() == [0, 1, 1, 0, 0]
