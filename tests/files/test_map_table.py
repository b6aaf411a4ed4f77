"""What is said of maps, and how they are drawn."""

import pytest

import jaxsmt as js
from jaxsmt.files import map_table
from jaxsmt.fitting.results import MOST_LOBES

SMT, MCSMT = js.smt(), js.mcsmt()
FASTEST = SMT.parameters["lambda_par"].upper
# Largest values that maps may have, and those of healthy tissue where far fewer colours would be left for it.
RANGES = {
    "lambda_par": FASTEST,
    "diff": MCSMT.parameters["stick.lambda_par"].upper,
    "second_lambda_par": FASTEST,
    "fraction": SMT.parameters["fraction"].upper,
    "second_fraction": SMT.parameters["fraction"].upper,
    "intra": MCSMT.parameters["weight.stick"].upper,
    "nfibres": MOST_LOBES,
    **dict.fromkeys(["fa", "fapow3", "odi", "weight", "second", "r2"], 1),
    **dict.fromkeys(["md", "extramd"], 3),  # free water
    **dict.fromkeys(["lambda_perp", "extratrans"], 1.5),  # above it there is fluid only
}


@pytest.mark.parametrize(("name", "highest"), RANGES.items())
def test_colours_reach_from_the_least_to_the_largest_value(name, highest):
    """What is at a bound has the last colour, and no colour is for what cannot be; R² of fits is rarely below 0.9."""
    assert map_table.about(name).limits == (0.9 if name == "r2" else 0, highest)


def test_every_map_that_is_drawn_has_limits_or_an_unknown_scale():
    """S0, the noise and concentrations have no scale of their own: the values decide."""
    free = {name for name, text in map_table.MAPS.items() if text.limits is None}
    assert free == {"s0", "sigma", "mse", "kappa", "beta", "direction", "across", "fod"}


def test_the_viewer_shows_no_map_that_the_report_leaves_out():
    for name, text in map_table.MAPS.items():
        assert text.in_report or not text.in_viewer, name


def test_maps_of_every_fit_are_told_by_its_kind():
    """A stale file of each of these is removed before a fit writes its own."""
    fod = {"direction", "across", "weight", "odi", "kappa", "beta", "nfibres", "fod", "mse", "r2", "status"}
    assert set(map_table.of_fits("fod")) == fod
    kernel = {"s0", "mse", "r2", "status", "sigma", "second", "second_lambda_par", "second_fraction"}
    assert set(map_table.of_fits("kernel")) == kernel


def test_what_has_a_standard_deviation():
    """What is estimated or follows from it; not what tells how well it fits."""
    without = {"across", "nfibres", "fod", "mse", "r2", "status", "sigma"} | {
        name for name in map_table.MAPS if name.startswith("second")
    }
    assert set(map_table.MAPS) - set(map_table.with_sd(map_table.MAPS)) == without


def test_relaxation_times_of_any_compartment_are_described():
    one, only = map_table.about("stick.t2"), map_table.about("t2")
    assert (one.title, only.title) == ("stick T2 [ms]", "T2 [ms]")
    assert one.description == "Transverse relaxation time T2 of the compartment stick"
    assert only.description == "Transverse relaxation time T2"
    assert one.limits == only.limits == (0, 200)  # of tissue at 3 T about 40 to 110
