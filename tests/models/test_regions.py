"""White matter, grey matter and fluid as maps tell them."""

import numpy as np
import pytest

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
