"""Multi-compartment Spherical Mean Technique."""

from __future__ import annotations

from ...physics.compartments import stick, zeppelin
from ..derived import mean_diffusivity
from ..links import Link, equal, tortuosity
from ..model import SphericalMeanModel
from ..priors import NormalPrior

_TISSUES = {
    "white matter": {"stick.lambda_par": 1.9, "weight.stick": 0.6},
    "grey matter": {"stick.lambda_par": 1.5, "weight.stick": 0.3},
}
# From the same brain and in the same way as the prior of `smt`: sd 0.62 µm²/ms and 0.17, r 0.44, widened fourfold.
_POPULATION = NormalPrior(("stick.lambda_par", "weight.stick"), (1.67, 0.34), ((1.54, 0.186), (0.186, 0.116)))


def mcsmt() -> SphericalMeanModel:
    """Multi-compartment SMT: neurites are sticks, and what surrounds them is a zeppelin of the same λ∥.

    ε(b) = v h(bλ) + (1 - v) e^{-bλ⊥} h(b(λ - λ⊥)) with λ⊥ = (1 - v) λ and h(z) = ∫₀¹ e^{-zx²} dx. Free: the
    intra-neurite volume fraction v ("weight.stick", map "intra") and the intrinsic diffusivity λ ("stick.lambda_par",
    map "diff"). Further maps: λ⊥ ("extratrans") and the mean diffusivity around neurites ("extramd").

    Returns:
        The model, which needs two shells besides b = 0.

    Example:
        >>> import jaxsmt as js
        >>> js.mcsmt().maps
        ('intra', 'diff', 'extratrans', 'extramd')

    Source: Kaden et al. 2016, NeuroImage 139:346, doi:10.1016/j.neuroimage.2016.06.002.
    """
    return SphericalMeanModel(
        {"stick": stick(), "zeppelin": zeppelin()},
        links=[
            equal("zeppelin.lambda_par", "stick.lambda_par"),
            tortuosity("zeppelin.lambda_perp", "zeppelin.lambda_par", intra="weight.stick", extra="weight.zeppelin"),
            equal("intra", "weight.stick"),
            equal("diff", "stick.lambda_par"),
            equal("extratrans", "zeppelin.lambda_perp"),
        ],
        derived=(Link("extramd", ("zeppelin.lambda_par", "zeppelin.lambda_perp"), mean_diffusivity, unit="um2/ms"),),
        maps=("intra", "diff", "extratrans", "extramd"),
        name="mcsmt",
        tissues=_TISSUES,
        population=_POPULATION,
    )
