"""The paragraph of methods: what it says follows from the run, and it cites what it names."""

import pytest

from jaxsmt.models import presets
from jaxsmt.physics import densities, noises
from jaxsmt.report.methods import paragraph
from jaxsmt.report.references import Bibliography
from tests.report.pages import fit_of, run_of

FIT = fit_of(60)


def text_of(model="smt", **options):
    cite = Bibliography()
    run = run_of(FIT, model=model, options=run_of(FIT)["options"] | options)
    return paragraph(run, ["a", "b"], cite), [reference.text for reference in cite.references]


def test_the_facts_of_a_plain_run():
    text, cited = text_of()
    assert "62 volumes: 2 at b = 0, 30 at b = 1000, 30 at b = 2000 s/mm²" in text
    assert "60 voxels" in text
    assert "S0 was fitted" in text
    assert "Noise was taken to be Gaussian." in text
    assert "orientation" not in text.partition("S0 was")[2]
    assert f"{100 * FIT.count(1) / 60:.1f} % converged inside all bounds" in text
    assert "jaxsmt 1.2.3 (JAX 0.10.1, Python 3.11.7) on CPUs" in text
    assert len(cited) == 1
    assert cited[0].startswith("Kaden E, Kruggel F")


@pytest.mark.parametrize("name", presets.names())
def test_every_model_that_comes_with_the_program_is_described_and_cited(name):
    model = presets.find(name)().name
    text, cited = text_of(model)
    assert f"the model {model}" not in text
    assert len(cited) == (1 if model == "smt" else 2)


def test_a_users_model_is_named():
    assert "the model mine (a, b)" in text_of("mine")[0]


@pytest.mark.parametrize("noise", [name for name in noises.names() if name != "gaussian"])
def test_every_noise_is_cited_with_its_level(noise):
    sigma = {"from": "repeats of b = 0", "median": 12.5, "relative_error": 0.02}
    text, cited = text_of(noise=noise, sigma=sigma, coils=4)
    assert "noise floor" in text
    assert "of 4 coils" in text
    assert "σ was estimated from repeats of b = 0 (median 12.5 in units of the series)" in text
    assert len(cited) > 1
    assert "σ was given (median 3 " in text_of(noise=noise, sigma={"from": "3", "median": 3.0})[0]


@pytest.mark.parametrize("fod", densities.names())
def test_every_density_is_cited(fod):
    text, cited = text_of(fod=fod, fibres="auto")
    assert f"up to three {fod.capitalize()} lobes [2], their number chosen" in text
    assert "criterion [3]" in text
    assert len(cited) == 3
    assert f"of 2 {fod.capitalize()} lobes [2] were fitted" in text_of(fod=fod, fibres=2)[0]


def test_what_else_changes_the_maps_is_told():
    text, _ = text_of(
        s0="mean", spherical_mean="arithmetic", uncertainty=True, prior={}, grad_dev={"largest_b_change": 0.031}
    )
    for words in ("mean of the b = 0", "plain means", "Fisher information", "normal prior", "up to 3.1 %"):
        assert words in text
