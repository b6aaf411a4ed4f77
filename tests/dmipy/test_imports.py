"""Scripts begin with imports: of dmipy's modules that are not covered these say so, and of no module at all nothing."""

import importlib

import pytest

from jaxsmt import JaxsmtWarning
from jaxsmt.dmipy import absent
from jaxsmt.errors import NotCoveredError


@pytest.mark.parametrize("module", absent.MODULES)
def test_modules_that_are_not_covered_say_so(module):
    """By `import`, and by `from` the package."""
    with pytest.raises(NotCoveredError, match=r"jaxsmt\.dmipy does not cover") as error:
        importlib.import_module(f"jaxsmt.dmipy.{module}")
    assert error.value.fix
    package, _, name = f"jaxsmt.dmipy.{module}".rpartition(".")
    if package.removeprefix("jaxsmt.dmipy.") not in absent.MODULES:
        with pytest.raises(NotCoveredError):
            exec(f"from {package} import {name}")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("core.fitted_modeling_framework", "FittedMultiCompartmentSphericalHarmonicsModel"),
        ("core.modeling_framework", "Brute2FineOptimizer"),
        ("data.saved_acquisition_schemes", "isbi2015_white_matter_challenge_scheme"),
        ("distributions.distribute_models", "DD1GammaDistributed"),
    ],
)
def test_names_that_are_not_covered_say_so_on_import(module, name):
    with pytest.raises(NotCoveredError, match=name):
        exec(f"from jaxsmt.dmipy.{module} import {name}")


def test_what_dmipy_does_not_have_is_not_found():
    """An error of another kind would stop tools that look for modules."""
    for module in ("jaxsmt.dmipy.nothing", "jaxsmt.dmipy.core.nothing", "jaxsmt.optimizers"):
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(module)
    assert importlib.import_module("jaxsmt.dmipy.core.acquisition_scheme")


def test_the_scheme_of_the_hcp():
    """b-values and times are those of the protocol; of the directions the warning tells."""
    from jaxsmt.dmipy.data import saved_acquisition_schemes

    with pytest.warns(JaxsmtWarning, match="not those of the HCP"):
        scheme = saved_acquisition_schemes.wu_minn_hcp_acquisition_scheme()
    assert scheme.number_of_measurements == 288
    assert scheme.number_of_b0s == 18
    assert [int((scheme.shell_indices == i).sum()) for i in range(4)] == [18, 90, 90, 90]
    assert scheme.shell_delta[1] == pytest.approx(0.0106)
    assert scheme.shell_Delta[1] == pytest.approx(0.0431)
